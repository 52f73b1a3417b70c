//! The life of a process: how a child of ours is started, what it may do, how it is heard of and
//! how it ends.
//!
//! It is not a service manager and knows nothing of what the processes say to each other; that is
//! `proto`'s and each daemon's own.
//!
//! ```text
//!  parent (root)                                child (the same binary, executed again)
//!  ─────────────                                ───────────────────────────────────────
//!  Signals::open()      signals become a
//!    │                  readable descriptor
//!  logger::init()
//!    │
//!  start() ── fork ───────────────────────────▶ fd 0 /dev/null, 1 2 kept, 3 channel,
//!    │  pidfd (kqueue) taken before             4 syslog, the rest closed; own session,
//!    │  the child may go on                     signals as at boot, environment emptied
//!    │                                            │
//!    │                                          execve, argv[0] = "dhcpd: server"
//!    │                                            │
//!    │                                          role() ─▶ the process table in main.rs
//!    │                                          inherited_channel()   name in ps and top
//!    │                                          logger::inherit()
//!    │                                          ... takes what it needs over the channel ...
//!    │                                          confine()  groups, root, gid, uid,
//!    │                                            │        capabilities, read back,
//!    │                                            │        system call filter last
//!  poll(2): channels, children, signals         poll(2): channel, its own descriptors
//!    │        ▲                                   │
//!    │        └── Child::as_fd() readable ◀────── ends: exit or signal
//!    │            try_reap() ─▶ Exit              EOF on fd 3: the parent is gone, exit
//!    │
//!  SIGTERM from pid 42 (uid 0, /usr/bin/kill)
//!    │
//!  stop()  drop the channels ─────────────────▶ EOF: ends by itself
//!    │     wait, SIGTERM, wait, SIGKILL,
//!    │     reap each, log each
//!  exit    nothing of ours is left
//! ```
//!
//! Everything here is meant for one thread until [`confine::confine`] has returned: credentials
//! and capabilities belong to threads, not to processes, and `confine` refuses to run if there is
//! a second one. [`Signals::open`] comes first of all, because a thread inherits the signal mask
//! of the one that made it.

pub mod attendant;
pub mod attribution;
pub mod confine;
pub mod contain;
pub mod control;
pub mod daemon;
pub mod identity;
pub mod launch;
pub mod lines;
pub mod logger;
pub mod pidfile;
pub mod reaper;
pub mod restart;
pub mod track;

mod about;
mod child;
mod credentials;
mod empty;
mod error;
mod exec;
mod exit;
mod fork;
mod moment;
mod sender;
mod shutdown;
mod signals;

#[cfg_attr(target_os = "linux", path = "child_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "child_bsd.rs")]
mod handle;

#[cfg_attr(target_os = "linux", path = "signals_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "signals_bsd.rs")]
mod signal_source;

// It runs on Linux as well as anywhere, and nowhere else can its test be run here.
#[cfg(all(test, target_os = "linux"))]
#[path = "signals_bsd.rs"]
mod signals_by_handler;

#[cfg_attr(target_os = "linux", path = "sender_linux.rs")]
#[cfg_attr(target_os = "freebsd", path = "sender_freebsd.rs")]
#[cfg_attr(target_os = "netbsd", path = "sender_netbsd.rs")]
#[cfg_attr(target_os = "openbsd", path = "sender_openbsd.rs")]
mod sender_source;

#[cfg(any(target_os = "freebsd", target_os = "netbsd"))]
mod sender_sysctl;

#[cfg(target_os = "linux")]
#[path = "procfs_linux.rs"]
mod procfs;

#[cfg_attr(target_os = "netbsd", path = "ids_netbsd.rs")]
#[cfg_attr(not(target_os = "netbsd"), path = "ids_res.rs")]
mod ids;

#[cfg_attr(target_os = "openbsd", path = "syslog_openbsd.rs")]
#[cfg_attr(not(target_os = "openbsd"), path = "syslog_socket.rs")]
mod syslog;

pub use about::about;
pub use attendant::{Answer, Attendant};
pub use child::{
    CHANNEL_FD, Child, Program, SYSLOG_FD, inherited_channel, leave_signals_to_parent, role, start,
};
pub use error::Error;
pub use exit::{Exit, signal_name};
pub use identity::{Identity, user};
pub use moment::Moment;
pub use sender::{Exe, Sender};
pub use shutdown::{Ended, stop};
pub use signal_source::Signals;
pub use signals::{Origin, Signal};
