//! From bytes to tokens. Knows no statement.
//!
//! A word is the longest run of letters, digits and `. _ : / [ ] -`. One of digits only is a
//! number, one that is a keyword is that and nothing else. `#` begins a comment that ends with the
//! line. There are no quotes, no escapes and no semicolons; FreeBSD's hastd prints such characters
//! and goes on, here they are errors.

use super::diagnostic::{Diagnostics, SourceFile};
use super::keyword::Keyword;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{`
    Open,
    /// `}`
    Close,
    /// Digits only.
    Number,
    /// A word with a meaning of its own.
    Keyword(Keyword),
    /// Any other word.
    Word,
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Offset of its first byte.
    pub start: usize,
    len: usize,
}

impl Token {
    /// As it is written: ASCII, for the rules of words.
    pub fn text<'a>(&self, file: &SourceFile<'a>) -> &'a str {
        let bytes = file.text().get(self.start..).and_then(|rest| rest.get(..self.len));
        std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    }
}

/// Finds all tokens. What cannot be part of one is named and passed over.
pub fn tokens(said: &mut Diagnostics<'_>) -> Vec<Token> {
    let text = said.file().text();
    let mut tokens = Vec::new();
    // A byte order mark, as some editors leave behind.
    let mut at = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    while let Some(&byte) = text.get(at) {
        let start = at;
        let run = |wanted: fn(u8) -> bool| {
            let rest = text.get(start..).unwrap_or_default();
            rest.iter().position(|byte| !wanted(*byte)).unwrap_or(rest.len())
        };
        let (len, kind) = match byte {
            b'{' => (1, Some(Kind::Open)),
            b'}' => (1, Some(Kind::Close)),
            b'#' => (run(|byte| byte != b'\n'), None),
            _ if byte.is_ascii_whitespace() || byte == 0x0b => (1, None),
            _ if is_word(byte) => {
                let len = run(is_word);
                (len, Some(kind(text.get(start..start + len).unwrap_or_default())))
            }
            _ => {
                // Several in a row are one mistake.
                let len = run(|byte| !is_word(byte) && !is_between(byte));
                said.error(start, stray(byte));
                (len.max(1), None)
            }
        };
        tokens.extend(kind.map(|kind| Token { kind, start, len }));
        at = start.saturating_add(len);
    }
    tokens
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._:/[]-".contains(&byte)
}

fn is_between(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b || b"{}#".contains(&byte)
}

fn kind(word: &[u8]) -> Kind {
    if word.iter().all(u8::is_ascii_digit) {
        Kind::Number
    } else {
        Keyword::of(word).map_or(Kind::Word, Kind::Keyword)
    }
}

fn stray(byte: u8) -> String {
    match byte {
        b'"' | b'\'' => {
            "there are no quotes in this file: words are written as they are".to_owned()
        }
        b';' => "there are no semicolons in this file: a statement ends by itself".to_owned(),
        b'!'..=b'~' => format!("`{}` cannot be part of a word", char::from(byte)),
        _ => format!("byte 0x{byte:02x} outside of a comment"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> (Vec<(Kind, String)>, Vec<String>) {
        let file = SourceFile::new("f".into(), text).unwrap();
        let mut said = Diagnostics::new(&file);
        let found = tokens(&mut said);
        let found = found.iter().map(|token| (token.kind, token.text(&file).to_owned())).collect();
        let said = said.into_sorted().into_iter();
        (
            found,
            said.map(|one| format!("{}:{}: {}", one.at.line, one.at.column, one.text)).collect(),
        )
    }

    fn kinds(text: &[u8]) -> Vec<Kind> {
        let (found, said) = read(text);
        assert_eq!(said, [""; 0]);
        found.into_iter().map(|(kind, _)| kind).collect()
    }

    #[test]
    fn words_numbers_keywords_and_braces() {
        use Kind::{Close, Number, Open, Word};
        assert_eq!(
            kinds(b"resource data{on\thast-a.example_1\n20 }"),
            [
                Kind::Keyword(Keyword::Resource),
                Word,
                Open,
                Kind::Keyword(Keyword::On),
                Word,
                Number,
                Close
            ]
        );
        // The longest match: neither a number nor a keyword in front.
        assert_eq!(
            kinds(b"20s 10.0.0.1 on1 on- Resource 007"),
            [Word, Word, Word, Word, Word, Number]
        );
        assert_eq!(kinds(b"tcp6://[::1]:8457"), [Word]);
        assert_eq!(kinds(b"# on { \n#\n"), []);
        assert_eq!(kinds(b"\xef\xbb\xbfon"), [Kind::Keyword(Keyword::On)]);
    }

    #[test]
    fn a_comment_ends_a_word_and_its_line() {
        let (found, said) = read(b"a#b \"{\nc");
        assert_eq!(found, [(Kind::Word, "a".to_owned()), (Kind::Word, "c".to_owned())]);
        assert_eq!(said, [""; 0]);
    }

    #[test]
    fn what_is_no_part_of_a_word_is_named_once() {
        let (found, said) = read(b"name \"data\";\n\xff\xfe\x00x @@!y");
        assert_eq!(found.len(), 4);
        assert_eq!(
            said,
            [
                "1:6: there are no quotes in this file: words are written as they are",
                "1:11: there are no quotes in this file: words are written as they are",
                "2:1: byte 0xff outside of a comment",
                "2:6: `@` cannot be part of a word"
            ]
        );
        assert_eq!(
            read(b"a;").1,
            ["1:2: there are no semicolons in this file: a statement ends by itself"]
        );
    }
}
