//! The supervisor at the other end of a socket: it is asked to end, and its end closes the
//! connection. Nothing is signalled, so that nobody else can be hit.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proto::unix::{Connection, connect};

use super::{Reply, Request};
use crate::Error;

/// A supervisor.
pub struct Listening {
    connection: Connection<Request, Reply>,
}

impl Listening {
    /// Connects to who listens at `path`.
    ///
    /// # Errors
    /// Nobody does.
    pub fn at(path: &Path) -> Result<Listening, String> {
        let connection = connect::<Request, Reply>(path).map_err(|error| error.to_string())?;
        Ok(Listening { connection })
    }

    /// Asks it to end, and its command with it.
    ///
    /// # Errors
    /// It is gone, or refuses.
    pub fn end(&self) -> Result<(), String> {
        let channel = &self.connection.channel;
        channel.send(&Request::Stop).map_err(|error| error.to_string())?;
        match channel.recv() {
            Ok(Reply::Refused(why)) => Err(why),
            // Gone already is as good.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Waits for its end; whether that has come.
    ///
    /// # Errors
    /// The system refuses.
    pub fn ended_within(&self, patience: Duration) -> Result<bool, Error> {
        let until = Instant::now() + patience;
        loop {
            if self.connection.channel.try_recv().is_err() {
                return Ok(true);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let millis = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
            let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.connection.channel.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::system("poll", errno)),
            }
        }
    }
}
