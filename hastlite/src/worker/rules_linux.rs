//! What a worker may still do on Linux: no capability, and these system calls.

use crate::storage;
use supervise::confine::{Call, Rules, THREADS, When};

/// For [`supervise::confine::confine`].
pub const RULES: Rules =
    Rules { keep: &[], calls: &[CHANNEL, CONNECTIONS, LOADING, storage::CALLS, THREADS] };

const CHANNEL: &[Call] = &[
    Call::new(libc::SYS_recvmsg, "the parent speaks, and brings connections"),
    Call::new(libc::SYS_sendmsg, "the parent is spoken to"),
];

const CONNECTIONS: &[Call] = &[
    Call::new(libc::SYS_accept4, "clients connect"),
    Call::new(libc::SYS_readv, "requests and replies come in"),
    Call::new(libc::SYS_writev, "requests and replies go out"),
    Call::new(libc::SYS_recvfrom, "requests and replies come in"),
    Call::new(libc::SYS_sendto, "requests and replies go out"),
    Call::new(libc::SYS_getsockopt, "whether a connection was established; what a channel is"),
    Call::new(libc::SYS_getpeername, "whether a connection is established"),
    Call::when(
        libc::SYS_setsockopt,
        &[When::Is(1, libc::IPPROTO_TCP), When::Is(2, libc::TCP_NODELAY)],
        "a request does not wait for the next one",
    ),
    Call::when(libc::SYS_ioctl, &[When::Is(1, libc::FIONBIO as i32)], "nobody is waited for"),
];

const LOADING: &[Call] = &[
    Call::new(libc::SYS_fstat, "what the component is"),
    Call::new(libc::SYS_statx, "what the component is"),
    Call::when(libc::SYS_ioctl, &[When::Is(1, BLKGETSIZE64)], "how long a disk is"),
    Call::when(libc::SYS_ioctl, &[When::Is(1, BLKSSZGET)], "a disk's sectors"),
];

// linux/fs.h: _IOR(0x12, 114, size_t), _IO(0x12, 104).
const BLKGETSIZE64: i32 = 0x8008_1272_u32.cast_signed();
const BLKSSZGET: i32 = 0x1268;
