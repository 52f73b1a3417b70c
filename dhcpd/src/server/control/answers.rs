//! Answers that are put together from all that the server has: a piece at a time where they are
//! long.

use super::Work;
use crate::ctl::message::{Answer, MAX_LEASES, Served, Status, size};
use crate::engine::Now;
use crate::engine::counters::Counters;
use crate::msg::Process;
use crate::server::{Server, replies};

/// Leases looked at in a turn, so that packets do not wait for long.
const LOOKED_AT: usize = 400;
/// Leases counted in a turn.
const COUNTED: usize = 4000;
/// Ranges told of in a turn.
const TOLD: usize = 100;

impl Server<'_> {
    /// Makes the next piece of a long answer.
    pub(super) fn make_piece(&mut self, index: usize, now: Now) {
        let Server { control, engine, .. } = self;
        let Some(session) = control.sessions.get_mut(index) else { return };
        match &mut session.work {
            Work::Leases { filter, cursor } => {
                let mut entries = Vec::new();
                let next = engine.look(filter, *cursor, LOOKED_AT, now, &mut entries);
                *cursor = next.unwrap_or(0);
                let mut part = Vec::new();
                let mut bytes = 0;
                for entry in entries {
                    let size = size(&entry);
                    if bytes + size > MAX_LEASES {
                        session.answer(Answer::Leases(std::mem::take(&mut part)));
                        bytes = 0;
                    }
                    bytes += size;
                    part.push(entry);
                }
                if !part.is_empty() {
                    session.answer(Answer::Leases(part));
                }
                if next.is_none() {
                    session.finish();
                }
            }
            Work::Pools { count, from } => match *from {
                None => *from = engine.count_pools(count, COUNTED).then_some(0),
                Some(first) => {
                    let pools = engine.pools(count, first, TOLD);
                    *from = Some(first + TOLD);
                    match pools.is_empty() {
                        true => session.finish(),
                        false => session.answer(Answer::Pools(pools)),
                    }
                }
            },
            _ => {}
        }
    }

    /// The engine's counters, and everybody else's.
    pub(super) fn all_counters(&self) -> Counters {
        let mut counters = *self.engine.counters();
        self.leases.count(&mut counters);
        self.feed.count(&mut counters);
        self.frames.count(&self.links, &mut counters);
        let own = &self.control.counters;
        counters.control_clients = own.control_clients;
        counters.control_refused = own.control_refused;
        counters.control_dropped = own.control_dropped;
        counters.replies_unsent = replies::unsent();
        counters
    }

    pub(super) fn status(&self, processes: Vec<Process>) -> Status {
        let now = self.clock.now();
        let began = self.control.began.unwrap_or(now);
        let uptime = now.mono.saturating_sub(began.mono) / 1000;
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: began.wall,
            uptime,
            config: self.control.config.clone(),
            leases: self.control.lease_file.clone(),
            addresses: self.engine.len() as u64,
            trouble: self.leases.trouble(),
            interfaces: self
                .engine
                .served()
                .map(|(name, address, network)| Served {
                    name: name.to_owned(),
                    address,
                    network: network.map(str::to_owned),
                })
                .collect(),
            processes: processes.into_iter().map(Into::into).collect(),
            tables: self.control.has_tables.then_some(self.helper.is_some()),
            table_states: self.feed.states(),
            peers: self.sync.described(now),
        }
    }
}
