//! Fixed newstyle negotiation: the client's flags and its options, up to the first request.
//!
//! There is one export, which also answers to the empty name. Everything is answered that the
//! protocol lets be answered; the connection ends only where it says so, and for what no client
//! sends. Time is not known here: whoever owns the connection gives the client a deadline.

use super::blocks::{self, Contexts};
use super::protocol::{
    EXPORT_NAME_ZEROES, INIT_MAGIC, LONGEST_STRING, OPTION_HEADER, OPTION_MAGIC, Reader,
    handshake_flag, info, option, rep, transmission_flag,
};
use super::reply::Output;
use super::{Export, MAX_PAYLOAD, Violation};

/// The most data an option may come with: a name and some queries of any length.
pub const LONGEST_OPTION: usize = 32 << 10;
/// Options with so much data or more come from no client.
const ABSURD_OPTION: u32 = 32 << 20;
/// The most options of one connection.
const MOST_OPTIONS: u32 = 1000;
/// The most queries for metadata contexts in one option: there are two contexts.
const MOST_QUERIES: u32 = 64;

/// What the client has agreed to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Agreed {
    /// Structured replies.
    pub structured: bool,
    /// The metadata contexts that it wants to hear of.
    pub contexts: Contexts,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Then {
    /// More bytes are needed.
    More,
    /// Another step; so many bytes have been used, and so many more are to be thrown away.
    Step { used: usize, skip: u32 },
    /// The first request, behind so many bytes.
    Transmission { used: usize },
    /// Nothing: the client has taken its leave.
    End,
}

#[derive(Default)]
pub struct Handshake {
    /// The client's flags, when they have come.
    flags: Option<u32>,
    options: u32,
    agreed: Agreed,
}

