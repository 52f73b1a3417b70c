//! Leases over real files: descriptors come in, the parent is asked, poll(2) waits.

use super::batch::by_way_out;
use super::{Batch, Leases, Limits};
use crate::engine::{Actions, Engine, Now};
use crate::journal::commit::Disk;
use crate::journal::{Journal, Seq};
use crate::msg::{ToParent, ToServer};
use crate::server::replies::Wires;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proto::unix::{Channel, Error as ChannelError};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

impl Leases {
    /// Begins to write at the end of the lease file. What has waited for the disk leaves by `wires`.
    pub fn start(file: OwnedFd, wires: Arc<Wires>, now: Now) -> Result<Self, String> {
        let journal = Journal::start(file, |waited: &[(Seq, Batch<Wires>)]| {
            for (wires, batches) in by_way_out(waited) {
                wires.send(batches, true);
            }
        });
        let journal = journal.map_err(|e| format!("start the journal: {e}"))?;
        Ok(Leases::new(journal, wires, Limits::default(), now))
    }
}

impl<D: Disk, W> Leases<D, W> {
    /// Takes the next step of a rewrite, if one is due.
    pub fn step(&mut self, now: Now, parent: &Channel<ToParent, ToServer>) -> Result<(), String> {
        let Some(message) = self.wish(now) else { return Ok(()) };
        match parent.send(&message) {
            // A parent that is gone is noticed where it is listened to.
            Ok(()) | Err(ChannelError::Closed) => Ok(()),
            Err(error) => Err(format!("tell the parent {message:?}: {error}")),
        }
    }

    /// Waits for everything that was committed, and so for what leaves after it: the journal's thread
    /// has ended then.
    pub fn finish(mut self, engine: &Engine, now: Now, mut tell: impl FnMut(&Actions)) {
        self.journal.ring();
        self.hear(engine, now, &mut tell);
        while !self.is_settled() {
            let mut fds = [PollFd::new(self.journal.as_fd(), PollFlags::POLLIN)];
            if let Err(error) = poll(&mut fds, PollTimeout::NONE)
                && error != Errno::EINTR
            {
                return;
            }
            self.hear(engine, now, &mut tell);
        }
        self.journal.end();
    }
}

