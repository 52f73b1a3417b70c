//! What the configuration says about one client: its host, its classes, whether it is served.

use super::core::Core;
use super::counters::Counters;
use super::packet::Packet;
use super::why::{Nobody, Step, Witness};
use crate::config::{Class, Config, Host, HostId, NetworkId, Settings, SubnetId};
use crate::wire::code::option;
use std::net::Ipv4Addr;

/// A client's host on one network, and the address it has there if that is fixed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// The host that declares it, be its addresses on another network: then only for whether the
    /// client is served.
    pub(super) declared: Option<HostId>,
    /// The host whose settings hold here.
    pub(super) host: Option<HostId>,
    pub(super) fixed: Option<(Ipv4Addr, SubnetId)>,
}

/// The scopes that have something to say to a client, the strongest first.
#[derive(Clone, Copy)]
pub(super) struct Scopes<'a> {
    pub(super) host: Option<&'a Host>,
    pub(super) user_class: Option<&'a Class>,
    pub(super) vendor_class: Option<&'a Class>,
    pub(super) subnet: &'a Settings,
}

impl<'a> Scopes<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &'a Settings> {
        let host = self.host.map(|h| &h.settings);
        let user = self.user_class.map(|c| &c.settings);
        let vendor = self.vendor_class.map(|c| &c.settings);
        [host, user, vendor, Some(self.subnet)].into_iter().flatten()
    }

    /// What the strongest scope says that says anything.
    pub(super) fn first<T>(&self, says: impl Fn(&'a Settings) -> Option<T>) -> Option<T> {
        self.iter().find_map(says)
    }

    pub(super) fn option(&self, code: u8) -> Option<&'a [u8]> {
        // RFC 2132: none may be empty. One that is hides what is said further out.
        self.first(|s| s.options.get(code)).filter(|value| !value.is_empty())
    }
}

/// Why a client is not served in a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// There is no such subnet (any more).
    NoSubnet,
    /// The host that declares it says so.
    Host(HostId),
    /// No host declares it, and the subnet serves none such.
    Unknown,
    /// Its user or vendor class says so.
    Class,
    /// It speaks BOOTP, and who it is or where it is says that such are not served.
    Bootp,
}

impl Denial {
    pub(super) fn count(self, counters: &mut Counters) {
        match self {
            Denial::NoSubnet => counters.unknown_network += 1,
            Denial::Host(_) => counters.host_denied += 1,
            Denial::Unknown => counters.unknown_client += 1,
            Denial::Class => counters.class_denied += 1,
            Denial::Bootp => counters.bootp_denied += 1,
        }
    }
}

impl Core {
    /// The client's host on a network: one with an address there before one without any. A host
    /// is known by client identifier, else by hardware (Q-23: with its type).
    pub(super) fn known(&self, packet: &Packet<'_>, network: u32) -> Known {
        self.known_seen(packet, network, &mut Nobody)
    }

    /// [`Core::known`], with somebody looking on.
    pub(super) fn known_seen(
        &self,
        packet: &Packet<'_>,
        network: u32,
        witness: &mut impl Witness,
    ) -> Known {
        let config = &*self.config;
        if config.hosts.is_empty() {
            witness.saw(|| Step::passed("host", "none is declared"));
            return Known::default();
        }
        let by_id = packet.client.id.map_or(&[][..], |id| config.hosts_by_client_id(id));
        let hw = &packet.client.hw;
        let by_hw = match hw.is_empty() {
            true => &[],
            false => config.hosts_by_hardware(hw.htype(), hw.addr()),
        };
        let (mut plain, mut first) = (None, None);
        for &id in by_id.iter().chain(by_hw) {
            let Some(host) = config.hosts.get(id) else { continue };
            let fixed = host.fixed.iter().find_map(|address| {
                let subnet = config.subnet_of(*address)?;
                let here = config.subnets.get(subnet)?.network == network as NetworkId;
                here.then_some((*address, subnet))
            });
            if let Some((address, _)) = fixed {
                witness.saw(|| Step::host(host, true, format!("fixed address {address}")));
                return Known { declared: Some(id), host: Some(id), fixed };
            }
            first = first.or(Some(id));
            let holds = host.fixed.is_empty() && plain.is_none();
            if holds {
                plain = Some(id);
            }
            witness.saw(|| Step::host_without_address(host, holds));
        }
        if first.is_none() {
            witness.saw(|| Step::passed("host", "none has this hardware or client identifier"));
        }
        Known { declared: plain.or(first), host: plain, fixed: None }
    }

