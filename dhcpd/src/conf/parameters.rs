//! Parameters: statements whose value goes into a scope's settings.
//!
//! Knows values and where they go; whether a statement may stand there is decided before.

use super::arguments::Arguments;
use super::definition::{self, Defined};
use super::diagnostic::Problem;
use super::lexer::Kind;
use super::option_data;
use super::options::{self, Definition};
use super::statements::{self, Meaning, Row, Scope};
use super::suggest::nearest;
use crate::config::{Hardware, MAX_HARDWARE, Settings};
use std::net::Ipv4Addr;

const SUBNET_MASK: u8 = 1;
const SERVER_IDENTIFIER: u8 = 54;
const CLIENT_IDENTIFIER: u8 = 61;

/// What only a host has.
#[derive(Debug, Default)]
pub struct HostParts {
    /// `hardware`.
    pub hardware: Option<Hardware>,
    /// `option dhcp-client-identifier`.
    pub client_id: Option<Vec<u8>>,
    /// `fixed-address`, with the offset of each.
    pub fixed: Vec<(Ipv4Addr, u32)>,
}

/// Where parameters go.
pub struct Target<'a> {
    /// The innermost scope.
    pub scope: Scope,
    /// What it says so far.
    pub settings: &'a mut Settings,
    /// What it says so far, if it is a host.
    pub host: &'a mut HostParts,
    /// Options that were defined in ISC's way.
    pub defined: &'a mut Defined,
}

/// What is to be said about a parameter that was taken.
pub enum Taken {
    /// Nothing.
    Active,
    /// Only ISC's dialect has it: this is its name.
    Theirs(String),
    /// It says what another one means, and so may stand anywhere; likewise.
    Definition(String),
    /// Only ISC's dialect has it, and it has no effect here; likewise.
    NotYet(String),
}

