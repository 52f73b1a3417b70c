//! Who holds a listening socket, and what they are doing: as /proc has it.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a server that does not greet is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// This process is, and it is stopped or traced.
    Stopped(i32),
    /// It has calls to wait for.
    Busy,
    /// Nothing that would keep it from answering; or it is not to be seen.
    Idle,
}

/// Looks for who listens at `path`.
pub(super) fn look(path: &Path) -> Look {
    let Some(inode) = listening(path) else { return Look::Idle };
    let holders = holders(&inode);
    let mut stopped = None;
    for (pid, process) in &holders {
        if matches!(state(process), Some(b'T' | b't')) {
            stopped = Some(*pid);
        } else if has_children(*pid) {
            return Look::Busy;
        }
    }
    match (stopped, holders.len()) {
        (Some(pid), 1) => Look::Stopped(pid),
        _ => Look::Idle,
    }
}

/// The number the kernel has given the socket that listens at this path, as descriptors show it.
fn listening(path: &Path) -> Option<String> {
    let text = fs::read("/proc/net/unix").ok()?;
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let words: Vec<&[u8]> = line.splitn(8, |byte| *byte == b' ').collect();
        let [_, _, _, flags, _, _, rest @ ..] = words.as_slice() else { return None };
        let rest = rest.join(&b' ');
        // The inode is padded on its left.
        let rest = rest.trim_ascii_start();
        let (inode, name) = rest.split_at_checked(rest.iter().position(|byte| *byte == b' ')?)?;
        let listens = *flags == b"00010000";
        (listens && name.get(1..) == Some(path.as_os_str().as_bytes()))
            .then(|| format!("socket:[{}]", String::from_utf8_lossy(inode)))
    })
}

fn holders(inode: &str) -> Vec<(i32, PathBuf)> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let holds = |process: &Path| {
        fs::read_dir(process.join("fd")).is_ok_and(|list| {
            let links = list.flatten().map(|entry| fs::read_link(entry.path()));
            links.flatten().any(|link| link.as_os_str() == inode)
        })
    };
    let number = |entry: &fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    processes
        .flatten()
        .filter_map(|entry| Some((number(&entry)?, entry.path())))
        .filter(|(_, process)| holds(process))
        .collect()
}

/// The letter of a process's state.
fn state(process: &Path) -> Option<u8> {
    let stat = fs::read(process.join("stat")).ok()?;
    let name = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(name.checked_add(2)?).copied()
}

fn has_children(pid: i32) -> bool {
    let list = format!("/proc/{pid}/task/{pid}/children");
    // A kernel that cannot tell has not said no.
    fs::read(list).map_or(true, |children| !children.trim_ascii().is_empty())
}
