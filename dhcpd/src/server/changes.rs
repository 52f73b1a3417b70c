//! Changes of configuration and interfaces while the server serves: collected as the parent tells
//! them, and put into effect in one step.

use super::frames::Frames;
use super::replies::Wires;
use super::{Server, setup};
use crate::config::Config;
use crate::engine::{Interface, Now};
use crate::link::Link;
use crate::msg::{self, ToParent, ToServer};
use crate::socket::Queues;
use proto::unix::Error as ChannelError;
use std::sync::Arc;

/// What has been told since the last [`ToServer::Apply`].
pub struct Changes {
    /// The configuration's name, for messages about it.
    name: String,
    /// The configuration as the parent read it, and whether that is all of it.
    sources: Option<(Vec<u8>, bool)>,
    /// In order.
    interfaces: Vec<Change>,
}

enum Change {
    Served(msg::Interface, Option<Queues>),
    Gone(String),
}

impl Changes {
    /// None yet; `name` is the configuration's.
    pub fn new(name: &str) -> Changes {
        Changes { name: name.to_owned(), sources: None, interfaces: Vec::new() }
    }

    /// Takes a message that tells of one; others change nothing.
    pub fn add(&mut self, change: ToServer) {
        match change {
            ToServer::Sources { bytes, last } => {
                let (all, complete) = self.sources.get_or_insert_default();
                // More than that is refused when it is to take effect.
                if all.len() <= setup::MAX_SOURCES {
                    all.extend_from_slice(&bytes);
                }
                *complete = last;
            }
            ToServer::Interface(interface, others) => {
                let queues = Queues { others, discovers: None };
                self.interfaces.push(Change::Served(interface, Some(queues)));
            }
            ToServer::Discovers(fd) => {
                if let Some(Change::Served(_, Some(queues))) = self.interfaces.last_mut() {
                    queues.discovers = Some(fd);
                }
            }
            ToServer::Readdressed(interface) => {
                self.interfaces.push(Change::Served(interface, None));
            }
            ToServer::InterfaceGone(name) => self.interfaces.push(Change::Gone(name)),
            _ => {}
        }
    }

    /// The new configuration, if there is one.
    fn config(&mut self) -> Result<Option<Config>, String> {
        match self.sources.take() {
            None => Ok(None),
            Some((_, false)) => Err("the configuration is incomplete".to_owned()),
            Some((bytes, true)) if bytes.len() > setup::MAX_SOURCES => {
                Err(format!("a configuration of more than {} bytes", setup::MAX_SOURCES))
            }
            Some((bytes, true)) => setup::configuration(&self.name, &bytes).map(Some),
        }
    }
}

impl Server<'_> {
    /// Puts all changes into effect, or none, and tells the parent.
    pub(super) fn apply(&mut self, now: Now) -> Result<(), String> {
        let interfaces = std::mem::take(&mut self.changes.interfaces);
        let result = self.changes.config().map(|config| self.change(config, interfaces, now));
        match self.parent.send(&ToParent::Applied(result)) {
            Ok(()) | Err(ChannelError::Closed) => Ok(()),
            Err(error) => Err(format!("tell the parent what came of a change: {error}")),
        }
    }

    fn change(&mut self, config: Option<Config>, changes: Vec<Change>, now: Now) {
        let config = match config {
            Some(mut config) => {
                config.keep_numbers(self.engine.config());
                Arc::new(config)
            }
            None => self.engine.config().clone(),
        };
        let old = self.engine.interfaces().to_vec();
        let mut all: Vec<(Interface, Link)> =
            old.iter().cloned().zip(std::mem::take(&mut self.links)).collect();
        for change in changes {
            take(&mut all, change, &config, &mut self.frames);
        }
        let (mut interfaces, mut links) = (Vec::new(), Vec::new());
        for (mut interface, link) in all {
            let subnet = config.subnet_of(interface.address).and_then(|s| config.subnets.get(s));
            interface.network = subnet.map(|subnet| subnet.network);
            interfaces.push(interface);
            links.push(link);
        }
        self.wires = Wires::new(&links, &self.udp, &interfaces);
        self.leases.set_wires(Arc::clone(&self.wires));
        self.links = links;
        // An interface that comes and goes must not keep a long rewrite from its end.
        let Server { engine, leases, actions, .. } = self;
        if leases.reconfigure(engine, config, interfaces, now, actions) {
            self.sync.reconfigured(&self.engine);
        }
        self.act(now);
    }
}

/// Takes one change over into the list. What a link that goes has counted stays.
fn take(all: &mut Vec<(Interface, Link)>, change: Change, config: &Config, frames: &mut Frames) {
    let (interface, queues) = match change {
        Change::Gone(name) => {
            let gone = all.extract_if(.., |(interface, _)| interface.name == name);
            return gone.for_each(|(_, link)| frames.close(link.name(), link.counters()));
        }
        Change::Served(interface, queues) => (interface, queues),
    };
    let Some(address) = interface.addresses.first().copied() else { return };
    let link = queues.map(|queues| Link::new(queues, &interface.name, interface.mac));
    let interface = setup::served(interface, address, config);
    match (all.iter_mut().find(|(old, _)| old.name == interface.name), link) {
        (Some(place), Some(link)) => {
            frames.close(place.1.name(), place.1.counters());
            *place = (interface, link);
        }
        (Some((place, _)), None) => *place = interface,
        (None, Some(link)) => all.push((interface, link)),
        (None, None) => {}
    }
}
