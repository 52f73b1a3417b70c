//! The secondary: keeps the replica. It answers the handshake, does what the primary asks in an
//! order that both nodes agree on, and keeps a record of what its data is worth by itself.
//!
//! Which host may connect, and whether the resource is known and its role is secondary at all, has
//! been judged before a connection comes here (the parent does it).
//!
//! Three things differ from FreeBSD's hastd besides what its wire format hides:
//! * whether the data is consistent is on stable storage before the first request that makes it
//!   less so is carried out (H7);
//! * its activemap remembers what it was told to store and could not: it says so, ends the link, and
//!   tells the primary by the map of the next handshake, which also one that shrugs off errors
//!   (H2) has to heed;
//! * a write that was said to be `received` is carried out even if the link is gone by then.

mod book;
mod handshake;
mod requests;
#[cfg(test)]
mod tests;
mod unflushed;

use super::activemap::Bits;
use super::{Consistency, Counters, Happening, Metadata, Now, Role, SecondaryAction};
use super::{SecondaryInput, Settings, Status, Token, activemap, ext};
use crate::Data;
use crate::wire::errno::Errno;
use book::Book;
use handshake::{Answering, Half, Tokens};
use requests::Queue;
use unflushed::Unflushed;

/// A primary that says nothing for so long is given up, as FreeBSD's secondary does: twice the time
/// between keepalives.
pub const SILENCE: Now = 20_000;

/// The longest read or write: what FreeBSD's primary may send on 64-bit machines.
pub const LONGEST: u64 = 1 << 20;

/// See the module.
#[derive(Debug)]
pub struct Secondary {
    /// As it is on stable storage.
    meta: Metadata,
    /// What the next primary is to be told: all that is marked on disk, and what should be.
    map: Vec<u8>,
    sector: u64,
    settings: Settings,
    tokens: Tokens,
    half: Option<Half>,
    answering: Option<Answering>,
    link: Option<Link>,
    /// How many links there have been: replies go to the link that the request came by, or nowhere.
    links: u64,
    book: Book,
    queue: Queue,
    unflushed: Unflushed,
    counters: Counters,
    trouble: Option<String>,
    next: u64,
    stopping: bool,
    stopped: bool,
}

/// The two connections that requests come by and replies go by.
#[derive(Debug)]
struct Link {
    c1: u64,
    c2: u64,
    /// What both nodes can.
    ext: u64,
    /// When something last came on C1.
    heard: Now,
    /// A change makes this node's data inconsistent: the primary is still copying its own to here.
    target: bool,
    /// A valid request has come, so that the primary has the map that it was told (A6).
    proven: bool,
}

impl Secondary {
    /// From what is on disk. `sector` is what requests have to be multiples of; `seed` is random,
    /// and the tokens that tie connections together are made of it.
    pub fn new(
        meta: Metadata,
        map: Vec<u8>,
        sector: u32,
        settings: Settings,
        seed: [u8; 32],
    ) -> Self {
        Self {
            meta,
            unflushed: Unflushed::new(map.len()),
            map,
            sector: u64::from(sector.max(1)),
            settings,
            tokens: Tokens::new(seed),
            half: None,
            answering: None,
            link: None,
            links: 0,
            book: Book::default(),
            queue: Queue::new(),
            counters: Counters::default(),
            trouble: None,
            next: 0,
            stopping: false,
            stopped: false,
        }
    }

    /// Takes in what has happened, and appends what is to be done.
    pub fn on(&mut self, input: SecondaryInput, now: Now, out: &mut Vec<SecondaryAction>) {
        match input {
            SecondaryInput::Handshake(conn, message) => self.handshake(conn, message, now, out),
            SecondaryInput::Request(request) => self.request(request, now, out),
            SecondaryInput::Invalid { seq, memsync, why } => {
                self.invalid(seq, memsync, why, now, out);
            }
            SecondaryInput::Done(token, result) => self.done(token, result, out),
            SecondaryInput::Lost(conn, why) => self.lost(conn, why, out),
            SecondaryInput::Tick => self.tick(now, out),
            SecondaryInput::Settings(settings) => self.settings = *settings,
            SecondaryInput::Stop => self.stop(out),
        }
        if self.stopping && !self.stopped && self.queue.is_empty() && self.book.is_idle() {
            self.stopped = true;
            out.push(SecondaryAction::Stopped);
        }
    }

