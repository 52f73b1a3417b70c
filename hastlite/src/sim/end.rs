//! The end of a schedule: nothing goes wrong any more, and everything has to become well.

use super::check::Promise;
use super::node::{Process, Trouble};
use super::{Event, Sim};
use crate::engine::{Consistency, Now, Op, Role};

/// As long as this may take until the nodes have the same again.
const LIMIT: Now = 600_000;

impl Sim {
    pub(super) fn end(&mut self) {
        if self.failure.is_some() {
            return;
        }
        self.say(|| "everything is well again".to_owned());
        self.ending = true;
        self.net.blocked = 0;
        for node in 0..2 {
            self.nodes[node].trouble = Trouble::default();
            if matches!(self.nodes[node].process_kind, Process::Down) {
                self.start(node, Role::Init);
            }
        }
        self.settle_down();
        self.flush();
        self.settle_down();
        self.equal();
        self.dark();
    }

    fn settle_down(&mut self) {
        let limit = self.now + LIMIT;
        let mut look = self.now;
        self.turn(|sim| {
            if sim.now >= look {
                look = sim.now + 1_000;
                sim.look_after();
                sim.attach();
                sim.after(1_000, Event::Operator);
            }
            sim.now > limit || sim.is_well()
        });
        if self.failure.is_none() && !self.is_well() {
            let why = format!("the nodes do not come to terms: {}", self.standing());
            self.fail(why);
        }
    }

    /// A primary that has given its disk up starts again on the mended one.
    fn attach(&mut self) {
        let Some(node) = self.client.at else { return };
        let detached = self.nodes[node].primary().is_some_and(|e| e.status().detached);
        if detached && self.client.is_answered() {
            self.dies(node, false);
            self.start(node, Role::Primary);
        }
    }

    pub(super) fn is_well(&self) -> bool {
        let Some(node) = self.client.at else { return false };
        let Some(engine) = self.nodes[node].primary() else { return false };
        let status = engine.status();
        let metas = self.nodes.iter().map(|node| node.disk.meta.consistency);
        self.client.is_answered()
            && self.nodes[1 - node].role() == Some(Role::Secondary)
            && self.is_linked(node)
            && status.connected
            && !status.detached
            && status.dirty == 0
            && status.sync.is_none()
            && status.requests + status.send_queue + status.recv_queue == 0
            && metas.into_iter().all(|c| c == Consistency::Consistent || !self.plan.native)
    }

    pub(super) fn standing(&self) -> String {
        let mut text = format!("clients at {:?}; ", self.client.at);
        for node in &self.nodes {
            let meta = &node.disk.meta;
            text += &format!(
                "[{:?}, to be {:?}, {:x} ({}, {}) {:?}] ",
                node.role(),
                node.becomes,
                meta.resuid,
                meta.localcnt,
                meta.remotecnt,
                meta.consistency
            );
            if let Some(engine) = node.primary() {
                text += &format!("{:?} ", engine.status());
            }
        }
        text
    }

    fn flush(&mut self) {
        let Some(node) = self.client.at else { return };
        if self.failure.is_none() {
            self.ask(node, Op::Flush, 0, 0, false);
            self.turn(|sim| sim.client.is_answered());
        }
    }

    fn equal(&mut self) {
        if self.failure.is_some() {
            return;
        }
        let [a, b] = [&self.nodes[0].disk.seen, &self.nodes[1].disk.seen];
        if let Some(sector) = a.iter().zip(b).position(|(a, b)| a != b) {
            let (a, b) = (a[sector], b[sector]);
            let known = self.check.known(sector);
            return self.fail(format!("the nodes have {a} and {b} in sector {sector}; {known}"));
        }
        self.all_promised();
    }

    /// The power goes everywhere.
    fn dark(&mut self) {
        if self.failure.is_some() {
            return;
        }
        for node in 0..2 {
            self.nodes[node].disk.power_loss(&mut self.random);
            self.check.forget(node, Promise::Cached);
        }
        self.all_promised();
    }

    fn all_promised(&mut self) {
        for node in 0..2 {
            for sector in 0..self.nodes[node].disk.seen.len() {
                let value = self.nodes[node].disk.seen[sector];
                if let Err(why) = self.check.promised(node, sector, value) {
                    return self.fail(why);
                }
            }
        }
    }
}
