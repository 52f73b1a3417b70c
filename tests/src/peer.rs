//! A second HAST peer, for tests only: a secondary and a primary as FreeBSD's hastd has them.
//!
//! **Independent**: written from the specification of the protocol alone, by someone who had
//! not read the code of `hastlite` or its tests before or while writing, and it uses nothing of
//! that crate. Where the two disagree, one of them has misread the specification. Sections,
//! H, A and B numbers in these files are the specification's. Neither was tried against a live
//! FreeBSD.
//!
//! What makes a FreeBSD process abort, or go on with wrong data, is a [`Fault`]: it is kept in
//! [`Faults`], the connection ends, and dropping the peer fails the test unless the test took
//! the faults away to look at them. Everything that waits has a deadline.
//!
//! Not here: a parent with many resources, hooks, the control socket, a block device.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub mod data;
pub mod disk;
mod flight;
pub mod frame;
pub mod map;
pub mod nv;
pub mod pair;
pub mod primary;
mod replication;
pub mod secondary;
mod session;

pub use disk::{Disk, SharedDisk};
pub use frame::{Connection, Cut, Direction, Ending};
pub use primary::Primary;
pub use secondary::Secondary;

/// Numbers of errors as they are on the wire: FreeBSD's (section 1.5).
pub mod errno {
    #![allow(missing_docs, reason = "their names are known")]
    pub const EIO: i16 = 5;
    pub const EINVAL: i16 = 22;
    pub const ENOTTY: i16 = 25;
    pub const ENOSPC: i16 = 28;
    pub const EOPNOTSUPP: i16 = 45;
    pub const ENOTCONN: i16 = 57;
    pub const ETIMEDOUT: i16 = 60;
}

/// Commands of requests (section 3).
pub mod cmd {
    #![allow(missing_docs, reason = "their names are known")]
    pub const READ: u8 = 1;
    pub const WRITE: u8 = 2;
    pub const DELETE: u8 = 3;
    pub const FLUSH: u8 = 4;
    pub const KEEPALIVE: u8 = 5;
}

/// The longest request to a FreeBSD up to 12, and to any that is not known.
pub const MAXPHYS_SMALL: usize = 128 << 10;
/// The longest request to a 64-bit FreeBSD from 13 on.
pub const MAXPHYS_LARGE: usize = 1 << 20;
/// How often a primary says something, and twice that is what a secondary waits.
pub const KEEPALIVE: Duration = Duration::from_secs(10);
/// The default of `timeout` in hast.conf.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of a token.
pub const TOKEN: usize = 16;
/// Whose data is newer (`syncsrc`).
pub const SYNC_FROM_PRIMARY: u8 = 1;
/// Whose data is newer (`syncsrc`).
pub const SYNC_FROM_SECONDARY: u8 = 2;

/// A role of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// None yet.
    Init,
    /// Serves clients.
    Primary,
    /// Takes what the primary sends.
    Secondary,
}

impl Role {
    /// As texts and metadata have it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Init => "init",
            Role::Primary => "primary",
            Role::Secondary => "secondary",
        }
    }
}

/// When a primary tells its client that a write is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Local and remote write done.
    Fullsync,
    /// Local write done, data in the secondary's memory.
    #[default]
    Memsync,
    /// Local write done.
    Async,
}

/// Why a connection is at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// What FreeBSD takes for a dead link: closed, late, a checksum or a list that is wrong.
    Link(String),
    /// An assertion of FreeBSD's fails: the process is gone.
    Abort(String),
    /// FreeBSD does not notice, and goes on with wrong data or out of step.
    Misuse(String),
}

impl From<String> for Broken {
    fn from(text: String) -> Broken {
        Broken::Link(text)
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Broken::Link(text) => write!(f, "{text}"),
            Broken::Abort(text) => write!(f, "abort: {text}"),
            Broken::Misuse(text) => write!(f, "misuse: {text}"),
        }
    }
}

fn abort(rule: &str, text: String) -> Broken {
    Broken::Abort(format!("{rule}: {text}"))
}

/// Something the other side must never do to a FreeBSD peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The process would have died; otherwise it would have gone on, wrongly.
    pub aborts: bool,
    /// The rule of the specification, and what came.
    pub text: String,
}

/// The faults of the other side, so far.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Fault>>>);

impl Faults {
    fn record(&self, broken: &Broken) {
        let (aborts, text) = match broken {
            Broken::Link(_) => return,
            Broken::Abort(text) => (true, text),
            Broken::Misuse(text) => (false, text),
        };
        lock(&self.0).push(Fault { aborts, text: text.clone() });
    }

    /// Those there are, which are then no longer there: for a test that expects them.
    pub fn take(&self) -> Vec<Fault> {
        std::mem::take(&mut lock(&self.0))
    }

    /// Fails the test if there are any.
    ///
    /// # Panics
    /// If there are any.
    pub fn check(&self, who: &str) {
        if std::thread::panicking() {
            return;
        }
        if let Some(fault) = self.take().first() {
            let would = if fault.aborts { "abort" } else { "go on wrongly" };
            panic!("a FreeBSD {who} would {would} here: {}", fault.text);
        }
    }
}

/// A lock that does not care about a thread that panicked: its test has failed already.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes nobody can guess.
fn unguessable<const N: usize>() -> [u8; N] {
    use std::io::Read;
    let mut bytes = [0; N];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .expect("read /dev/urandom");
    bytes
}
