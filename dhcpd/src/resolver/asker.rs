//! How the server asks for names: without ever waiting. What the channel does not take at once waits
//! here, so much of it; what is not asked now is asked when the address is next given out.

use super::msg::{Ask, MOST, Named};
use nix::poll::{PollFd, PollFlags};
use proto::unix::{Channel, Error};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

/// The most addresses that wait.
const WAITING: usize = 4096;

/// The addresses that are to be asked for, and the way there if there is one now.
#[derive(Debug, Default)]
pub struct Asker {
    channel: Option<Channel<Ask, Named>>,
    waiting: Vec<Ipv4Addr>,
}

impl Asker {
    /// A resolver is there, new or again.
    ///
    /// # Errors
    /// The descriptor is no channel.
    pub fn connect(&mut self, channel: OwnedFd) -> Result<(), Error> {
        self.channel = Some(Channel::from_fd(channel)?);
        Ok(())
    }

    /// Takes addresses, and asks for them if that is possible at once.
    pub fn ask(&mut self, addresses: &[Ipv4Addr]) {
        let room = WAITING.saturating_sub(self.waiting.len()).min(addresses.len());
        self.waiting.extend_from_slice(&addresses[..room]);
        while let Some(channel) = self.channel.as_ref().filter(|_| !self.waiting.is_empty()) {
            let count = self.waiting.len().min(MOST);
            match channel.try_send(&Ask(self.waiting[..count].to_vec())) {
                Ok(true) => drop(self.waiting.drain(..count)),
                Ok(false) => break,
                // The parent sees its end too, and brings another.
                Err(_) => self.channel = None,
            }
        }
    }

    /// Hears what there is.
    pub fn hear(&mut self, mut named: impl FnMut(Named)) {
        while let Some(channel) = &self.channel {
            match channel.try_recv() {
                Ok(Some(answer)) => named(answer),
                Ok(None) => break,
                Err(error) => {
                    if !matches!(error, Error::Closed) {
                        log::error!("{}: {error}", super::TITLE);
                    }
                    self.channel = None;
                }
            }
        }
    }

    /// What to wait for.
    pub fn poll_fd(&self) -> Option<PollFd<'_>> {
        let mut events = PollFlags::POLLIN;
        events.set(PollFlags::POLLOUT, !self.waiting.is_empty());
        self.channel.as_ref().map(|channel| PollFd::new(channel.as_fd(), events))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_waits_and_forgets_what_is_too_much() {
        let addresses: Vec<Ipv4Addr> = (0..WAITING as u32 + 9).map(Ipv4Addr::from).collect();
        let mut asker = Asker::default();
        asker.ask(&addresses);
        assert_eq!(asker.waiting.len(), WAITING);
        let (ours, theirs) = proto::unix::pair().unwrap();
        let resolver: Channel<Named, Ask> = Channel::from_fd(theirs).unwrap();
        asker.connect(ours).unwrap();
        let mut heard = Vec::new();
        while asker.poll_fd().unwrap().events().contains(PollFlags::POLLOUT) {
            asker.ask(&[]);
            while let Ok(Some(Ask(some))) = resolver.try_recv() {
                heard.extend(some);
            }
        }
        assert_eq!(heard, addresses[..WAITING]);
        let named = Named { address: addresses[0], name: Some(b"zero".to_vec()) };
        resolver.send(&named).unwrap();
        let mut answers = Vec::new();
        asker.hear(|answer| answers.push(answer));
        assert_eq!(answers, [named]);
        drop(resolver);
        asker.hear(|_| panic!("nobody is there"));
        assert!(asker.poll_fd().is_none());
        asker.ask(&addresses[..1]);
    }
}
