//! What the listener may still do on Linux: no capability, and these system calls.

use supervise::confine::{Call, Rules, When};

/// For [`supervise::confine::confine`].
pub const RULES: Rules = Rules { keep: &[], calls: &[STRANGERS, CHANNEL] };

const STRANGERS: &[Call] = &[
    Call::new(libc::SYS_accept4, "strangers connect"),
    Call::new(libc::SYS_recvfrom, "strangers introduce themselves"),
    Call::when(libc::SYS_ioctl, &[When::Is(1, libc::FIONBIO as i32)], "nobody is waited for"),
];

const CHANNEL: &[Call] = &[
    Call::new(libc::SYS_recvmsg, "the parent speaks"),
    Call::new(libc::SYS_sendmsg, "the parent is handed connections"),
    Call::new(libc::SYS_getsockopt, "a channel is what it should be"),
];
