//! Addresses as hast.conf writes them. Nothing is resolved here: a name is looked up whenever it is
//! used.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// The port of replication.
pub const PORT: u16 = 8457;
/// The port of NBD.
pub const NBD_PORT: u16 = 10809;

/// Bytes of an address, at most.
const MAX_ADDRESS: usize = 1023;
/// Bytes of a socket's path, at most: what fits into a `sockaddr_un` on all systems.
const MAX_PATH: usize = 103;

/// Which kinds of addresses a name may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `tcp://`, or nothing: any.
    Any,
    /// `tcp4://`
    V4,
    /// `tcp6://`
    V6,
}

/// What is in front of the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// To be looked up.
    Name(String),
    /// As it is.
    Ip(IpAddr),
}

/// One end of a TCP connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    text: String,
    /// Of what `host` is, or may stand for.
    pub family: Family,
    /// Where.
    pub host: Host,
    /// `None`: not said.
    pub port: Option<u16>,
}

/// As it was written.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Address {
    /// Understands `[tcp://|tcp4://|tcp6://]host[:port]`, an IPv6 address with a port in brackets.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Address, String> {
        if text.len() > MAX_ADDRESS {
            return Err(format!("an address of {} bytes; at most {MAX_ADDRESS}", text.len()));
        }
        let (family, rest) = match split_scheme(text) {
            None => (Family::Any, text),
            Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
                "tcp" => (Family::Any, rest),
                "tcp4" => (Family::V4, rest),
                "tcp6" => (Family::V6, rest),
                "uds" | "unix" => return Err("a unix socket, where TCP is wanted".to_owned()),
                _ => return Err(format!("`{scheme}://` is none of tcp://, tcp4:// and tcp6://")),
            },
        };
        if rest.starts_with('/') {
            return Err("a path, where a TCP address is wanted".to_owned());
        }
        let (host, port) = split_port(rest)?;
        let family = match (&host, family) {
            (Host::Ip(IpAddr::V4(_)), Family::Any | Family::V4) => Family::V4,
            (Host::Ip(IpAddr::V6(_)), Family::Any | Family::V6) => Family::V6,
            (Host::Ip(IpAddr::V4(_)), Family::V6) => {
                return Err("an IPv4 address behind tcp6://".to_owned());
            }
            (Host::Ip(IpAddr::V6(_)), Family::V4) => {
                return Err("an IPv6 address behind tcp4://".to_owned());
            }
            (Host::Name(_), family) => family,
        };
        Ok(Address { text: text.to_owned(), family, host, port })
    }

    /// One of ours.
    pub fn of(ip: IpAddr, port: u16) -> Address {
        let (family, text) = match ip {
            IpAddr::V4(ip) => (Family::V4, format!("tcp4://{ip}:{port}")),
            IpAddr::V6(ip) => (Family::V6, format!("tcp6://[{ip}]:{port}")),
        };
        Address { text, family, host: Host::Ip(ip), port: Some(port) }
    }

    /// `host:port`, with `port` where it has none.
    pub fn authority(&self, port: u16) -> String {
        let port = self.port.unwrap_or(port);
        match &self.host {
            Host::Name(name) => format!("{name}:{port}"),
            Host::Ip(ip) => SocketAddr::new(*ip, port).to_string(),
        }
    }

    /// The two cannot be the ends of one connection.
    pub fn excludes(&self, other: &Address) -> bool {
        matches!((self.family, other.family), (Family::V4, Family::V6) | (Family::V6, Family::V4))
    }
}

fn split_scheme(text: &str) -> Option<(&str, &str)> {
    text.split_once("://")
}

fn split_port(rest: &str) -> Result<(Host, Option<u16>), String> {
    if let Some(inside) = rest.strip_prefix('[') {
        let (host, port) = inside.split_once(']').ok_or("`[` without `]`")?;
        let port = match port.strip_prefix(':') {
            Some(port) => Some(parse_port(port)?),
            None if port.is_empty() => None,
            None => return Err(format!("`{port}` behind `]`: a port is written `:port`")),
        };
        return Ok((Host::Ip(IpAddr::V6(parse_v6(host)?)), port));
    }
    match rest.split_once(':') {
        None => Ok((parse_host(rest)?, None)),
        // Two colons: an IPv6 address, and no port.
        Some((_, port)) if port.contains(':') => Ok((Host::Ip(IpAddr::V6(parse_v6(rest)?)), None)),
        Some((host, port)) => Ok((parse_host(host)?, Some(parse_port(port)?))),
    }
}

fn parse_v6(text: &str) -> Result<Ipv6Addr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an IPv6 address"))
}

fn parse_port(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(format!("`{text}` is not a port: a number from 1 to 65535")),
    }
}

