//! What the parent does for synchronisation: names, the key file, and the socket.

use super::{GROUP, Keys, Options, PORT};
use crate::interfaces::{self, Interface};
use sha2::Digest;
use socket2::{Domain, Protocol, Socket, Type};
use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The key file, the same on all servers.
pub const KEY: &str = "/var/db/dhcpd.key";
/// What the port is called in the services database.
const SERVICE: &str = "dhcpd-sync";
const SERVICES: &str = "/etc/services";
/// The most bytes of a key file.
const LONGEST_KEY: u64 = 1 << 20;
/// With fewer, everybody could guess them.
const SHORTEST_KEY: usize = 16;

/// What the server is given.
#[derive(Debug)]
pub struct Opened {
    /// All but the epoch.
    pub options: Options,
    /// Bound, and a member of the group if need be.
    pub socket: OwnedFd,
    /// What is to be logged.
    pub remarks: Vec<String>,
}

/// An argument of `-Y` or `-y`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Address(Ipv4Addr),
    Interface { name: String, address: Ipv4Addr, ttl: u32 },
}

/// Opens what `-Y` and `-y` ask for; `None` if they ask for nothing.
///
/// # Errors
/// What is wrong with an argument or the key file, or why there is no socket.
pub fn open(targets: &[String], listen: Option<&str>) -> Result<Option<Opened>, String> {
    if targets.is_empty() && listen.is_none() {
        return Ok(None);
    }
    let there = interfaces::list().map_err(|e| e.to_string())?;
    let port = port(&std::fs::read_to_string(SERVICES).unwrap_or_default());
    let tell = targets.iter().map(|text| place("-Y", text, &there, resolve));
    let tell = tell.collect::<Result<Vec<_>, _>>()?;
    let nobody = |name: &str| Err(format!("{name}: neither an address nor an interface"));
    let hear = listen.map(|text| place("-y", text, &there, nobody)).transpose()?;
    one_interface(tell.iter().chain(&hear))?;

    let mut remarks = Vec::new();
    let keys = read_key(Path::new(KEY), &mut remarks)?;
    let socket = socket(&tell, hear.as_ref(), port)?;
    let target = |place: &Place| match place {
        Place::Address(address) => SocketAddrV4::new(*address, port),
        Place::Interface { .. } => SocketAddrV4::new(GROUP, port),
    };
    let mut targets: Vec<SocketAddrV4> = tell.iter().map(target).collect();
    targets.sort_unstable();
    targets.dedup();
    let addresses = there.iter().flat_map(|interface| &interface.addresses);
    let options = Options {
        listens: hear.is_some(),
        keys,
        own_addresses: addresses.map(|network| network.ip()).collect(),
        epoch: 0,
        targets,
    };
    if options.keys.is_some() && (!options.listens || options.targets.is_empty()) {
        let missing = if options.listens { "-Y" } else { "-y" };
        remarks.push(format!("sync: without {missing} only OpenBSD's form is used"));
    }
    Ok(Some(Opened { options, socket, remarks }))
}

/// The port that the services database names, else the usual one.
fn port(services: &str) -> u16 {
    let ports = services.lines().filter_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let name = words.next()?;
        let (port, protocol) = words.next()?.split_once('/')?;
        let named = name == SERVICE || words.any(|alias| alias == SERVICE);
        if named && protocol == "udp" { port.parse().ok() } else { None }
    });
    ports.into_iter().next().unwrap_or(PORT)
}

