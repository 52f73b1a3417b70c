//! What the server may still do on Linux: no capability, and these system calls.

use supervise::confine::{Call, Rules, THREADS, When};

/// For [`supervise::confine::confine`].
pub const RULES: Rules = Rules { keep: &[], calls: &[PACKETS, CHANNELS, JOURNAL, THREADS] };

const PACKETS: &[Call] = &[
    Call::new(libc::SYS_recvmmsg, "packets come in, many at a time"),
    Call::new(libc::SYS_sendmmsg, "replies and pings leave, many at a time"),
    Call::new(libc::SYS_getsockname, "whether a packet socket's interface is still there"),
];

const CHANNELS: &[Call] = &[
    Call::new(libc::SYS_recvmsg, "the parent and the table handler speak"),
    Call::new(libc::SYS_sendmsg, "the parent and the table handler are spoken to"),
    Call::new(
        libc::SYS_getsockopt,
        "a channel is what it should be; who asks by the control socket",
    ),
    Call::new(libc::SYS_accept4, "dhcpctl connects to the control socket"),
    Call::when(
        libc::SYS_fcntl,
        &[When::Is(1, libc::F_SETFD)],
        "a channel that was handed over is closed on exec",
    ),
];

const JOURNAL: &[Call] = &[
    Call::new(libc::SYS_read, "the lease file is read at start; the journal's news"),
    Call::new(libc::SYS_write, "the journal has news for the loop"),
    Call::new(libc::SYS_statx, "how long the lease file is"),
    Call::new(libc::SYS_pread64, "how the lease file ends"),
    Call::new(libc::SYS_pwrite64, "records are appended to the lease file"),
    Call::new(libc::SYS_fdatasync, "records are on disk before they are acknowledged"),
    Call::new(libc::SYS_ftruncate, "a failed write is taken back, and room that is not needed"),
    Call::new(libc::SYS_pipe2, "the journal's way to wake the loop"),
];
