//! A primary node: what a test asks of it, and its clients' requests (sections 4, 5.3, 6.1, 10).
//!
//! A request goes to the local disk and to the secondary in the same order, as through
//! FreeBSD's two queues. What becomes of it there is in `flight`; greeting,
//! receiving and resynchronising are in `replication`.
//!
//! Where FreeBSD's own rules lose data (H1, H2, H6, H8, B1) this primary keeps to the remedies,
//! so that a test can ask for equal disks; [`Config::reference`] takes FreeBSD's.
//!
//! Messages are counted from 0 for [`Cut`]s. Sent on C1: the hello, then requests and
//! keepalives; sent on C2: the token. Received on C1: the token, then sizes, counters and the
//! map; received on C2: replies.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::data::{Checksum, Compression};
use super::disk::Access;
use super::flight::{Progress, Shared, Shot, State, overlap};
use super::frame::{Cut, Cuts};
use super::map::Map;
use super::replication;
use super::{
    Broken, Faults, KEEPALIVE, MAXPHYS_SMALL, Mode, Role, SYNC_FROM_SECONDARY, SharedDisk, TIMEOUT,
    cmd, errno, lock,
};

/// How the node is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its one resource.
    pub resource: String,
    /// Where the secondary listens.
    pub remote: SocketAddr,
    /// The highest version it speaks: 2, or 1 as FreeBSD up to 9.
    pub version: u8,
    /// When clients are answered.
    pub mode: Mode,
    /// For what it sends.
    pub checksum: Checksum,
    /// For what it sends.
    pub compression: Compression,
    /// The longest request it sends, and a step of the resync.
    pub maxphys: usize,
    /// For connecting, for each message sent, for a reply.
    pub timeout: Duration,
    /// Something is sent at least so often.
    pub keepalive: Duration,
    /// How often it tries to connect again by itself; none: when it is told.
    pub reconnect: Option<Duration>,
    /// Resynchronise after each connect.
    pub resync: bool,
    /// FreeBSD's own rules, where they lose data.
    pub reference: bool,
    /// Number requests as FreeBSD's kernel: from 1 on, and each of the resync is 1 (H24).
    pub reference_seq: bool,
}

impl Config {
    /// As hast.conf has it without more, but connecting only when told.
    pub fn new(resource: &str, remote: SocketAddr) -> Config {
        Config {
            resource: resource.to_string(),
            remote,
            version: 2,
            mode: Mode::Memsync,
            checksum: Checksum::None,
            compression: Compression::Hole,
            maxphys: MAXPHYS_SMALL,
            timeout: TIMEOUT,
            keepalive: KEEPALIVE,
            reconnect: None,
            resync: true,
            reference: false,
            reference_seq: false,
        }
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The other side said so.
    Refused {
        /// Its text.
        errmsg: String,
        /// With `wait`.
        wait: bool,
    },
    /// All else.
    Broken(Broken),
}

impl From<Broken> for ConnectError {
    fn from(broken: Broken) -> ConnectError {
        ConnectError::Broken(broken)
    }
}

/// What has happened so far.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The handshake is done, and nothing has broken since.
    pub connected: bool,
    /// And there is nothing to synchronise.
    pub synced: bool,
    /// How many handshakes were done.
    pub sessions: usize,
    /// The version negotiated last.
    pub version: u8,
    /// What the last step 2 said; 0 once it is done.
    pub syncsrc: u8,
    /// Extents to synchronise.
    pub dirty: usize,
    /// Requests the secondary has not answered for good.
    pub outstanding: usize,
    /// Replies received, counting both of two.
    pub replies: usize,
    /// Keepalives sent.
    pub keepalives: usize,
    /// Bytes the resync has moved.
    pub moved: u64,
    /// connect, disconnect, syncstart, syncdone, syncintr, split-brain.
    pub events: Vec<&'static str>,
    /// Why connections ended.
    pub ends: Vec<String>,
}