/// How an option is answered, in the end.
type Answer = Result<(), (u32, &'static str)>;

const INVALID: (u32, &str) = (rep::ERR_INVALID, "the option's data makes no sense");

impl Handshake {
    /// Greets the client.
    pub fn begin(out: &mut Output) -> Self {
        let flags = handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES;
        out.head(|out| {
            out.extend_from_slice(&INIT_MAGIC.to_be_bytes());
            out.extend_from_slice(&OPTION_MAGIC.to_be_bytes());
            out.extend_from_slice(&flags.to_be_bytes());
        });
        Self::default()
    }

    /// What was agreed on.
    pub fn agreed(&self) -> Agreed {
        self.agreed
    }

    /// Looks at what has come, and answers it if it is whole.
    pub fn step(
        &mut self,
        bytes: &[u8],
        export: &Export,
        shutdown: bool,
        out: &mut Output,
    ) -> Result<Then, Violation> {
        let mut reader = Reader(bytes);
        if self.flags.is_none() {
            let Some(flags) = reader.u32() else { return Ok(Then::More) };
            let known = handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES;
            if flags & !u32::from(known) != 0 {
                return Err(Violation::ClientFlags(flags));
            }
            self.flags = Some(flags);
            return Ok(Then::Step { used: 4, skip: 0 });
        }
        let (Some(magic), Some(option), Some(length)) = (reader.u64(), reader.u32(), reader.u32())
        else {
            return Ok(Then::More);
        };
        if magic != OPTION_MAGIC {
            return Err(Violation::OptionMagic(magic));
        }
        if length >= ABSURD_OPTION {
            return Err(Violation::OptionTooLong { option, length });
        }
        let used = OPTION_HEADER;
        let fits = length as usize <= LONGEST_OPTION;
        let data = match reader.0.get(..length as usize) {
            Some(data) if fits => data,
            None if fits => return Ok(Then::More),
            _ => &[],
        };
        self.options += 1;
        if self.options > MOST_OPTIONS {
            return Err(Violation::TooManyOptions);
        }
        if option == option::EXPORT_NAME {
            // There is no way to refuse but to hang up.
            if !fits {
                return Err(Violation::OptionTooLong { option, length });
            }
            if shutdown || !export.answers_to(data) {
                return Err(Violation::UnknownExport(lossy(data)));
            }
            self.export_name(export, out);
            return Ok(Then::Transmission { used: used + data.len() });
        }
        let answer = if !fits && option != option::ABORT {
            Err((rep::ERR_TOO_BIG, "the option is too long"))
        } else if shutdown && option != option::ABORT {
            Err((rep::ERR_SHUTDOWN, "the export is about to go away"))
        } else {
            self.option(option, data, export, out)
        };
        match answer {
            Ok(()) => out.option(option, rep::ACK, &[]),
            Err((kind, text)) => out.option(option, kind, &[text.as_bytes()]),
        }
        match option {
            option::ABORT => Ok(Then::End),
            option::GO if answer.is_ok() => Ok(Then::Transmission { used: used + data.len() }),
            _ if fits => Ok(Then::Step { used: used + data.len(), skip: 0 }),
            _ => Ok(Then::Step { used, skip: length }),
        }
    }

    fn option(&mut self, option: u32, data: &[u8], export: &Export, out: &mut Output) -> Answer {
        match option {
            option::ABORT => Ok(()),
            option::LIST => {
                if !data.is_empty() {
                    return Err(INVALID);
                }
                let name = export.name.as_bytes();
                let length = (name.len() as u32).to_be_bytes();
                out.option(option, rep::SERVER, &[&length, name, export.description.as_bytes()]);
                Ok(())
            }
            option::INFO | option::GO => self.info(option, data, export, out),
            option::STRUCTURED_REPLY => {
                if !data.is_empty() {
                    return Err(INVALID);
                }
                self.agreed.structured = true;
                Ok(())
            }
            option::LIST_META_CONTEXT => self.contexts(option, data, export, out),
            option::SET_META_CONTEXT => {
                // Also if it fails.
                self.agreed.contexts = Contexts::default();
                self.contexts(option, data, export, out)
            }
            option::STARTTLS => Err((rep::ERR_POLICY, "no TLS here")),
            _ => Err((rep::ERR_UNSUP, "no such option here")),
        }
    }

    fn info(&self, option: u32, data: &[u8], export: &Export, out: &mut Output) -> Answer {
        let mut reader = Reader(data);
        let name = reader.string().ok_or(INVALID)?;
        let count = reader.u16().ok_or(INVALID)?;
        if reader.0.len() != usize::from(count) * 2 {
            return Err(INVALID);
        }
        if !export.answers_to(name) {
            return Err((rep::ERR_UNKNOWN, "no such export"));
        }
        let (mut wants_name, mut wants_description) = (name.is_empty(), false);
        while let Some(wanted) = reader.u16() {
            wants_name |= wanted == info::NAME;
            wants_description |= wanted == info::DESCRIPTION;
        }
        out.option(
            option,
            rep::INFO,
            &[
                &info::EXPORT.to_be_bytes(),
                &export.size().to_be_bytes(),
                &self.transmission_flags().to_be_bytes(),
            ],
        );
        if wants_name {
            out.option(option, rep::INFO, &[&info::NAME.to_be_bytes(), export.name.as_bytes()]);
        }
        if wants_description {
            let description = export.description.as_bytes();
            out.option(option, rep::INFO, &[&info::DESCRIPTION.to_be_bytes(), description]);
        }
        // Told to everyone: who does not want to know passes over it.
        out.option(
            option,
            rep::INFO,
            &[
                &info::BLOCK_SIZE.to_be_bytes(),
                &export.block.to_be_bytes(),
                &export.preferred().to_be_bytes(),
                &MAX_PAYLOAD.to_be_bytes(),
            ],
        );
        Ok(())
    }

    fn contexts(&mut self, option: u32, data: &[u8], export: &Export, out: &mut Output) -> Answer {
        if !self.agreed.structured {
            return Err((rep::ERR_INVALID, "structured replies come first"));
        }
        let mut reader = Reader(data);
        let name = reader.string().ok_or(INVALID)?;
        let count = reader.u32().ok_or(INVALID)?;
        if !export.answers_to(name) {
            return Err((rep::ERR_UNKNOWN, "no such export"));
        }
        if count > MOST_QUERIES {
            return Err((rep::ERR_TOO_BIG, "so many queries are not taken"));
        }
        let list = option == option::LIST_META_CONTEXT;
        let mut found = if list && count == 0 { Contexts::ALL } else { Contexts::default() };
        for _ in 0..count {
            let query = reader.string().ok_or(INVALID)?;
            if !query.contains(&b':') {
                return Err((rep::ERR_INVALID, "a query begins with a namespace and a colon"));
            }
            found.add(query, list);
        }
        if !reader.0.is_empty() {
            return Err(INVALID);
        }
        for context in found.iter() {
            let id = if list { 0 } else { context.id };
            out.option(option, rep::META_CONTEXT, &[&id.to_be_bytes(), context.name.as_bytes()]);
        }
        if !list {
            self.agreed.contexts = found;
        }
        Ok(())
    }

    fn export_name(&self, export: &Export, out: &mut Output) {
        let no_zeroes = u32::from(handshake_flag::NO_ZEROES);
        let zeroes = self.flags.is_some_and(|flags| flags & no_zeroes == 0);
        out.head(|out| {
            out.extend_from_slice(&export.size().to_be_bytes());
            out.extend_from_slice(&self.transmission_flags().to_be_bytes());
            if zeroes {
                out.resize(out.len() + EXPORT_NAME_ZEROES, 0);
            }
        });
    }

    /// One worker serves all connections, and a flush is for all of it: hence MULTI_CONN.
    fn transmission_flags(&self) -> u16 {
        use transmission_flag as flag;
        flag::HAS_FLAGS
            | flag::SEND_FLUSH
            | flag::SEND_FUA
            | flag::SEND_TRIM
            | flag::SEND_WRITE_ZEROES
            | if self.agreed.structured { flag::SEND_DF } else { 0 }
            | flag::CAN_MULTI_CONN
            | flag::SEND_CACHE
            | flag::SEND_FAST_ZERO
    }
}

fn lossy(name: &[u8]) -> String {
    let name = name.get(..name.len().min(200)).unwrap_or_default();
    String::from_utf8_lossy(name).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

// A name and every query there may be fit, or clients would be refused what they may ask.
const _: () = assert!(LONGEST_OPTION > 4 * LONGEST_STRING);
const _: () = assert!(blocks::LONGEST_NAME < LONGEST_STRING);
