//! What the resolver may still do on Linux: no capability, and these system calls.

use supervise::confine::{Call, Rules, THREADS, When};

/// For [`supervise::confine::confine_reading`].
pub const RULES: Rules = Rules { keep: &[], calls: &[CHANNELS, DNS, FILES, THREADS] };

const CHANNELS: &[Call] = &[
    Call::new(libc::SYS_recvmsg, "the parent and the server speak"),
    Call::new(libc::SYS_sendmsg, "the parent and the server are spoken to"),
    Call::new(libc::SYS_getsockname, "a channel that was handed over is a socket of ours"),
    Call::new(libc::SYS_getsockopt, "a channel that was handed over is what it should be"),
    Call::when(
        libc::SYS_fcntl,
        &[When::Is(1, libc::F_SETFD)],
        "a channel that was handed over is closed on exec",
    ),
    Call::new(libc::SYS_write, "a thread wakes the loop"),
    Call::new(libc::SYS_read, "the loop was woken; what the C library reads"),
    Call::new(libc::SYS_pipe2, "the threads' way to wake the loop"),
    Call::new(
        libc::SYS_sched_yield,
        "a thread lets another one finish with the queue between them",
    ),
];

const DNS: &[Call] = &[
    Call::when(libc::SYS_socket, &[When::Is(0, libc::AF_INET)], "a question goes to the DNS"),
    Call::when(libc::SYS_socket, &[When::Is(0, libc::AF_INET6)], "a question goes to the DNS"),
    Call::when(
        libc::SYS_socket,
        &[When::Is(0, libc::AF_UNIX)],
        "the C library looks whether nscd(8) is there; its socket cannot be reached",
    ),
    Call::new(libc::SYS_connect, "which server is asked"),
    Call::new(libc::SYS_getpeername, "whose the TCP connection from the last question is"),
    Call::new(libc::SYS_setsockopt, "errors of the network are to be heard"),
    Call::new(libc::SYS_sendto, "the question"),
    Call::new(libc::SYS_recvfrom, "the answer"),
    Call::when(libc::SYS_ioctl, &[When::Is(1, libc::FIONREAD as i32)], "how long the answer is"),
    Call::new(libc::SYS_writev, "a question over TCP, where the answer is long"),
    Call::new(libc::SYS_uname, "the C library: our own host name, for its search list"),
];

/// Landlock says which.
const FILES: &[Call] = &[
    Call::when(
        libc::SYS_openat,
        &[
            When::Is(0, libc::AT_FDCWD),
            When::Without(2, libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_DIRECTORY),
        ],
        "resolv.conf and hosts are read",
    ),
    Call::new(libc::SYS_newfstatat, "whether resolv.conf has changed"),
    Call::new(libc::SYS_fstat, "whether resolv.conf has changed"),
    Call::new(libc::SYS_statx, "whether resolv.conf has changed"),
    Call::new(libc::SYS_lseek, "hosts is read from its beginning"),
];
