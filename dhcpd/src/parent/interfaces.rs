//! The interfaces that are served, followed as they come and go: Q-27 of dhcpd's known defects was
//! that they are never looked at again.
//!
//! When the system says that something has changed, what there is now is compared with what is
//! served; the difference becomes messages to the server. Its word is not believed further than
//! that, so nothing is wrong after a word that was lost.

use crate::config::Config;
use crate::interfaces;
use crate::link;
use crate::listen::{Choice, Refused, choose, impossible, tunnels};
use crate::msg::{Interface, ToServer};
use crate::socket::Queues;
use crate::watch::Watch;
use log::Level;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Between two looks at the interfaces there is at least this time: many changes at once cost few.
const PAUSE: Duration = Duration::from_millis(100);

/// Which interfaces are served, and the system's word that others may have to be.
#[derive(Debug)]
pub struct Listening {
    named: Vec<String>,
    /// `-u`, and its address.
    udp: Option<Ipv4Addr>,
    watch: Watch,
    /// As the server has them.
    served: Vec<Interface>,
    /// Those that UDP mode hears from, likewise.
    tunnels: Vec<Interface>,
    /// What the log has said of those that are not served, by name.
    refused: BTreeMap<String, String>,
    /// When to look at the interfaces again, if so.
    look: Option<Instant>,
    looked: Instant,
    /// Whether a plan was ever taken.
    begun: bool,
}

/// A change of what is served, not in effect yet.
#[derive(Debug)]
pub struct Plan {
    /// What to tell the server, in order.
    pub messages: Vec<ToServer>,
    served: Vec<Interface>,
    tunnels: Vec<Interface>,
    refused: Vec<Refused>,
    lines: Vec<(Level, String)>,
}

impl Listening {
    /// Looks at the interfaces for the first time.
    ///
    /// # Errors
    /// One that was named can never be served, or the packet socket of one cannot be opened.
    pub fn start(
        named: &[String],
        udp: Option<Ipv4Addr>,
        config: &Config,
    ) -> Result<(Listening, Plan), String> {
        // Before the first look, so that nothing happens between the two.
        let watch = Watch::open().map_err(|e| e.to_string())?;
        let listening = Listening {
            named: named.to_vec(),
            udp,
            watch,
            served: Vec::new(),
            tunnels: Vec::new(),
            refused: BTreeMap::new(),
            look: None,
            looked: Instant::now(),
            begun: false,
        };
        let there = interfaces::list().map_err(|e| e.to_string())?;
        if let Some(wrong) = impossible(named, &there) {
            return Err(wrong);
        }
        let choice = listening.choose(&there, config);
        let plan = listening.compare(choice, &there, config, |_, error| Err(error))?;
        Ok((listening, plan))
    }

    /// Looks at the interfaces again. What cannot be opened is left out; its plan says so.
    pub fn plan(&self, config: &Config) -> Result<Plan, String> {
        let mut there = interfaces::list().map_err(|e| e.to_string())?;
        // Who serves a subnet already goes on to serve it.
        there.sort_by_key(|i| !self.served.iter().any(|served| served.name == i.name));
        let choice = self.choose(&there, config);
        self.compare(choice, &there, config, |name, error| {
            Ok(Refused {
                name: name.to_owned(),
                line: format!("Can't listen on {name} - {error}."),
                named: true,
            })
        })
    }

    /// The interfaces to serve: in UDP mode none that is not named.
    fn choose(&self, there: &[interfaces::Interface], config: &Config) -> Choice {
        match self.is_udp_only() {
            true => Choice::default(),
            false => choose(&self.named, there, config),
        }
    }

    fn is_udp_only(&self) -> bool {
        self.udp.is_some() && self.named.is_empty()
    }

    /// What UDP mode is to hear from, and what to tell the server of it.
    fn compare_tunnels(
        &self,
        served: &[Interface],
        there: &[interfaces::Interface],
        config: &Config,
    ) -> (Vec<Interface>, Vec<ToServer>) {
        if self.udp.is_none() {
            return (Vec::new(), Vec::new());
        }
        let tunnels = tunnels(served, there, config);
        let gone = self.tunnels.iter().filter(|old| !tunnels.iter().any(|i| i.index == old.index));
        let gone = gone.map(|old| Interface { addresses: Vec::new(), ..old.clone() });
        let new = tunnels.iter().filter(|i| !self.tunnels.contains(i)).cloned();
        let messages = gone.chain(new).map(ToServer::UdpInterface).collect();
        (tunnels, messages)
    }

