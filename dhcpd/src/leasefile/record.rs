//! What one item of a lease file means: a record, or something that is passed over.
//! Where an item begins, and what becomes of a problem, is `read`'s business.
//!
//! Reads OpenBSD's statements and ISC's. A statement that says nothing to this server is passed
//! over; one that is damaged costs as little of the record as is safe: without a believable address
//! or time there is no record, but one whose holder cannot be read keeps its address taken.

use super::lex::{Lexer, Stop, Token};
use super::value::{client_id, hardware, printable, skip, time, unescape, values};
use super::{MAX_NAME, ProblemKind};
use crate::lease::LeaseRecord;
use std::net::Ipv4Addr;

/// What an item turned out to be.
pub(super) enum Item {
    /// Nothing that matters here.
    Nothing,
    /// Something that says what it is, and is of no use here.
    Elsewhere(Flaw),
    /// Nothing a lease file should hold.
    Junk(Flaw),
    /// A record, or what came of it.
    Lease(Option<LeaseRecord>, Option<Flaw>),
}

/// Something to tell, and the line it is on. An item has one at most: the first.
pub(super) struct Flaw {
    pub(super) line: u64,
    pub(super) kind: ProblemKind,
    pub(super) text: String,
}

/// A record that is being read.
struct Draft {
    record: LeaseRecord,
    /// A binding state that says that nobody has the address.
    ended: bool,
    /// When the client was last heard of.
    cltt: i64,
    /// No record comes of this.
    lost: bool,
    flaw: Option<Flaw>,
}

/// Reads one item, from its first byte.
pub(super) fn item(lexer: &mut Lexer<'_>) -> Result<Item, Stop> {
    let line = lexer.line;
    let word = match lexer.next() {
        Ok(Token::Word(word)) => word,
        Ok(Token::Mark(b';')) | Err(Stop::Record) => return Ok(Item::Nothing),
        Ok(Token::Mark(b'{')) => {
            skip_junk(lexer, 1)?;
            return Ok(junk(line, "a block without a beginning".to_owned()));
        }
        Ok(_) | Err(Stop::OpenQuote) => return Ok(junk(line, "this is no record".to_owned())),
        Err(stop) => return Err(stop),
    };
    if word.eq_ignore_ascii_case(b"lease") {
        return lease(lexer, line);
    }
    let name = word.to_ascii_lowercase();
    match name.as_slice() {
        b"authoring-byte-order" | b"server-duid" | b"default-duid" | b"failover" => {
            skip_junk(lexer, 0)?;
            Ok(Item::Nothing)
        }
        b"host" | b"group" | b"class" | b"subclass" | b"ia-na" | b"ia-ta" | b"ia-pd" => {
            skip_junk(lexer, 0)?;
            let text = format!("{}: not read from a lease file", printable(word));
            Ok(Item::Elsewhere(Flaw { line, kind: ProblemKind::Ignored, text }))
        }
        _ => {
            skip_junk(lexer, 0)?;
            Ok(junk(line, format!("{}: not the beginning of a record", printable(word))))
        }
    }
}

fn junk(line: u64, text: String) -> Item {
    Item::Junk(Flaw { line, kind: ProblemKind::Corrupt, text })
}

/// Skips what is no record; the next record ends it too.
fn skip_junk(lexer: &mut Lexer<'_>, depth: usize) -> Result<(), Stop> {
    match skip(lexer, depth) {
        Err(Stop::Record) => Ok(()),
        other => other,
    }
}

fn lease(lexer: &mut Lexer<'_>, line: u64) -> Result<Item, Stop> {
    let mut draft = Draft {
        record: LeaseRecord::new(Ipv4Addr::UNSPECIFIED),
        ended: false,
        cltt: 0,
        lost: false,
        flaw: None,
    };
    match draft.read(lexer) {
        Ok(()) if lexer.gap => {
            // Half of one write reached the disk before a crash. What the gap took out cannot be
            // known: with its holder's line gone it would even read as a whole record.
            let text = format!("lease {}: has a gap, record ignored", draft.record.address);
            Ok(Item::Lease(None, Some(Flaw { line, kind: ProblemKind::Corrupt, text })))
        }
        Ok(()) => Ok(draft.finish()),
        Err(Stop::Record) => {
            let text = format!("lease {}: cut off by the next record", draft.record.address);
            let flaw = Flaw { line, kind: ProblemKind::Corrupt, text };
            Ok(Item::Lease(None, Some(flaw)))
        }
        Err(stop) => Err(stop),
    }
}

