//! dhcpd's server: everything that comes from the network, and no rights.
//!
//! The shell around the engine: it moves bytes between sockets, engine, journal and table handler,
//! and decides nothing. All it holds was given to it by the parent.

mod changes;
mod control;
mod frames;
pub(crate) mod leases;
mod replies;
mod setup;
mod sync;
mod udp_mode;
mod wait;

#[cfg_attr(target_os = "linux", path = "server/rules_linux.rs")]
#[cfg_attr(target_os = "openbsd", path = "server/rules_openbsd.rs")]
#[cfg_attr(target_os = "freebsd", path = "server/rules_freebsd.rs")]
#[cfg_attr(target_os = "netbsd", path = "server/rules_netbsd.rs")]
mod rules;

use crate::USER;
use crate::clock::Clock;
use crate::engine::{Actions, Engine, Meta, Now};
use crate::hooks;
use crate::icmp::Icmp;
use crate::journal::LogFile;
use crate::link::Link;
use crate::msg::{ToParent, ToServer};
use crate::resolver::Asker;
use crate::socket::{BATCH, Queue};
use crate::tables::Feed;
use crate::udp::Udp;
use changes::Changes;
use control::Control;
use frames::Frames;
use leases::Leases;
use pfhelper::{FromServer, ToServer as FromHelper};
use prefork::hooks::Teller;
use proto::unix::{Channel, Error as ChannelError};
use replies::Wires;
use std::sync::Arc;
use supervise::confine::{Confinement, confine};
use supervise::{inherited_channel, logger};
use udp_mode::UdpMode;
use wait::Source;

/// How many batches are taken from one queue before the next have their turn; of DISCOVERs one.
const TURNS: usize = 4;

/// Milliseconds between two writes of log lines: more often is a system call for every packet.
const LOG_APART: u64 = 10;

/// Milliseconds after which log lines that syslogd did not take are tried again.
const LOG_AGAIN: u64 = 100;

/// The process: takes its channel, gives up every right, takes what the parent hands over, serves.
/// Returns without an error once the parent has closed the channel.
pub fn run() -> Result<(), String> {
    supervise::leave_signals_to_parent();
    logger::inherit("dhcpd").map_err(|e| e.to_string())?;
    let identity = supervise::user(USER).map_err(|e| e.to_string())?;
    let channel = inherited_channel().map_err(|e| e.to_string())?;
    let parent = Channel::from_fd(channel).map_err(|e| format!("channel to the parent: {e}"))?;
    let rules = &rules::RULES;
    confine(&Confinement { identity: &identity, parent_death: Some(libc::SIGKILL), rules })
        .map_err(|e| e.to_string())?;
    match setup::receive(&parent) {
        Ok(Some(server)) => server.serve(),
        Ok(None) => Ok(()),
        Err(reason) => {
            // The parent ends all of us, and says why.
            let _ = parent.send(&ToParent::Refused(reason.clone()));
            Err(reason)
        }
    }
}

/// The server at work.
struct Server<'a> {
    parent: &'a Channel<ToParent, ToServer>,
    clock: Clock,
    engine: Engine,
    links: Vec<Link>,
    frames: Frames,
    udp: Udp,
    wires: Arc<Wires>,
    udp_mode: Option<UdpMode>,
    icmp: Icmp,
    leases: Leases,
    feed: Feed,
    helper: Option<Channel<FromServer, FromHelper>>,
    /// How long an element of the tables lasts before it must be confirmed, in milliseconds, and
    /// when that is next.
    confirm: Option<(u64, u64)>,
    actions: Actions,
    teller: Teller,
    /// Of configuration and interfaces, not in effect yet.
    changes: Changes,
    control: Control,
    sync: sync::Link,
    asker: Asker,
    /// Log lines stay in memory until then, in milliseconds.
    log_again: u64,
    /// Who has something to say, as far as poll(2) knew.
    ready: Vec<Source>,
}

