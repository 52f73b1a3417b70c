//! The shell around `sync`: it moves datagrams between the socket and the machine.

use crate::batch::{self, Inbox, Outgoing};
use crate::control::ROOM;
use crate::engine::{Actions, Engine, Now};
use crate::socket::BATCH;
use crate::sync::{Options, Outbox, Sync};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How many batches of datagrams are taken before packets have their turn.
const TURNS: usize = 4;

/// Synchronisation, where it was asked for; otherwise nothing is done.
#[derive(Default)]
pub struct Link {
    at_work: Option<AtWork>,
}

struct AtWork {
    fd: OwnedFd,
    listens: bool,
    inbox: Inbox,
    sync: Sync,
    out: Outbox,
    /// Nothing could be sent: said once, until something could.
    failing: bool,
}

impl Link {
    /// Takes the parent's socket. The engine has its leases.
    pub fn start(fd: OwnedFd, options: Options, engine: &Engine, now: Now) -> Link {
        let listens = options.listens;
        let sync = Sync::new(options, engine, now);
        let (inbox, out) = (Inbox::new(), Outbox::default());
        Link { at_work: Some(AtWork { fd, listens, inbox, sync, out, failing: false }) }
    }

    /// Whether changes are to be told at all.
    pub fn is_on(&self) -> bool {
        self.at_work.is_some()
    }

    /// Who leases are told to, and how it stands with them.
    pub fn described(&self, now: Now) -> Vec<String> {
        self.at_work.as_ref().map(|work| work.sync.described(now)).unwrap_or_default()
    }

    /// The socket, if somebody is heard.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.at_work.as_ref().filter(|work| work.listens).map(|work| work.fd.as_fd())
    }

    /// When [`Link::speak`] is due, in milliseconds.
    pub fn due(&self) -> Option<u64> {
        self.at_work.as_ref().and_then(|work| work.sync.next_tick())
    }

    /// Takes what others have sent.
    pub fn hear(&mut self, engine: &mut Engine, now: Now, actions: &mut Actions) {
        let Some(work) = self.at_work.as_mut().filter(|work| work.listens) else { return };
        for _ in 0..TURNS {
            let (inbox, sync) = (&mut work.inbox, &mut work.sync);
            let taken = inbox.receive(work.fd.as_fd(), |message| {
                sync.input(message.bytes, message.source, engine, now, actions);
            });
            match taken {
                Ok(BATCH) => {}
                Ok(_) => return,
                // What the last datagram met: its receiver is not there.
                Err(error) => {
                    log::debug!("sync: receive: {error}");
                    return;
                }
            }
        }
    }

    /// What the actions change is on its way to the disk.
    pub fn committing(&mut self, actions: &Actions, engine: &Engine) {
        let Some(work) = &mut self.at_work else { return };
        if actions.rewrite {
            // The clock was set, and all leases say other times.
            work.sync.count_again(engine);
        }
        let changes = actions.sync.as_deref().unwrap_or_default();
        work.sync.committing(changes);
        if actions.journal.is_empty() {
            work.sync.committed(changes, true, engine);
        }
    }

    /// What a batch changed is on disk, or never will be.
    pub fn committed(&mut self, batch: &Actions, on_disk: bool, engine: &Engine) {
        if let Some(work) = &mut self.at_work {
            let changes = batch.sync.as_deref().unwrap_or_default();
            work.sync.committed(changes, on_disk, engine);
        }
    }

    /// There is a new lease file.
    pub fn rewritten(&mut self, engine: &Engine) {
        if let Some(work) = &mut self.at_work {
            work.sync.rewritten(engine);
        }
    }

    /// The ranges may be others.
    pub fn reconfigured(&mut self, engine: &Engine) {
        if let Some(work) = &mut self.at_work {
            work.sync.count_again(engine);
        }
    }

    /// Sends what there is to say, and lets the engine know what is ours to give.
    pub fn speak(&mut self, engine: &mut Engine, now: Now) {
        let Some(work) = &mut self.at_work else { return };
        work.sync.tick(engine, now, &mut work.out);
        engine.set_share(work.sync.share(now));
        if work.out.is_empty() {
            return;
        }
        let messages = work.out.iter().map(|(to, bytes)| Outgoing {
            header: [],
            payload: bytes,
            dest: Some(to),
            control: ([0; ROOM], 0),
        });
        let sent = batch::send(work.fd.as_fd(), messages, || "tell other servers".to_owned());
        let failed = sent.sent == 0;
        if let Some(error) = sent.error.filter(|_| failed && !work.failing) {
            log::warn!("sync: {error}");
        }
        work.failing = failed;
        work.out.clear();
    }
}
