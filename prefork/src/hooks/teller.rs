//! How a process tells the runner of events: without ever waiting for it. What the channel does not
//! take at once waits here, so much of it; then it is dropped, and that is told once in a while.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use proto::unix::{Channel, Error};

use super::msg::{Event, ToClient};

/// The most events that wait.
const WAITING: usize = 4096;

/// The events that are to be told, and the way there if there is one now.
#[derive(Debug, Default)]
pub struct Teller {
    channel: Option<Channel<Event, ToClient>>,
    waiting: VecDeque<Event>,
    dropped: u64,
}

impl Teller {
    /// A runner is there, new or again. What waited is told to it.
    ///
    /// # Errors
    /// The descriptor is no channel.
    pub fn connect(&mut self, channel: OwnedFd) -> Result<(), Error> {
        self.channel = Some(Channel::from_fd(channel)?);
        self.flush();
        Ok(())
    }

    /// Takes an event, and tells it if that is possible at once.
    pub fn tell(&mut self, event: Event) {
        if self.waiting.len() >= WAITING {
            self.dropped += 1;
            return;
        }
        self.waiting.push_back(event);
        self.flush();
    }

    /// Tells what waits, as much as the channel takes.
    pub fn flush(&mut self) {
        while let (Some(channel), Some(event)) = (&self.channel, self.waiting.front()) {
            match channel.try_send(event) {
                Ok(true) => {
                    self.waiting.pop_front();
                }
                Ok(false) => break,
                Err(Error::Closed) => self.channel = None,
                Err(error) => {
                    // One that cannot be said at all: too long, most likely.
                    log::error!("tell the hooks: {error}");
                    self.waiting.pop_front();
                }
            }
        }
        if self.dropped > 0 && self.waiting.len() < WAITING / 2 {
            log::error!("{} events had no hook run: the runner is too slow", self.dropped);
            self.dropped = 0;
        }
    }

    /// What to wait for, with POLLOUT, if [`Teller::flush`] has something to do then.
    pub fn blocked(&self) -> Option<BorrowedFd<'_>> {
        let channel = self.channel.as_ref()?;
        (!self.waiting.is_empty()).then(|| channel.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u16) -> Event {
        Event { script: number, key: vec![b'k'; 500], ..Event::default() }
    }

    #[test]
    fn never_waits_and_keeps_the_order() {
        let (ours, theirs) = proto::unix::pair().expect("a pair");
        let mut teller = Teller::default();
        teller.tell(event(0));
        assert!(teller.blocked().is_none(), "nobody is there to wait for");
        teller.connect(ours).expect("connect");
        for number in 1..5000 {
            teller.tell(event(number));
        }
        assert!(teller.blocked().is_some() && teller.dropped > 0);
        let hears: Channel<ToClient, Event> = Channel::from_fd(theirs).expect("a channel");
        let mut heard = 0;
        while teller.blocked().is_some() {
            while let Ok(Some(said)) = hears.try_recv() {
                assert_eq!(said.script, heard);
                heard += 1;
            }
            teller.flush();
        }
        assert_eq!(teller.dropped, 0, "told");
        assert!(heard > 4096);
        drop(hears);
        teller.tell(event(0));
        assert!(teller.channel.is_none() && teller.blocked().is_none());
    }
}
