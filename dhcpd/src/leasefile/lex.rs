//! Splits the text of a lease file into words, quoted strings and marks.
//!
//! One rule holds everywhere, and keeps damage local: a line that begins with `lease` begins a
//! record, whatever came before it. Not even a quoted string reaches past it.

/// A piece of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A run of bytes that mean nothing by themselves.
    Word(&'a [u8]),
    /// What stands between quotes, escapes and all.
    Quoted(&'a [u8]),
    /// A byte that stands for itself.
    Mark(u8),
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The bytes given end here, or too soon to say.
    End,
    /// The next line begins another record.
    Record,
    /// A quote without its pair on the same line, or too far from it; reading goes on behind.
    OpenQuote,
}

/// The longest string, in bytes: a client identifier with each byte escaped.
const MAX_STRING: usize = 4 * super::MAX_CLIENT_ID;

/// Reads tokens from bytes that may go on elsewhere.
pub(super) struct Lexer<'a> {
    bytes: &'a [u8],
    last: bool,
    /// How many bytes have been read.
    pub at: usize,
    /// The line `at` is on.
    pub line: u64,
    /// NULs were among what has been read: bytes that were never written.
    pub gap: bool,
}

/// Ends a line. A NUL too: a file may hold a run of them where a crash left blocks unwritten.
fn is_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | 0)
}

fn is_mark(byte: u8) -> bool {
    matches!(byte, b';' | b'{' | b'}' | b',' | b'=' | b'(' | b')')
}

impl<'a> Lexer<'a> {
    /// `last`: nothing follows `bytes`.
    pub(super) fn new(bytes: &'a [u8], last: bool, line: u64) -> Self {
        Lexer { bytes, last, at: 0, line, gap: false }
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Result<Token<'a>, Stop> {
        loop {
            let byte = *self.bytes.get(self.at).ok_or(Stop::End)?;
            match byte {
                b' ' | b'\t' => self.at += 1,
                _ if is_break(byte) => self.pass_break()?,
                b'#' => self.at = self.line_end()?,
                b'"' => return self.quoted(),
                _ if is_mark(byte) => {
                    self.at += 1;
                    return Ok(Token::Mark(byte));
                }
                _ => return self.word(),
            }
        }
    }

    /// Passes over what separates records, comments included; stops at the first byte of whatever
    /// comes next.
    pub(super) fn skip_blank(&mut self) {
        while let Some(&byte) = self.bytes.get(self.at) {
            if byte == b'#' {
                let Ok(end) = self.line_end() else { return };
                self.at = end;
            } else if is_break(byte) || matches!(byte, b' ' | b'\t') {
                self.line += u64::from(byte == b'\n');
                self.at += 1;
            } else {
                return;
            }
        }
    }

    /// Goes to the end of the line before the next one that begins a record. False if none was
    /// found; `at` is then as far as it is safe to forget.
    pub(super) fn seek_record(&mut self) -> bool {
        while let Some(&byte) = self.bytes.get(self.at) {
            if is_break(byte) {
                if self.pass_break().is_err() {
                    return self.record_follows() == Some(true);
                }
            } else {
                self.at += 1;
            }
        }
        false
    }