/// A client's request that need not be over.
pub struct Ticket {
    shared: Arc<Shared>,
    shot: Shot,
}

impl Ticket {
    /// Whether the client would have its answer.
    pub fn is_answered(&self) -> bool {
        lock(&self.shot).answered()
    }

    /// Waits for the client's answer: a FreeBSD errno, or success if anybody has it.
    ///
    /// # Panics
    /// If there is none in three times the configured `timeout`.
    pub fn wait(&self) -> Result<(), i16> {
        let deadline = Instant::now() + 3 * self.shared.config.timeout;
        let mut state = lock(&self.shared.state);
        while !self.is_answered() {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no answer to {:?}", lock(&self.shot).access);
            state = self.shared.wait(state, left);
        }
        drop(state);
        lock(&self.shot).result()
    }
}

/// A running node. Dropping it stops it and fails the test if there are faults.
pub struct Primary {
    shared: Arc<Shared>,
    guard: Option<JoinHandle<()>>,
}

impl Primary {
    /// Starts a node in role primary over that disk: what its map says is to be synchronised.
    pub fn start(config: Config, disk: SharedDisk) -> Primary {
        let map = {
            let mut disk = lock(&disk);
            disk.metadata.prevrole = Role::Primary;
            disk.store_metadata();
            let own = &disk.metadata;
            let mut map = Map::new(own.datasize, own.extentsize, own.keepdirty);
            map.merge(&disk.map());
            map
        };
        let status = Status { version: 1, dirty: map.dirty(), ..Status::default() };
        let shared = Arc::new(Shared {
            config,
            disk,
            faults: Faults::default(),
            cuts: Cuts::default(),
            state: Mutex::new(State {
                status,
                connection: None,
                outstanding: Vec::new(),
                map,
                theirs: (0, 0),
                syncing: None,
                locked: None,
                regular: Vec::new(),
                last_sent: Instant::now(),
                bumped: false,
                threads: Vec::new(),
                stop: false,
                next_seq: 0,
            }),
            changed: Condvar::new(),
            connecting: Mutex::new(()),
            order: Mutex::new(()),
        });
        let own = shared.clone();
        let guard = Some(std::thread::spawn(move || replication::guard(&own)));
        Primary { shared, guard }
    }

    /// Connects and greets, in place of any connection there is.
    pub fn connect(&self) -> Result<(), ConnectError> {
        replication::connect(&self.shared)
    }

    /// Ends the connection, as a link that breaks.
    pub fn disconnect(&self) {
        self.shared.disconnect(None, &Broken::Link("the test's wish".to_string()));
    }

    /// Orders a cut.
    pub fn cut(&self, cut: Cut) {
        lock(&self.shared.cuts).push(cut);
    }

    /// What it works on.
    pub fn disk(&self) -> &SharedDisk {
        &self.shared.disk
    }

    /// What the other side did wrong.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// What has happened.
    pub fn status(&self) -> Status {
        lock(&self.shared.state).status.clone()
    }

