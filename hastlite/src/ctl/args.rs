//! The command line of hastctl(8). Pure: arguments in, what is wanted or what is wrong out.
//!
//! The flags are those of FreeBSD's hastctl; what is ours has long names. Flags and names may be
//! mixed, and `--` ends the flags.

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStrExt;

    fn run(line: &str) -> Result<Args, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn command(line: &str) -> Command {
        run(line).unwrap().command
    }

    fn named(names: &[&str]) -> Selection {
        Selection::Named(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn commands_as_freebsd_has_them() {
        let made = |line: &str| match command(line) {
            Command::Create { options: Options { wish, keepdirty, zero }, names } => {
                assert_eq!((names, zero), (vec!["data".to_owned()], false));
                (wish, keepdirty)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(made("create data"), (Wish::default(), 64));
        let wish = Wish { extentsize: 4 << 20, mediasize: Some(1 << 30), ..Wish::default() };
        assert_eq!(made("create -d -c /x -e 4M -k 8 -m 1g data"), (wish, 8));
        let role = |role, force, of| Command::Role { role, force, of };
        assert_eq!(command("role init all"), role(Role::Init, false, Selection::All));
        assert_eq!(
            command("role -c/x primary a b"),
            role(Role::Primary, false, named(&["a", "b"]))
        );
        assert_eq!(
            command("role secondary all b"),
            role(Role::Secondary, false, named(&["all", "b"]))
        );
        assert_eq!(command("list"), Command::List { json: false, of: Selection::All });
        assert_eq!(command("dump all"), Command::Dump { json: false, of: Selection::All });
        assert_eq!(
            command("status data"),
            Command::Status { json: false, watch: None, wait: None, of: named(&["data"]) }
        );
        assert_eq!(command("stop"), Command::Stop);
        let args = run("list -ddd -c /tmp/x").unwrap();
        assert_eq!((args.debug, args.config), (3, PathBuf::from("/tmp/x")));
        assert_eq!(run("stop").unwrap().config, PathBuf::from("/etc/hast.conf"));
    }

    #[test]
    fn what_is_ours() {
        let second = Duration::from_secs(1);
        let status = |json, watch, wait| Command::Status { json, watch, wait, of: Selection::All };
        assert_eq!(command("status --json"), status(true, None, None));
        assert_eq!(command("status --watch"), status(false, Some(second), None));
        assert_eq!(command("status --watch=0.5"), status(false, Some(second / 2), None));
        assert_eq!(command("status --watch=0"), status(false, Some(second / 10), None));
        assert_eq!(command("status --wait 3"), status(false, None, Some(second * 3)));
        assert_eq!(
            command("role primary data --force"),
            Command::Role { role: Role::Primary, force: true, of: named(&["data"]) }
        );
        assert_eq!(command("discard data"), Command::Discard { names: vec!["data".to_owned()] });
        let Command::Create { options: Options { wish, zero, .. }, .. } =
            command("create --layout freebsd --datasize=10M --zero -- -x")
        else {
            panic!()
        };
        assert_eq!(
            (wish.arrangement, wish.datasize, zero),
            (Arrangement::FreeBsd, Some(10 << 20), true)
        );
        for line in ["-h", "--help", "create -h", "status --help x"] {
            assert_eq!(command(line), Command::Help);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |line: &str| run(line).unwrap_err();
        assert_eq!(wrong(""), "no command");
        assert_eq!(wrong("start"), "no command is called `start`");
        assert_eq!(wrong("create"), "no resource is named");
        assert_eq!(wrong("role"), "no role is named");
        assert_eq!(wrong("role primary"), "no resource is named");
        assert_eq!(wrong("role master x"), "no role is called `master`");
        assert_eq!(wrong("list -c"), "option -c requires an argument");
        assert_eq!(wrong("list -x"), "unknown option -x");
        assert_eq!(wrong("list --x"), "unknown option --x");
        assert_eq!(wrong("list --force"), "--force belongs to another command");
        assert_eq!(wrong("role --force=1 init x"), "--force takes no value");
        assert_eq!(wrong("discard all"), "what is to be discarded has to be named");
        assert!(wrong("list -e 1").contains("another command"));
        assert!(wrong("stop x").starts_with("stop ends all"));
        assert!(wrong("create -e 5q x").starts_with("-e 5q: not a size"));
        assert!(wrong("create -e 8G x").contains("at most"));
        assert!(wrong("create -m 99999999999E x").starts_with("-m"));
        assert!(wrong("status --wait=soon").starts_with("--wait soon: not a number"));
        assert!(wrong("create --layout=x y").contains("`aligned` or `freebsd`"));
        let bytes = std::ffi::OsStr::from_bytes(b"\xff").to_owned();
        assert!(parse([bytes]).unwrap_err().contains("is not text"));
    }

    #[test]
    fn sizes() {
        let cases = [
            ("0", 0),
            ("512", 512),
            ("64k", 65536),
            ("2M", 2 << 20),
            ("1g", 1 << 30),
            ("3T", 3 << 40),
            ("7b", 7),
        ];
        for (text, bytes) in cases {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "k", "1.5G", "-1", "+1", "1 k", "1kk", "16E", "1kb"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_words_are_understood_or_refused(words in prop::collection::vec("(create|role|status|-[a-z]{1,3}|--[a-z]{1,6}(=[0-9a-z]{0,3})?|[a-z0-9]{0,4}|\\PC{0,3})", 0..6)) {
            if let Err(why) = parse(words.into_iter().map(OsString::from)) {
                prop_assert!(!why.is_empty() && !why.contains('\n'));
            }
        }
    }
}