    /// The difference between what is served and what is to be. `failed` gets the name of what
    /// cannot be opened, and why.
    fn compare(
        &self,
        choice: Choice,
        there: &[interfaces::Interface],
        config: &Config,
        failed: impl Fn(&str, String) -> Result<Refused, String>,
    ) -> Result<Plan, String> {
        let Choice { chosen, mut refused } = choice;
        let (mut messages, mut lines, mut served) = (Vec::new(), Vec::new(), Vec::new());
        for interface in chosen {
            let old = self.served.iter().find(|old| old.name == interface.name);
            match old {
                Some(old) if *old == interface => {
                    served.push(interface);
                    continue;
                }
                Some(old) if (old.index, old.mac) == (interface.index, interface.mac) => {
                    messages.push(ToServer::Readdressed(interface.clone()));
                }
                _ => match link::open(&interface.name, interface.index) {
                    Ok(Queues { others, discovers }) => {
                        messages.push(ToServer::Interface(interface.clone(), others));
                        messages.extend(discovers.map(ToServer::Discovers));
                    }
                    Err(error) => {
                        refused.push(failed(&interface.name, error.to_string())?);
                        continue;
                    }
                },
            }
            let address = interface.addresses.first().map(ToString::to_string).unwrap_or_default();
            lines.push((Level::Info, format!("Listening on {} ({address}).", interface.name)));
            served.push(interface);
        }
        for old in &self.served {
            if served.iter().any(|interface| interface.name == old.name) {
                continue;
            }
            messages.push(ToServer::InterfaceGone(old.name.clone()));
            if !there.iter().any(|interface| interface.name == old.name) {
                let line = format!("Interface {} no longer appears valid.", old.name);
                lines.push((Level::Warn, line));
            }
        }
        self.say_refused(&refused, &mut lines);
        let none = served.is_empty() && !(self.begun && self.served.is_empty());
        if none && !self.is_udp_only() {
            lines.push((Level::Warn, "No interfaces to listen on.".to_owned()));
        }
        if let Some(address) = self.udp.filter(|_| !self.begun) {
            lines.push((Level::Info, format!("Listening on {address}:67/udp.")));
        }
        let (tunnels, told) = self.compare_tunnels(&served, there, config);
        messages.extend(told);
        Ok(Plan { messages, served, tunnels, refused, lines })
    }

    /// What is to be said of interfaces that are not served: what has not been said already.
    fn say_refused(&self, refused: &[Refused], lines: &mut Vec<(Level, String)>) {
        let gone: Vec<String> = lines.iter().map(|(_, line)| line.clone()).collect();
        for Refused { name, line, named } in refused {
            let was_served = self.served.iter().any(|old| old.name == *name);
            // "No longer appears valid" has said it.
            let said = self.refused.get(name) == Some(line)
                || gone.iter().any(|line| line.starts_with(&format!("Interface {name} ")));
            if !said {
                // Interfaces that nobody named come and go with every container.
                let loud = *named || was_served || !self.begun;
                lines.push((if loud { Level::Info } else { Level::Debug }, line.clone()));
            }
        }
    }

    /// Takes a plan as what is the case from now on, says so, and returns the messages for the
    /// server.
    pub fn adopt(&mut self, plan: Plan) -> Vec<ToServer> {
        let Plan { messages, served, tunnels, refused, lines } = plan;
        for (level, line) in lines {
            log::log!(level, "{line}");
        }
        self.begun = true;
        self.served = served;
        self.tunnels = tunnels;
        self.refused = refused.into_iter().map(|refused| (refused.name, refused.line)).collect();
        messages
    }

    /// Hears whether something has changed.
    pub fn hear(&mut self, now: Instant) -> Result<(), String> {
        if self.watch.changed().map_err(|e| e.to_string())? && self.look.is_none() {
            self.look = Some(now.max(self.looked + PAUSE));
        }
        Ok(())
    }

    /// They could not be looked at; it is tried again.
    pub fn look_again(&mut self) {
        self.look = Some(self.looked + 10 * PAUSE);
    }

    /// When the interfaces are to be looked at again, if so.
    pub fn due(&self) -> Option<Instant> {
        self.look
    }

    /// They are being looked at.
    pub fn looking(&mut self, now: Instant) {
        self.look = None;
        self.looked = now;
    }
}

/// Readable when there is something to hear.
impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}