impl Server<'_> {
    fn serve(mut self) -> Result<(), String> {
        // What was found in the lease file is said before anything else can happen.
        log::logger().flush();
        let mut open = match self.parent.send(&ToParent::Ready) {
            Ok(()) => true,
            // Told to end before it has begun.
            Err(ChannelError::Closed) => false,
            Err(error) => return Err(format!("tell the parent: {error}")),
        };
        while open {
            self.wait()?;
            let now = self.clock.now();
            self.take_packets(now);
            if self.is_ready(Source::Sync) {
                self.sync.hear(&mut self.engine, now, &mut self.actions);
            }
            self.engine.tick(now, &mut self.actions);
            self.act(now);
            self.serve_control(now)?;
            open = self.hear_parent(now)?;
            // Last: a table handler that the parent just brought is told everything at once.
            self.feed_helper(now);
            self.sync.speak(&mut self.engine, now);
            self.leases.step(now, self.parent)?;
            self.write_log(now);
        }
        // What was asked for is still answered: it costs one more sync at most.
        let Server { leases, mut engine, clock, mut teller, mut sync, .. } = self;
        leases.finish(&engine, clock.now(), |batch| {
            tell_hooks(&mut teller, batch);
            sync.committed(batch, true, &engine);
        });
        sync.speak(&mut engine, clock.now());
        Ok(())
    }

    /// Shows what waits to the engine: what finishes an exchange first, then what begins one, so
    /// that under a flood of DISCOVERs those who have an offer, or a lease to renew, are served.
    fn take_packets(&mut self, now: Now) {
        let ready = std::mem::take(&mut self.ready);
        for (queue, turns) in [(Queue::Others, TURNS), (Queue::Discovers, 1)] {
            for source in &ready {
                match *source {
                    Source::Link(number, of) if of == queue => {
                        self.take_from_link(number, queue, turns, now);
                    }
                    Source::Udp(of) if of == queue => self.take_from_udp(queue, turns, now),
                    _ => {}
                }
            }
        }
        self.ready = ready;
        if self.is_ready(Source::UdpMode)
            && let Some(mode) = &mut self.udp_mode
        {
            let engine = (&mut self.engine, now, &mut self.actions);
            if let Err(error) = mode.take(&mut self.udp, self.wires.indexes(), TURNS, engine) {
                log::error!("{error}");
            }
        }
        if self.is_ready(Source::Resolver) {
            let Server { engine, actions, .. } = self;
            self.asker.hear(|said| engine.named(said.address, said.name.as_deref(), now, actions));
        }
        // An answer that is there counts, even if it came when we were not running, after poll(2)
        // and before the time of asking was over.
        let late = self.engine.next_tick().is_some_and(|due| due <= now.mono);
        if late || self.is_ready(Source::Icmp) {
            let Server { engine, actions, .. } = self;
            let answered = |address| engine.echo_reply(address, now, actions);
            if let Err(error) = self.icmp.receive(now.mono, answered) {
                log::error!("{error}");
            }
        }
    }

    fn take_from_link(&mut self, number: usize, queue: Queue, turns: usize, now: Now) {
        let Server { engine, actions, frames, .. } = self;
        let Some(link) = self.links.get_mut(number) else { return };
        for _ in 0..if link.is_gone() { 0 } else { turns } {
            let taken = link.receive(queue, |datagram| {
                let meta = Meta {
                    interface: number,
                    served: true,
                    source: datagram.source,
                    source_port: datagram.source_port,
                    dest: datagram.dest,
                    mac: Some(datagram.mac),
                };
                engine.input(datagram.payload, &meta, now, actions);
            });
            match taken {
                Ok(BATCH) => {}
                Ok(_) => break,
                Err(error) => {
                    log::error!("{error}");
                    if link.is_gone() {
                        log::error!("{}: gone, not served any more", link.name());
                    }
                    break;
                }
            }
        }
        frames.look(link.name(), link.counters(), now.mono);
    }

    fn take_from_udp(&mut self, queue: Queue, turns: usize, now: Now) {
        let Server { engine, actions, wires, .. } = self;
        for _ in 0..turns {
            let taken = self.udp.receive(queue, |received| {
                let index = received.interface;
                let by = wires.indexes().iter().position(|i| *i == index);
                // A tunnel's frames have no address: what is for everybody there seems to be for
                // us, and is UDP mode's.
                if by.is_none() && (received.dest.is_broadcast() || received.dest.is_multicast()) {
                    return;
                }
                let meta = Meta {
                    // A relayed packet, or the renewal of a relayed client, may come by an
                    // interface that is not served: any of ours can speak for us then.
                    interface: by.unwrap_or(0),
                    served: by.is_some(),
                    source: received.source,
                    source_port: received.source_port,
                    dest: received.dest,
                    mac: None,
                };
                engine.input(received.payload, &meta, now, actions);
            });
            match taken {
                Ok(BATCH) => {}
                Ok(_) => break,
                Err(error) => {
                    log::error!("{error}");
                    break;
                }
            }
        }
    }

    /// Does what the engine wants done. Acknowledgements wait for the disk; nothing else does.
    fn act(&mut self, now: Now) {
        self.feed.push(&self.actions.tables);
        self.asker.ask(&self.actions.names);
        replies::report(self.icmp.ask(self.actions.pings.iter().copied(), now.mono));
        self.wires.send([&self.actions], false);
        if self.actions.journal.is_empty() {
            // Nothing of these is on its way to the disk: a lease has come to its end by itself.
            tell_hooks(&mut self.teller, &self.actions);
        }
        self.sync.committing(&self.actions, &self.engine);
        self.leases.commit(&mut self.actions, now);
        let (teller, sync, engine) = (&mut self.teller, &mut self.sync, &self.engine);
        self.leases.hear(engine, now, |batch| {
            tell_hooks(teller, batch);
            sync.committed(batch, true, engine);
        });
        for batch in self.leases.lost() {
            sync.committed(&batch, false, engine);
        }
        self.teller.flush();
    }

    /// Hears and tells the table handler what there is, without ever waiting for it.
    fn feed_helper(&mut self, now: Now) {
        if let Some((period, due)) = &mut self.confirm
            && now.mono >= *due
        {
            *due = now.mono + *period;
            self.feed.forget();
        }
        let Some(helper) = &self.helper else { return };
        let heard =
            if self.is_ready(Source::Helper) { hear(helper, &mut self.feed) } else { Ok(()) };
        let result = heard.and_then(|()| {
            if self.feed.wants_truth() {
                let (leased, abandoned) = self.engine.tables(now);
                self.feed.tell(&leased, &abandoned);
            }
            tell(helper, &mut self.feed)
        });
        if let Err(error) = result {
            // The parent sees its end too, and brings another.
            log::warn!("pf table handler: {error}");
            self.helper = None;
            self.feed.disconnect();
        }
    }

    /// Writes what was logged: at once if little is, together with what follows if much is. An error
    /// and the end of the process do not wait for this.
    fn write_log(&mut self, now: Now) {
        if now.mono >= self.log_again && logger::backlog() {
            log::logger().flush();
            self.log_again = now.mono + if logger::backlog() { LOG_AGAIN } else { LOG_APART };
        }
    }

    /// Takes what the parent says. False once it is gone.
    fn hear_parent(&mut self, now: Now) -> Result<bool, String> {
        if !self.is_ready(Source::Parent) {
            return Ok(true);
        }
        loop {
            match self.parent.try_recv() {
                Ok(None) => return Ok(true),
                Err(ChannelError::Closed) => return Ok(false),
                Err(error) => return Err(format!("channel to the parent: {error}")),
                Ok(Some(ToServer::UdpInterface(interface))) => {
                    if let Some(mode) = &mut self.udp_mode {
                        mode.learn(interface);
                    }
                }
                Ok(Some(ToServer::Helper(fd))) => {
                    let channel = Channel::from_fd(fd)
                        .map_err(|e| format!("channel to the pf table handler: {e}"))?;
                    self.helper = Some(channel);
                    self.feed.connect();
                }
                Ok(Some(ToServer::Names(fd))) => {
                    self.asker.connect(fd).map_err(|e| format!("channel to the resolver: {e}"))?;
                }
                Ok(Some(ToServer::Hooks(fd))) => {
                    self.teller.connect(fd).map_err(|e| format!("channel to the hooks: {e}"))?;
                }
                Ok(Some(ToServer::NewFile(file))) => {
                    self.leases.new_file(Ok(LogFile::new(file)), &self.engine, now);
                }
                Ok(Some(ToServer::NoNewFile(why))) => {
                    self.leases.new_file(Err(why), &self.engine, now);
                }
                Ok(Some(ToServer::Renamed(answer))) => {
                    self.leases.renamed(answer, now);
                    self.sync.rewritten(&self.engine);
                }
                Ok(Some(ToServer::Apply)) => self.apply(now)?,
                Ok(Some(
                    change @ (ToServer::Sources { .. }
                    | ToServer::Interface(..)
                    | ToServer::Discovers(_)
                    | ToServer::Readdressed(_)
                    | ToServer::InterfaceGone(_)),
                )) => self.changes.add(change),
                Ok(Some(ToServer::Reloaded(outcome))) => self.reloaded(outcome),
                Ok(Some(ToServer::Children(processes))) => self.counted(processes),
                Ok(Some(other)) => return Err(format!("the parent said {other:?} while serving")),
            }
        }
    }
}

fn tell_hooks(teller: &mut Teller, batch: &Actions) {
    for event in batch.hooks.iter().flatten() {
        teller.tell(hooks::event(event));
    }
}

fn hear(helper: &Channel<FromServer, FromHelper>, feed: &mut Feed) -> Result<(), ChannelError> {
    while let Some(message) = helper.try_recv()? {
        match message {
            FromHelper::Report(report) => feed.report(&report),
            FromHelper::Tables(conditions) => feed.found(conditions),
            FromHelper::Flushed => feed.forget(),
        }
    }
    Ok(())
}

fn tell(helper: &Channel<FromServer, FromHelper>, feed: &mut Feed) -> Result<(), ChannelError> {
    while let Some(message) = feed.pending() {
        if !helper.try_send(message)? {
            break;
        }
        feed.sent();
    }
    Ok(())
}