    /// The rest of this line, without its end, if the line began with a tab and then `length`
    /// bytes that have just been read: how OpenBSD's dhcpd (and ours) writes a statement.
    pub(super) fn tabbed_rest(&self, length: usize) -> Result<Option<&'a [u8]>, Stop> {
        let begins = self.at.checked_sub(length + 2).and_then(|i| self.bytes.get(i..i + 2));
        if begins != Some(b"\n\t") {
            return Ok(None);
        }
        let end = self.line_end()?;
        Ok(self.bytes.get(self.at..end))
    }

    /// Goes on behind `length` bytes of this line.
    pub(super) fn pass(&mut self, length: usize) {
        self.at = (self.at + length).min(self.bytes.len());
    }

    fn pass_break(&mut self) -> Result<(), Stop> {
        match self.record_follows() {
            None => Err(Stop::End),
            Some(true) => Err(Stop::Record),
            Some(false) => {
                let byte = self.bytes.get(self.at);
                self.line += u64::from(byte == Some(&b'\n'));
                self.gap |= byte == Some(&0);
                self.at += 1;
                Ok(())
            }
        }
    }

    /// Whether the line after the break at `at` begins a record; `None` if that cannot be said.
    fn record_follows(&self) -> Option<bool> {
        const WORD: &[u8] = b"lease";
        let next = self.bytes.get(self.at + 1..).unwrap_or_default();
        let given = &next[..next.len().min(WORD.len())];
        if given != &WORD[..given.len()] {
            return Some(false);
        }
        match next.get(WORD.len()) {
            Some(byte) => Some(matches!(byte, b' ' | b'\t')),
            None if self.last => Some(false),
            None => None,
        }
    }

    /// Where this line ends: at a break, or at the end of the file.
    fn line_end(&self) -> Result<usize, Stop> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match rest.iter().position(|&b| is_break(b)) {
            Some(length) => Ok(self.at + length),
            None if self.last => Ok(self.bytes.len()),
            None => Err(Stop::End),
        }
    }

    fn word(&mut self) -> Result<Token<'a>, Stop> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let ends = |&b: &u8| is_break(b) || is_mark(b) || matches!(b, b' ' | b'\t' | b'"' | b'#');
        let length = match rest.iter().position(ends) {
            Some(length) => length,
            None if self.last => rest.len(),
            None => return Err(Stop::End),
        };
        self.at += length;
        Ok(Token::Word(&rest[..length]))
    }

    /// A string ends on the line it began on: no dhcpd writes one that does not. ISC's protects a
    /// quote by a backslash, OpenBSD's does not: if there is no end by the first rule, the second
    /// is tried.
    fn quoted(&mut self) -> Result<Token<'a>, Stop> {
        let rest = self.bytes.get(self.at + 1..).unwrap_or_default();
        let (mut escaped, mut first) = (false, None);
        for (length, &byte) in rest.iter().enumerate() {
            if byte == b'"' && !escaped {
                return Ok(self.close_quote(rest, length));
            }
            if byte == b'"' && first.is_none() {
                first = Some(length);
            }
            if is_break(byte) || length == MAX_STRING {
                return self.unprotected(rest, first, length);
            }
            escaped = byte == b'\\' && !escaped;
        }
        if self.last { self.unprotected(rest, first, rest.len()) } else { Err(Stop::End) }
    }

    fn unprotected(
        &mut self,
        rest: &'a [u8],
        first: Option<usize>,
        end: usize,
    ) -> Result<Token<'a>, Stop> {
        match first {
            Some(length) => Ok(self.close_quote(rest, length)),
            None => {
                self.at += 1 + end;
                Err(Stop::OpenQuote)
            }
        }
    }

    fn close_quote(&mut self, rest: &'a [u8], length: usize) -> Token<'a> {
        self.at += length + 2;
        Token::Quoted(&rest[..length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Result<Token<'_>, Stop>> {
        let mut lexer = Lexer::new(text.as_bytes(), true, 1);
        let mut tokens = Vec::new();
        loop {
            let token = lexer.next();
            tokens.push(token);
            if matches!(token, Err(Stop::End | Stop::Record)) {
                return tokens;
            }
        }
    }

    fn word(text: &str) -> Result<Token<'_>, Stop> {
        Ok(Token::Word(text.as_bytes()))
    }

    #[test]
    fn tokens() {
        assert_eq!(
            all("a/b:1;{ # rest\n \"x y\"}z"),
            [
                word("a/b:1"),
                Ok(Token::Mark(b';')),
                Ok(Token::Mark(b'{')),
                Ok(Token::Quoted(b"x y")),
                Ok(Token::Mark(b'}')),
                word("z"),
                Err(Stop::End)
            ]
        );
    }

    #[test]
    fn quotes_of_both_dialects() {
        assert_eq!(all(r#""a\"b";"#)[0], Ok(Token::Quoted(br#"a\"b"#)));
        assert_eq!(all(r#""a\\";"#)[0], Ok(Token::Quoted(br"a\\")));
        assert_eq!(all("\"a\\\";\n")[0], Ok(Token::Quoted(b"a\\")));
        assert_eq!(
            all("\"a\nb\""),
            [Err(Stop::OpenQuote), word("b"), Err(Stop::OpenQuote), Err(Stop::End)]
        );
    }

    #[test]
    fn a_record_begins_at_line_start_only() {
        assert_eq!(all("a\nlease b"), [word("a"), Err(Stop::Record)]);
        assert_eq!(all("a\r\nlease\tb"), [word("a"), Err(Stop::Record)]);
        assert_eq!(all("\"a\nlease b"), [Err(Stop::OpenQuote), Err(Stop::Record)]);
        assert_eq!(all("# a\nlease b"), [Err(Stop::Record)]);
        assert_eq!(all("a\0lease b"), [word("a"), Err(Stop::Record)]);
        assert_eq!(all("a\n lease"), [word("a"), word("lease"), Err(Stop::End)]);
        assert_eq!(all("a\nleases"), [word("a"), word("leases"), Err(Stop::End)]);
    }

    #[test]
    fn what_may_go_on_elsewhere_is_not_decided() {
        for text in ["a", "\"a\"\n", "# a", "\nleas", "\nlease"] {
            let mut lexer = Lexer::new(text.as_bytes(), false, 1);
            let mut last = lexer.next();
            while last.is_ok() {
                last = lexer.next();
            }
            assert_eq!(last, Err(Stop::End), "{text:?}");
        }
    }
}