impl Draft {
    /// Reads what follows `lease`.
    fn read(&mut self, lexer: &mut Lexer<'_>) -> Result<(), Stop> {
        let address = match lexer.next() {
            Ok(Token::Word(word)) => str::from_utf8(word).ok().and_then(|w| w.parse().ok()),
            Ok(Token::Mark(b'{')) => return self.not_a_lease(lexer, 1),
            Ok(_) | Err(Stop::OpenQuote) => None,
            Err(stop) => return Err(stop),
        };
        let Some(address) = address else { return self.not_a_lease(lexer, 0) };
        self.record.address = address;
        match lexer.next() {
            Ok(Token::Mark(b'{')) => (),
            Ok(_) | Err(Stop::OpenQuote) => return self.not_a_lease(lexer, 0),
            Err(stop) => return Err(stop),
        }
        loop {
            match lexer.next() {
                Ok(Token::Mark(b'}')) => return Ok(()),
                Ok(Token::Mark(b';')) => (),
                Ok(Token::Word(word)) => self.statement(lexer, word)?,
                Ok(Token::Mark(b'{')) => {
                    self.flaw(lexer, ProblemKind::Corrupt, "a block without a beginning");
                    skip(lexer, 1)?;
                }
                Ok(_) | Err(Stop::OpenQuote) => {
                    self.flaw(lexer, ProblemKind::Corrupt, "this is no statement");
                    skip(lexer, 0)?;
                }
                Err(stop) => return Err(stop),
            }
        }
    }

    fn not_a_lease(&mut self, lexer: &mut Lexer<'_>, depth: usize) -> Result<(), Stop> {
        self.lost = true;
        self.flaw(lexer, ProblemKind::Corrupt, "expected an address and a {, record ignored");
        skip(lexer, depth)
    }

    fn statement(&mut self, lexer: &mut Lexer<'_>, word: &[u8]) -> Result<(), Stop> {
        let lower: Vec<u8>;
        let name = if word.iter().any(u8::is_ascii_uppercase) {
            lower = word.to_ascii_lowercase();
            lower.as_slice()
        } else {
            word
        };
        match name {
            b"starts" => match time(lexer)? {
                Some(time) => self.record.starts = time,
                None => self.lose(lexer, "starts"),
            },
            b"ends" => match time(lexer)? {
                Some(time) => self.record.ends = time,
                None => self.lose(lexer, "ends"),
            },
            b"cltt" => self.cltt = time(lexer)?.unwrap_or(0),
            b"hardware" => match hardware(lexer)? {
                Some(hardware) => {
                    self.record.hardware = (!hardware.addr.is_empty()).then_some(hardware);
                }
                None => self.flaw(lexer, ProblemKind::Corrupt, "hardware: not read"),
            },
            b"uid" => match client_id(lexer)? {
                Some(id) => self.record.client_id = (!id.is_empty()).then_some(id),
                None => self.flaw(lexer, ProblemKind::Corrupt, "uid: not read"),
            },
            b"client-hostname" => {
                if let Some(name) = self.name(lexer, word.len())? {
                    self.record.client_hostname = Some(name);
                }
            }
            b"hostname" => {
                if let Some(name) = self.name(lexer, word.len())? {
                    self.record.hostname = Some(name);
                }
            }
            b"abandoned" => {
                self.record.abandoned = true;
                skip(lexer, 0)?;
            }
            b"dynamic-bootp" | b"bootp" => {
                self.record.dynamic_bootp = true;
                skip(lexer, 0)?;
            }
            b"binding" => self.binding(lexer)?,
            _ => {
                let at = lexer.line;
                skip(lexer, 0)?;
                if !is_passed_over(name) {
                    let text = format!("{}: unknown, ignored", printable(word));
                    self.flaw_at(at, ProblemKind::Ignored, &text);
                }
            }
        }
        Ok(())
    }

