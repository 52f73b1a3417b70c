//! Splits the text of a lease file into words, quoted strings and marks.
//!
//! One rule holds everywhere, and keeps damage local: a line that begins with `lease` begins a
//! record, whatever came before it. Not even a quoted string reaches past it.
//!
//! A crash can leave pieces of a record unwritten, of any size down to a byte. Where the file had no
//! blocks there are NULs then; where it had room written ahead, newlines. NULs are easy to tell. That
//! newlines are missing pieces is told by what is around them, and what is told follows from how
//! `write` writes: behind `{` and `;` there is one newline and then a tab or `}`; before a tab or `}`
//! there is a newline; before `{` a space; no two blanks follow one another; a statement is a tab, a
//! word of three letters at least and more. All this outside of strings, and in a string there is no
//! newline and no blank. So for a run of newlines where none of it was written as something else than
//! white space, one of these holds:
//!
//! - it is one newline, behind `;` or `{` (nothing is missing) or before a tab, `}` or `{` (so, or it
//!   was a space, which is behind no other blank);
//! - it is two, behind `;` or `{`: only the tab is missing.
//!
//! Everything else is a gap, but for what can be no piece of ours: up to [`MOST_NEWLINES`] before two
//! blanks, as ISC's dhcpd breaks lines, or behind a statement and before a blank or `}`, where people
//! leave empty lines: the shortest that could be missing there, a tab and `uid`, would make it five.

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
/// The most newlines in a row within a record that are no gap: three empty lines.
const MOST_NEWLINES: usize = 4;

/// What newlines follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The end of a statement or a comment, or the beginning or end of a block.
    Statement,
    /// A quote that has not been closed.
    OpenQuote,
    /// Anything else.
    Other,
}

/// Reads tokens from bytes that may go on elsewhere.
pub(super) struct Lexer<'a> {
    bytes: &'a [u8],
    last: bool,
    /// How many bytes have been read.
    pub at: usize,
    /// The line `at` is on.
    pub line: u64,
    /// NULs, or newlines that nobody wrote, were among what has been read: something is missing.
    pub gap: bool,
}

/// Ends a line. A NUL too: a file may hold a run of them where a crash left blocks unwritten.
fn is_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | 0)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
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
                b'\n' => {
                    self.watch_newlines()?;
                    self.pass_break()?;
                }
                _ if is_break(byte) => self.pass_break()?,
                b'#' => {
                    self.at = self.line_end()?;
                    self.watch(Before::Statement)?;
                    if self.at < self.bytes.len() {
                        self.pass_break()?;
                    }
                }
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
            } else if is_break(byte) || is_blank(byte) {
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

    /// Looks at the newlines from `at` on, once for all of them.
    fn watch_newlines(&mut self) -> Result<(), Stop> {
        let read = self.bytes.get(..self.at).unwrap_or_default();
        if read.last() == Some(&b'\n') {
            return Ok(());
        }
        match read.iter().rev().find(|&&byte| !is_blank(byte)) {
            Some(b';' | b'{' | b'}') => self.watch(Before::Statement),
            _ => self.watch(Before::Other),
        }
    }

    /// Notes a gap if a crash may have left the newlines from `at` on in place of something else.
    fn watch(&mut self, before: Before) -> Result<(), Stop> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let newlines = rest.iter().take_while(|&&byte| byte == b'\n');
        let count = newlines.take(MOST_NEWLINES + 1).count();
        let next = rest.get(count..).unwrap_or_default();
        if next.len() < 2 && !self.last {
            return Err(Stop::End);
        }
        let blanks = next.iter().take(2).take_while(|&&byte| is_blank(byte)).count();
        let read = self.bytes.get(..self.at).unwrap_or_default();
        let behind_blank = read.last().is_some_and(|&byte| is_blank(byte));
        let whole = match (count, next.first()) {
            (0, _) => true,
            (1..=MOST_NEWLINES, _) if blanks == 2 => true,
            (1, Some(b'\t')) => true,
            (1, Some(b'{' | b'}')) => match before {
                Before::Statement => true,
                Before::OpenQuote => false,
                Before::Other => !behind_blank,
            },
            (1 | 2, _) => before == Before::Statement,
            (3..=MOST_NEWLINES, Some(b' ' | b'\t' | b'}')) => before == Before::Statement,
            _ => false,
        };
        self.gap |= !whole;
        Ok(())
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
            Some(&byte) => Some(is_blank(byte)),
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
        let ends = |&b: &u8| is_break(b) || is_mark(b) || is_blank(b) || matches!(b, b'"' | b'#');
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
                self.watch(Before::OpenQuote)?;
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
