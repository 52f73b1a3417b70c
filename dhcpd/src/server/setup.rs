//! What the parent hands over, put together: from messages to a server that can begin.

use super::Server;
use super::changes::Changes;
use super::control::Control;
use super::frames::Frames;
use super::leases::{Leases, load};
use super::replies::Wires;
use super::sync::Link as Synchronisation;
use super::udp_mode::UdpMode;
use crate::clock::Clock;
use crate::conf::{self, RecordedSources};
use crate::config::Config;
use crate::engine::{Actions, Engine, EngineOptions, Interface};
use crate::icmp::Icmp;
use crate::link::Link;
use crate::msg::{Start, ToParent, ToServer};
use crate::resolver::Asker;
use crate::socket::Queues;
use crate::sync::Options as SyncOptions;
use crate::tables::Feed;
use crate::udp::{Accept, Udp};
use prefork::hooks::Teller;
use proto::unix::{Channel, Error as ChannelError};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The most bytes of configuration taken.
pub(super) const MAX_SOURCES: usize = 64 << 20;

/// What has been handed over so far.
#[derive(Default)]
struct Handed {
    sources: Vec<u8>,
    interfaces: Vec<(crate::msg::Interface, Queues)>,
    udp: Option<Queues>,
    udp_mode: Option<OwnedFd>,
    udp_interfaces: Vec<crate::msg::Interface>,
    icmp: Option<OwnedFd>,
    leases: Option<OwnedFd>,
    control: Option<OwnedFd>,
    sync: Option<(crate::sync::Options, OwnedFd)>,
}

/// Takes everything, reads configuration and leases, and makes the server of it. `None` if the
/// parent ended meanwhile.
pub fn receive(parent: &Channel<ToParent, ToServer>) -> Result<Option<Server<'_>>, String> {
    let mut handed = Handed::default();
    loop {
        match parent.recv() {
            Ok(ToServer::Start(start)) => return handed.into_server(parent, &start).map(Some),
            Ok(message) => handed.take(message)?,
            Err(ChannelError::Closed) => return Ok(None),
            Err(error) => return Err(format!("channel to the parent: {error}")),
        }
    }
}

impl Handed {
    fn take(&mut self, message: ToServer) -> Result<(), String> {
        match message {
            ToServer::Sources { bytes, .. } => {
                if self.sources.len() + bytes.len() > MAX_SOURCES {
                    return Err(format!("a configuration of more than {MAX_SOURCES} bytes"));
                }
                self.sources.extend_from_slice(&bytes);
            }
            ToServer::Interface(interface, others) => {
                self.interfaces.push((interface, Queues { others, discovers: None }));
            }
            ToServer::Udp(others) => self.udp = Some(Queues { others, discovers: None }),
            ToServer::Discovers(fd) => {
                let last = self.interfaces.last_mut().map(|(_, queues)| queues);
                let queues = self.udp.as_mut().or(last);
                queues.ok_or("a queue of DISCOVERs before any other")?.discovers = Some(fd);
            }
            ToServer::UdpMode(fd) => self.udp_mode = Some(fd),
            ToServer::UdpInterface(interface) => self.udp_interfaces.push(interface),
            ToServer::Icmp(fd) => self.icmp = Some(fd),
            ToServer::Leases(fd) => self.leases = Some(fd),
            ToServer::Control(fd) => self.control = Some(fd),
            ToServer::Sync(options, fd) => self.sync = Some((options, fd)),
            other => return Err(format!("the parent said {other:?} before the start")),
        }
        Ok(())
    }

    fn into_server<'a>(
        self,
        parent: &'a Channel<ToParent, ToServer>,
        start: &Start,
    ) -> Result<Server<'a>, String> {
        let missing = |what: &str| format!("the parent started us without {what}");
        let config = Arc::new(configuration(&start.config, &self.sources)?);
        let clock = Clock::new();

        let (mut links, mut interfaces) = (Vec::new(), Vec::new());
        for (interface, queues) in self.interfaces {
            let address = *interface.addresses.first().ok_or_else(|| missing("an address"))?;
            links.push(Link::new(queues, &interface.name, interface.mac));
            interfaces.push(served(interface, address, &config));
        }
        let mode = self.udp_mode.map(|others| Queues { others, discovers: None });
        let mode = mode.map(|queues| Udp::new(queues, Accept::All));
        let (udp, mode) = match (self.udp, mode) {
            (Some(queues), mode) => (Udp::new(queues, Accept::Unicast), mode.map(Some)),
            (None, Some(only)) => (only, Some(None)),
            (None, None) => return Err(missing("a UDP socket")),
        };
        let udp_mode = mode.map(|socket| UdpMode::new(socket, self.udp_interfaces));
        let wires = Wires::new(&links, &udp, &interfaces);

        let seed = RandomState::new().hash_one("dhcpd");
        let options = EngineOptions { seed, ..EngineOptions::default() };
        let mut engine = Engine::new(config, interfaces, options);
        let file = File::from(self.leases.ok_or_else(|| missing("a lease file"))?);
        load(&mut engine, &file, &start.leases, clock.now())?;

        let sync = match self.sync {
            Some((options, fd)) => {
                // Each run of each server has another one: nobody can guess it, or has seen it.
                let epoch = RandomState::new().hash_one("epoch");
                Synchronisation::start(fd, SyncOptions { epoch, ..options }, &engine, clock.now())
            }
            None => Synchronisation::default(),
        };
        let period = start.element_timeout.map(|seconds| u64::from(seconds) * 1000 / 3);
        Ok(Server {
            parent,
            engine,
            links,
            frames: Frames::default(),
            udp,
            udp_mode,
            icmp: Icmp::from_fd(self.icmp.ok_or_else(|| missing("an ICMP socket"))?),
            leases: Leases::start(file.into(), Arc::clone(&wires), clock.now())?,
            wires,
            feed: Feed::new(&start.tables),
            helper: None,
            confirm: period.map(|period| (period, period)),
            actions: Actions {
                hooks: start.hooks.then(Vec::new),
                sync: sync.is_on().then(Vec::new),
                ..Actions::default()
            },
            sync,
            teller: Teller::default(),
            changes: Changes::new(&start.config),
            control: Control::new(self.control, start, clock.now()),
            asker: Asker::default(),
            log_again: 0,
            ready: Vec::new(),
            clock,
        })
    }
}

/// An interface as the engine knows it.
pub(super) fn served(
    interface: crate::msg::Interface,
    address: Ipv4Addr,
    config: &Config,
) -> Interface {
    let subnet = config.subnet_of(address).and_then(|subnet| config.subnets.get(subnet));
    Interface {
        network: subnet.map(|subnet| subnet.network),
        name: interface.name,
        index: interface.index,
        address,
        addresses: interface.addresses,
        mac: interface.mac,
    }
}

/// Reads the configuration again, from what the parent's reading of it recorded: the same text, the
/// same names, the same result.
pub(super) fn configuration(name: &str, sources: &[u8]) -> Result<Config, String> {
    let mut sources = RecordedSources::decode(sources).map_err(|e| e.to_string())?;
    match conf::load(name, &mut sources) {
        Ok((config, _)) => Ok(config),
        Err(wrong) => Err(wrong.first().map(|error| error.render()).unwrap_or_default()),
    }
}
