//! Reading a statement's words one by one: numbers, names, addresses, dates.
//!
//! Knows how things are written, not which statement wants them.

use super::diagnostic::Problem;
use super::lexer::{Kind, Token};
use super::source::SourceFile;
use super::sources::Sources;
use std::borrow::Cow;
use std::net::Ipv4Addr;

/// The longest host name (RFC 1035 section 2.3.4), in bytes.
const MAX_NAME: usize = 253;

/// What OpenBSD's dhcpd does with numbers that are too big.
const CUT: &str = "takes this: it cuts the number to size, and says so in its log only";

/// And with digits that are none of the number's: what is all hexadecimal digits may be a number.
const DIGITS: &str = "takes this: it says in its log only that a digit is wrong";

/// The words of one statement, read from the left.
pub struct Arguments<'a> {
    /// Where they were written.
    pub file: &'a SourceFile,
    words: &'a [Token],
    at: usize,
    /// How the statement is written, for messages; may be empty.
    usage: &'static str,
    sources: &'a mut dyn Sources,
    /// What was found wrong so far, apart from what is returned as an error.
    pub problems: Vec<Problem>,
}

impl<'a> Arguments<'a> {
    /// To be read from the first word on, which is usually the statement's name.
    pub fn new(
        file: &'a SourceFile,
        words: &'a [Token],
        usage: &'static str,
        sources: &'a mut dyn Sources,
    ) -> Arguments<'a> {
        Arguments { file, words, at: 0, usage, sources, problems: Vec::new() }
    }

    /// The next word, which stays the next.
    pub fn peek(&self) -> Option<&'a Token> {
        self.words.get(self.at)
    }

    /// The word after the next.
    pub fn peek_second(&self) -> Option<&'a Token> {
        self.words.get(self.at + 1)
    }

    /// The next word.
    pub fn next(&mut self) -> Option<&'a Token> {
        let token = self.words.get(self.at)?;
        self.at += 1;
        Some(token)
    }

    /// How many words were read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether the character is still to come, anywhere.
    pub fn has_mark(&self, mark: u8) -> bool {
        let rest = self.words.get(self.at..).unwrap_or_default();
        rest.iter().any(|token| token.kind == Kind::Mark(mark))
    }

    /// Where the next word is, or the end of the last one.
    pub fn offset(&self) -> u32 {
        match (self.peek(), self.words.last()) {
            (Some(token), _) => token.start,
            (None, Some(last)) => last.end(self.file),
            (None, None) => 0,
        }
    }

    /// The error that something else stands here.
    pub fn expected(&self, what: &str) -> Problem {
        let found = self.peek().map_or("the end".into(), |token| self.show(token));
        let mut text = format!("expected {what}, found {found}");
        if !self.usage.is_empty() {
            text = format!("{text}; this is written: {}", self.usage);
        }
        Problem::error(self.offset(), text)
    }

    /// Takes note of something that does not make the statement useless.
    pub fn warn(&mut self, offset: u32, text: impl Into<String>) {
        self.problems.push(Problem::warning(offset, text));
    }

    /// A token as it is shown in a message; what is long is cut.
    pub fn show(&self, token: &Token) -> String {
        let raw = token.raw(self.file);
        let text = String::from_utf8_lossy(raw.get(..40).unwrap_or(raw)).escape_debug().to_string();
        let dots = if raw.len() > 40 { "..." } else { "" };
        match token.kind {
            Kind::Quoted => format!("\"{text}{dots}\""),
            Kind::Word | Kind::Mark(_) => format!("`{text}{dots}`"),
        }
    }

    /// Nothing more may follow.
    pub fn end(&self, what: &str) -> Result<(), Problem> {
        if self.peek().is_some() { Err(self.expected(what)) } else { Ok(()) }
    }

    /// Takes the character if it is next.
    pub fn mark(&mut self, mark: u8) -> bool {
        let is = self.next_is(mark);
        self.at += usize::from(is);
        is
    }

    /// Whether the character is next.
    pub fn next_is(&self, mark: u8) -> bool {
        self.peek().is_some_and(|token| token.kind == Kind::Mark(mark))
    }

    /// Takes the word if it is next.
    pub fn keyword(&mut self, word: &str) -> bool {
        let is = self.peek().is_some_and(|token| token.is_word(self.file, word));
        self.at += usize::from(is);
        is
    }

    /// Any unquoted word that is no negative number.
    pub fn word(&mut self, what: &str) -> Result<&'a str, Problem> {
        match self.peek() {
            // The lexer makes words of ASCII only.
            Some(token) if self.is_name(token) => {
                self.at += 1;
                Ok(std::str::from_utf8(token.raw(self.file)).unwrap_or_default())
            }
            _ => Err(self.expected(what)),
        }
    }

    /// What begins with `-` is a number, whatever follows.
    fn is_name(&self, token: &Token) -> bool {
        token.kind == Kind::Word && !token.raw(self.file).starts_with(b"-")
    }

    /// A string in quotes.
    pub fn quoted(&mut self, what: &str) -> Result<Cow<'a, [u8]>, Problem> {
        match self.peek() {
            Some(token) if token.kind == Kind::Quoted => {
                self.at += 1;
                Ok(token.value(self.file))
            }
            _ => Err(self.expected(what)),
        }
    }

    /// A string in quotes, or a single word.
    pub fn text(&mut self, what: &str) -> Result<Cow<'a, [u8]>, Problem> {
        match self.peek() {
            Some(token) if token.kind == Kind::Quoted || self.is_name(token) => {
                self.at += 1;
                Ok(token.value(self.file))
            }
            _ => Err(self.expected(what)),
        }
    }

    /// Items separated by commas. A bad one is noted and the next one is read.
    pub fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        let mut items = Vec::new();
        loop {
            match item(self) {
                Ok(value) => items.push(value),
                // The last one's error is also the statement's: what follows is not a list.
                Err(problem) => match self.skip_to_comma() {
                    true => self.problems.push(problem),
                    false => return Err(problem),
                },
            }
            if !self.mark(b',') {
                return Ok(items);
            }
        }
    }

    fn skip_to_comma(&mut self) -> bool {
        let rest = self.words.get(self.at..).unwrap_or_default();
        let ahead = rest.iter().position(|token| token.kind == Kind::Mark(b','));
        self.at += ahead.unwrap_or_default();
        ahead.is_some()
    }

    /// A whole number, octal if it begins with 0.
    pub fn integer(&mut self, low: i64, high: i64) -> Result<i64, Problem> {
        let offset = self.offset();
        let what = "a number";
        let word = match self.peek() {
            Some(token) if token.kind == Kind::Word => token.raw(self.file),
            _ => return Err(self.expected(what)),
        };
        let (negative, digits) = match word.strip_prefix(b"-") {
            Some(digits) => (true, digits),
            None => (false, word),
        };
        if digits.starts_with(b"0x") || digits.starts_with(b"0X") {
            let text = "numbers are decimal, or octal if they begin with 0; not hexadecimal";
            return Err(Problem::error(offset, text));
        }
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            let problem = self.expected(what);
            let hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
            return Err(if hex { problem.there(DIGITS) } else { problem });
        }
        let base = if digits.len() > 1 && digits.starts_with(b"0") { 8 } else { 10 };
        if base == 8 && digits.iter().any(|digit| *digit > b'7') {
            let text = "a number that begins with 0 is octal; its digits are 0 to 7";
            return Err(Problem::error(offset, text).there(DIGITS));
        }
        let value = digits.iter().try_fold(0i64, |value, digit| {
            value.checked_mul(base)?.checked_add(i64::from(digit - b'0'))
        });
        let value = value.map(|value| if negative { -value } else { value });
        match value {
            Some(value) if (low..=high).contains(&value) => {
                self.at += 1;
                if base == 8 && !(-7..=7).contains(&value) {
                    let text = format!("this begins with 0, and so is octal: {value} in decimal");
                    self.warn(offset, text);
                }
                Ok(value)
            }
            _ => {
                let found = self.peek().map_or(String::new(), |token| self.show(token));
                let text = format!("{found} is out of range: {low} to {high} is allowed");
                Err(Problem::error(offset, text).there(CUT))
            }
        }
    }

    /// A number of seconds, or whatever else fits into 32 bits.
    pub fn u32(&mut self) -> Result<u32, Problem> {
        self.integer(0, u32::MAX.into()).map(|value| value as u32)
    }

    /// A decimal number, zeros in front or not, of at most `digits` digits.
    fn decimal(&mut self, what: &str, digits: usize, high: u32) -> Result<u32, Problem> {
        let offset = self.offset();
        let word = match self.peek() {
            Some(token) if token.kind == Kind::Word => token.raw(self.file),
            _ => return Err(self.expected(what)),
        };
        if !word.iter().all(u8::is_ascii_digit) {
            let problem = self.expected(what);
            let hex = word.iter().all(u8::is_ascii_hexdigit);
            return Err(if hex { problem.there(DIGITS) } else { problem });
        }
        let value = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
        match value {
            Some(value) if value <= high && word.len() <= digits => {
                self.at += 1;
                Ok(value)
            }
            _ => {
                let text = format!("{what} is from 0 to {high}");
                Err(Problem::error(offset, text).there(CUT))
            }
        }
    }

    /// `true`, `false`, `on` or `off`.
    pub fn boolean(&mut self) -> Result<bool, Problem> {
        if self.keyword("true") || self.keyword("on") {
            Ok(true)
        } else if self.keyword("false") || self.keyword("off") {
            Ok(false)
        } else {
            Err(self.expected("`true`, `false`, `on` or `off`"))
        }
    }

    /// Octets separated by colons, in hexadecimal.
    pub fn octets(&mut self, limit: usize) -> Result<Vec<u8>, Problem> {
        let start = self.offset();
        let mut octets = Vec::new();
        loop {
            let offset = self.offset();
            let word = self.word("hexadecimal octets separated by colons")?;
            let octet = word.bytes().all(|digit| digit.is_ascii_hexdigit());
            let octet = if octet { u8::from_str_radix(word, 16).ok() } else { None };
            let Some(octet) = octet else {
                let text = format!("`{word}` is not an octet: 0 to ff, in hexadecimal");
                let problem = Problem::error(offset, text);
                let digits = word.bytes().all(|digit| digit.is_ascii_hexdigit());
                return Err(if digits { problem.there(CUT) } else { problem });
            };
            octets.push(octet);
            if octets.len() > limit {
                let text = format!("more than {limit} octets");
                return Err(Problem::error(start, text));
            }
            if !self.mark(b':') {
                return Ok(octets);
            }
        }
    }

    /// Words separated by dots, at most as many bytes as a host name has.
    pub fn dotted_name(&mut self, what: &str) -> Result<String, Problem> {
        let offset = self.offset();
        let mut name = self.word(what)?.to_owned();
        while self.mark(b'.') {
            let label = self.word("a name after the dot")?;
            if name.len() + label.len() + 1 > MAX_NAME {
                let text = format!("a name longer than {MAX_NAME} bytes");
                return Err(Problem::error(offset, text));
            }
            name.push('.');
            name.push_str(label);
        }
        Ok(name)
    }

    /// An IPv4 address: four decimal numbers.
    pub fn address(&mut self) -> Result<Ipv4Addr, Problem> {
        let (octets, count) = self.dotted_decimal()?;
        if count < 4 {
            return Err(self.expected("`.` and another octet of an address"));
        }
        Ok(octets.into())
    }

    /// One to four decimal numbers up to 255; how many, and zeros for the rest.
    fn dotted_decimal(&mut self) -> Result<([u8; 4], usize), Problem> {
        let start = self.offset();
        let mut octets = [0; 4];
        let mut padded = false;
        let mut count = 0;
        for octet in &mut octets {
            let word = self.peek().map_or(&[][..], |token| token.raw(self.file));
            padded |= word.len() > 1 && word.starts_with(b"0");
            *octet = self.decimal("an octet of an address", 3, 255)? as u8;
            count += 1;
            if count == 4 || !self.mark(b'.') {
                break;
            }
        }
        if padded {
            let text = "octets of an address are decimal, also those that begin with 0";
            self.warn(start, text);
        }
        Ok((octets, count))
    }

    /// `10/8`, `192.0.2.0/24`: an address, which may be shortened, and the length of its prefix.
    pub fn prefix(&mut self) -> Result<(Ipv4Addr, u8), Problem> {
        let offset = self.offset();
        let (octets, _) = self.dotted_decimal()?;
        if !self.mark(b'/') {
            return Err(self.expected("`/` and the length of the prefix"));
        }
        let length = self.decimal("the length of a prefix", 2, 32)? as u8;
        let address = u32::from(Ipv4Addr::from(octets));
        let network = address & prefix_mask(length);
        if network != address {
            let network = Ipv4Addr::from(network);
            self.warn(
                offset,
                format!("bits outside of the prefix are dropped: {network}/{length}"),
            );
        }
        Ok((network.into(), length))
    }

    /// Addresses: one as numbers, or all that a host name has.
    pub fn host_addresses(&mut self) -> Result<Vec<Ipv4Addr>, Problem> {
        const WHAT: &str = "an address or a host name";
        let offset = self.offset();
        let numeric = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
        let before = self.at;
        let name = self.dotted_name(WHAT)?;
        let last = name.rsplit('.').next().unwrap_or_default();
        // A resolver may take `10.1` and `0x7f` for addresses of its own kind. No host has such
        // a name (RFC 3696 section 2).
        if numeric(last) || last.starts_with("0x") || last.starts_with("0X") {
            if name.split('.').all(numeric) {
                self.at = before;
                return self.address().map(|address| vec![address]);
            }
            return Err(Problem::error(
                offset,
                format!("`{name}` is neither an address nor a name"),
            ));
        }
        let found = self.sources.addresses(&name);
        found.map_err(|error| {
            let text = format!("{error}; names are looked up when this is read, addresses never");
            Problem::error(offset, text)
        })
    }

    /// One address: as numbers, or the first that a host name has.
    pub fn host_address(&mut self) -> Result<Ipv4Addr, Problem> {
        let offset = self.offset();
        let found = self.host_addresses()?;
        found.first().copied().ok_or_else(|| Problem::error(offset, "a name without addresses"))
    }

    /// A name that ethers(5) has an address for.
    pub fn ethers_name(&mut self) -> Result<Vec<u8>, Problem> {
        let offset = self.offset();
        let name = self.dotted_name("an Ethernet address or a name in /etc/ethers")?;
        let hex = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
        if name.split('-').count() == 6 && name.split('-').all(hex) {
            let text = format!("octets are separated by colons: {}", name.replace('-', ":"));
            return Err(Problem::error(offset, text));
        }
        match self.sources.ethernet(&name) {
            Ok(address) => Ok(address.to_vec()),
            Err(error) => Err(Problem::error(offset, error)),
        }
    }

    /// A date as in dhcpd.leases(5), `W YYYY/MM/DD HH:MM:SS`, then perhaps `UTC`: seconds since
    /// the epoch. The day of the week is a number, and not looked at.
    pub fn date(&mut self) -> Result<i64, Problem> {
        self.number("a day of the week", usize::MAX, u32::MAX)?;
        let offset = self.offset();
        let year = i64::from(self.number("a year", 4, 9999)?);
        self.separator(b'/')?;
        let month = i64::from(self.number("a month", 2, 12)?);
        self.separator(b'/')?;
        let day = i64::from(self.number("a day", 2, 31)?);
        let hour = i64::from(self.number("an hour", 2, 23)?);
        self.separator(b':')?;
        let minute = i64::from(self.number("a minute", 2, 59)?);
        self.separator(b':')?;
        let second = i64::from(self.number("a second", 2, 60)?);
        self.keyword("UTC");
        let days = days_since_epoch(year, month, day);
        let days = days.ok_or_else(|| Problem::error(offset, "there is no such day after 1969"))?;
        Ok(days * 86_400 + hour * 3600 + minute * 60 + second)
    }

    /// One number of a date. OpenBSD's dhcpd cuts none of these to size.
    fn number(&mut self, what: &str, digits: usize, high: u32) -> Result<u32, Problem> {
        let read = self.decimal(what, digits, high);
        read.map_err(|problem| Problem { there: None, ..problem })
    }

    fn separator(&mut self, mark: u8) -> Result<(), Problem> {
        if self.mark(mark) {
            return Ok(());
        }
        Err(self.expected(&format!("`{}` in a date: W YYYY/MM/DD HH:MM:SS", char::from(mark))))
    }
}

/// The mask of a prefix of that length.
pub fn prefix_mask(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or_default()
}

fn days_since_epoch(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let february = if leap { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = lengths.get(..usize::try_from(month - 1).ok()?)?;
    let length = lengths.get(before.len())?;
    if year < 1970 || day < 1 || day > *length {
        return None;
    }
    // Leap days before this year, less those before 1970.
    let leap_days = |year: i64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    Some(years + before.iter().sum::<i64>() + day - 1)
}

#[cfg(test)]
mod tests;
