//! The command line of dhcpctl(8). Pure: arguments in, what is to be asked or what is wrong out.

use super::SOCKET;
use super::message::Request;
use crate::config::MAX_HARDWARE;
use crate::engine::inspect::{Filter, State};
use crate::engine::orders::Order;
use crate::engine::why::Question;
use ipnetwork::Ipv4Network;
use lexopt::prelude::*;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// What `dhcpctl` prints when it does not understand its arguments.
pub const USAGE: &str = "usage: dhcpctl [-s socket] status [--json]
       dhcpctl [-s socket] leases [--json] [--address prefix] [--mac mac] [--client-id hex]
\t\t[--hostname name] [--network name] [--state leased|offered|abandoned|ended]
\t\t[prefix | mac | state]
       dhcpctl [-s socket] show [--json] address | mac
       dhcpctl [-s socket] why [--json] [--client-id hex] [--giaddr address]
\t\t[--interface name] [--user-class text] [--vendor-class text] mac
       dhcpctl [-s socket] release | delete [--json] address
       dhcpctl [-s socket] reload [--json]
       dhcpctl [-s socket] pools | counters [--json]
       dhcpctl [-s socket] metrics";

/// Everything the command line said.
#[derive(Clone, Debug, PartialEq)]
pub struct Args {
    /// `-s`.
    pub socket: PathBuf,
    /// What to do.
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Say how it is used.
    Help,
    /// Ask these things, and show the answers like this.
    Ask(Vec<Request>, Shape),
}

/// How answers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// For people.
    Text,
    /// For programs: one object a line.
    Json,
    /// For Prometheus.
    Metrics,
}

/// What was given, whatever the command.
#[derive(Default)]
struct Given {
    socket: Option<PathBuf>,
    json: bool,
    filter: Filter,
    question: Question,
    words: Vec<String>,
    /// Options that not every command has.
    used: Vec<&'static str>,
}

