//! Why a client gets what it gets: the decision about a DISCOVER, seen by somebody.
//!
//! There is one decision, in `discover` and `access`. It tells a [`Witness`] each thing it looks at;
//! the one for packets is [`Nobody`], to whom nothing is put into words.

mod ask;

pub use ask::{Explanation, Question};

use super::core::Core;
use super::discover::Choice;
use super::identity::Client;
use super::index::NONE;
use super::packet::Packet;
use crate::config::{Host, Place};
use std::net::Ipv4Addr;

/// Something that was looked at on the way to a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is, with its place in the configuration if it has one.
    pub rule: String,
    /// Whether it applies, or is passed over.
    pub applies: bool,
    /// Why, or what follows from it.
    pub why: String,
}

/// Who looks on while something is decided.
pub(super) trait Witness {
    /// Is shown a step, and may not want to have it put into words.
    fn saw(&mut self, step: impl FnOnce() -> Step);
}

/// Nobody: costs nothing.
pub(super) struct Nobody;

impl Witness for Nobody {
    #[inline(always)]
    fn saw(&mut self, _: impl FnOnce() -> Step) {}
}

impl Witness for Vec<Step> {
    fn saw(&mut self, step: impl FnOnce() -> Step) {
        self.push(step());
    }
}

impl Step {
    pub(super) fn new(rule: impl Into<String>, applies: bool, why: impl Into<String>) -> Step {
        Step { rule: rule.into(), applies, why: why.into() }
    }

    pub(super) fn passed(rule: &str, why: &str) -> Step {
        Step::new(rule, false, why)
    }

    pub(super) fn host(host: &Host, applies: bool, why: impl Into<String>) -> Step {
        Step::new(format!("host {} ({})", host.name, at(&host.at)), applies, why)
    }

    /// A host that fits and has no address on this network.
    pub(super) fn host_without_address(host: &Host, holds: bool) -> Step {
        match (holds, &host.fixed[..]) {
            (true, _) => Step::host(host, true, "no fixed address; its settings hold"),
            (false, []) => Step::host(host, false, "another host without a fixed address is first"),
            (false, fixed) => {
                let fixed: Vec<String> = fixed.iter().map(Ipv4Addr::to_string).collect();
                Step::host(host, false, format!("no address on this network: {}", fixed.join(", ")))
            }
        }
    }

    pub(super) fn address(rule: &str, address: Option<Ipv4Addr>) -> Step {
        match address {
            Some(address) => Step::new(rule, true, address.to_string()),
            None => Step::passed(rule, "there is none"),
        }
    }
}

/// `file:line:column`.
pub(super) fn at(place: &Place) -> String {
    format!("{}:{}:{}", place.file, place.line, place.column)
}

impl Core {
    /// A slot that was looked at, and whether it was chosen.
    pub(super) fn step(&self, rule: &str, looked_at: Option<u32>, chosen: Option<u32>) -> Step {
        let address = |slot| Ipv4Addr::from(self.leases.get(slot).address);
        match (looked_at, chosen) {
            (Some(slot), None) => {
                Step::new(rule, false, format!("{}: {}", address(slot), self.who_has(slot)))
            }
            (_, chosen) => Step::address(rule, chosen.map(address)),
        }
    }

    pub(super) fn step_of_previous(
        &self,
        network: u32,
        client: &Client<'_>,
        chosen: Option<u32>,
    ) -> Step {
        let by_id = client.id.and_then(|id| self.leases.id(network, id));
        let by_hw = || {
            let hw = Some(&client.hw).filter(|hw| !hw.is_empty())?;
            self.leases.hw(network, hw).or_else(|| self.leases.hw_of_id(network, hw))
        };
        self.step("the address it had last", by_id.or_else(by_hw), chosen)
    }

    pub(super) fn step_of_request(
        &self,
        packet: &Packet<'_>,
        network: u32,
        chosen: Option<Choice>,
    ) -> Step {
        let rule = "the address it asks for";
        let asked = packet.requested().unwrap_or(packet.message.ciaddr());
        if asked.is_unspecified() {
            return Step::passed(rule, "it asks for none");
        }
        if chosen.is_some() {
            return Step::address(rule, Some(asked));
        }
        let why = match self.pools.find(u32::from(asked)) {
            Some(span) if span.network != network => "it is of another network".to_owned(),
            Some(_) => match self.leases.address(u32::from(asked)) {
                Some(slot) => self.who_has(slot),
                None => "nobody has it".to_owned(),
            },
            None if self.pools.is_reserved(u32::from(asked)) => {
                "it is a host's, or our own".to_owned()
            }
            None => "it is in no range".to_owned(),
        };
        Step::new(rule, false, format!("{asked}: {why}"))
    }

    /// Who keeps an address from being given to another client.
    fn who_has(&self, slot: u32) -> String {
        let lease = self.leases.get(slot);
        match lease.offer {
            _ if lease.abandoned => "it is abandoned".to_owned(),
            _ if lease.is_held() => format!("{} holds it", lease.hw),
            NONE => "nobody holds it".to_owned(),
            offer => format!("it is offered to {}", self.offers.get(offer).hw),
        }
    }
}
