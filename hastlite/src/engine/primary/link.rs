//! The link: the handshake as FreeBSD's hastd expects it, signs of life, and its end.
//!
//! C1 is opened and greeted, C2 is opened with the token, the other node answers what it has. Its
//! map is merged and durable before the first request goes out (H15): with that request the other
//! node forgets its own.

use super::{Mark, Now, Primary};
use crate::engine::activemap::Bits;
use crate::engine::decision::SPLIT_BRAIN;
use crate::engine::{Conn, Consistency, Happening, PrimaryAction, Settings, ext};
use crate::wire::errno::Errno;
use crate::wire::hello::{
    FirstReply, Handshake, Hello, Refusal, Second, SecondReply, SyncSource, TOKEN, VERSION,
};
use crate::wire::request::{Request, State};

/// Between attempts; sooner after a loss, at first.
const RECONNECT: Now = 10_000;

/// After a loss, and where the other node says that it will be ready shortly.
const SOON: Now = 1_000;

/// Something goes out at least this often: the other node gives up after twice that (H19: counted
/// from the last byte sent, not from the last moment of rest).
const KEEPALIVE: Now = 10_000;

/// Who ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The connections are closed already.
    ByPeer,
    /// They have to be.
    ByUs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Stage {
    /// Nothing under way; the next attempt is at `Link::at`.
    #[default]
    Down,
    Opening,
    Greeted,
    OpeningSecond([u8; TOKEN]),
    /// The resource's new unique id is being stored.
    Naming([u8; TOKEN], u64),
    /// What was said: our own counter.
    Told(u64),
    /// Updates of the map and the metadata that have to be durable.
    Merging(Option<u64>, Option<u64>),
    Up,
}

#[derive(Debug, Default)]
pub struct Link {
    stage: Stage,
    /// When the stage has taken too long, or the next attempt is due.
    at: Now,
    /// Attempts since the link was up.
    attempts: u32,
    virgin: bool,
    ext: u64,
    pub version: u8,
    /// The other node's.
    pub localcnt: u64,
    pub remotecnt: u64,
    pub trouble: Option<String>,
    split: bool,
    pub last_sent: Now,
    pub no_flush: bool,
    pub no_delete: bool,
    /// What it has been told of its data.
    pub told: Option<State>,
}

impl Link {
    pub fn up(&self) -> bool {
        self.stage == Stage::Up
    }

    pub fn large(&self) -> bool {
        self.ext & ext::LARGE != 0
    }

    pub fn memsync(&self) -> bool {
        self.version >= 2
    }

    pub fn deletes(&self) -> bool {
        !self.no_delete
    }

    pub fn delete_zeroes(&self) -> bool {
        self.ext & ext::ZEROES != 0
    }

    pub fn flushes(&self) -> bool {
        !self.no_flush
    }
}

impl Primary {
    fn stage(&mut self, stage: Stage) {
        self.link.stage = stage;
        self.link.at = self.now + self.settings.timeout;
    }

    pub(super) fn link_time(&self) -> Option<Now> {
        match self.link.stage {
            Stage::Down if !self.settings.has_remote || self.stop.asked() => None,
            Stage::Up => Some(self.link.last_sent + KEEPALIVE),
            _ => Some(self.link.at),
        }
    }

    pub(super) fn link_tick(&mut self) {
        if self.link_time().is_none_or(|at| self.now < at) {
            return;
        }
        match self.link.stage {
            Stage::Down => {
                self.link.attempts = self.link.attempts.saturating_add(1);
                self.stage(Stage::Opening);
                self.out.push(PrimaryAction::Connect(Conn::C1));
            }
            Stage::Up => {
                let state = self.link.told;
                self.send(Request::keepalive(state));
            }
            _ => self.link_down("no answer", Ended::ByUs),
        }
    }

    pub(super) fn connected(&mut self, conn: Conn) {
        match (self.link.stage, conn) {
            (Stage::Opening, Conn::C1) => {
                self.stage(Stage::Greeted);
                let resource = self.meta.resource.clone();
                let hello = Hello { resource, version: VERSION, ext: ext::OURS };
                self.out.push(PrimaryAction::Handshake(Conn::C1, Handshake::Hello(hello)));
            }
            (Stage::OpeningSecond(token), Conn::C2) => {
                self.link.virgin = self.meta.resuid == 0;
                if self.link.virgin {
                    self.meta.resuid = self.random().max(1);
                    let write = self.store();
                    self.stage(Stage::Naming(token, write));
                } else {
                    self.second(token);
                }
            }
            _ => {}
        }
    }

