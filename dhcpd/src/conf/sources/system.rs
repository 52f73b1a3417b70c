//! The real file system and resolver, asked once for each thing and remembered.

use super::recorded::RecordedSources;
use super::{Sources, ethers};
use crate::conf::source::MAX_FILE;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const ETHERS: &str = "/etc/ethers";

/// Opens files and asks the resolver; blocks for as long as they do.
#[derive(Debug, Default)]
pub struct SystemSources {
    answers: RecordedSources,
    /// What names of files are relative to, where not to the working directory.
    base: PathBuf,
    /// /etc/ethers, once somebody asked for it.
    ethers: Option<Result<HashMap<String, [u8; 6]>, String>>,
}

impl SystemSources {
    /// Nothing asked yet.
    pub fn new() -> SystemSources {
        SystemSources::default()
    }

    /// The same, with names of files relative to a directory.
    pub fn within(base: &Path) -> SystemSources {
        SystemSources { base: base.to_owned(), ..SystemSources::default() }
    }

    /// Every answer that was given, to be given again by somebody who may not ask.
    pub fn into_recorded(self) -> RecordedSources {
        self.answers
    }
}

impl Sources for SystemSources {
    fn file(&mut self, path: &str) -> Result<Arc<[u8]>, String> {
        let SystemSources { answers, base, .. } = self;
        let read = || read(&base.join(path), path).map(Arc::from);
        answers.files.entry(path.to_owned()).or_insert_with(read).clone()
    }

    fn addresses(&mut self, name: &str) -> Result<Vec<Ipv4Addr>, String> {
        let addresses = &mut self.answers.addresses;
        addresses.entry(name.to_owned()).or_insert_with(|| resolve(name)).clone()
    }

    fn ethernet(&mut self, name: &str) -> Result<[u8; 6], String> {
        let SystemSources { answers, ethers, .. } = self;
        let look_up = || {
            let file = ethers.get_or_insert_with(|| {
                read(ETHERS.as_ref(), ETHERS).map(|text| ethers::parse(&text))
            });
            let names = file.as_ref().map_err(String::clone)?;
            names.get(name).copied().ok_or_else(|| format!("{ETHERS} does not list {name}"))
        };
        answers.ethernet.entry(name.to_owned()).or_insert_with(look_up).clone()
    }
}

fn read(at: &Path, path: &str) -> Result<Vec<u8>, String> {
    let file = File::open(at).map_err(|error| format!("open {path}: {error}"))?;
    let mut text = Vec::new();
    // One byte more than is allowed, to see that there is one: a device has no size to ask for.
    let mut limited = file.take(MAX_FILE as u64 + 1);
    limited.read_to_end(&mut text).map_err(|error| format!("read {path}: {error}"))?;
    if text.len() > MAX_FILE {
        return Err(format!("read {path}: it is larger than {} MiB", MAX_FILE >> 20));
    }
    Ok(text)
}

fn resolve(name: &str) -> Result<Vec<Ipv4Addr>, String> {
    let found = (name, 0).to_socket_addrs().map_err(|error| format!("look up {name}: {error}"))?;
    let mut addresses: Vec<Ipv4Addr> = Vec::new();
    for address in found {
        if let IpAddr::V4(address) = address.ip()
            && !addresses.contains(&address)
            && addresses.len() < RecordedSources::MAX_ADDRESSES
        {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(format!("look up {name}: it has no IPv4 address"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_what_was_tried() {
        let mut system = SystemSources::new();
        let error = system.file("/nonexistent/dhcpd.conf").unwrap_err();
        assert!(error.starts_with("open /nonexistent/dhcpd.conf: No such file"), "{error}");
        let error = system.file("/dev/zero").unwrap_err();
        assert_eq!(error, "read /dev/zero: it is larger than 16 MiB");
        let mut elsewhere = SystemSources::within(Path::new("/nonexistent"));
        let error = elsewhere.file("dhcpd.conf").unwrap_err();
        assert!(error.starts_with("open dhcpd.conf: No such file"), "{error}");
        assert!(SystemSources::within(Path::new("/dev")).file("null").is_ok());
        let error = system.file("/").unwrap_err();
        assert!(error.starts_with("read /: "), "{error}");
    }

    #[test]
    fn what_was_answered_is_recorded() {
        let mut system = SystemSources::new();
        let address = system.addresses("localhost").unwrap();
        assert_eq!(address, [Ipv4Addr::LOCALHOST]);
        let missing = system.file("/nonexistent/x").unwrap_err();
        let mut recorded = system.into_recorded();
        assert_eq!(recorded.addresses("localhost").unwrap(), address);
        assert_eq!(recorded.file("/nonexistent/x").unwrap_err(), missing);
    }
}
