//! What goes wrong, and whoever looks after the nodes.

use super::check::Promise;
use super::disk::{Disk, data_of};
use super::net::{Message, Way};
use super::node::{Node, Process, Trouble};
use super::{Event, Sim};
use crate::Data;
use crate::engine::primary::Primary;
use crate::engine::role::{self, Peer};
use crate::engine::{Consistency, Metadata, PrimaryInput, Replication, Role, SecondaryInput};
use crate::wire::request::Cmd;

impl Sim {
    pub(super) fn fault(&mut self) {
        if self.ending || self.faults_left == 0 {
            return;
        }
        self.faults_left -= 1;
        let w = self.plan.weights;
        type Fault = fn(&mut Sim);
        let kinds: [(u32, Fault); 14] = [
            (w.cut, Sim::cut),
            (w.block, |sim| sim.block(30_000)),
            (w.kill_primary, |sim| sim.kill(true, false)),
            (w.kill_secondary, |sim| sim.kill(false, false)),
            (w.power_primary, |sim| sim.kill(true, true)),
            (w.power_secondary, |sim| sim.kill(false, true)),
            (w.failover, Sim::failover),
            (w.swap, Sim::swap),
            (w.isolate, Sim::isolate),
            (w.read_errors, |sim| sim.disk_fails(Trouble { reads: 400, ..Trouble::default() })),
            (w.write_errors, |sim| sim.disk_fails(Trouble { writes: 400, ..Trouble::default() })),
            (w.record_errors, |sim| {
                sim.disk_fails(Trouble { records: 400, flushes: 200, ..Trouble::default() });
            }),
            (w.slow, Sim::slow),
            (w.replace, Sim::replace),
        ];
        let total: u32 = kinds.iter().map(|kind| kind.0).sum();
        let mut choice = self.random.below(u64::from(total)) as u32;
        for (weight, fault) in kinds {
            if choice < weight {
                fault(self);
                break;
            }
            choice = choice.wrapping_sub(weight);
        }
        let wait = match self.random.below(3) {
            0 => self.random.below(50),
            1 => self.random.below(3_000),
            _ => self.random.below(40_000),
        };
        self.after(wait, Event::Fault);
    }

    pub(super) fn cut(&mut self) {
        let silent = self.random.permille(250);
        self.say(|| format!("the link is cut{}", if silent { ", and nobody hears" } else { "" }));
        for id in self.net.all() {
            for way in [Way::There, Way::Back] {
                let keep = self.random.below(self.net.under_way(id, way) as u64 + 1);
                let lost = self.net.cut(id, way, keep as usize);
                if self.shim.is_short() || self.shim.is_short_back() {
                    self.short(id, way, lost);
                }
                if silent {
                    self.net.silence(id, way);
                    let wait = self.random.between(1_000, 60_000);
                    self.after(wait, Event::Reset(id, way));
                } else {
                    self.send(id, way, Message::End);
                }
            }
        }
    }

    /// The first message that is lost has come in part, and its receiver does not notice.
    fn short(&mut self, id: u64, way: Way, lost: Vec<Message>) {
        let old = |data: &Data| data_of(&vec![u64::MAX; data.len() / super::disk::SECTOR as usize]);
        match lost.into_iter().next() {
            Some(Message::Request(mut request)) if self.shim.is_short() => {
                request.data = request.data.as_ref().map(old);
                if request.cmd == Cmd::Write {
                    self.send(id, way, Message::Request(request));
                }
            }
            Some(Message::Reply(mut reply)) if self.shim.is_short_back() => {
                reply.data = reply.data.as_ref().map(old);
                if reply.data.is_some() {
                    self.send(id, way, Message::Reply(reply));
                }
            }
            _ => {}
        }
    }

    fn block(&mut self, most: u64) {
        let until = self.now + self.random.between(100, most);
        self.say(|| format!("nothing gets through for {} ms", until - self.now));
        self.net.blocked = self.net.blocked.max(until);
    }

    fn with_role(&self, role: Role) -> Option<usize> {
        let serving = self.client.at.filter(|&at| self.nodes[at].role() == Some(role));
        serving.or_else(|| (0..2).find(|&node| self.nodes[node].role() == Some(role)))
    }

    fn kill(&mut self, primary: bool, power: bool) {
        let role = if primary { Role::Primary } else { Role::Secondary };
        let Some(node) = self.with_role(role) else { return };
        self.dies(node, power);
        let pause = self.random.delay(500, 30_000);
        let sound = self.nodes[node].disk.meta.consistency == Consistency::Consistent;
        let role = if power && !sound { Role::Secondary } else { role };
        let process = self.nodes[node].process;
        self.after(pause, Event::Start(node, process, role));
    }

