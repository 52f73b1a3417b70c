//! A worker as the parent holds it: the process and the channel. What it is for is not known here.

use crate::msg::{FromWorker, ToWorker};
use proto::unix::Channel;
use std::time::{Duration, Instant};
use supervise::Child;

/// How long one that lost its channel may take to end, before SIGTERM and then SIGKILL.
const PATIENCE: Duration = Duration::from_millis(500);

/// See the module.
pub struct Worker {
    pub child: Child,
    pub channel: Channel<ToWorker, FromWorker>,
    /// When it was started.
    pub since: Instant,
}

impl Worker {
    /// Never waits: one that hears nothing any more must not keep us from all the others. Whether
    /// it was told.
    pub fn tell(&self, message: &ToWorker) -> bool {
        matches!(self.channel.try_send(message), Ok(true))
    }

    /// Ends what is left of it: without its channel it ends by itself, and is killed if it does not.
    /// How it ended.
    pub fn end(self) -> String {
        let Worker { child, channel, .. } = self;
        let ended =
            supervise::stop(channel, vec![child], PATIENCE).pop().and_then(|ended| ended.exit);
        ended.map_or_else(|| "its end is unknown".to_owned(), |exit| exit.to_string())
    }
}
