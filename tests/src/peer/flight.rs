//! A primary's requests on their way: what is known of each, and what an answer or the loss of
//! the link does to the map, the counters and the client (sections 4, 5.3, 6.1, 10).
//!
//! Who asks is in `primary`, who receives in
//! `replication`.

use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::data;
use super::disk::Access;
use super::frame::{Cuts, Link};
use super::map::{Map, map_bytes};
use super::nv::List;
use super::primary::{Config, Status};
use super::{Broken, Faults, Mode, SharedDisk, cmd, errno, lock};

/// A request on its way.
pub(super) struct Progress {
    pub access: Access,
    pub mode: Mode,
    pub local: Option<Result<(), i16>>,
    pub remote: Option<Result<Vec<u8>, i16>>,
    pub received: bool,
    /// Of a client, and not of the resync: in the map and in the locks.
    pub client: bool,
}

impl Progress {
    /// Whether the client is answered: at least one has it, as the mode demands, or none will.
    pub fn answered(&self) -> bool {
        let local = self.local.is_some_and(|result| result.is_ok());
        match (self.access.cmd, self.mode) {
            _ if self.local.is_some() && self.remote.is_some() => true,
            (cmd::WRITE, Mode::Memsync) => local && self.received,
            (cmd::WRITE, Mode::Async) => local,
            _ => false,
        }
    }

    pub fn result(&self) -> Result<(), i16> {
        match (&self.local, &self.remote) {
            (Some(Err(local)), Some(Err(_)) | None) => Err(*local),
            _ => Ok(()),
        }
    }
}

pub(super) type Shot = Arc<Mutex<Progress>>;

/// A request the secondary has not answered for good.
pub(super) struct Flight {
    pub seq: u64,
    pub access: Access,
    pub memsync: bool,
    pub received: bool,
    pub shot: Shot,
}

pub(super) struct Connected {
    pub generation: usize,
    pub sockets: [TcpStream; 2],
    pub c1: Arc<Mutex<Link>>,
}

pub(super) struct State {
    pub status: Status,
    pub connection: Option<Connected>,
    pub outstanding: Vec<Flight>,
    pub map: Map,
    /// The secondary's localcnt and remotecnt as learnt in the last handshake.
    pub theirs: (u64, u64),
    /// Extents being resynchronised, and whether a write to it failed meanwhile.
    pub syncing: Option<(std::ops::Range<u64>, bool)>,
    /// The chunk of the resync that clients wait for.
    pub locked: Option<Access>,
    pub regular: Vec<Access>,
    pub last_sent: Instant,
    pub bumped: bool,
    pub threads: Vec<JoinHandle<()>>,
    pub stop: bool,
    pub next_seq: u64,
}

pub(super) struct Shared {
    pub config: Config,
    pub disk: SharedDisk,
    pub faults: Faults,
    pub cuts: Cuts,
    pub state: Mutex<State>,
    pub changed: Condvar,
    pub connecting: Mutex<()>,
    /// One client's request after the other goes to both disks.
    pub order: Mutex<()>,
}

pub(super) fn overlap(one: &Access, other: &Access) -> bool {
    one.offset < other.offset + other.length && other.offset < one.offset + one.length
}