/// Readable when [`Leases::hear`] has something to hear.
impl<D, W> AsFd for Leases<D, W> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.journal.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::crash::disk::{Faults, SimDirectory};
    use crate::engine::{Destination, EngineOptions, Reply};
    use crate::journal::Room;
    use crate::server::leases::RECORD;
    use std::fs::{self, OpenOptions};
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    const NOW: Now = Now { wall: 1_000_000_000, mono: 0 };

    /// A file that is gone after the test.
    fn with_file(what: &str, test: impl FnOnce(OwnedFd)) -> u64 {
        let path = std::env::temp_dir().join(format!("dhcpd-{what}-{}", std::process::id()));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        test(file.into());
        let length = fs::metadata(&path).unwrap().len();
        fs::remove_file(&path).unwrap();
        length
    }

    fn engine() -> Engine {
        Engine::new(Arc::new(Config::default()), vec![], EngineOptions::default())
    }

    fn reply(interface: usize) -> Reply {
        Reply {
            destination: Destination::Link {
                interface,
                mac: [0; 6],
                address: Ipv4Addr::BROADCAST,
                port: 68,
            },
            source: Ipv4Addr::UNSPECIFIED,
            bytes: 0..0,
            durable: true,
        }
    }

    /// A lease that was given back has no reply to wait for.
    #[test]
    fn what_nobody_waits_for_is_on_disk_too_at_the_end() {
        let mut records = 0;
        let length = with_file("finish", |file| {
            let journal =
                Journal::start(file, |_: &[(Seq, Batch<()>)]| panic!("nothing waits")).unwrap();
            let mut leases = Leases::new(journal, Arc::new(()), Limits::default(), NOW);
            while records < 8 && leases.journal.has_room() {
                let journal = vec![b'\n'; crate::journal::MAX_COMMIT];
                let mut actions = Actions { journal, records: 1, ..Actions::default() };
                leases.commit(&mut actions, NOW);
                records += 1;
            }
            leases.finish(&engine(), NOW, |_| panic!("there was no reply"));
        });
        assert_eq!(length, records * crate::journal::MAX_COMMIT as u64);
    }

    /// A reply that waits for the disk leaves by the interface it was meant for, whatever number that
    /// has by then; and once, before anybody else is told.
    #[test]
    fn what_waits_for_the_disk_keeps_its_way_out() {
        let batch = |interface| Actions {
            journal: b"\n".to_vec(),
            records: 1,
            replies: vec![reply(interface)],
            ..Actions::default()
        };
        with_file("ways", |file| {
            let (left, leaves) = std::sync::mpsc::channel();
            let journal = Journal::start(file, move |waited: &[(Seq, Batch<[&str; 2]>)]| {
                for (wires, batches) in by_way_out(waited) {
                    for reply in batches.flat_map(|actions| &actions.replies) {
                        let Destination::Link { interface, .. } = reply.destination else {
                            continue;
                        };
                        left.send(wires[interface]).unwrap();
                    }
                }
            });
            let before = Arc::new(["lan", "wlan"]);
            let mut leases = Leases::new(journal.unwrap(), before, Limits::default(), NOW);
            leases.commit(&mut batch(1), NOW);
            leases.set_wires(Arc::new(["wlan", "dmz"]));
            leases.commit(&mut batch(1), NOW);
            let mut told = Vec::new();
            leases.finish(&engine(), NOW, |_| told.push(leaves.try_recv().unwrap()));
            assert_eq!(told, ["wlan", "dmz"]);
            assert!(leaves.try_recv().is_err());
        });
    }

    /// Who hears of it later is not woken for it, unless something waits for that.
    #[test]
    fn an_acknowledgement_wakes_nobody_but_its_client() {
        let batch = || Actions {
            journal: b"\n".to_vec(),
            records: 1,
            replies: vec![reply(0)],
            ..Actions::default()
        };
        let disk = SimDirectory::new(1, usize::MAX);
        let (journal, mut worker) =
            Journal::by_turns(disk.open().unwrap(), Room::default(), 1000).unwrap();
        let limits = Limits { waiting: 2 * RECORD, ..Limits::default() };
        let mut leases: Leases<_, ()> = Leases::new(journal, Arc::new(()), limits, NOW);
        let mut turn = |leases: &Leases<_, ()>| {
            let mut left = 0;
            worker.turn(&mut |waited| left += waited.len());
            let mut fds = [PollFd::new(leases.as_fd(), PollFlags::POLLIN)];
            (left, poll(&mut fds, PollTimeout::ZERO) == Ok(1))
        };
        leases.commit(&mut batch(), NOW);
        assert_eq!(turn(&leases), (1, false));
        // What is known already is told as well as what is not.
        leases.hear(&engine(), NOW, |_| ());
        let known = leases.watch();
        assert_eq!(turn(&leases), (0, true));
        assert_eq!(leases.outcome(known), Some(Ok(())));
        leases.hear(&engine(), NOW, |_| ());
        leases.commit(&mut batch(), NOW);
        let ticket = leases.watch();
        assert_eq!(leases.outcome(ticket), None);
        assert_eq!(turn(&leases), (1, true));
        leases.hear(&engine(), NOW, |_| ());
        assert_eq!(leases.outcome(ticket), Some(Ok(())));
        // No more is read until there is room: that is heard of.
        leases.commit(&mut batch(), NOW);
        leases.commit(&mut batch(), NOW);
        assert!(leases.is_congested());
        assert_eq!(turn(&leases), (2, true));
        leases.hear(&engine(), NOW, |_| ());
        assert!(!leases.is_congested());
        // Offers that have left already take their room as long as what they came with waits.
        leases.commit(&mut Actions { arena: vec![0; RECORD], ..batch() }, NOW);
        assert!(leases.is_congested());
        assert_eq!(turn(&leases), (1, true));
        leases.hear(&engine(), NOW, |_| ());
        assert!(!leases.is_congested());
        // And so is a failure.
        disk.set_faults(Faults { sync: 1, ..Faults::default() });
        leases.commit(&mut batch(), NOW);
        assert_eq!(turn(&leases), (0, true));
    }
}
