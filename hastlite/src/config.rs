//! What hast.conf says, for one node, with everything that it left unsaid. Reads nothing.

pub mod this_node;

use crate::conf::address::{Address, NBD_PORT, PORT};
use crate::engine::Replication;
use crate::wire::data::{Checksum, Codec, Compression};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// Where hastctl(8) finds the daemon, unless said otherwise.
pub const CONTROL: &str = "/var/run/hastctl";
/// Where FreeBSD's hastd leaves its number.
pub const PIDFILE: &str = "/var/run/hastd.pid";
/// Where the sockets of exports are, if a resource's `name` is a plain name.
pub const EXPORTS: &str = "/var/run/hastlite";
/// Seconds.
pub const TIMEOUT: u32 = 20;

/// Everything for one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The socket of hastctl(8).
    pub control: PathBuf,
    /// A file for the parent's number; only used if asked for on the command line.
    pub pidfile: PathBuf,
    /// Where peers are heard.
    pub listen: Vec<Listen>,
    /// In the order of the file.
    pub resources: Vec<Resource>,
}

impl Config {
    /// By name.
    pub fn resource(&self, name: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.name == name)
    }
}

/// Where peers are heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Its port is 8457 if it has none.
    pub address: Address,
    /// It was asked for. One that was not may be missing, as where the system has no IPv6.
    pub required: bool,
}

impl Listen {
    /// Without any `listen`.
    pub fn defaults() -> Vec<Listen> {
        let any = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        any.map(|ip| Listen { address: Address::of(ip, PORT), required: false }).into()
    }
}

/// A replicated volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The same on both nodes.
    pub name: String,
    /// What `name` says, else the resource's name.
    pub provname: String,
    /// Where clients find it, which follows from `provname`.
    pub export: Export,
    /// Where the data is on this node.
    pub local: PathBuf,
    /// The other node. `None`: not known yet.
    pub remote: Option<Address>,
    /// Where connections come from. `None`: the system chooses.
    pub source: Option<Address>,
    /// When a write is answered.
    pub replication: Replication,
    /// Of the data that this node sends.
    pub checksum: Checksum,
    /// Of the data that this node sends.
    pub compression: Compression,
    /// Seconds after which a peer that does not answer is given up; at least 1.
    pub timeout: u32,
    /// The program that is told what happens.
    pub exec: Option<PathBuf>,
    /// Whether a change of the activemap is on stable storage before data is written.
    pub metaflush: bool,
}

/// Where clients find a resource, by NBD. The export is called by the resource's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Export {
    /// A unix socket.
    Unix(PathBuf),
    /// TCP; its port is 10809 if it has none.
    Tcp(Address),
}

/// What a new configuration asks of a resource that is in use (hast.md 13.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// The worker is told. The link is made anew if an address has changed.
    Settings {
        /// `remote` or `source` is another.
        address: bool,
    },
    /// The worker ends, and another begins in the same role.
    Restart,
}

impl Resource {
    /// What has to be done so that `new` holds, while this node is primary. In any other role a
    /// worker is started anew for any change.
    pub fn change_to(&self, new: &Resource) -> Change {
        if self == new {
            return Change::None;
        }
        if (&self.provname, &self.export, &self.local) != (&new.provname, &new.export, &new.local) {
            return Change::Restart;
        }
        Change::Settings { address: (&self.remote, &self.source) != (&new.remote, &new.source) }
    }

    /// What happens to the data that this node sends.
    pub fn codec(&self) -> Codec {
        Codec { checksum: self.checksum, compression: self.compression }
    }

    /// How NBD clients call it, as nbd-uri(7) of the NBD project has it.
    pub fn uri(&self) -> String {
        let name = &self.name;
        match &self.export {
            Export::Unix(path) => format!("nbd+unix:///{name}?socket={}", path.display()),
            Export::Tcp(address) => format!("nbd://{}/{name}", address.authority(NBD_PORT)),
        }
    }
}

/// What a node is known by: any of these may stand behind `on`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// As gethostname(3) has it; also without what follows the first dot.
    pub hostname: String,
    /// Upper and lower case are the same.
    pub uuids: Vec<String>,
    /// In decimal behind `hostid`.
    pub hostid: Option<u32>,
}

impl Node {
    /// Whether `name` is this node.
    pub fn is(&self, name: &str) -> bool {
        let short = self.hostname.split('.').next().unwrap_or_default();
        !name.is_empty()
            && (name == self.hostname
                || name == short
                || self.uuids.iter().any(|uuid| uuid.eq_ignore_ascii_case(name))
                || self.hostid.is_some_and(|id| name == format!("hostid{id}")))
    }

    /// All that it is known by, for messages.
    pub fn names(&self) -> Vec<String> {
        let short = self.hostname.split('.').next().unwrap_or_default();
        let mut names = vec![self.hostname.clone()];
        names.extend((short != self.hostname).then(|| short.to_owned()));
        names.extend(self.uuids.iter().cloned());
        names.extend(self.hostid.map(|id| format!("hostid{id}")));
        names.retain(|name| !name.is_empty());
        names
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(", "))
    }
}
