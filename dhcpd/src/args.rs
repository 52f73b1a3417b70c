//! The command line of dhcpd(8). Pure: arguments in, what is wanted or what is wrong out.

use pfhelper::{Table, Tables};
use std::ffi::{OsStr, OsString};
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What `dhcpd` prints when it does not understand its arguments.
pub const USAGE: &str = "usage: dhcpd [-dfnv] [-A abandoned_ip_table] [-C changed_ip_table]
\t[-c config-file] [-E hook] [-L leased_ip_table] [-l lease-file] [-s socket]
\t[-T seconds] [-u[bind_address]] [-Y synctarget] [-y synclisten] [if0 [... ifN]]";

/// Where the configuration is, unless `-c` says otherwise.
pub const CONFIG: &str = "/etc/dhcpd.conf";
/// Where the leases are, unless `-l` says otherwise.
pub const LEASES: &str = "/var/db/dhcpd.leases";

/// Everything the command line said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Args {
    /// `-d` or `-f`: stay in the foreground and log to stderr.
    pub foreground: bool,
    /// `-n`: check the configuration and stop.
    pub check: bool,
    /// `-v`: log debugging detail too.
    pub verbose: bool,
    /// `-A`, `-C` and `-L`.
    pub tables: Tables,
    /// `-T`: seconds after which an element fades from the leased set, unless renewed (Linux).
    pub element_timeout: Option<u32>,
    /// `-c`.
    pub config: PathBuf,
    /// `-E`: the program that is run when something happens to a lease.
    pub hook: Option<PathBuf>,
    /// `-l`.
    pub leases: PathBuf,
    /// `-s`: where dhcpctl(8) finds us; `none`: nowhere.
    pub control: Control,
    /// `-u`: UDP mode, and the address its socket is bound to.
    pub udp: Option<Ipv4Addr>,
    /// `-Y`: whom to tell of leases.
    pub sync_targets: Vec<String>,
    /// `-y`: where to hear of leases.
    pub sync_listen: Option<String>,
    /// The interfaces to serve; none means all that have a subnet.
    pub interfaces: Vec<String>,
}

/// Where the control socket is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Control {
    /// Where dhcpctl(8) looks; service does not depend on it.
    #[default]
    Usual,
    /// There, or there is no service.
    At(PathBuf),
    /// There is none.
    None,
}

impl Control {
    fn named(value: OsString) -> Control {
        match value.as_bytes() {
            b"none" => Control::None,
            _ => Control::At(PathBuf::from(value)),
        }
    }
}

impl Args {
    /// Whether nothing but UDP mode's own socket is heard.
    pub fn is_udp_only(&self) -> bool {
        self.udp.is_some() && self.interfaces.is_empty()
    }
}

/// Reads the arguments, without the program's own name. The error is one line for stderr.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Args, String> {
    let mut args =
        Args { config: PathBuf::from(CONFIG), leases: PathBuf::from(LEASES), ..Args::default() };
    let mut words = arguments.into_iter();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        if bytes == b"--" {
            break;
        }
        if bytes.len() < 2 || bytes[0] != b'-' {
            args.interfaces.push(text("interface", &word)?);
            break;
        }
        if bytes.starts_with(b"--") {
            return Err(format!("unknown option {}", bytes.escape_ascii()));
        }
        let mut at = 1;
        while let Some(&flag) = bytes.get(at) {
            at += 1;
            // getopt(3): the rest of this word, else the next word.
            let mut value = |name: &str| {
                let rest = OsStr::from_bytes(&bytes[at..]);
                let value = match rest.is_empty() {
                    false => Some(rest.to_owned()),
                    true => words.next(),
                };
                at = bytes.len();
                value.ok_or_else(|| format!("option -{name} requires an argument"))
            };
            match flag {
                b'd' | b'f' => args.foreground = true,
                b'n' => args.check = true,
                b'v' => args.verbose = true,
                b'A' => args.tables.abandoned = Some(table("A", value("A")?)?),
                b'C' => args.tables.changed = Some(table("C", value("C")?)?),
                b'L' => args.tables.leased = Some(table("L", value("L")?)?),
                b'T' => args.element_timeout = Some(seconds(value("T")?)?),
                b'c' => args.config = PathBuf::from(value("c")?),
                b'E' => args.hook = Some(hook(value("E")?)?),
                b'l' => args.leases = PathBuf::from(value("l")?),
                b's' => args.control = Control::named(value("s")?),
                b'u' => {
                    args.udp = Some(bind_address(OsStr::from_bytes(&bytes[at..]))?);
                    at = bytes.len();
                }
                b'Y' => args.sync_targets.push(text("-Y", &value("Y")?)?),
                b'y' => args.sync_listen = Some(text("-y", &value("y")?)?),
                other => return Err(format!("unknown option -{}", other.escape_ascii())),
            }
        }
    }
    for word in words {
        args.interfaces.push(text("interface", &word)?);
    }
    Ok(args)
}