    /// The primary is gone for a while, and the other node takes its place.
    fn failover(&mut self) {
        let (Some(old), Some(new)) =
            (self.with_role(Role::Primary), self.with_role(Role::Secondary))
        else {
            return;
        };
        let power = self.random.permille(500);
        self.dies(old, power);
        let pause = self.random.between(100, 60_000);
        let process = self.nodes[old].process;
        self.after(pause, Event::Start(old, process, Role::Init));
        if self.may_serve(new) {
            self.becomes(new, Role::Primary);
        }
    }

    /// Both change their roles, in good order.
    fn swap(&mut self) {
        let (Some(old), Some(new)) =
            (self.with_role(Role::Primary), self.with_role(Role::Secondary))
        else {
            return;
        };
        self.say(|| format!("node {new} is to take the place of node {old}"));
        self.becomes(old, Role::Secondary);
        self.wanted = Some(new);
    }

    /// The nodes do not see each other, and somebody takes that for the primary's death.
    fn isolate(&mut self) {
        let (Some(old), Some(new)) =
            (self.with_role(Role::Primary), self.with_role(Role::Secondary))
        else {
            return;
        };
        self.block(60_000);
        // Two nodes that never met would make two volumes of it.
        let met = self.nodes[new].disk.meta.resuid != 0;
        if met && self.may_serve(new) {
            self.say(|| format!("node {new} is to serve, while node {old} does"));
            self.becomes(new, Role::Primary);
        }
    }

    fn disk_fails(&mut self, trouble: Trouble) {
        let node = self.random.below(2) as usize;
        self.say(|| format!("the disk of node {node} fails: {trouble:?}"));
        self.disk_faults = true;
        self.nodes[node].trouble = trouble;
        let span = self.random.between(20, 20_000);
        self.after(span, Event::Well(node));
    }

    fn slow(&mut self) {
        let Some(node) = self.with_role(Role::Secondary) else { return };
        let slow = self.random.pick(&[200, 2_000, 30_000]);
        self.say(|| format!("the disk of node {node} is slow: {slow} ms"));
        self.nodes[node].trouble.slow = slow;
        let span = self.random.between(20, 20_000);
        self.after(span, Event::Well(node));
    }

    /// The secondary has a new disk.
    fn replace(&mut self) {
        let Some(node) = self.with_role(Role::Secondary) else { return };
        // Nobody takes the only good copy away.
        let sound = self.nodes[1 - node]
            .primary()
            .is_some_and(|engine| engine.metadata().consistency == Consistency::Consistent);
        if !sound || self.check.fork.is_some() {
            return;
        }
        self.dies(node, true);
        self.say(|| format!("node {node} has a new disk"));
        let old = &self.nodes[node].disk;
        let (resuid, localcnt, remotecnt) = (0, 0, 0);
        let consistency = Consistency::Consistent;
        let meta = Metadata { resuid, localcnt, remotecnt, consistency, ..old.meta.clone() };
        self.nodes[node].disk = Disk::new(meta, old.map.len());
        self.check.forget(node, Promise::Stable);
        let process = self.nodes[node].process;
        self.after(1_000, Event::Start(node, process, Role::Secondary));
    }

    /// H4: what the reference does with a trim.
    pub(super) fn trim_untracked(&mut self, node: usize, first: usize, count: usize) {
        let both = if self.is_linked(node) { 0..2 } else { node..node + 1 };
        for node in both {
            for sector in first..first + count {
                self.nodes[node].disk.write(sector, 0);
            }
        }
    }

    /// What a crash takes from what was promised.
    pub(super) fn lost_promises(&mut self, node: usize, was: Option<Role>, power: bool) {
        let received = was == Some(Role::Secondary) && self.plan.mode == Replication::Memsync;
        if power || received {
            self.check.forget(node, Promise::Cached);
        }
        let other = &self.nodes[1 - node];
        let unsound = |e: &Primary| e.status().consistency != Consistency::Consistent;
        let needed = other.disk.meta.consistency != Consistency::Consistent
            || other.primary().is_some_and(unsound);
        if power {
            self.check.reverted(node, &self.nodes[node].disk.seen, needed);
        }
    }

    /// What the other node would say if it were asked now.
    pub(super) fn peer_of(&self, node: usize) -> Option<Peer> {
        let there = &self.nodes[1 - node];
        let role = there.role().filter(|_| self.now >= self.net.blocked)?;
        let meta = &there.disk.meta;
        Some(Peer {
            live: true,
            role,
            resuid: meta.resuid,
            counters: Some((meta.localcnt, meta.remotecnt)),
            consistency: Some(meta.consistency),
            ahead: None,
        })
    }

