//! Numbers of this machine on Linux.

use std::fs;

/// The machine's number in machine-id(5), and that of its firmware, which only root can read.
pub fn uuids() -> Vec<String> {
    let files = ["/etc/machine-id", "/sys/class/dmi/id/product_uuid"];
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    texts.map(|text| text.trim().to_owned()).filter(|id| id.len() >= 32).collect()
}

/// What sethostid(2) has left in `/etc/hostid`. gethostid(3) makes one of the address of the host's
/// name where there is none: 127.0.1.1 on every second machine, and no name for one of them.
pub fn hostid() -> Option<u32> {
    let bytes = fs::read("/etc/hostid").ok()?;
    bytes.first_chunk().map(|id| u32::from_ne_bytes(*id)).filter(|id| *id != 0)
}