fn parse_host(text: &str) -> Result<Host, String> {
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Ip(IpAddr::V4(ip)));
    }
    if text.is_empty() {
        return Err("an address without a host".to_owned());
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(format!("`{text}` is not an IPv4 address"));
    }
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.len() > 253 || !text.bytes().all(good) {
        return Err(format!("`{text}` is not the name of a host"));
    }
    Ok(Host::Name(text.to_owned()))
}

/// An absolute path that a socket can have: `uds://path`, `unix://path` or the path itself.
///
/// # Errors
/// What is wrong with it.
pub fn unix_path(text: &str) -> Result<PathBuf, String> {
    let path = match split_scheme(text) {
        None => text,
        Some((scheme, path)) => match scheme.to_ascii_lowercase().as_str() {
            "uds" | "unix" => path,
            _ => return Err(format!("`{scheme}://` is neither uds:// nor unix://")),
        },
    };
    let path = absolute(path)?;
    if path.as_os_str().len() > MAX_PATH {
        let bytes = path.as_os_str().len();
        return Err(format!("a path of {bytes} bytes; at most {MAX_PATH} for a socket"));
    }
    Ok(path)
}

/// A path that means the same whatever the working directory is.
///
/// # Errors
/// It does not.
pub fn absolute(text: &str) -> Result<PathBuf, String> {
    if !text.starts_with('/') {
        return Err(format!("`{text}` is not an absolute path"));
    }
    if text.len() > MAX_ADDRESS {
        return Err(format!("a path of {} bytes; at most {MAX_ADDRESS}", text.len()));
    }
    Ok(PathBuf::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Family, String, Option<u16>) {
        let address = Address::parse(text).unwrap();
        assert_eq!(address.to_string(), text);
        let host = match address.host {
            Host::Name(name) => name,
            Host::Ip(ip) => ip.to_string(),
        };
        (address.family, host, address.port)
    }

    #[test]
    fn every_form() {
        use Family::{Any, V4, V6};
        let is = |text: &str, family, host: &str, port| {
            assert_eq!(parsed(text), (family, host.to_owned(), port), "{text}");
        };
        is("tcp4://10.0.0.1:8457", V4, "10.0.0.1", Some(8457));
        is("tcp://10.0.0.1", V4, "10.0.0.1", None);
        is("TCP6://[2001:db8::1]:1", V6, "2001:db8::1", Some(1));
        is("2001:db8::1", V6, "2001:db8::1", None);
        is("::", V6, "::", None);
        is("[::1]", V6, "::1", None);
        is("tcp6://[::]:8457", V6, "::", Some(8457));
        is("hastb", Any, "hastb", None);
        is("hastb.example.org:99", Any, "hastb.example.org", Some(99));
        is("tcp4://hastb", V4, "hastb", None);
        is("tcp6://hastb:65535", V6, "hastb", Some(65535));
        let ours = Address::of("::1".parse().unwrap(), 7);
        assert_eq!(Address::parse(&ours.to_string()), Ok(ours));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |text: &str, part: &str| {
            let said = Address::parse(text).unwrap_err();
            assert!(said.contains(part), "{text}: {said}");
        };
        wrong("udp://x", "none of tcp://");
        wrong("uds:///x", "a unix socket");
        wrong("/x", "a path");
        wrong("tcp:///x", "a path");
        wrong("tcp://", "without a host");
        wrong(":99", "without a host");
        wrong("x:", "not a port");
        wrong("x:0", "not a port");
        wrong("x:65536", "not a port");
        wrong("x:+1", "not a port");
        wrong("300.1.1.1", "not an IPv4 address");
        wrong("1.2.3", "not an IPv4 address");
        wrong("a/b", "not the name of a host");
        wrong("a[b", "not the name of a host");
        wrong("[::1", "without `]`");
        wrong("[::1]9", "a port is written");
        wrong("[10.0.0.1]:9", "not an IPv6 address");
        wrong("1:2:3", "not an IPv6 address");
        wrong("tcp4://[::1]", "behind tcp4://");
        wrong("tcp6://10.0.0.1", "behind tcp6://");
        wrong(&"x".repeat(1024), "1024 bytes");
    }

    #[test]
    fn paths_of_sockets() {
        let path = |text: &str| unix_path(text).map(|path| path.display().to_string());
        assert_eq!(path("uds:///var/run/hastctl"), Ok("/var/run/hastctl".to_owned()));
        assert_eq!(path("UNIX:///a"), Ok("/a".to_owned()));
        assert_eq!(path("/a"), Ok("/a".to_owned()));
        assert!(path("uds://a").unwrap_err().contains("absolute"));
        assert!(path("a").unwrap_err().contains("absolute"));
        assert!(path("tcp://a").unwrap_err().contains("neither uds:// nor"));
        assert!(path(&format!("/{}", "a".repeat(103))).unwrap_err().contains("104 bytes"));
        assert!(path(&format!("/{}", "a".repeat(102))).is_ok());
    }
}