    /// Whether promotion is to be had without force. A new disk is promoted by nobody who looks.
    pub(super) fn may_serve(&self, node: usize) -> bool {
        let disk = &self.nodes[node].disk;
        let other = self.nodes[1 - node].disk.meta.resuid;
        // Of two that never met, one only: it would become two volumes.
        let new = disk.meta.resuid == 0 && (other != 0 || node == 1);
        !new && role::promote(&disk.meta, &disk.map, self.peer_of(node).as_ref(), false).is_ok()
    }

    pub(super) fn becomes(&mut self, node: usize, role: Role) {
        if self.nodes[node].becomes.is_some() {
            return;
        }
        match self.nodes[node].process_kind {
            Process::Down => {}
            Process::Init => self.start(node, role),
            Process::Primary(_) => {
                self.nodes[node].becomes = Some(role);
                self.tell_primary(node, PrimaryInput::Stop);
            }
            Process::Secondary(_) => {
                self.nodes[node].becomes = Some(role);
                self.tell_secondary(node, SecondaryInput::Stop);
            }
        }
    }

    /// One node is to be primary, the other one secondary.
    pub(super) fn operator(&mut self) {
        if !self.ending {
            self.after(5_000, Event::Operator);
        }
        self.look_after();
    }

    pub(super) fn look_after(&mut self) {
        if self.nodes.iter().any(|node| node.becomes.is_some()) {
            return;
        }
        let roles = [self.nodes[0].role(), self.nodes[1].role()];
        if roles == [Some(Role::Primary); 2] {
            if self.now >= self.net.blocked {
                let idle = 1 - self.client.at.unwrap_or(0);
                self.becomes(idle, Role::Secondary);
            }
            return;
        }
        if let Some(primary) = roles.iter().position(|role| *role == Some(Role::Primary)) {
            if self.client.at.is_none() {
                self.serves(primary);
            }
            if roles[1 - primary] == Some(Role::Init) {
                self.becomes(1 - primary, Role::Secondary);
            }
            if self.nodes[1 - primary].split || self.nodes[primary].split {
                self.discard(primary);
            } else if self.ending && self.is_stuck(primary) {
                self.dies(primary, false);
                self.force();
            }
            return;
        }
        let wanted = self.wanted.take();
        let there = |&node: &usize| roles[node].is_some();
        let order = [wanted.unwrap_or(0), 1 - wanted.unwrap_or(0)];
        if let Some(node) = order.into_iter().filter(there).find(|&node| self.may_serve(node)) {
            self.becomes(node, Role::Primary);
        } else if roles.iter().all(Option::is_some) {
            self.force();
        }
    }

    /// Both disks have failed, one after the other: nobody has a whole copy any more.
    fn is_stuck(&self, primary: usize) -> bool {
        let unsound = |node: &Node| node.disk.meta.consistency != Consistency::Consistent;
        let connected = self.nodes[primary].primary().is_some_and(|e| e.status().connected);
        self.disk_faults && !connected && self.nodes.iter().all(unsound)
    }

    /// Neither node is sound: one of them has to do.
    fn force(&mut self) {
        let [a, b] = [&self.nodes[0].disk.meta, &self.nodes[1].disk.meta];
        let node = usize::from(a.consistency == Consistency::Inconsistent && b.resuid != 0);
        self.say(|| format!("node {node} is to serve by force"));
        self.summary.forced += 1;
        self.give_up(1 - node);
        let disk = &mut self.nodes[node].disk;
        if let Ok(promotion) = role::promote(&disk.meta, &disk.map, None, true) {
            disk.meta = promotion.metadata;
        }
        self.forced = true;
        // As it is: the engine that runs there has nothing to say to this.
        self.dies(node, false);
        self.start(node, Role::Primary);
        if self.nodes[1 - node].role().is_none() {
            self.start(1 - node, Role::Init);
        }
    }

    /// A split brain: one side's data is given up.
    fn discard(&mut self, primary: usize) {
        let other = 1 - primary;
        let both = self.nodes[other].role() == Some(Role::Secondary);
        if !both || self.now < self.net.blocked {
            return;
        }
        if self.random.permille(300) && self.may_serve(other) {
            self.say(|| format!("split brain: node {primary} is given up"));
            self.dies(primary, false);
            self.give_up(primary);
            self.start(primary, Role::Secondary);
            self.discarded = Some(primary);
            self.becomes(other, Role::Primary);
        } else {
            self.say(|| format!("split brain: node {other} is given up"));
            self.dies(other, false);
            self.give_up(other);
            self.check.given_up(other);
            self.start(other, Role::Secondary);
        }
        self.nodes[primary].split = false;
        self.nodes[other].split = false;
    }

    fn give_up(&mut self, node: usize) {
        let disk = &mut self.nodes[node].disk;
        if let Ok(meta) = role::discard(&disk.meta, Role::Init) {
            disk.meta = meta;
        }
    }
}
