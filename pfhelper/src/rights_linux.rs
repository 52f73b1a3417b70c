//! What is left of the handler's rights on Linux: CAP_NET_ADMIN, because the kernel asks for it at
//! every request, and the system calls below.

use supervise::confine::{Call, Capability, Confinement, Rules, When, confine};
use supervise::{Error, Identity};

const CALLS: &[Call] = &[
    Call::new(libc::SYS_recvmsg, "messages of the channels, answers of netlink"),
    Call::new(libc::SYS_sendmsg, "messages to the channels"),
    Call::new(libc::SYS_sendto, "requests to netlink"),
    Call::when(
        libc::SYS_shutdown,
        &[When::Is(1, libc::SHUT_RD)],
        "no more is heard of the server when the parent is gone",
    ),
    Call::new(libc::SYS_getsockname, "the server's channel is looked at when it comes"),
    Call::new(libc::SYS_getsockopt, "the server's channel is looked at when it comes"),
    Call::when(
        libc::SYS_fcntl,
        &[When::Is(1, libc::F_SETFD)],
        "the server's channel is made close-on-exec",
    ),
];

/// Gives up the rest, for good.
///
/// # Errors
/// A step failed; the process must end.
pub fn give_up(identity: &Identity) -> Result<(), Error> {
    confine(&Confinement {
        identity,
        // What was said is still to be carried out when the parent is gone.
        parent_death: None,
        rules: &Rules { keep: &[Capability::CAP_NET_ADMIN], calls: &[CALLS] },
    })
}
