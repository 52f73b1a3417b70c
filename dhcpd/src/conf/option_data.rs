//! An option's value, from the words it is written in to the bytes it is on the wire.

use super::arguments::Arguments;
use super::diagnostic::Problem;
use super::options::Type;
use std::collections::HashMap;

/// The most bytes of options that any reply has room for: an Ethernet frame's 1500 less 264 for
/// IP, UDP and the fixed fields of the message.
const MAX_VALUE: usize = 1236;

/// Reads a value of the given type, all of it.
pub fn value(arguments: &mut Arguments, kind: Type) -> Result<Vec<u8>, Problem> {
    let start = arguments.offset();
    let value = match kind {
        Type::Address => arguments.host_address()?.octets().to_vec(),
        Type::Addresses => {
            let lists = arguments.list(Arguments::host_addresses)?;
            lists.into_iter().flatten().flat_map(|address| address.octets()).collect()
        }
        Type::Pairs => list(arguments, |arguments| {
            let [first, second] = [arguments.host_address()?, arguments.host_address()?];
            Ok([first.octets(), second.octets()].concat())
        })?,
        Type::U8 => vec![one_byte(arguments)?],
        Type::U8s => list(arguments, |arguments| Ok(vec![one_byte(arguments)?]))?,
        Type::U16 => two_bytes(arguments)?,
        Type::U16s => list(arguments, two_bytes)?,
        Type::U32 => arguments.u32()?.to_be_bytes().to_vec(),
        Type::I32 => {
            let value = arguments.integer(i32::MIN.into(), i32::MAX.into())?;
            (value as i32).to_be_bytes().to_vec()
        }
        Type::Flag => vec![arguments.boolean()?.into()],
        Type::Text => arguments.text("a string in quotes, or one word")?.into_owned(),
        Type::Bytes => bytes(arguments)?,
        Type::Domains => {
            let mut names = Names::default();
            arguments.list(|arguments| {
                let offset = arguments.offset();
                let name = arguments.quoted("a domain name in quotes")?;
                names.add(&name).map_err(|text| Problem::error(offset, text))
            })?;
            names.wire
        }
        Type::Routes => list(arguments, route)?,
    };
    arguments.end("`;`")?;
    if value.len() > MAX_VALUE {
        let text = format!("{} bytes; no reply has room for more than {MAX_VALUE}", value.len());
        return Err(Problem::error(start, text));
    }
    Ok(value)
}

/// A string in quotes, or octets in hexadecimal.
pub fn bytes(arguments: &mut Arguments) -> Result<Vec<u8>, Problem> {
    const WHAT: &str = "a string in quotes, or hexadecimal octets separated by colons";
    match arguments.peek() {
        Some(token) if token.kind == super::lexer::Kind::Quoted => {
            Ok(arguments.quoted(WHAT)?.into_owned())
        }
        Some(token) if token.kind == super::lexer::Kind::Word => {
            let word = token.raw(arguments.file);
            if !word.iter().all(u8::is_ascii_hexdigit) {
                let text = "text is in quotes; without them this is hexadecimal octets";
                return Err(Problem::error(arguments.offset(), text));
            }
            arguments.octets(MAX_VALUE)
        }
        _ => Err(arguments.expected(WHAT)),
    }
}

fn list(
    arguments: &mut Arguments,
    item: impl FnMut(&mut Arguments) -> Result<Vec<u8>, Problem>,
) -> Result<Vec<u8>, Problem> {
    Ok(arguments.list(item)?.concat())
}

fn one_byte(arguments: &mut Arguments) -> Result<u8, Problem> {
    arguments.integer(0, u8::MAX.into()).map(|value| value as u8)
}

fn two_bytes(arguments: &mut Arguments) -> Result<Vec<u8>, Problem> {
    let value = arguments.integer(0, u16::MAX.into())?;
    Ok((value as u16).to_be_bytes().to_vec())
}

/// RFC 3442: the prefix's length, as many octets as it covers, the gateway.
fn route(arguments: &mut Arguments) -> Result<Vec<u8>, Problem> {
    let (network, length) = arguments.prefix()?;
    let gateway = arguments.host_address()?;
    let significant = usize::from(length).div_ceil(8);
    let mut value = vec![length];
    value.extend(network.octets().into_iter().take(significant));
    value.extend(gateway.octets());
    Ok(value)
}

/// Domain names one after the other, each ending in a pointer to what an earlier one has in
/// common with it (RFC 1035 section 4.1.4). Offsets count from the value's first byte.
#[derive(Default)]
struct Names {
    wire: Vec<u8>,
    /// Where a name, or the rest of one, is. In lower case, as names are compared.
    known: HashMap<Vec<u8>, u16>,
}

impl Names {
    fn add(&mut self, name: &[u8]) -> Result<(), String> {
        let name = name.strip_suffix(b".").unwrap_or(name);
        if name.is_empty() {
            return Err("a domain name without labels".to_owned());
        }
        // With a length before each label instead of the dots, one more, and the root's.
        if name.len() + 2 > 255 {
            return Err("a domain name longer than 253 bytes".to_owned());
        }
        for label in name.split(|byte| *byte == b'.') {
            if label.is_empty() || label.len() > 63 {
                return Err("labels of a domain name have 1 to 63 bytes".to_owned());
            }
        }
        let mut rest = name;
        while !rest.is_empty() {
            if let Some(at) = self.known.get(&rest.to_ascii_lowercase()) {
                self.wire.extend((0xc000 | at).to_be_bytes());
                return Ok(());
            }
            let here = self.wire.len();
            if here < 0x4000 {
                self.known.insert(rest.to_ascii_lowercase(), here as u16);
            }
            let end = rest.iter().position(|byte| *byte == b'.').unwrap_or(rest.len());
            let (label, more) = rest.split_at(end);
            self.wire.push(label.len() as u8);
            self.wire.extend(label);
            rest = more.strip_prefix(b".").unwrap_or(more);
        }
        self.wire.push(0);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
