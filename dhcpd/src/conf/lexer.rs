//! From bytes to tokens. One set of rules for both dialects; knows no statement.
//!
//! A word starts with `-`, a letter or a digit and goes on with those and `_`. `#` begins a comment.
//! In quotes a backslash is dropped and does not protect a quote that follows, as in OpenBSD's
//! dhcpd(8); a newline may be in them. Any other printable ASCII character is a token of its own.

use super::diagnostic::Problem;
use super::source::SourceFile;
use std::borrow::Cow;

/// The longest word or quoted string, in bytes.
pub const MAX_TOKEN: usize = 1499;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A name, keyword or number: what it is depends on where it stands.
    Word,
    /// A string in quotes.
    Quoted,
    /// A single character.
    Mark(u8),
}

/// A piece of a file: small, since a file has many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Offset of its first byte; of the opening quote for a string.
    pub start: u32,
    /// Its length, without quotes.
    len: u16,
    /// What it is.
    pub kind: Kind,
}

impl Token {
    /// The bytes as written, without quotes.
    pub fn raw<'a>(&self, file: &'a SourceFile) -> &'a [u8] {
        let quote = u32::from(self.kind == Kind::Quoted);
        file.slice(self.start.saturating_add(quote), usize::from(self.len))
    }

    /// The bytes it stands for.
    pub fn value<'a>(&self, file: &'a SourceFile) -> Cow<'a, [u8]> {
        let raw = self.raw(file);
        if self.kind == Kind::Quoted && raw.contains(&b'\\') {
            raw.iter().copied().filter(|byte| *byte != b'\\').collect()
        } else {
            raw.into()
        }
    }

    /// Offset of the byte after it, closing quote included.
    pub fn end(&self, file: &SourceFile) -> u32 {
        let quotes = if self.kind == Kind::Quoted { 2 } else { 0 };
        let end = self.start.saturating_add(u32::from(self.len)).saturating_add(quotes);
        end.min(file.text().len() as u32) // a string without a closing quote
    }

    /// Whether it is this word, in upper or lower case.
    pub fn is_word(&self, file: &SourceFile, word: &str) -> bool {
        self.kind == Kind::Word && self.raw(file).eq_ignore_ascii_case(word.as_bytes())
    }
}

/// Finds all tokens. What cannot be part of one is named in `problems` and skipped.
pub fn tokens(file: &SourceFile, problems: &mut Vec<Problem>) -> Vec<Token> {
    let mut lexer = Lexer { text: file.text(), at: 0, problems };
    if lexer.text.starts_with(b"\xef\xbb\xbf") {
        lexer.at = 3; // a byte order mark, as some editors leave behind
        lexer
            .problems
            .push(Problem::only_there(0, "refuses a file that begins with a byte order mark"));
    }
    let mut tokens = Vec::with_capacity(lexer.text.len() / 8);
    while let Some(token) = lexer.token() {
        tokens.push(token);
    }
    tokens
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    problems: &'a mut Vec<Problem>,
}

impl Lexer<'_> {
    fn token(&mut self) -> Option<Token> {
        loop {
            let start = self.at;
            let byte = *self.text.get(start)?;
            self.at += 1;
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => {}
                b'#' => self.skip_while(|byte| byte != b'\n'),
                b'"' => return Some(self.quoted(start)),
                _ if is_word(byte) && byte != b'_' => {
                    self.skip_while(is_word);
                    return Some(self.limited(start, self.at - start, Kind::Word));
                }
                0x21..=0x7e => return Some(token(start, 1, Kind::Mark(byte))),
                _ => {
                    // Several in a row are one mistake.
                    self.skip_while(|byte| !matches!(byte, b'\t'..=b'\r' | b' '..=b'~'));
                    let text = format!("byte 0x{byte:02x} outside of quotes");
                    self.problems.push(Problem::error(start as u32, text));
                }
            }
        }
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|byte| !wanted(*byte)).unwrap_or(rest.len());
    }

    fn quoted(&mut self, start: usize) -> Token {
        let first = self.at;
        self.skip_while(|byte| byte != b'"');
        if self.at == self.text.len() {
            // Nothing after this can be trusted to be inside; take it to end with its line.
            self.at = first;
            self.skip_while(|byte| byte != b'\n');
            self.problems.push(Problem::error(start as u32, "no quote ends this string"));
            return self.limited(start, self.at - first, Kind::Quoted);
        }
        let inside = self.text.get(first..self.at).unwrap_or_default();
        self.at += 1;
        if inside.contains(&b'\n') {
            let text = "this string goes on in the next line; is a quote missing?";
            self.problems.push(Problem::warning(start as u32, text));
        }
        if let Some(at) = inside.iter().position(|byte| *byte == b'\\') {
            let text = "a backslash in quotes is dropped, and protects nothing";
            self.problems.push(Problem::warning((first + at) as u32, text));
        }
        self.limited(start, inside.len(), Kind::Quoted)
    }

    fn limited(&mut self, start: usize, len: usize, kind: Kind) -> Token {
        if len > MAX_TOKEN {
            let what = if kind == Kind::Word { "word" } else { "string" };
            let text = format!("a {what} of {len} bytes; at most {MAX_TOKEN} are read");
            self.problems.push(Problem::error(start as u32, text));
        }
        token(start, len.min(MAX_TOKEN), kind)
    }
}

