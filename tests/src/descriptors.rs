//! What the descriptors of a process are, as its /proc has them: files by name, sockets by kind.

use std::collections::HashMap;
use std::fs;

/// The tables of a namespace's sockets, and the column of each that has the inode.
const TABLES: [(&str, usize); 6] =
    [("packet", 8), ("udp", 9), ("raw", 9), ("icmp", 9), ("netlink", 9), ("unix", 6)];

/// What each is, in ascending order: `/dev/null`, `pipe`, `socket unix`, ...
///
/// # Panics
/// If there is no such process.
pub fn descriptors(pid: u32) -> Vec<String> {
    let kinds = socket_kinds(pid);
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("read its descriptors");
    let mut all: Vec<String> = entries
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|target| {
            let target = target.display().to_string();
            match target.split_once(":[") {
                Some(("socket", inode)) => {
                    let inode = inode.trim_end_matches(']');
                    format!("socket {}", kinds.get(inode).copied().unwrap_or("of no kind we know"))
                }
                Some(("anon_inode", what)) => what.trim_end_matches(']').to_owned(),
                Some((what, _)) => what.to_owned(),
                None => target.trim_start_matches("anon_inode:").to_owned(),
            }
        })
        .collect();
    all.sort();
    all
}

fn socket_kinds(pid: u32) -> HashMap<String, &'static str> {
    let mut kinds = HashMap::new();
    for (kind, column) in TABLES {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{kind}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let inode = line.split_whitespace().nth(column);
            kinds.extend(inode.map(|inode| (inode.to_owned(), kind)));
        }
    }
    kinds
}