    fn second(&mut self, token: [u8; TOKEN]) {
        self.stage(Stage::Told(self.meta.localcnt));
        let second = Second {
            resource: self.meta.resource.clone(),
            token,
            virgin: self.link.virgin,
            resuid: self.meta.resuid,
            localcnt: self.meta.localcnt,
            remotecnt: self.meta.remotecnt,
            ext: self.link.ext,
        };
        self.out.push(PrimaryAction::Handshake(Conn::C2, Handshake::Second(second)));
    }

    pub(super) fn handshake(&mut self, message: Handshake) {
        match (self.link.stage, message) {
            (Stage::Down | Stage::Up, _) => {}
            (_, Handshake::Refusal(refusal)) => self.refused(&refusal),
            (Stage::Greeted, Handshake::FirstReply(reply)) => self.first_reply(&reply),
            (Stage::Told(localcnt), Handshake::SecondReply(reply)) => {
                if let Err(why) = self.second_reply(&reply, localcnt) {
                    self.link_down(&why, Ended::ByUs);
                }
            }
            _ => self.link_down("an answer out of place", Ended::ByUs),
        }
    }

    fn first_reply(&mut self, reply: &FirstReply) {
        if reply.version == 0 || reply.version > VERSION {
            let why = format!("version {} is none that we speak", reply.version);
            return self.link_down(&why, Ended::ByUs);
        }
        self.link.version = reply.version;
        self.link.ext = reply.ext & ext::OURS;
        self.stage(Stage::OpeningSecond(reply.token));
        self.out.push(PrimaryAction::Connect(Conn::C2));
    }

    fn refused(&mut self, refusal: &Refusal) {
        let split = refusal.errmsg == SPLIT_BRAIN;
        if split && !self.link.split {
            self.tell(Happening::SplitBrain);
        }
        self.link_down(&refusal.errmsg, Ended::ByUs);
        self.link.split = split;
        // Whoever is no secondary may be about to become one, whether it asks us to wait or not. A
        // split brain only ends when somebody ends it.
        if refusal.wait {
            self.link.at = self.now + SOON;
        } else if split {
            self.link.at = self.now + RECONNECT;
        }
    }

    /// The other node has said what it has: the two maps become one, durably.
    fn second_reply(&mut self, reply: &SecondReply, told: u64) -> Result<(), String> {
        let (datasize, extentsize) = (self.meta.datasize, self.meta.extentsize);
        if reply.datasize != datasize {
            return Err(format!("it has {} bytes, we have {datasize}", reply.datasize));
        }
        if reply.extentsize != extentsize {
            return Err(format!("its extents are of {}, ours of {extentsize}", reply.extentsize));
        }
        let bits = self.map.extents().div_ceil(8);
        if reply.map.as_ref().is_some_and(|map| map.len() < bits) {
            return Err("its map is shorter than ours".to_owned());
        }
        let equal = reply.localcnt == self.meta.remotecnt && reply.remotecnt == self.meta.localcnt;
        // Equal counters also has a new disk that was given the resource's id, and nothing more yet.
        let extents = self.map.extents();
        let marked = reply.map.as_ref().map_or(0, |map| Bits::from_bytes(map, extents).count());
        let whole = if self.link.ext & ext::WHOLE != 0 {
            reply.ext & ext::WHOLE != 0
        } else {
            !reply.virgin && marked < extents
        };
        let source = match reply.syncsrc {
            // Our own copy is not usable, the other one is as new: it is the source.
            SyncSource::Primary if self.needs_peer() && equal && whole => SyncSource::Secondary,
            SyncSource::Primary if self.needs_peer() => {
                return Err("our data is incomplete, and its data is older".to_owned());
            }
            source => source,
        };
        let lonely = !self.needs_peer() && !self.changes.is_empty();
        if source == SyncSource::Secondary && (self.meta.localcnt != told || lonely) {
            return Err("its data was newer, but ours has been written to meanwhile".to_owned());
        }
        (self.link.localcnt, self.link.remotecnt) = (reply.localcnt, reply.remotecnt);
        let before = self.meta.clone();
        if reply.virgin && self.meta.localcnt == 0 {
            // So that it counts as out of date until it has all.
            self.meta.localcnt = 1;
        }
        if source == SyncSource::Secondary && !self.needs_peer() {
            self.map.redirect(source);
        }
        if let Some(map) = &reply.map {
            self.map.merge(map, source);
        }
        if source == SyncSource::Secondary && !self.map.from_peer().is_empty() {
            // Before the first block is copied: half of each is what nobody may promote (H7).
            self.meta.consistency = Consistency::Inconsistent;
        }
        let write = (self.meta != before).then(|| self.store());
        self.stage(Stage::Merging(self.map.settled(), write));
        self.merged();
        Ok(())
    }

