//! The resolver as the parent keeps it: there if the configuration asks for names, and never a
//! reason to end. Without it, clients have no names from the DNS, and that is all.

use super::{PATIENCE, Parent};
use crate::msg::ToServer;
use crate::resolver;
use std::time::Instant;
use supervise::Attendant;

impl Parent {
    /// Starts or ends it, as the configuration wants: at start, and after a reload.
    pub(super) fn want_names(&mut self) {
        match (resolver::is_wanted(self.reload.config()), self.resolver.take()) {
            (true, None) => match Attendant::start(resolver::role()) {
                Ok(resolver) => self.resolver = Some(resolver),
                Err(error) => log::error!("{}: {error}; no names are looked up", resolver::TITLE),
            },
            (true, some) => self.resolver = some,
            (false, Some(resolver)) => {
                let (channel, child) = resolver.into_parts();
                supervise::stop(channel, child.into_iter().collect(), PATIENCE);
            }
            (false, None) => {}
        }
    }

    /// Sees to its life, and brings the server its channel.
    pub(super) fn see_to_names(&mut self, now: Instant) -> Result<(), String> {
        let Some(resolver) = &mut self.resolver else { return Ok(()) };
        match resolver.see_to(now) {
            Ok(Some((channel, _))) => self.tell(&ToServer::Names(channel)),
            Ok(None) => Ok(()),
            Err(why) => {
                log::error!("{why}; no names are looked up meanwhile");
                Ok(())
            }
        }
    }
}
