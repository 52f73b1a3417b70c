//! hastlite(8)'s flags, which are those of FreeBSD's hastd(8), and `-n`.

use std::ffi::OsString;
use std::path::PathBuf;

/// For whoever gets it wrong.
pub const USAGE: &str = "usage: hastlite [-dFhn] [-c config] [-P pidfile]";

/// Where the configuration is.
pub const CONFIG: &str = "/etc/hast.conf";

/// What the command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// `-c`
    pub config: PathBuf,
    /// How often `-d` was said: debug lines are logged.
    pub debug: u8,
    /// `-F`: stay in the foreground, and log to stderr.
    pub foreground: bool,
    /// `-h`
    pub help: bool,
    /// `-n`: check the configuration, and that is all.
    pub check: bool,
    /// `-P`: accepted and not used. Nothing of ours is found by a number in a file.
    pub pidfile: Option<PathBuf>,
}

/// Understands what stands behind the program's name.
///
/// # Errors
/// What is wrong, in a few words.
pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Args, String> {
    let mut args = Args {
        config: CONFIG.into(),
        debug: 0,
        foreground: false,
        help: false,
        check: false,
        pidfile: None,
    };
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        let text = word.to_str().ok_or("a flag that is no text")?;
        let Some(flags) = text.strip_prefix('-').filter(|flags| !flags.is_empty()) else {
            return Err(format!("{text}: what is this for?"));
        };
        if flags == "-" {
            break;
        }
        if flags.starts_with('-') {
            return Err(format!("{text}: no such flag"));
        }
        let mut rest = flags.chars();
        while let Some(flag) = rest.next() {
            // The value is what is left of the word, or the next word.
            let mut value = || match rest.as_str() {
                "" => words.next().ok_or_else(|| format!("-{flag} wants a value")),
                joined => Ok(joined.into()),
            };
            match flag {
                'd' => args.debug = args.debug.saturating_add(1),
                'F' => args.foreground = true,
                'h' => args.help = true,
                'n' => args.check = true,
                'c' => {
                    args.config = value()?.into();
                    break;
                }
                'P' => {
                    args.pidfile = Some(value()?.into());
                    break;
                }
                _ => return Err(format!("-{flag}: no such flag")),
            }
        }
    }
    match words.next() {
        None => Ok(args),
        Some(word) => Err(format!("{}: what is this for?", word.to_string_lossy())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Args, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn flags_are_those_of_hastd() {
        let args = parsed("-ddF -c /tmp/hast.conf -P/var/run/x.pid").unwrap();
        assert_eq!((args.debug, args.foreground, args.check), (2, true, false));
        assert_eq!(args.config, PathBuf::from("/tmp/hast.conf"));
        assert_eq!(args.pidfile, Some("/var/run/x.pid".into()));
        assert_eq!(parsed("").unwrap().config, PathBuf::from(CONFIG));
        assert_eq!(parsed("-Fc/tmp/x").unwrap().config, PathBuf::from("/tmp/x"));
        assert!(parsed("-h").unwrap().help);
        assert!(parsed("-n").unwrap().check);
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(parsed("-x").unwrap_err(), "-x: no such flag");
        assert_eq!(parsed("-c").unwrap_err(), "-c wants a value");
        assert_eq!(parsed("data").unwrap_err(), "data: what is this for?");
        assert_eq!(parsed("-- data").unwrap_err(), "data: what is this for?");
    }
}