/// Reads the arguments, without the program's own name. The error is one line for stderr.
///
/// # Errors
/// What is wrong, in words.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Args, String> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut given = Given::default();
    while let Some(argument) = parser.next().map_err(|e| e.to_string())? {
        match argument {
            Short('h') | Long("help") => {
                return Ok(Args { socket: PathBuf::from(SOCKET), command: Command::Help });
            }
            Short('s') => given.socket = Some(parser.value().map_err(|e| e.to_string())?.into()),
            Long("json") => given.json = true,
            Long(name) => {
                let name = OPTIONS.iter().find(|(known, _)| *known == name);
                let Some((name, _)) = name else { return Err(argument.unexpected().to_string()) };
                let value = parser.value().map_err(|e| e.to_string())?;
                let value = value.into_string().map_err(|v| format!("--{name} {v:?}: no text"))?;
                given.set(name, value)?;
            }
            Value(word) => {
                given.words.push(word.into_string().map_err(|word| format!("{word:?}: no text"))?);
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    given.into_args()
}

/// Options with a value, and the commands that have them.
const OPTIONS: [(&str, &[&str]); 10] = [
    ("address", &["leases"]),
    ("mac", &["leases"]),
    ("client-id", &["leases", "why"]),
    ("hostname", &["leases"]),
    ("network", &["leases"]),
    ("state", &["leases"]),
    ("giaddr", &["why"]),
    ("interface", &["why"]),
    ("user-class", &["why"]),
    ("vendor-class", &["why"]),
];

impl Given {
    fn set(&mut self, name: &'static str, value: String) -> Result<(), String> {
        let wrong = |what: &str| format!("--{name} {}: not {what}", value.escape_debug());
        if self.used.contains(&name) {
            return Err(format!("--{name} {}: a second one", value.escape_debug()));
        }
        match name {
            "address" => {
                let prefix = prefix(&value).ok_or_else(|| wrong("an address or prefix"))?;
                self.filter.addresses = Some(prefix);
            }
            "mac" => self.filter.hardware = Some(mac(&value).ok_or_else(|| wrong(MAC))?),
            "client-id" => {
                let id = octets(&value).ok_or_else(|| wrong("octets in hexadecimal"))?;
                self.filter.client_id = Some(id.clone());
                self.question.client_id = Some(id);
            }
            "hostname" => self.filter.hostname = Some(value),
            "network" => self.filter.network = Some(value),
            "state" => {
                let known = State::NAMES.iter().find(|(name, _)| *name == value);
                let states = "leased, offered, abandoned or ended";
                let (_, state) = known.ok_or_else(|| wrong(states))?;
                self.filter.state = Some(*state);
            }
            "giaddr" => {
                let address = value.parse().map_err(|_| wrong("an address"))?;
                self.question.giaddr = Some(address);
            }
            "interface" => self.question.interface = Some(value),
            "user-class" => self.question.user_class = Some(value.into_bytes()),
            _ => self.question.vendor_class = Some(value.into_bytes()),
        }
        self.used.push(name);
        Ok(())
    }

    fn into_args(mut self) -> Result<Args, String> {
        if self.words.is_empty() {
            return Err("no command".to_owned());
        }
        let verb = self.words.remove(0);
        let strange = self.used.iter().find(|name| {
            let verbs = OPTIONS.iter().find(|(known, _)| known == *name);
            !verbs.is_some_and(|(_, verbs)| verbs.contains(&verb.as_str()))
        });
        if let Some(name) = strange {
            return Err(format!("{verb} has no option --{name}"));
        }
        let mut shape = if self.json { Shape::Json } else { Shape::Text };
        let requests = match verb.as_str() {
            "status" => vec![Request::Status],
            "leases" => {
                while !self.words.is_empty() {
                    let word = self.words.remove(0);
                    self.filter_by(&word)?;
                }
                vec![Request::Leases(std::mem::take(&mut self.filter))]
            }
            "show" => {
                let word = self.word("an address or a hardware address")?;
                let show = match (word.parse(), mac(&word)) {
                    (Ok(address), _) => Request::ShowAddress(address),
                    (_, Some(hardware)) => Request::ShowHardware(hardware),
                    _ => {
                        return Err(format!(
                            "{}: neither an address nor {MAC}",
                            word.escape_debug()
                        ));
                    }
                };
                vec![show]
            }
            "why" => {
                let word = self.word("a hardware address")?;
                let hardware = mac(&word);
                let hardware =
                    hardware.ok_or_else(|| format!("{}: not {MAC}", word.escape_debug()))?;
                vec![Request::Why(Question { hardware, ..std::mem::take(&mut self.question) })]
            }
            "release" => vec![Request::Order(Order::Release, self.address()?)],
            "delete" => vec![Request::Order(Order::Delete, self.address()?)],
            "reload" => vec![Request::Reload],
            "pools" => vec![Request::Pools],
            "counters" => vec![Request::Counters],
            "metrics" if self.json => return Err("metrics has no option --json".to_owned()),
            "metrics" => {
                shape = Shape::Metrics;
                vec![Request::Status, Request::Pools, Request::Counters]
            }
            _ => return Err(format!("no command is called `{}`", verb.escape_debug())),
        };
        if let Some(word) = self.words.first() {
            return Err(format!("{verb}: what is `{}`?", word.escape_debug()));
        }
        let socket = self.socket.unwrap_or_else(|| PathBuf::from(SOCKET));
        Ok(Args { socket, command: Command::Ask(requests, shape) })
    }

    /// A filter without its name, where what it is can be seen.
    fn filter_by(&mut self, word: &str) -> Result<(), String> {
        let (name, what) = if prefix(word).is_some() {
            ("address", "address or prefix")
        } else if mac(word).is_some() {
            ("mac", "hardware address")
        } else if State::NAMES.iter().any(|(name, _)| *name == word) {
            ("state", "state")
        } else {
            return Err(format!(
                "leases: `{}` is no address, prefix, hardware address or state",
                word.escape_debug()
            ));
        };
        if self.used.contains(&name) {
            return Err(format!("leases: `{}` is a second {what}", word.escape_debug()));
        }
        self.set(name, word.to_owned())
    }

    fn word(&mut self, what: &str) -> Result<String, String> {
        if self.words.is_empty() {
            Err(format!("{what} is missing"))
        } else {
            Ok(self.words.remove(0))
        }
    }

    fn address(&mut self) -> Result<Ipv4Addr, String> {
        let word = self.word("an address")?;
        word.parse().map_err(|_| format!("{}: not an address", word.escape_debug()))
    }
}

/// What a hardware address is, for messages.
const MAC: &str = "a hardware address, as 02:00:00:00:00:01";

/// One address, or all of `address/length`.
fn prefix(text: &str) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let net: Ipv4Network = text.parse().ok()?;
    Some((net.network(), net.broadcast()))
}

fn mac(text: &str) -> Option<Vec<u8>> {
    let separated = text.contains([':', '-']);
    octets(text).filter(|mac| separated && (1..=MAX_HARDWARE).contains(&mac.len()))
}

/// Octets of one or two digits, separated by `:` or `-`; or of two digits, and not separated.
fn octets(text: &str) -> Option<Vec<u8>> {
    let octet = |digits: &str| {
        let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u8::from_str_radix(digits, 16).ok().filter(|_| plain && digits.len() <= 2)
    };
    if text.contains([':', '-']) {
        return text.split([':', '-']).map(octet).collect();
    }
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let octets: Option<Vec<u8>> =
        pairs.iter().map(|pair| octet(std::str::from_utf8(pair).ok()?)).collect();
    octets.filter(|octets| !octets.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<Args, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn request(line: &str) -> Request {
        match run(line).unwrap().command {
            Command::Ask(mut requests, Shape::Text) if requests.len() == 1 => requests.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands() {
        assert_eq!(request("status"), Request::Status);
        assert_eq!(request("leases"), Request::Leases(Filter::default()));
        assert_eq!(request("show 10.0.0.1"), Request::ShowAddress(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(request("show 2:0:0:0:0:ff"), Request::ShowHardware(vec![2, 0, 0, 0, 0, 255]));
        let address = Ipv4Addr::new(10, 0, 0, 1);
        assert_eq!(request("release 10.0.0.1"), Request::Order(Order::Release, address));
        assert_eq!(request("delete 10.0.0.1"), Request::Order(Order::Delete, address));
        assert_eq!(request("reload"), Request::Reload);
        let metrics = vec![Request::Status, Request::Pools, Request::Counters];
        assert_eq!(run("metrics").unwrap().command, Command::Ask(metrics, Shape::Metrics));
        assert_eq!(run("-h").unwrap().command, Command::Help);
        let args = run("-s /tmp/s pools --json").unwrap();
        assert_eq!(args.socket, PathBuf::from("/tmp/s"));
        assert_eq!(args.command, Command::Ask(vec![Request::Pools], Shape::Json));
        assert_eq!(run("pools").unwrap().socket, PathBuf::from(SOCKET));
    }

    #[test]
    fn filters_and_questions() {
        let line = "leases --address 10.0.0.77/24 --mac 02-00-00-00-00-01 --client-id 01ff \
                    --hostname pc --network=lan --state abandoned";
        let filter = Filter {
            addresses: Some((Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(10, 0, 0, 255))),
            hardware: Some(vec![2, 0, 0, 0, 0, 1]),
            client_id: Some(vec![1, 255]),
            hostname: Some("pc".into()),
            network: Some("lan".into()),
            state: Some(State::Abandoned),
        };
        assert_eq!(request(line), Request::Leases(filter));
        let line = "why 02:00:00:00:00:01 --client-id 1:2 --giaddr 10.1.0.1 --interface em0 \
                    --vendor-class PXE --user-class x";
        let question = Question {
            hardware: vec![2, 0, 0, 0, 0, 1],
            client_id: Some(vec![1, 2]),
            giaddr: Some(Ipv4Addr::new(10, 1, 0, 1)),
            interface: Some("em0".into()),
            vendor_class: Some(b"PXE".to_vec()),
            user_class: Some(b"x".to_vec()),
        };
        assert_eq!(request(line), Request::Why(question));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, want) in [
            ("", "no command"),
            ("lease", "no command is called `lease`"),
            ("status now", "status: what is `now`?"),
            ("show", "an address or a hardware address is missing"),
            ("show me", "me: neither an address nor"),
            ("why 10.0.0.1", "10.0.0.1: not a hardware address"),
            ("release lan", "lan: not an address"),
            ("status --mac 2:0:0:0:0:1", "status has no option --mac"),
            ("leases --giaddr 10.0.0.1", "leases has no option --giaddr"),
            ("leases --state here", "--state here: not leased, offered, abandoned or ended"),
            ("leases here", "leases: `here` is no address, prefix, hardware address or state"),
            ("leases --client-id 1", "--client-id 1: not octets in hexadecimal"),
            ("leases --address 10.0.0.0/33", "--address 10.0.0.0/33: not an address or prefix"),
            ("leases --mac", "missing argument for option '--mac'"),
            ("-x", "invalid option '-x'"),
            ("status --fast", "invalid option '--fast'"),
            ("metrics --json", "metrics has no option --json"),
            ("leases leased offered", "leases: `offered` is a second state"),
            ("leases 10.0.0.1 leased 10.0.0.2", "leases: `10.0.0.2` is a second address or prefix"),
            ("leases ended --state leased", "leases: `ended` is a second state"),
            ("leases --network a --network b", "--network b: a second one"),
        ] {
            let wrong = run(line).expect_err(line);
            assert!(wrong.starts_with(want), "{line}: {wrong}");
        }
    }

    #[test]
    fn the_manual_and_the_usage_tell_of_every_command_and_option() {
        let page = include_str!("../../dhcpctl.8");
        for (option, _) in OPTIONS.iter().chain(&[("json", &[][..])]) {
            assert!(page.contains(&format!("Fl -{option}")), "--{option} in dhcpctl(8)");
            assert!(USAGE.contains(&format!("--{option}")), "--{option} in the usage");
        }
        for verb in [
            "status", "leases", "show", "why", "release", "delete", "reload", "pools", "counters",
            "metrics",
        ] {
            assert!(page.contains(&format!(".It Cm {verb}")), "{verb} in dhcpctl(8)");
            assert!(USAGE.contains(verb), "{verb} in the usage");
        }
    }
}