impl Shared {
    /// Waits for a change; the state again, even if a thread panicked: that has failed the test.
    pub fn wait<'a>(&self, state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0
    }

    pub fn store_map(&self, state: &State) {
        let mut disk = lock(&self.disk);
        let own = &disk.metadata;
        let size = map_bytes(own.datasize, own.extentsize, disk.sector());
        disk.store_map(&state.map.bytes(size));
    }

    /// The secondary misses this.
    fn mark(&self, state: &mut State, access: &Access) {
        if let Some((range, spoilt)) = &mut state.syncing {
            *spoilt |= range.start < access.offset + access.length && access.offset < range.end;
        }
        if state.map.need_sync(access.offset, access.length) {
            self.store_map(state);
        }
        state.status.dirty = state.map.dirty();
        state.status.synced = false;
        if !self.config.reference {
            self.bump(state, true);
        }
    }

    /// Section 6.1: a write is about to be acknowledged that the secondary has not.
    fn bump(&self, state: &mut State, always: bool) {
        let metadata = &mut lock(&self.disk).metadata;
        if metadata.resuid == 0 {
            metadata.localcnt = 1;
            return;
        }
        // H6: that of this process only; the remedy is to do it once an outage in any case.
        if !state.bumped && (always || metadata.localcnt == state.theirs.1) {
            metadata.localcnt += 1;
            state.bumped = true;
        }
    }

    /// Puts the secondary's last word down; completes the request if it was the last of all.
    pub fn answered(&self, state: &mut State, shot: &Shot, remote: Result<Vec<u8>, i16>) {
        let mut progress = lock(shot);
        let changes = matches!(progress.access.cmd, cmd::WRITE | cmd::DELETE);
        if remote.is_err() && changes && progress.client && !self.config.reference {
            // H1, H2: before the request is over.
            let access = progress.access;
            self.mark(state, &access);
            lock(&self.disk).store_metadata();
        }
        progress.remote = Some(remote);
        self.complete(state, &progress);
    }

    fn complete(&self, state: &mut State, progress: &Progress) {
        let over = progress.local.is_some() && progress.remote.is_some();
        let Access { cmd, offset, length } = progress.access;
        if over && progress.client && matches!(cmd, cmd::WRITE | cmd::DELETE) {
            if state.map.complete(offset, length) {
                self.store_map(state);
            }
            if let Some(at) = state.regular.iter().position(|own| *own == progress.access) {
                state.regular.swap_remove(at);
            }
        }
        self.changed.notify_all();
    }

    /// Sends a request to the secondary if there is one; if not it is answered at once.
    pub fn to_secondary(&self, mut state: MutexGuard<'_, State>, shot: &Shot, bytes: &[u8]) {
        let Progress { access, mode, client, .. } = *lock(shot);
        let Some(Connected { generation, c1, .. }) = &state.connection else {
            if client && matches!(access.cmd, cmd::WRITE | cmd::DELETE) {
                self.mark(&mut state, &access);
                self.bump(&mut state, false);
                lock(&self.disk).store_metadata();
            }
            self.answered(&mut state, shot, Err(errno::ENOTCONN));
            return;
        };
        let (generation, c1, version) = (*generation, c1.clone(), state.status.version);
        let memsync = access.cmd == cmd::WRITE && client && mode == Mode::Memsync && version >= 2;
        let seq = match self.config.reference_seq && !client {
            true => 1,
            false => {
                state.next_seq += 1;
                state.next_seq
            }
        };
        let shot = shot.clone();
        state.outstanding.push(Flight { seq, access, memsync, received: false, shot });
        state.status.outstanding = state.outstanding.len();
        state.last_sent = Instant::now();
        drop(state);
        self.changed.notify_all();
        let mut list = List::new();
        list.put_uint8("cmd", access.cmd);
        list.put_uint64("seq", seq);
        list.put_uint64("offset", access.offset);
        list.put_uint64("length", access.length);
        if memsync {
            list.put_uint8("memsync", 1);
        }
        let bytes = match access.cmd {
            cmd::WRITE => {
                data::pack(&mut list, bytes, self.config.checksum, self.config.compression)
            }
            _ => Vec::new(),
        };
        let sent = lock(&c1).send(version, &list, &bytes, self.config.timeout);
        if let Err(broken) = sent {
            self.disconnect(Some(generation), &broken);
        }
    }

    /// Ends that connection, or any; what is outstanding is answered (section 10).
    pub fn disconnect(&self, generation: Option<usize>, broken: &Broken) {
        self.faults.record(broken);
        let mut state = lock(&self.state);
        let current = state.connection.as_ref().map(|own| own.generation);
        if current.is_none() || generation.is_some_and(|own| Some(own) != current) {
            return;
        }
        let Some(Connected { sockets, c1, .. }) = state.connection.take() else { return };
        if c1.try_lock().is_ok_and(|link| link.has_unread()) {
            let text = "section 2: something came on C1 after the handshake";
            self.faults.record(&Broken::Misuse(text.to_string()));
        }
        for socket in &sockets {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        state.status.connected = false;
        state.status.synced = false;
        state.status.events.push("disconnect");
        state.status.ends.push(broken.to_string());
        state.bumped = false;
        for flight in std::mem::take(&mut state.outstanding) {
            self.answered(&mut state, &flight.shot, Err(errno::ENOTCONN));
        }
        state.status.outstanding = 0;
        drop(state);
        self.changed.notify_all();
    }
}
