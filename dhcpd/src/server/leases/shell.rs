//! Leases over real files: descriptors come in, the parent is asked, poll(2) waits.

use super::{Leases, Limits};
use crate::engine::{Actions, Engine, Now};
use crate::journal::Journal;
use crate::msg::{ToParent, ToServer};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proto::unix::{Channel, Error as ChannelError};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

impl Leases {
    /// Begins to write at the end of the lease file.
    pub fn start(file: OwnedFd, now: Now) -> Result<Self, String> {
        let journal = Journal::start(file).map_err(|e| format!("start the journal: {e}"))?;
        Ok(Leases::new(journal, Limits::default(), now))
    }

    /// Takes the next step of a rewrite, if one is due.
    pub fn step(&mut self, now: Now, parent: &Channel<ToParent, ToServer>) -> Result<(), String> {
        let Some(message) = self.wish(now) else { return Ok(()) };
        match parent.send(&message) {
            // A parent that is gone is noticed where it is listened to.
            Ok(()) | Err(ChannelError::Closed) => Ok(()),
            Err(error) => Err(format!("tell the parent {message:?}: {error}")),
        }
    }

    /// Waits for everything that was committed, and lets its replies go: the journal's thread ends
    /// with the process.
    pub fn finish(mut self, engine: &Engine, now: Now, mut send: impl FnMut(&Actions)) {
        while !self.is_settled() {
            let mut fds = [PollFd::new(self.journal.as_fd(), PollFlags::POLLIN)];
            if let Err(error) = poll(&mut fds, PollTimeout::NONE)
                && error != Errno::EINTR
            {
                return;
            }
            self.hear(engine, now, &mut send);
        }
    }
}

/// Readable when [`Leases::hear`] has something to hear.
impl<D> AsFd for Leases<D> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.journal.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::engine::{Destination, EngineOptions, Reply};
    use std::fs::{self, OpenOptions};
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    const NOW: Now = Now { wall: 1_000_000_000, mono: 0 };

    /// A lease that was given back has no reply to wait for.
    #[test]
    fn what_nobody_waits_for_is_on_disk_too_at_the_end() {
        let path = std::env::temp_dir().join(format!("dhcpd-finish-{}", std::process::id()));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        let mut leases = Leases::start(file.into(), NOW).unwrap();
        let engine = Engine::new(Arc::new(Config::default()), vec![], EngineOptions::default());
        let mut records = 0;
        while records < 8 && leases.journal.has_room() {
            let journal = vec![b'\n'; crate::journal::MAX_COMMIT];
            let mut actions = Actions { journal, records: 1, ..Actions::default() };
            leases.commit(&mut actions, NOW);
            records += 1;
        }
        leases.finish(&engine, NOW, |_| panic!("there was no reply"));
        let length = fs::metadata(&path).unwrap().len();
        fs::remove_file(&path).unwrap();
        assert_eq!(length, records * crate::journal::MAX_COMMIT as u64);
    }

    /// A reply that waits for the disk leaves by its interface, whatever number that has by then; one
    /// whose interface is gone does not leave, by no other either.
    #[test]
    fn what_waits_for_the_disk_knows_its_interface_when_the_numbers_change() {
        let path = std::env::temp_dir().join(format!("dhcpd-renumber-{}", std::process::id()));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        let mut leases = Leases::start(file.into(), NOW).unwrap();
        let engine = Engine::new(Arc::new(Config::default()), vec![], EngineOptions::default());
        let reply = |interface| Reply {
            destination: Destination::Link {
                interface,
                mac: [0; 6],
                address: Ipv4Addr::BROADCAST,
                port: 68,
            },
            source: Ipv4Addr::UNSPECIFIED,
            bytes: 0..0,
            durable: true,
        };
        let replies = vec![reply(0), reply(1), reply(2)];
        let mut actions =
            Actions { journal: b"\n".to_vec(), records: 1, replies, ..Actions::default() };
        leases.commit(&mut actions, NOW);
        leases.renumber(&[Some(1), None, Some(0)]);
        let mut sent = Vec::new();
        leases.finish(&engine, NOW, |batch| {
            sent.extend(batch.replies.iter().map(|reply| match reply.destination {
                Destination::Link { interface, .. } => interface,
                Destination::Udp { .. } => panic!("none of these"),
            }));
        });
        fs::remove_file(&path).unwrap();
        assert_eq!(sent, [1, 0]);
    }
}