impl Target<'_> {
    /// Reads the words after a statement's first, and takes the value.
    pub fn take(&mut self, row: &Row, arguments: &mut Arguments) -> Result<Taken, Problem> {
        match row.meaning {
            Meaning::Seconds(field) => {
                let offset = arguments.offset();
                let seconds = arguments.u32()?;
                if seconds == 0 && row.name.ends_with("-lease-time") {
                    arguments.warn(offset, "0 is as if nothing were said here".to_owned());
                }
                *field(self.settings) = Some(seconds);
            }
            Meaning::Date(field) => *field(self.settings) = Some(arguments.date()?),
            Meaning::Boolean(field) => {
                *field(self.settings) = Some(arguments.boolean()?);
            }
            Meaning::Text(limit, field) => {
                let offset = arguments.offset();
                let text = arguments.quoted("a string in quotes")?;
                if text.len() > limit {
                    let text = format!("{} bytes; at most {limit} have room", text.len());
                    return Err(Problem::error(offset, text));
                }
                *field(self.settings) = Some(text.into_owned());
            }
            Meaning::Address(field) => *field(self.settings) = Some(arguments.host_address()?),
            Meaning::ServerIdentifier => {
                let address = arguments.host_address()?;
                self.settings.options.set(SERVER_IDENTIFIER, address.octets().to_vec());
            }
            Meaning::Authoritative => self.settings.authoritative = Some(true),
            Meaning::Not => {
                if !arguments.keyword("authoritative") {
                    return Err(arguments.expected("`authoritative`"));
                }
                self.settings.authoritative = Some(false);
            }
            Meaning::Permit(allow) => return self.permit(row.name, allow, arguments),
            Meaning::Option => return self.option(arguments),
            Meaning::Hardware => self.hardware(arguments)?,
            Meaning::FixedAddress => self.fixed_address(arguments)?,
            Meaning::Quiet if row.name == "timestamp" => {
                arguments.date()?;
            }
            _ => return Ok(Taken::Active),
        }
        arguments.end("`;`")?;
        Ok(Taken::Active)
    }

    fn permit(
        &mut self,
        verb: &str,
        allow: bool,
        arguments: &mut Arguments,
    ) -> Result<Taken, Problem> {
        let offset = arguments.offset();
        let word = arguments.word("what is allowed or denied")?;
        let Some(flag) = statements::find_flag(word) else {
            let names = statements::FLAGS.iter().map(|flag| flag.name);
            let text = format!("`{word}` cannot be allowed or denied{}", hint(word, names));
            return Err(Problem::error(offset, text));
        };
        let Some(field) = flag.field else {
            return Ok(Taken::NotYet(format!("{verb} {}", flag.name)));
        };
        *field(self.settings) = Some(allow);
        arguments.end("`;`")?;
        if !flag.effective.has(self.scope) {
            let scope = self.scope.describe();
            arguments.warn(offset, format!("`{}` has no effect {scope}", flag.name));
        }
        Ok(Taken::Active)
    }

    fn option(&mut self, arguments: &mut Arguments) -> Result<Taken, Problem> {
        let offset = arguments.offset();
        let mut name = arguments.word("the name of an option")?.to_owned();
        if name == "space" && arguments.peek().is_some_and(|token| token.kind == Kind::Word) {
            return Ok(Taken::NotYet("option space".to_owned()));
        }
        if arguments.mark(b'.') {
            let inner = arguments.word("the name of an option")?;
            if name.eq_ignore_ascii_case("dhcp") {
                name = inner.to_owned();
            } else {
                return Ok(Taken::NotYet(format!("option {name}.{inner}")));
            }
        }
        if definition::is_next(arguments) {
            let definition = definition::read(arguments)?;
            let text = format!("option {name} code");
            self.defined.insert(name.to_ascii_lowercase(), definition);
            return Ok(match definition {
                Some(_) => Taken::Definition(text),
                None => Taken::NotYet(text),
            });
        }
        // Theirs are the same in upper and lower case.
        let lower = name.to_ascii_lowercase();
        let theirs = self.defined.get(&lower).copied();
        let theirs = theirs.or_else(|| options::of_isc(&lower).map(Some));
        let definition = match theirs.unwrap_or_else(|| options::find(&name)) {
            Some(definition) => definition,
            None if theirs.is_some() || options::is_isc_only(&lower) => {
                return Ok(Taken::NotYet(format!("option {name}")));
            }
            None => return Err(Problem::error(offset, unknown_option(&name))),
        };
        if arguments.next_is(b'=') {
            return Ok(Taken::NotYet(format!("option {name} =")));
        }
        let value = option_data::value(arguments, definition.kind)?;
        self.set_option(definition, value, offset, arguments);
        Ok(theirs.map_or(Taken::Active, |_| Taken::Theirs(format!("option {name}"))))
    }

    fn set_option(
        &mut self,
        Definition { code, .. }: Definition,
        value: Vec<u8>,
        offset: u32,
        arguments: &mut Arguments,
    ) {
        if let Some((_, why)) = options::SET_BY_SERVER.iter().find(|(set, _)| *set == code) {
            arguments.warn(offset, format!("this option is not taken from here: {why}"));
        } else if code == CLIENT_IDENTIFIER {
            if self.scope == Scope::Host {
                self.host.client_id = Some(value);
            } else {
                let scope = self.scope.describe();
                arguments.warn(offset, format!("a client's identifier has no effect {scope}"));
            }
        } else if code == SUBNET_MASK && self.scope == Scope::Root {
            arguments.warn(offset, "one mask for all subnets; each has its own already");
            self.settings.options.set(code, value);
        } else {
            self.settings.options.set(code, value);
        }
    }

    fn hardware(&mut self, arguments: &mut Arguments) -> Result<(), Problem> {
        let offset = arguments.offset();
        let name = arguments.word("a type of hardware")?;
        let types = [("ethernet", 1), ("token-ring", 6), ("fddi", 8), ("ipsec-tunnel", 31)];
        let known = types.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let Some((_, htype)) = known else {
            let hint = hint(name, types.iter().map(|(name, _)| *name));
            return Err(Problem::error(offset, format!("`{name}` is no type of hardware{hint}")));
        };
        let ethernet = *htype == 1;
        let start = arguments.offset();
        let colon = arguments.peek_second().is_some_and(|token| token.kind == Kind::Mark(b':'));
        let addr = if ethernet && !colon {
            arguments.ethers_name()?
        } else {
            arguments.octets(MAX_HARDWARE)?
        };
        if ethernet && addr.len() != 6 {
            let text =
                format!("an Ethernet address has 6 octets; no client has this of {}", addr.len());
            arguments.warn(start, text);
        }
        if self.host.hardware.is_some() {
            arguments.warn(offset, "this replaces the `hardware` before it");
        }
        self.host.hardware = Some(Hardware { htype: *htype, addr });
        Ok(())
    }

    fn fixed_address(&mut self, arguments: &mut Arguments) -> Result<(), Problem> {
        let start = arguments.offset();
        let fixed = arguments.list(|arguments| {
            let offset = arguments.offset();
            Ok((arguments.host_address()?, offset))
        })?;
        if !self.host.fixed.is_empty() {
            arguments.warn(start, "this replaces the `fixed-address` before it");
        }
        self.host.fixed = fixed;
        Ok(())
    }
}

fn unknown_option(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    if options::find(&lower).is_some() {
        return format!("names of options are in lower case: `{lower}`");
    }
    format!("no option has the name `{name}`{}", hint(name, options::names()))
}

/// `; did you mean ...?`, or nothing.
fn hint(word: &str, names: impl Iterator<Item = &'static str>) -> String {
    nearest(word, names).map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}