    /// Waits until that holds.
    ///
    /// # Panics
    /// If it does not in time; `what` is said then.
    pub fn wait(&self, what: &str, limit: Duration, holds: impl Fn(&Status) -> bool) -> Status {
        let deadline = Instant::now() + limit;
        let mut state = lock(&self.shared.state);
        while !holds(&state.status) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited {limit:?} for: {what}; {:?}", state.status);
            state = self.shared.wait(state, left);
        }
        state.status.clone()
    }

    /// Starts a write; nobody splits it, so that it may be longer than it should.
    pub fn start_write(&self, offset: u64, bytes: &[u8]) -> Ticket {
        self.start_request(Access { cmd: cmd::WRITE, offset, length: bytes.len() as u64 }, bytes)
    }

    /// Writes, in requests that are not too long; success as the mode has it.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), i16> {
        let size = self.shared.config.maxphys;
        let parts = bytes.chunks(size).enumerate();
        let tickets: Vec<Ticket> =
            parts.map(|(i, part)| self.start_write(offset + (i * size) as u64, part)).collect();
        tickets.iter().try_for_each(Ticket::wait)
    }

    /// Deletes, in requests that a secondary of version 1 takes (A4).
    pub fn delete(&self, offset: u64, length: u64) -> Result<(), i16> {
        let version1 = lock(&self.shared.state).status.version < 2;
        let size = if version1 { MAXPHYS_SMALL as u64 } else { length };
        let mut at = 0;
        while at < length {
            let length = size.min(length - at);
            self.start_request(Access { cmd: cmd::DELETE, offset: offset + at, length }, &[])
                .wait()?;
            at += length;
        }
        Ok(())
    }

    /// Flushes both; success if either did (FreeBSD's rule, H22).
    pub fn flush(&self) -> Result<(), i16> {
        self.start_request(Access { cmd: cmd::FLUSH, offset: 0, length: 0 }, &[]).wait()
    }

    /// Reads where the data is good, and from the secondary if the local disk fails.
    pub fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, i16> {
        if lock(&self.shared.state).status.syncsrc == SYNC_FROM_SECONDARY {
            return self.read_remote(offset, length);
        }
        let local = lock(&self.shared.disk).read(offset, length);
        local.or_else(|_| self.read_remote(offset, length))
    }

    /// Reads from the secondary in one request.
    pub fn read_remote(&self, offset: u64, length: u64) -> Result<Vec<u8>, i16> {
        let access = Access { cmd: cmd::READ, offset, length };
        let ticket = self.start_request(access, &[]);
        let _ = ticket.wait();
        let progress = lock(&ticket.shot);
        progress.remote.clone().unwrap_or(Err(errno::EIO))
    }

    /// Sends bytes on C1 that nobody waits for.
    pub fn send_raw(&self, bytes: &[u8]) {
        let c1 = lock(&self.shared.state).connection.as_ref().map(|own| own.c1.clone());
        if let Some(c1) = c1 {
            // A link that ends from this shows in the status.
            let _ = lock(&c1).send_bytes(bytes, self.shared.config.timeout);
        }
    }

    fn start_request(&self, access: Access, bytes: &[u8]) -> Ticket {
        let shared = &self.shared;
        let _order = lock(&shared.order);
        let mut state = lock(&shared.state);
        let changes = matches!(access.cmd, cmd::WRITE | cmd::DELETE);
        if changes {
            let deadline = Instant::now() + 2 * shared.config.timeout;
            while state.locked.is_some_and(|locked| overlap(&locked, &access)) {
                let left = deadline.saturating_duration_since(Instant::now());
                assert!(!left.is_zero(), "the resync keeps its lock: {access:?}");
                state = shared.wait(state, left);
            }
            state.regular.push(access);
            if state.map.start(access.offset, access.length) {
                shared.store_map(&state);
            }
        }
        let local = {
            let mut disk = lock(&shared.disk);
            match access.cmd {
                cmd::WRITE => disk.write(access.offset, bytes),
                cmd::DELETE => disk.delete(access.offset, access.length),
                cmd::FLUSH => disk.flush(),
                // Only asked of the secondary.
                _ => Err(errno::EIO),
            }
        };
        let shot = Arc::new(Mutex::new(Progress {
            access,
            mode: shared.config.mode,
            local: Some(local),
            remote: None,
            received: false,
            client: true,
        }));
        shared.to_secondary(state, &shot, bytes);
        Ticket { shared: shared.clone(), shot }
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        lock(&self.shared.state).stop = true;
        self.shared.changed.notify_all();
        self.disconnect();
        if let Some(guard) = self.guard.take() {
            let _ = guard.join();
        }
        let threads = std::mem::take(&mut lock(&self.shared.state).threads);
        for thread in threads {
            let _ = thread.join();
        }
        self.shared.faults.check("primary");
    }
}
