//! `watch` on Linux: an rtnetlink(7) socket. The kernel speaks to it unasked; it is never asked.

use super::netlink::{Event, events};
use crate::socket::Error;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, socket,
};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// RTMGRP_LINK and RTMGRP_IPV4_IFADDR.
const GROUPS: u32 = 0x1 | 0x10;

pub fn open() -> Result<OwnedFd, Error> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let route = SockProtocol::NetlinkRoute;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, route)
        .map_err(|error| Error::new("open a netlink socket", error))?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))
        .map_err(|error| Error::new("listen for changes of interfaces", error))?;
    Ok(fd)
}

/// Reads one datagram and says whether it tells of a change.
pub fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<bool, Errno> {
    let (length, sender) = recvfrom::<NetlinkAddr>(fd.as_raw_fd(), buffer)?;
    // Other processes may write to us too; the kernel is number 0.
    if sender.is_none_or(|sender| sender.pid() != 0) {
        return Ok(false);
    }
    let bytes = buffer.get(..length).unwrap_or_default();
    let mut changed = false;
    for event in events(bytes) {
        log::debug!("the system says: {event}");
        changed |= event != Event::Other;
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use crate::watch::Watch;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sched::{CloneFlags, unshare};
    use std::os::fd::AsFd;

    /// In a network namespace of this thread's own, where nothing else changes.
    #[test]
    fn a_link_that_comes_up_is_heard_of() {
        std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            let mut watch = Watch::open().expect("a watch");
            assert!(!watch.changed().expect("hear"));
            let status =
                std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
            assert!(status.expect("run ip").success());
            let mut fds = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut fds, PollTimeout::from(20_000u16)), Ok(1));
            assert!(watch.changed().expect("hear"));
            while watch.changed().expect("hear") {}
        })
        .join()
        .expect("the thread");
    }
}
