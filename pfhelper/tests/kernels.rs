//! Kernels without the firewall that the handler needs: refused, with the reason.
//!
//! No kernel at hand lacks it, so the test stands between the handler and the one there is: a
//! filter on system calls sees the socket of netlink being opened and says no, or hands over
//! another one, whose kernel side does not know the requests and says so as netfilter does where
//! nf_tables is not there.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may say what it expects")]

#[path = "support/lab.rs"]
mod lab;

use std::io::Error;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use lab::{Handler, all_tables, own_network, pidfd};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

/// Where the descriptor that tells of the calls is put.
const LISTENER: i32 = 100;

/// Filters the calling process: a netlink socket that is opened becomes `action`. What seccomp(2)
/// returns: with `flags` a descriptor.
fn filter_netlink(action: u32, flags: libc::c_ulong) -> Result<i32, Error> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, k, jf| libc::sock_filter { code, jt: 0, jf, k };
    let low_word = if cfg!(target_endian = "big") { 4 } else { 0 };
    let argument = offset_of!(libc::seccomp_data, args) + low_word;
    let mut steps = [
        step(LOAD, offset_of!(libc::seccomp_data, nr) as u32, 0),
        step(EQUAL, libc::SYS_socket as u32, 3),
        step(LOAD, argument as u32, 0),
        step(EQUAL, libc::AF_NETLINK as u32, 1),
        step(RETURN, action, 0),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the program lives through the call, which copies it.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result as i32) }
}

#[test]
fn a_kernel_without_netfilters_netlink_is_refused() {
    own_network();
    let action = libc::SECCOMP_RET_ERRNO | libc::EPROTONOSUPPORT as u32;
    let handler = Handler::launch_with("dhcpd: pf table handler", move || {
        filter_netlink(action, 0).map(drop)
    });
    let reason = handler.set_up(all_tables(), None).err().unwrap();
    assert!(reason.contains("nftables: open netlink: socket: Protocol not supported"), "{reason}");
    assert!(!reason.contains("CAP_NET_ADMIN"), "{reason}");
}

#[test]
fn a_kernel_without_nf_tables_is_refused() {
    own_network();
    let handler = Handler::launch_with("dhcpd: pf table handler", || {
        let told =
            filter_netlink(libc::SECCOMP_RET_USER_NOTIF, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)?;
        // SAFETY: two numbers; the one that was opened is open.
        if unsafe { libc::dup2(told, LISTENER) } < 0 { Err(Error::last_os_error()) } else { Ok(()) }
    });
    let process = pidfd(handler.child.id());
    // SAFETY: numbers; gives a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), LISTENER, 0) };
    assert!(fd >= 0, "{}", Error::last_os_error());
    // SAFETY: just opened, and nobody else's.
    let listener = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    // SAFETY: all zeros is what the kernel wants of this structure of numbers.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    assert!(lab::wait_for(std::os::fd::AsFd::as_fd(&listener), lab::PATIENCE));
    // SAFETY: the request writes one such structure.
    let told =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) };
    assert_eq!(told, 0, "{}", Error::last_os_error());
    let protocol = SockProtocol::NetlinkSockDiag;
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let other = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol).unwrap();
    let answer = libc::seccomp_notif_addfd {
        id: call.id,
        flags: libc::SECCOMP_ADDFD_FLAG_SEND as u32,
        srcfd: other.as_raw_fd() as u32,
        newfd: 0,
        newfd_flags: libc::O_CLOEXEC as u32,
    };
    // SAFETY: the request reads one such structure.
    let given = unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw const answer)
    };
    assert!(given > 2, "{}", Error::last_os_error());
    let reason = handler.set_up(all_tables(), None).err().unwrap();
    assert_eq!(reason, "nftables: this kernel has no nf_tables");
}