/// What an argument means: an address, else `interface[:ttl]`, else whatever `otherwise` makes of it.
fn place(
    flag: &str,
    text: &str,
    there: &[Interface],
    otherwise: impl Fn(&str) -> Result<Ipv4Addr, String>,
) -> Result<Place, String> {
    if let Ok(address) = text.parse() {
        return Ok(Place::Address(address));
    }
    let (name, ttl) = match text.split_once(':') {
        Some((name, ttl)) => (name, Some(ttl)),
        None => (text, None),
    };
    let Some(interface) = there.iter().find(|interface| interface.name == name) else {
        return match ttl {
            Some(_) => Err(format!("{flag} {text}: there is no interface {name}")),
            None => Ok(Place::Address(otherwise(text).map_err(|why| format!("{flag} {why}"))?)),
        };
    };
    let ttl = match ttl.map(str::parse) {
        None => 1,
        Some(Ok(ttl @ 1..=255)) => ttl,
        Some(_) => return Err(format!("{flag} {text}: a TTL is a number from 1 to 255")),
    };
    let address = interface.address();
    let address = address.ok_or_else(|| format!("{flag} {text}: {name} has no IPv4 address"))?;
    Ok(Place::Interface { name: name.to_owned(), address, ttl })
}

fn resolve(name: &str) -> Result<Ipv4Addr, String> {
    let all = (name, 0).to_socket_addrs().map_err(|error| format!("{name}: {error}"))?;
    let first = all.into_iter().find_map(|address| match address {
        SocketAddr::V4(address) => Some(*address.ip()),
        SocketAddr::V6(_) => None,
    });
    first.ok_or_else(|| format!("{name}: it has no IPv4 address"))
}

/// There is one socket, and so one interface for the group.
fn one_interface<'a>(places: impl Iterator<Item = &'a Place>) -> Result<(), String> {
    let mut first: Option<&str> = None;
    for place in places {
        if let Place::Interface { name, .. } = place {
            match first {
                Some(other) if other != name => {
                    return Err(format!("-Y and -y name two interfaces, {other} and {name}"));
                }
                _ => first = Some(name),
            }
        }
    }
    Ok(())
}

/// Reads the key file. One that is missing is no error, as with OpenBSD's.
fn read_key(path: &Path, remarks: &mut Vec<String>) -> Result<Option<Keys>, String> {
    let name = path.display();
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            remarks.push(format!(
                "sync: there is no {name}: nothing is authenticated, and only OpenBSD's form is used"
            ));
            return Ok(None);
        }
        Err(error) => return Err(format!("open {name}: {error}")),
    };
    let failed = |error: io::Error| format!("read {name}: {error}");
    if file.metadata().map_err(failed)?.mode() & 0o007 != 0 {
        remarks.push(format!("sync: {name} can be read by everybody"));
    }
    let mut secret = Vec::new();
    file.by_ref().take(LONGEST_KEY + 1).read_to_end(&mut secret).map_err(failed)?;
    if secret.len() < SHORTEST_KEY || secret.len() as u64 > LONGEST_KEY {
        return Err(format!(
            "{name} has {} bytes; a key has {SHORTEST_KEY} to {LONGEST_KEY}",
            secret.len()
        ));
    }
    Ok(Some(keys(&secret)))
}

