//! The command line of hastctl(8). Pure: arguments in, what is wanted or what is wrong out.
//!
//! The flags are those of FreeBSD's hastctl; what is ours has long names. Flags and names may be
//! mixed, and `--` ends the flags.

#[cfg(test)]
mod tests;

use super::message::Selection;
use crate::conf::PATH;
use crate::create::Options;
use crate::engine::Role;
use crate::layout::{Arrangement, EXTENT_SIZE, KEEP_DIRTY, Wish};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What `hastctl` prints when it does not understand its arguments.
pub const USAGE: &str = "usage: hastctl create [-d] [-c config] [-e extentsize] [-k keepdirty] [-m mediasize]
\t\t[--datasize=size] [--layout=aligned|freebsd] [--zero] name ...
       hastctl role [-d] [-c config] [--force] init | primary | secondary all | name ...
       hastctl list [-d] [-c config] [--json] [all | name ...]
       hastctl status [-d] [-c config] [--json] [--watch[=seconds]] [--wait=seconds] [all | name ...]
       hastctl dump [-d] [-c config] [--json] [all | name ...]
       hastctl discard [-d] [-c config] name ...
       hastctl stop [-d] [-c config]";

/// Everything the command line said.
#[derive(Clone, Debug, PartialEq)]
pub struct Args {
    /// `-c`.
    pub config: PathBuf,
    /// `-d`, which may be repeated.
    pub debug: u32,
    /// What to do.
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// `-h`: say how it is used.
    Help,
    /// Lay local components out anew.
    Create {
        /// How.
        options: Options,
        /// Of these resources.
        names: Vec<String>,
    },
    /// Change roles.
    Role {
        /// To this one.
        role: Role,
        /// Whatever is lost.
        force: bool,
        /// Of these resources.
        of: Selection,
    },
    /// Say all about resources.
    List {
        /// For programs.
        json: bool,
        /// These.
        of: Selection,
    },
    /// Say how resources are, one a line.
    Status {
        /// For programs.
        json: bool,
        /// Again and again, with this pause.
        watch: Option<Duration>,
        /// Until all are complete, so long at the most.
        wait: Option<Duration>,
        /// These.
        of: Selection,
    },
    /// Print metadata.
    Dump {
        /// For programs.
        json: bool,
        /// Of these resources.
        of: Selection,
    },
    /// Give this node's data up.
    Discard {
        /// Of these resources.
        names: Vec<String>,
    },
    /// End the daemon.
    Stop,
}

/// Reads the arguments, without the program's own name. The error is one line for stderr.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Args, String> {
    let mut words = Vec::new();
    for word in arguments {
        words.push(word.into_string().map_err(|word| format!("{word:?} is not text"))?);
    }
    let mut words = words.into_iter();
    let verb = words.next().ok_or("no command")?;
    let flags: &[Flag] = match verb.as_str() {
        "-h" | "--help" => &[],
        "create" => &[Flag::Extent, Flag::Keep, Flag::Media, Flag::Data, Flag::Layout, Flag::Zero],
        "role" => &[Flag::Force],
        "list" | "dump" => &[Flag::Json],
        "status" => &[Flag::Json, Flag::Watch, Flag::Wait],
        "discard" | "stop" => &[],
        _ => return Err(format!("no command is called `{verb}`")),
    };
    let mut given = Given::default();
    given.read(words, flags)?;
    let (config, debug) = (given.config.take(), given.debug);
    let command =
        if given.help || verb.starts_with('-') { Command::Help } else { given.command(&verb)? };
    Ok(Args { config: config.unwrap_or_else(|| PathBuf::from(PATH)), debug, command })
}

/// A flag that not every command has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flag {
    Extent,
    Keep,
    Media,
    Data,
    Layout,
    Zero,
    Force,
    Json,
    Watch,
    Wait,
}

/// What the flags and names were.
#[derive(Default)]
struct Given {
    config: Option<PathBuf>,
    debug: u32,
    help: bool,
    extentsize: Option<u64>,
    keepdirty: Option<u64>,
    mediasize: Option<u64>,
    datasize: Option<u64>,
    arrangement: Arrangement,
    zero: bool,
    force: bool,
    json: bool,
    watch: Option<Duration>,
    wait: Option<Duration>,
    names: Vec<String>,
}

impl Given {
    fn read(
        &mut self,
        mut words: impl Iterator<Item = String>,
        flags: &[Flag],
    ) -> Result<(), String> {
        while let Some(word) = words.next() {
            if word == "--" {
                self.names.extend(words);
                return Ok(());
            } else if let Some(long) = word.strip_prefix("--") {
                self.long(long, &mut words, flags)?;
            } else if let Some(short) = word.strip_prefix('-').filter(|short| !short.is_empty()) {
                self.short(short, &mut words, flags)?;
            } else {
                self.names.push(word);
            }
        }
        Ok(())
    }

    /// As getopt(3) has it: flags join, and a value is the rest of the word or the next one.
    fn short(
        &mut self,
        word: &str,
        words: &mut impl Iterator<Item = String>,
        flags: &[Flag],
    ) -> Result<(), String> {
        let mut letters = word.chars();
        while let Some(letter) = letters.next() {
            let flag = match letter {
                'd' => {
                    self.debug = self.debug.saturating_add(1);
                    continue;
                }
                'h' => {
                    self.help = true;
                    continue;
                }
                'c' => None,
                'e' => Some(Flag::Extent),
                'k' => Some(Flag::Keep),
                'm' => Some(Flag::Media),
                _ => return Err(format!("unknown option -{}", letter.escape_debug())),
            };
            if let Some(flag) = flag.filter(|flag| !flags.contains(flag)) {
                return Err(format!("-{letter} ({flag:?}) belongs to another command"));
            }
            let rest = letters.as_str();
            let value = if rest.is_empty() { words.next() } else { Some(rest.to_owned()) };
            let value = value.ok_or_else(|| format!("option -{letter} requires an argument"))?;
            match flag {
                None => self.config = Some(PathBuf::from(value)),
                Some(flag) => self.set(flag, &format!("-{letter}"), &value)?,
            }
            return Ok(());
        }
        Ok(())
    }