    pub(super) fn link_stored_map(&mut self, update: u64, result: Result<(), Errno>) {
        if let Stage::Merging(Some(wanted), meta) = self.link.stage
            && wanted <= update
        {
            match result {
                Ok(()) => self.link.stage = Stage::Merging(None, meta),
                Err(_) => return self.link_down("the activemap cannot be stored", Ended::ByUs),
            }
            self.merged();
        }
    }

    pub(super) fn link_stored_meta(&mut self, write: u64, result: Result<(), Errno>) {
        match (self.link.stage, result) {
            (Stage::Merging(map, Some(wanted)), Ok(())) if wanted <= write => {
                self.link.stage = Stage::Merging(map, None);
                self.merged();
            }
            (Stage::Naming(token, wanted), Ok(())) if wanted <= write => self.second(token),
            (Stage::Naming(_, wanted), Err(_)) if wanted <= write => {
                self.meta.resuid = 0;
                self.link_down("the unique id cannot be stored", Ended::ByUs);
            }
            (Stage::Merging(_, Some(wanted)), Err(_)) if wanted <= write => {
                self.link_down("the metadata cannot be stored", Ended::ByUs);
            }
            _ => {}
        }
    }

    fn merged(&mut self) {
        if self.link.stage != Stage::Merging(None, None) {
            return;
        }
        self.link.stage = Stage::Up;
        self.met = true;
        self.link.attempts = 0;
        self.link.trouble = None;
        self.link.split = false;
        self.link.told = None;
        (self.link.no_flush, self.link.no_delete) = (false, false);
        self.link.last_sent = self.now;
        // The next outage is another one (H6).
        self.alone = Mark::Unset;
        self.tell(Happening::Connect);
        self.resync_begins();
        self.tell_state();
        if self.needs_peer() && self.map.to_peer().is_empty() {
            // It is the source. With marks of its own it would take itself for the target, and with
            // the first write its copy, the only whole one, for incomplete.
            self.state_is(State::Consistent);
        }
        self.unpark();
    }

    /// Tells a peer of our own kind when its data begins to be incomplete. That it is complete
    /// again is told by the end of the resynchronisation.
    pub(super) fn tell_state(&mut self) {
        if self.link.up()
            && !self.map.to_peer().is_empty()
            && self.link.told != Some(State::Inconsistent)
        {
            self.state_is(State::Inconsistent);
        }
    }

    pub(super) fn state_is(&mut self, state: State) {
        if self.link.ext & ext::STATE != 0 {
            self.send(Request::keepalive(Some(state)));
        }
        self.link.told = Some(state);
    }

    /// The link, or the attempt at one, is over.
    pub(super) fn link_down(&mut self, why: &str, ended: Ended) {
        if self.link.stage == Stage::Down {
            return;
        }
        let was_up = self.link.up();
        // The end of a link is told by whoever runs the hooks; attempts that fail, once a reason.
        if !was_up && self.link.trouble.as_deref() != Some(why) {
            log::warn!("[{}] no connection: {why}", self.meta.resource);
        }
        if ended == Ended::ByUs {
            self.out.push(PrimaryAction::Close(why.to_owned()));
        }
        self.link.stage = Stage::Down;
        self.link.trouble = Some(why.to_owned());
        let pause = SOON << self.link.attempts.min(4);
        self.link.at = self.now + pause.min(RECONNECT);
        self.link.told = None;
        if !was_up {
            return;
        }
        // First of all: what the other node may not have is marked, before anything is answered.
        self.map.link_lost(self.needs_peer());
        if self.needs_peer() {
            self.changes_doubted();
        }
        self.tell(Happening::Disconnect(why.to_owned()));
        self.resync_ends();
        self.remote_lost();
    }

    pub(super) fn settle_settings(&mut self, settings: Settings) {
        self.settings = settings;
        if !self.settings.has_remote {
            self.link_down("no other node is configured", Ended::ByUs);
        }
    }
}