/// What the contents of a key file come to.
pub fn keys(secret: &[u8]) -> Keys {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut openbsd = [0; 40];
    for (place, byte) in openbsd.chunks_exact_mut(2).zip(sha1::Sha1::digest(secret)) {
        let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or_default();
        place.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    let mut own = sha2::Sha256::new_with_prefix(b"tandem dhcpd lease synchronisation, form 1\0");
    own.update(secret);
    Keys { openbsd, own: own.finalize().into() }
}

fn socket(tell: &[Place], hear: Option<&Place>, port: u16) -> Result<OwnedFd, String> {
    let bind = match hear {
        Some(Place::Address(address)) => SocketAddrV4::new(*address, port),
        Some(Place::Interface { .. }) => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port),
        // Nobody is heard: any port will do.
        None => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
    };
    let failed = |what: &str| {
        let tried = format!("{what} for synchronisation, {bind}");
        move |error: io::Error| format!("{tried}: {error}")
    };
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))
        .map_err(failed("open a socket"))?;
    socket.set_nonblocking(true).map_err(failed("set up the socket"))?;
    crate::socket::grow_queues(std::os::fd::AsFd::as_fd(&socket));
    socket.bind(&bind.into()).map_err(failed("bind the socket"))?;
    for place in tell.iter().chain(hear) {
        if let Place::Interface { address, .. } = place {
            socket.set_multicast_if_v4(address).map_err(failed("choose the interface"))?;
            socket.set_multicast_loop_v4(false).map_err(failed("set up multicast"))?;
        }
    }
    if let Some(Place::Interface { address, .. }) = hear {
        socket.join_multicast_v4(&GROUP, address).map_err(failed("join the group"))?;
    }
    let ttl = tell.iter().filter_map(|place| match place {
        Place::Interface { ttl, .. } => Some(*ttl),
        Place::Address(_) => None,
    });
    if let Some(ttl) = ttl.max() {
        socket.set_multicast_ttl_v4(ttl).map_err(failed("set the TTL"))?;
    }
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::net::if_::InterfaceFlags;

    fn there() -> Vec<Interface> {
        let em0 = Interface {
            name: "em0".into(),
            index: 2,
            mac: None,
            flags: InterfaceFlags::empty(),
            addresses: vec!["192.0.2.1/24".parse().unwrap()],
        };
        vec![Interface { name: "em1".into(), addresses: vec![], ..em0.clone() }, em0]
    }

    #[test]
    fn what_targets_mean() {
        let of = |text: &str| {
            place("-Y", text, &there(), |name| match name {
                "friend" => Ok(Ipv4Addr::new(192, 0, 2, 9)),
                _ => Err(format!("{name}: unknown")),
            })
        };
        let em0 =
            |ttl| Place::Interface { name: "em0".into(), address: [192, 0, 2, 1].into(), ttl };
        assert_eq!(of("em0"), Ok(em0(1)));
        assert_eq!(of("em0:32"), Ok(em0(32)));
        assert_eq!(of("192.0.2.7"), Ok(Place::Address([192, 0, 2, 7].into())));
        assert_eq!(of("friend"), Ok(Place::Address([192, 0, 2, 9].into())));
        assert_eq!(of("stranger").unwrap_err(), "-Y stranger: unknown");
        for bad in ["em0:0", "em0:256", "em0:x", "em0:"] {
            let wrong = of(bad).unwrap_err();
            assert_eq!(wrong, format!("-Y {bad}: a TTL is a number from 1 to 255"));
        }
        assert_eq!(of("em1").unwrap_err(), "-Y em1: em1 has no IPv4 address");
        assert_eq!(of("em7:2").unwrap_err(), "-Y em7:2: there is no interface em7");
        let em1 = Place::Interface { name: "em1".into(), address: [1, 1, 1, 1].into(), ttl: 1 };
        assert!(one_interface([em0(1), em0(2)].iter()).is_ok());
        assert!(one_interface([em0(1), em1].iter()).is_err());
    }

    #[test]
    fn the_services_database_decides_the_port() {
        assert_eq!(port(""), 8067);
        assert_eq!(port("bootps 67/udp\n#dhcpd-sync 1/udp\ndhcpd-sync 99/tcp\n"), 8067);
        assert_eq!(port("dhcpd-sync\t9067/udp # leases\n"), 9067);
        assert_eq!(port("other 77/udp x dhcpd-sync\n"), 77);
    }

    #[test]
    fn a_key_file_that_is_missing_is_said_and_one_that_is_too_short_refused() {
        let folder = std::env::temp_dir().join(format!("dhcpd-key-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("key");
        let mut remarks = Vec::new();
        assert_eq!(read_key(&path, &mut remarks), Ok(None));
        assert!(remarks[0].contains("nothing is authenticated"));
        std::fs::write(&path, b"short").unwrap();
        assert!(read_key(&path, &mut remarks).unwrap_err().contains("has 5 bytes"));
        std::fs::write(&path, [7; 2048]).unwrap();
        assert_eq!(read_key(&path, &mut remarks), Ok(Some(keys(&[7; 2048]))));
        assert!(read_key(&folder, &mut remarks).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