    /// When [`SecondaryInput::Tick`] is next of any use.
    pub fn next_tick(&self) -> Option<Now> {
        let half = self.half.as_ref().map(|half| half.since + SILENCE);
        let link = self.link.as_ref().map(|link| link.heard + SILENCE);
        half.into_iter().chain(link).min()
    }

    /// How things stand.
    pub fn status(&self) -> Status {
        let extents = activemap::extents(self.meta.datasize, self.meta.extentsize) as usize;
        let marked = Bits::from_bytes(&self.map, extents).count() as u64;
        Status {
            role: Role::Secondary,
            connected: self.link.is_some(),
            trouble: self.trouble.clone(),
            consistency: self.meta.consistency,
            detached: false,
            dirty: 0,
            marked: marked * u64::from(self.meta.extentsize),
            sync: None,
            counters: self.counters,
            requests: self.queue.len(),
            local_queue: self.queue.at_disk() + u64::from(!self.book.is_idle()),
            send_queue: 0,
            recv_queue: 0,
        }
    }

    /// The metadata as it is on stable storage.
    pub fn metadata(&self) -> &Metadata {
        &self.meta
    }

    /// The activemap, with what was told to be stored and was not.
    pub fn map(&self) -> &[u8] {
        &self.map
    }

    fn done(
        &mut self,
        token: Token,
        result: Result<Option<Data>, Errno>,
        out: &mut Vec<SecondaryAction>,
    ) {
        if self.book.is_at(token) {
            self.booked(result.map(|_| ()), out);
        } else {
            self.finished(token.0, result, out);
        }
    }

    fn lost(&mut self, conn: u64, why: String, out: &mut Vec<SecondaryAction>) {
        if self.half.as_ref().is_some_and(|half| half.c1 == conn) {
            self.half = None;
        } else if let Some(Answering { c1, c2, .. }) = self.answering
            && (c1 == conn || c2 == conn)
        {
            self.answering = None;
            out.push(SecondaryAction::Close(if conn == c1 { c2 } else { c1 }));
        } else if let Some(Link { c1, c2, .. }) = self.link
            && (c1 == conn || c2 == conn)
        {
            self.link = None;
            out.push(SecondaryAction::Close(if conn == c1 { c2 } else { c1 }));
            self.down(why, out);
        }
    }

    /// Ends the link, if there is one.
    fn end_link(&mut self, why: &str, out: &mut Vec<SecondaryAction>) {
        if let Some(link) = self.link.take() {
            out.push(SecondaryAction::Close(link.c1));
            out.push(SecondaryAction::Close(link.c2));
            self.down(why.to_owned(), out);
        }
    }

    fn down(&mut self, why: String, out: &mut Vec<SecondaryAction>) {
        self.trouble = Some(why.clone());
        out.push(SecondaryAction::Tell(Happening::Disconnect(why)));
    }

    fn tick(&mut self, now: Now, out: &mut Vec<SecondaryAction>) {
        if self.link.as_ref().is_some_and(|link| now >= link.heard + SILENCE) {
            self.end_link("the primary has said nothing for 20 seconds", out);
        }
        if let Some(half) = self.half.take_if(|half| now >= half.since + SILENCE) {
            out.push(SecondaryAction::Close(half.c1));
        }
    }

    /// The role is to end. What was received is stored first: the primary may have answered for it.
    fn stop(&mut self, out: &mut Vec<SecondaryAction>) {
        self.stopping = true;
        self.drop_handshake(out);
        self.end_link("the role of this node changes", out);
    }

    fn is_target(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.target)
    }

    fn is_native(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.ext & ext::STATE != 0)
    }

    /// Numbers what is done on the local component.
    fn token(&mut self) -> Token {
        self.next += 1;
        Token(self.next)
    }

    fn with(&self, consistency: Consistency) -> Metadata {
        Metadata { consistency, ..self.book.latest_meta().unwrap_or(&self.meta).clone() }
    }
}