    fn long(
        &mut self,
        word: &str,
        words: &mut impl Iterator<Item = String>,
        flags: &[Flag],
    ) -> Result<(), String> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        let flag = match name {
            "help" => {
                self.help = true;
                return Ok(());
            }
            "zero" => Flag::Zero,
            "force" => Flag::Force,
            "json" => Flag::Json,
            "watch" => Flag::Watch,
            "wait" => Flag::Wait,
            "datasize" => Flag::Data,
            "layout" => Flag::Layout,
            _ => return Err(format!("unknown option --{}", name.escape_debug())),
        };
        if !flags.contains(&flag) {
            return Err(format!("--{name} belongs to another command"));
        }
        match (flag, value) {
            (Flag::Zero, None) => self.zero = true,
            (Flag::Force, None) => self.force = true,
            (Flag::Json, None) => self.json = true,
            (Flag::Zero | Flag::Force | Flag::Json, Some(_)) => {
                return Err(format!("--{name} takes no value"));
            }
            (Flag::Watch, None) => self.watch = Some(Duration::from_secs(1)),
            (_, value) => {
                let value = value.or_else(|| words.next());
                let value = value.ok_or_else(|| format!("option --{name} requires an argument"))?;
                self.set(flag, &format!("--{name}"), &value)?;
            }
        }
        Ok(())
    }

    fn set(&mut self, flag: Flag, name: &str, value: &str) -> Result<(), String> {
        let wrong = |what: &str| format!("{name} {}: not {what}", value.escape_debug());
        let a_size = || size(value).ok_or_else(|| wrong("a size, as 64k, 2M, 1G or bytes"));
        let a_time = || seconds(value).ok_or_else(|| wrong("a number of seconds"));
        match flag {
            Flag::Extent => self.extentsize = Some(a_size()?),
            Flag::Keep => self.keepdirty = Some(size(value).ok_or_else(|| wrong("a number"))?),
            Flag::Media => self.mediasize = Some(a_size()?),
            Flag::Data => self.datasize = Some(a_size()?),
            Flag::Watch => self.watch = Some(a_time()?.max(Duration::from_millis(100))),
            Flag::Wait => self.wait = Some(a_time()?),
            Flag::Layout => {
                self.arrangement = match value {
                    "aligned" => Arrangement::Aligned,
                    "freebsd" => Arrangement::FreeBsd,
                    _ => return Err(wrong("`aligned` or `freebsd`")),
                }
            }
            // These have no value.
            Flag::Zero | Flag::Force | Flag::Json => {}
        }
        Ok(())
    }

    fn command(mut self, verb: &str) -> Result<Command, String> {
        let json = self.json;
        Ok(match verb {
            "create" => {
                let narrow = |value: Option<u64>, flag: &str, default: u32| match value {
                    None => Ok(default),
                    Some(value) => u32::try_from(value)
                        .map_err(|_| format!("{flag} {value}: at most {}", u32::MAX)),
                };
                let wish = Wish {
                    arrangement: self.arrangement,
                    extentsize: narrow(self.extentsize, "-e", EXTENT_SIZE)?,
                    mediasize: self.mediasize,
                    datasize: self.datasize,
                };
                let keepdirty = narrow(self.keepdirty, "-k", KEEP_DIRTY)?;
                let options = Options { wish, keepdirty, zero: self.zero };
                Command::Create { options, names: self.some_names()? }
            }
            "role" => {
                if self.names.is_empty() {
                    return Err("no role is named".to_owned());
                }
                let role = self.names.remove(0);
                let role = match role.as_str() {
                    "init" => Role::Init,
                    "primary" => Role::Primary,
                    "secondary" => Role::Secondary,
                    _ => return Err(format!("no role is called `{}`", role.escape_debug())),
                };
                let force = self.force;
                let names = self.some_names()?;
                Command::Role { role, force, of: selection(names) }
            }
            "list" => Command::List { json, of: selection(self.names) },
            "status" => {
                let (watch, wait) = (self.watch, self.wait);
                Command::Status { json, watch, wait, of: selection(self.names) }
            }
            "dump" => Command::Dump { json, of: selection(self.names) },
            "discard" => {
                let names = self.some_names()?;
                if names.iter().any(|name| name == "all") {
                    return Err("what is to be discarded has to be named".to_owned());
                }
                Command::Discard { names }
            }
            _ => match self.names.first() {
                None => Command::Stop,
                Some(_) => return Err("stop ends all of the daemon, and takes no names".to_owned()),
            },
        })
    }

    fn some_names(self) -> Result<Vec<String>, String> {
        if self.names.is_empty() { Err("no resource is named".to_owned()) } else { Ok(self.names) }
    }
}

/// Nothing, and `all` alone, are all of them.
fn selection(names: Vec<String>) -> Selection {
    match &names[..] {
        [] => Selection::All,
        [only] if only == "all" => Selection::All,
        _ => Selection::Named(names),
    }
}

/// A number, and perhaps the letter of a power of 1024, as expand_number(3) has it.
fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..)?.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        "e" => 60,
        _ => return None,
    };
    number(digits)?.checked_mul(1 << shift)
}

fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// With a fraction if wanted, up to a day.
fn seconds(text: &str) -> Option<Duration> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds: f64 = text.parse().ok().filter(|_| plain)?;
    Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= Duration::from_secs(86_400))
}
