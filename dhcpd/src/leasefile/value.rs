//! The values of a record's statements: dates, hardware addresses, identifiers, strings.
//!
//! Each reader goes behind the end of its statement, whether it could read the value or not. None
//! knows what the value is for.

use super::lex::{Lexer, Stop, Token};
use super::{MAX_CLIENT_ID, MAX_HARDWARE, date};
use crate::config::Hardware;

/// Goes behind the end of a statement, or to the end of the block it is in if it has none.
/// `depth`: how many blocks inside the statement are open.
pub(super) fn skip(lexer: &mut Lexer<'_>, depth: usize) -> Result<(), Stop> {
    let mut depth = depth;
    loop {
        match lexer.next() {
            Ok(Token::Mark(b'{')) => depth += 1,
            Ok(Token::Mark(b'}')) => match depth {
                0 => {
                    lexer.at -= 1;
                    return Ok(());
                }
                1 => return Ok(()),
                _ => depth -= 1,
            },
            Ok(Token::Mark(b';')) if depth == 0 => return Ok(()),
            Ok(_) | Err(Stop::OpenQuote) => (),
            Err(stop) => return Err(stop),
        }
    }
}

/// The words up to the end of a statement; `None` if something else is among them.
pub(super) fn values<'a, 'w>(
    lexer: &mut Lexer<'a>,
    words: &'w mut [&'a [u8]],
) -> Result<Option<&'w [&'a [u8]]>, Stop> {
    let mut count = 0;
    loop {
        match lexer.next() {
            Ok(Token::Word(word)) if count < words.len() => {
                words[count] = word;
                count += 1;
            }
            Ok(Token::Mark(b';')) => return Ok(words.get(..count)),
            Ok(Token::Mark(b'}')) => {
                lexer.at -= 1;
                return Ok(None);
            }
            Ok(token) => {
                skip(lexer, usize::from(token == Token::Mark(b'{')))?;
                return Ok(None);
            }
            Err(Stop::OpenQuote) => {
                skip(lexer, 0)?;
                return Ok(None);
            }
            Err(stop) => return Err(stop),
        }
    }
}

/// A date, in seconds since the epoch; `None` if it is not one.
pub(super) fn time(lexer: &mut Lexer<'_>) -> Result<Option<i64>, Stop> {
    let mut words: [&[u8]; 8] = [b""; 8];
    Ok(values(lexer, &mut words)?.and_then(date::parse))
}

/// `hardware TYPE ADDRESS;`
pub(super) fn hardware(lexer: &mut Lexer<'_>) -> Result<Option<Hardware>, Stop> {
    let mut words: [&[u8]; 8] = [b""; 8];
    let Some((&name, rest)) = values(lexer, &mut words)?.and_then(<[_]>::split_first) else {
        return Ok(None);
    };
    let name = name.to_ascii_lowercase();
    let htype = match &*name {
        b"ethernet" => 1,
        b"token-ring" => 6,
        b"fddi" => 8,
        b"ipsec-tunnel" => 31,
        b"infiniband" => 32,
        _ => match name.strip_prefix(b"unknown-").and_then(date::number).map(u8::try_from) {
            Some(Ok(htype)) => htype,
            _ => return Ok(None),
        },
    };
    let mut addr = Vec::new();
    let fits = hex(rest, &mut addr, MAX_HARDWARE);
    Ok(fits.then_some(Hardware { htype, addr }))
}

/// `uid` in hex, or as a string with escapes.
pub(super) fn client_id(lexer: &mut Lexer<'_>) -> Result<Option<Vec<u8>>, Stop> {
    let mut id = Vec::new();
    loop {
        match lexer.next() {
            Ok(Token::Word(word)) => {
                if !hex(&[word], &mut id, MAX_CLIENT_ID) {
                    break;
                }
            }
            Ok(Token::Quoted(text)) if id.is_empty() => {
                id = unescape(text);
                skip(lexer, 0)?;
                return Ok((id.len() <= MAX_CLIENT_ID).then_some(id));
            }
            Ok(Token::Mark(b';')) => return Ok(Some(id)),
            Ok(Token::Mark(b'}')) => {
                lexer.at -= 1;
                return Ok(None);
            }
            Ok(_) | Err(Stop::OpenQuote) => break,
            Err(stop) => return Err(stop),
        }
    }
    skip(lexer, 0)?;
    Ok(None)
}

/// Appends octets of one or two hex digits with colons between; false if they are anything else, or
/// more than `limit` in all.
fn hex(words: &[&[u8]], out: &mut Vec<u8>, limit: usize) -> bool {
    for word in words {
        out.reserve(word.len().div_ceil(3).min(limit));
        for octet in word.split(|&b| b == b':').filter(|octet| !octet.is_empty()) {
            let value = octet
                .iter()
                .try_fold(0u32, |n, &b| char::from(b).to_digit(16).map(|digit| n << 4 | digit));
            match value {
                Some(value) if octet.len() <= 2 && out.len() < limit => out.push(value as u8),
                _ => return false,
            }
        }
    }
    true
}

/// ISC's escapes: up to three octal digits, `x` and up to two hex digits, a letter for some
/// control characters; anything else stands for itself.
pub(super) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some((&escaped, after)) = rest.split_first() else { break };
        let (digits, radix) = match escaped {
            b'0'..=b'7' => (rest, 8),
            b'x' => (after, 16),
            _ => {
                out.push(match escaped {
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b'b' => 8,
                    other => other,
                });
                rest = after;
                continue;
            }
        };
        let (mut value, mut count) = (0u32, 0);
        let most = if radix == 8 { 3 } else { 2 };
        while count < most
            && let Some(digit) = digits.get(count).and_then(|&b| char::from(b).to_digit(radix))
        {
            value = value * radix + digit;
            count += 1;
        }
        out.push(value as u8);
        rest = digits.get(count..).unwrap_or_default();
    }
    out
}

/// A word as it may be shown: what a file holds can be anything.
pub(super) fn printable(word: &[u8]) -> String {
    let shown = word.get(..40).unwrap_or(word);
    shown.escape_ascii().to_string()
}