    /// Whether this host has this address as a fixed one on this network.
    pub(super) fn has_fixed(&self, host: HostId, address: Ipv4Addr) -> bool {
        self.config.hosts.get(host).is_some_and(|host| host.fixed.contains(&address))
    }

    /// The scopes of a client in a subnet.
    pub(super) fn scopes<'a>(
        config: &'a Config,
        packet: &Packet<'_>,
        host: Option<HostId>,
        subnet: SubnetId,
    ) -> Option<Scopes<'a>> {
        let class = |classes: &'a [Class], code| {
            if classes.is_empty() {
                return None;
            }
            let value = packet.options.get(code)?;
            classes.iter().find(|class| class.value == value)
        };
        Some(Scopes {
            host: host.and_then(|id| config.hosts.get(id)),
            user_class: class(&config.user_classes, option::USER_CLASS),
            vendor_class: class(&config.vendor_classes, option::VENDOR_CLASS),
            subnet: &config.subnets.get(subnet)?.settings,
        })
    }

    /// Whether `deny booting` holds for a host in a subnet: its own word, else the subnet's. For
    /// clients that are no host, a subnet's has no meaning.
    pub(super) fn booting_denied(&self, host: &Host, subnet: SubnetId) -> bool {
        let around = self.config.subnets.get(subnet).and_then(|s| s.settings.booting);
        host.settings.booting.or(around) == Some(false)
    }

    /// Whether the client is served in a subnet; if not, the log says why.
    pub(super) fn admits(
        &mut self,
        packet: &Packet<'_>,
        known: Known,
        subnet: SubnetId,
        verb: &str,
    ) -> bool {
        let Err(denial) = self.admission(packet, known, subnet) else { return true };
        denial.count(&mut self.counters);
        match denial {
            Denial::NoSubnet => {}
            Denial::Host(host) => {
                let name = self.config.hosts.get(host).map_or("", |host| &host.name);
                log::info!("Declining to {verb} client {name}");
            }
            Denial::Unknown => log::info!("Ignoring unknown client {}", packet.client.hw),
            Denial::Class => {
                log::debug!("Ignoring client {}: its class may not boot", packet.client.hw);
            }
            Denial::Bootp => {} // said where BOOTP is spoken
        }
        false
    }

    /// Whether the client is served in a subnet; if not, why.
    pub(super) fn admission(
        &self,
        packet: &Packet<'_>,
        known: Known,
        subnet: SubnetId,
    ) -> Result<(), Denial> {
        let scopes = Core::scopes(&self.config, packet, known.host, subnet);
        let Some(scopes) = scopes else { return Err(Denial::NoSubnet) };
        if let Some(id) = known.declared
            && let Some(host) = self.config.hosts.get(id)
        {
            return match self.booting_denied(host, subnet) {
                true => Err(Denial::Host(id)),
                false => Ok(()),
            };
        }
        if scopes.subnet.unknown_clients == Some(false) {
            return Err(Denial::Unknown);
        }
        let denied = |class: Option<&Class>| class.and_then(|c| c.settings.booting) == Some(false);
        match denied(scopes.user_class) || denied(scopes.vendor_class) {
            true => Err(Denial::Class),
            false => Ok(()),
        }
    }
}