fn text(what: &str, value: &OsStr) -> Result<String, String> {
    value.to_str().map(str::to_owned).ok_or_else(|| format!("{what} {value:?} is not text"))
}

fn table(flag: &str, value: OsString) -> Result<Table, String> {
    let name = text("table", &value)?;
    name.parse().map_err(|error| format!("-{flag} {name}: {error}"))
}

/// The rest of the word behind `-u`.
fn bind_address(value: &OsStr) -> Result<Ipv4Addr, String> {
    match text("-u", value)? {
        address if address.is_empty() => Ok(Ipv4Addr::BROADCAST),
        address => address.parse().map_err(|_| format!("-u{address}: not an IPv4 address")),
    }
}

fn hook(value: OsString) -> Result<PathBuf, String> {
    let path = PathBuf::from(value);
    match path.is_absolute() {
        true => Ok(path),
        // It is run from another directory than the one where this was typed.
        false => Err(format!("-E {}: not an absolute path", path.display())),
    }
}

fn seconds(value: OsString) -> Result<u32, String> {
    let digits = text("-T", &value)?;
    match digits.parse() {
        Ok(0) | Err(_) => {
            Err(format!("-T {digits}: not a number of seconds from 1 to {}", u32::MAX))
        }
        Ok(seconds) => Ok(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<Args, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_manual_s_own_examples() {
        let args = run("-A bad -C changed -L leased em0 em1").unwrap();
        assert_eq!(args.tables.leased, Some("leased".parse().unwrap()));
        assert_eq!(args.tables.abandoned, Some("bad".parse().unwrap()));
        assert_eq!(args.tables.changed, Some("changed".parse().unwrap()));
        assert_eq!(args.interfaces, ["em0", "em1"]);
        assert_eq!(args.config, PathBuf::from(CONFIG));
        assert!(!args.foreground && !args.check);
    }

    #[test]
    fn the_control_socket_is_somewhere_or_nowhere() {
        assert_eq!(run("em0").unwrap().control, Control::Usual);
        assert_eq!(run("-s /tmp/s em0").unwrap().control, Control::At("/tmp/s".into()));
        assert_eq!(run("-snone").unwrap().control, Control::None);
    }

    #[test]
    fn a_hook_has_a_whole_path() {
        assert_eq!(run("-E/etc/hook").unwrap().hook, Some(PathBuf::from("/etc/hook")));
        assert_eq!(run("-E hook").unwrap_err(), "-E hook: not an absolute path");
    }

    #[test]
    fn flags_join_and_arguments_may_be_glued() {
        let args = run("-dnv -c/tmp/a -l /tmp/b -u192.0.2.1 -Yem0 -y em1 vio0").unwrap();
        assert!(args.foreground && args.check && args.verbose);
        assert_eq!(args.config, PathBuf::from("/tmp/a"));
        assert_eq!(args.leases, PathBuf::from("/tmp/b"));
        assert_eq!(args.udp, Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(args.sync_targets, ["em0"]);
        assert_eq!(args.sync_listen.as_deref(), Some("em1"));
        assert_eq!(args.interfaces, ["vio0"]);
        let both = run("-u em0").unwrap();
        assert_eq!(both.udp, Some(Ipv4Addr::BROADCAST));
        assert_eq!(both.interfaces, ["em0"]);
        assert_eq!(run("em0").unwrap().udp, None);
        assert_eq!(run("-uem0").unwrap_err(), "-uem0: not an IPv4 address");
        assert_eq!(run("-- -x").unwrap().interfaces, ["-x"]);
    }

    #[test]
    fn the_manual_and_the_usage_tell_of_every_flag_and_no_other() {
        let page = include_str!("../dhcpd.8");
        let listed = page.lines().filter(|line| line.starts_with(".It Fl "));
        let listed: Vec<&str> = listed.flat_map(str::split_whitespace).collect();
        for letter in ('a'..='z').chain('A'..='Z') {
            let flag = format!("-{letter}");
            let known = run(&format!("{flag} 1")) != Err(format!("unknown option {flag}"));
            assert_eq!(listed.contains(&&flag[1..]), known, "{flag} in dhcpd(8)");
            let told = USAGE.contains(&format!("[{flag}")) || "-dfnv".contains(letter);
            assert_eq!(told, known, "{flag} in the usage");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(run("-x").unwrap_err(), "unknown option -x");
        assert_eq!(run("--config x").unwrap_err(), "unknown option --config");
        assert_eq!(run("-c").unwrap_err(), "option -c requires an argument");
        assert!(run("-T 0").unwrap_err().contains("-T 0"));
        assert!(run("-A a/b/c/d").unwrap_err().starts_with("-A a/b/c/d: "));
    }
}