/// Files are limited to [`super::source::MAX_FILE`] and tokens to [`MAX_TOKEN`]: both fit.
fn token(start: usize, len: usize, kind: Kind) -> Token {
    Token { start: start as u32, len: len as u16, kind }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lex(text: &[u8]) -> (Vec<String>, Vec<(u32, String)>) {
        let file = SourceFile::new("f".into(), text.into()).unwrap();
        let mut problems = Vec::new();
        let tokens = tokens(&file, &mut problems);
        let show = |token: &Token| {
            let value = String::from_utf8_lossy(&token.value(&file)).into_owned();
            if token.kind == Kind::Quoted { format!("<{value}>") } else { value }
        };
        (
            tokens.iter().map(show).collect(),
            problems.into_iter().map(|p| (p.offset, p.text)).collect(),
        )
    }

    fn words(text: &str) -> Vec<String> {
        let (tokens, problems) = lex(text.as_bytes());
        assert_eq!(problems, []);
        tokens
    }

    #[test]
    fn words_marks_comments_and_strings() {
        assert_eq!(
            words("a-b_c 10.0/8;# x \"\n{-5}"),
            ["a-b_c", "10", ".", "0", "/", "8", ";", "{", "-5", "}"]
        );
        assert_eq!(words("\"a # b\"c"), ["<a # b>", "c"]);
        assert_eq!(words("0:1f:\tFf,\"\""), ["0", ":", "1f", ":", "Ff", ",", "<>"]);
        assert_eq!(words("a != (b)"), ["a", "!", "=", "(", "b", ")"]);
    }

    #[test]
    fn a_backslash_is_dropped_and_protects_nothing() {
        let (tokens, problems) = lex(br#""C:\boot\" x"#);
        assert_eq!(tokens, ["<C:boot>", "x"]);
        assert_eq!(problems[0].0, 3);
        assert_eq!(problems.len(), 1);
    }

    #[test]
    fn a_string_may_hold_a_newline_but_is_asked_about() {
        let (tokens, problems) = lex(b"x \"a\nb\" c");
        assert_eq!(tokens, ["x", "<a\nb>", "c"]);
        assert_eq!(problems[0].0, 2);
    }

    #[test]
    fn a_string_without_end_ends_with_its_line() {
        let (tokens, problems) = lex(b"x \"abc;\ny;");
        assert_eq!(tokens, ["x", "<abc;>", "y", ";"]);
        assert_eq!(problems, [(2, "no quote ends this string".to_owned())]);
    }

    #[test]
    fn tokens_are_limited() {
        for (len, errors) in [(MAX_TOKEN, 0), (MAX_TOKEN + 1, 1), (70_000, 1)] {
            let word = "a".repeat(len);
            for text in [word.clone(), format!("\"{word}\"")] {
                let (tokens, problems) = lex(format!("{text} b").as_bytes());
                assert_eq!(tokens.len(), 2, "{len}");
                assert_eq!(tokens[1], "b");
                assert_eq!(problems.len(), errors, "{len}");
            }
        }
    }

    #[test]
    fn strange_bytes_are_named_once_in_a_row() {
        let (tokens, problems) = lex(b"a \xc3\xa4\xc3\xb6 b\0c");
        assert_eq!(tokens, ["a", "b", "c"]);
        assert_eq!(
            problems,
            [
                (2, "byte 0xc3 outside of quotes".to_owned()),
                (8, "byte 0x00 outside of quotes".to_owned())
            ]
        );
    }

    proptest! {
        #[test]
        fn tokens_are_in_order_and_inside_the_file(text: Vec<u8>) {
            let file = SourceFile::new("f".into(), text.into()).unwrap();
            let mut problems = Vec::new();
            let tokens = tokens(&file, &mut problems);
            let mut last = 0;
            for token in tokens {
                prop_assert!(token.start >= last);
                last = token.start + 1;
                prop_assert!((token.start as usize) < file.text().len());
            }
            for problem in problems {
                prop_assert!((problem.offset as usize) < file.text().len());
            }
        }
    }
}
