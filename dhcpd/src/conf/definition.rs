//! `option NAME code N = TYPE;`: options that a file of ISC's dialect defines itself.
//!
//! What has a type that an option with a name could have too is an option like those, whatever the
//! name meant before. Others are known to be defined, so that nobody takes them for a mistake.

use super::arguments::Arguments;
use super::diagnostic::Problem;
use super::lexer::Kind;
use super::options::{Definition, Type};
use std::collections::HashMap;

/// What a file has defined so far: options by name, and `None` for those of another type.
pub type Defined = HashMap<String, Option<Definition>>;

/// Whether this is the definition of an option whose name was read.
pub fn is_next(arguments: &Arguments) -> bool {
    let code = arguments.peek().is_some_and(|token| token.is_word(arguments.file, "code"));
    code && arguments.has_mark(b'=')
}

/// Reads it; `None` if it is of a type that cannot be had.
pub fn read(arguments: &mut Arguments) -> Result<Option<Definition>, Problem> {
    arguments.keyword("code");
    let code = arguments.integer(1, 254)? as u8;
    if !arguments.mark(b'=') {
        return Err(arguments.expected("`=` and a type"));
    }
    let mut words = Vec::new();
    while let Some(token) = arguments.next() {
        if token.kind != Kind::Word {
            return Ok(None);
        }
        words.push(token.raw(arguments.file).to_ascii_lowercase());
    }
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let kind = match *words {
        [b"boolean"] => Type::Flag,
        // Small ones, signed or not, are written as what they are without a sign, mostly.
        [b"integer", b"8"] | [b"unsigned" | b"signed", b"integer", b"8"] => Type::U8,
        [b"integer", b"16"] | [b"unsigned" | b"signed", b"integer", b"16"] => Type::U16,
        [b"unsigned", b"integer", b"32"] => Type::U32,
        [b"integer", b"32"] | [b"signed", b"integer", b"32"] => Type::I32,
        [b"ip-address"] => Type::Address,
        [b"text"] => Type::Text,
        [b"string"] => Type::Bytes,
        [b"array", b"of", b"integer", b"8"]
        | [b"array", b"of", b"unsigned" | b"signed", b"integer", b"8"] => Type::U8s,
        [b"array", b"of", b"integer", b"16"]
        | [b"array", b"of", b"unsigned" | b"signed", b"integer", b"16"] => Type::U16s,
        [b"array", b"of", b"ip-address"] => Type::Addresses,
        _ => return Ok(None),
    };
    Ok(Some(Definition { code, kind }))
}