    /// `binding state WORD;`
    fn binding(&mut self, lexer: &mut Lexer<'_>) -> Result<(), Stop> {
        let mut words: [&[u8]; 8] = [b""; 8];
        match values(lexer, &mut words)? {
            Some([b"state", b"active"]) => self.ended = false,
            Some([b"state", b"abandoned"]) => self.record.abandoned = true,
            Some([b"state", b"free" | b"backup" | b"expired" | b"released" | b"reset"]) => {
                self.ended = true;
            }
            _ => self.flaw(lexer, ProblemKind::Corrupt, "binding: not read"),
        }
        Ok(())
    }

    /// A host name. In a line as OpenBSD's dhcpd writes it, all between the first quote and the end
    /// of the line is the name, since it protects nothing: what a client slipped in stays a name,
    /// and an odd one is no loss.
    fn name(&mut self, lexer: &mut Lexer<'_>, word: usize) -> Result<Option<Vec<u8>>, Stop> {
        if let Some(rest) = lexer.tabbed_rest(word)?
            && let Some(name) = rest.strip_prefix(b" \"").and_then(|r| r.strip_suffix(b"\";"))
        {
            lexer.pass(rest.len());
            return Ok(self.fit(lexer, name.to_vec()));
        }
        let name = match lexer.next() {
            Ok(Token::Quoted(text)) => Some(unescape(text)),
            Ok(Token::Word(word)) => Some(word.to_vec()),
            Ok(Token::Mark(b';')) => return Ok(None),
            Ok(Token::Mark(_)) | Err(Stop::OpenQuote) => None,
            Err(stop) => return Err(stop),
        };
        skip(lexer, 0)?;
        match name {
            Some(name) => Ok(self.fit(lexer, name)),
            None => {
                self.flaw(lexer, ProblemKind::Corrupt, "a host name was not read");
                Ok(None)
            }
        }
    }

    fn fit(&mut self, lexer: &Lexer<'_>, name: Vec<u8>) -> Option<Vec<u8>> {
        if name.len() > MAX_NAME || name.contains(&b'"') {
            self.flaw(lexer, ProblemKind::Ignored, "a host name too long or with a quote in it");
            return None;
        }
        (!name.is_empty()).then_some(name)
    }

    fn lose(&mut self, lexer: &Lexer<'_>, what: &str) {
        self.lost = true;
        self.flaw(lexer, ProblemKind::Corrupt, &format!("{what}: not a date, record ignored"));
    }

    fn flaw(&mut self, lexer: &Lexer<'_>, kind: ProblemKind, text: &str) {
        self.flaw_at(lexer.line, kind, text);
    }

    fn flaw_at(&mut self, line: u64, kind: ProblemKind, text: &str) {
        if self.flaw.as_ref().is_none_or(|f| f.kind == ProblemKind::Ignored && kind != f.kind) {
            let text = format!("lease {}: {text}", self.record.address);
            self.flaw = Some(Flaw { line, kind, text });
        }
    }

    fn finish(mut self) -> Item {
        if self.ended && !self.record.abandoned {
            // The state is the authority: whatever end was agreed, it was reached when the client
            // was last heard of at the latest.
            let heard = self.record.starts.max(self.cltt);
            self.record.ends = self.record.ends.min(heard);
        }
        Item::Lease((!self.lost).then_some(self.record), self.flaw)
    }
}

/// Statements that say nothing to this server: OpenBSD's first, then ISC's.
fn is_passed_over(name: &[u8]) -> bool {
    matches!(
        name,
        b"timestamp"
            | b"class"
            | b"tstp"
            | b"tsfp"
            | b"atsfp"
            | b"next"
            | b"rewind"
            | b"set"
            | b"unset"
            | b"on"
            | b"option"
            | b"vendor-class-identifier"
            | b"reserved"
            | b"billing"
            | b"dynamic"
            | b"ddns-fwd-name"
            | b"ddns-rev-name"
            | b"ddns-txt"
            | b"ddns-client-fqdn"
            | b"if"
            | b"elsif"
            | b"else"
            | b"supersede"
            | b"peer"
    )
}
