//! Finding a subnet by address, and hosts by hardware address or client id, for every packet.
//!
//! Tables only: nothing here decides between several hosts that fit.

use super::{Config, Hardware, HostId, SubnetId};
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// The longest hardware address there is room for in a DHCP message (RFC 2131 "chaddr").
pub const MAX_HARDWARE: usize = 16;

/// Type, length and address: fixed in size, so that a packet is looked up without allocation.
type HardwareKey = [u8; MAX_HARDWARE + 2];

/// What [`Config::build_lookup`] makes of the rest of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Lookup {
    /// Where a stretch of addresses begins and whose it is; it ends where the next begins.
    /// Sorted. Addresses before the first belong to nobody.
    stretches: Vec<(u32, Option<SubnetId>)>,
    hardware: HashMap<HardwareKey, Vec<HostId>>,
    client_ids: HashMap<Box<[u8]>, Vec<HostId>>,
}

impl Config {
    /// Makes the lookup tables. To be called once subnets and hosts are final: what is added
    /// later is not found.
    pub fn build_lookup(&mut self) {
        let mut hardware: HashMap<HardwareKey, Vec<HostId>> = HashMap::new();
        let mut client_ids: HashMap<Box<[u8]>, Vec<HostId>> = HashMap::new();
        for (id, host) in self.hosts.iter().enumerate() {
            if let Some(Hardware { htype, addr }) = &host.hardware
                && let Some(key) = hardware_key(*htype, addr)
            {
                hardware.entry(key).or_default().push(id);
            }
            if let Some(client_id) = &host.client_id {
                client_ids.entry(client_id.as_slice().into()).or_default().push(id);
            }
        }
        self.lookup = Lookup { stretches: self.stretches(), hardware, client_ids };
    }

    /// The subnet an address is in; the smallest one where subnets are inside each other.
    pub fn subnet_of(&self, address: Ipv4Addr) -> Option<SubnetId> {
        let address = u32::from(address);
        let after = self.lookup.stretches.partition_point(|(start, _)| *start <= address);
        let (_, subnet) = self.lookup.stretches.get(after.checked_sub(1)?)?;
        *subnet
    }

    /// The hosts declared with this `hardware`, in order of declaration.
    pub fn hosts_by_hardware(&self, htype: u8, addr: &[u8]) -> &[HostId] {
        hardware_key(htype, addr)
            .and_then(|key| self.lookup.hardware.get(&key))
            .map_or(&[], Vec::as_slice)
    }

    /// The hosts declared with this `option dhcp-client-identifier`, in order of declaration.
    pub fn hosts_by_client_id(&self, client_id: &[u8]) -> &[HostId] {
        self.lookup.client_ids.get(client_id).map_or(&[], Vec::as_slice)
    }

    /// Networks are either apart or inside each other, so one walk over them by first address,
    /// with a stack of those not yet left, says who owns which stretch.
    fn stretches(&self) -> Vec<(u32, Option<SubnetId>)> {
        let mut order: Vec<(u32, u32, SubnetId)> = (self.subnets.iter().enumerate())
            .map(|(id, s)| (u32::from(s.net.network()), u32::from(s.net.broadcast()), id))
            .collect();
        // The wider first, and of two equal ones the one declared first last, so that it wins.
        order.sort_by_key(|&(first, last, id)| (first, !last, !id));
        let mut stretches: Vec<(u32, Option<SubnetId>)> = Vec::with_capacity(order.len() * 2);
        let mut inside: Vec<(u32, SubnetId)> = Vec::new();
        for (first, last, id) in order {
            leave(&mut inside, &mut stretches, Some(first));
            begin(&mut stretches, first, Some(id));
            inside.push((last, id));
        }
        leave(&mut inside, &mut stretches, None);
        stretches
    }
}

/// Ends the networks that end before `until` (all of them for `None`).
fn leave(
    inside: &mut Vec<(u32, SubnetId)>,
    stretches: &mut Vec<(u32, Option<SubnetId>)>,
    until: Option<u32>,
) {
    while let Some(&(last, _)) = inside.last() {
        if until.is_some_and(|until| last >= until) {
            return;
        }
        inside.pop();
        if let Some(next) = last.checked_add(1) {
            begin(stretches, next, inside.last().map(|(_, id)| *id));
        }
    }
}

fn begin(stretches: &mut Vec<(u32, Option<SubnetId>)>, start: u32, owner: Option<SubnetId>) {
    match stretches.last_mut() {
        Some(last) if last.0 == start => last.1 = owner,
        _ => stretches.push((start, owner)),
    }
}

fn hardware_key(htype: u8, addr: &[u8]) -> Option<HardwareKey> {
    let mut key = [0; MAX_HARDWARE + 2];
    key[0] = htype;
    key[1] = u8::try_from(addr.len()).ok()?;
    key.get_mut(2..2 + addr.len())?.copy_from_slice(addr);
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::super::{Host, Place, Settings, Subnet};
    use super::*;
    use ipnetwork::Ipv4Network;
    use proptest::prelude::*;

    fn place() -> Place {
        Place { file: "test".into(), line: 1, column: 1 }
    }

    fn config(nets: &[Ipv4Network]) -> Config {
        let subnets = nets.iter().map(|net| Subnet {
            network: 0,
            net: *net,
            ranges: Vec::new(),
            settings: Settings::default(),
            at: place(),
        });
        let mut config = Config { subnets: subnets.collect(), ..Config::default() };
        config.build_lookup();
        config
    }

    #[test]
    fn an_address_is_in_its_subnet_up_to_both_ends() {
        let config = config(&["10.0.2.0/24".parse().unwrap(), "10.0.0.0/24".parse().unwrap()]);
        let of = |a: &str| config.subnet_of(a.parse().unwrap());
        assert_eq!(of("9.255.255.255"), None);
        assert_eq!(of("10.0.0.0"), Some(1));
        assert_eq!(of("10.0.0.255"), Some(1));
        assert_eq!(of("10.0.1.0"), None);
        assert_eq!(of("10.0.2.0"), Some(0));
        assert_eq!(of("10.0.3.0"), None);
    }

    #[test]
    fn no_subnets_at_all() {
        assert_eq!(Config::default().subnet_of(Ipv4Addr::LOCALHOST), None);
        assert_eq!(config(&[]).subnet_of(Ipv4Addr::UNSPECIFIED), None);
    }

    #[test]
    fn hosts_by_hardware_and_by_client_id() {
        let host = |mac: Option<[u8; 6]>, client_id: Option<&[u8]>| Host {
            name: "h".to_owned(),
            hardware: mac.map(|m| Hardware { htype: 1, addr: m.to_vec() }),
            client_id: client_id.map(<[u8]>::to_vec),
            fixed: Vec::new(),
            settings: Settings::default(),
            at: place(),
        };
        let mut config = Config {
            hosts: vec![
                host(Some([1; 6]), None),
                host(None, Some(b"id")),
                host(Some([1; 6]), Some(b"id")),
            ],
            ..Config::default()
        };
        config.build_lookup();
        assert_eq!(config.hosts_by_hardware(1, &[1; 6]), [0, 2]);
        assert!(config.hosts_by_hardware(6, &[1; 6]).is_empty());
        assert!(config.hosts_by_hardware(1, &[1; 5]).is_empty());
        assert!(config.hosts_by_hardware(1, &[1; 17]).is_empty());
        assert_eq!(config.hosts_by_client_id(b"id"), [1, 2]);
        assert!(config.hosts_by_client_id(b"").is_empty());
    }

    proptest! {
        /// Against the obvious way: of all subnets with the address, the longest prefix.
        #[test]
        fn subnet_of_agrees_with_a_linear_search(
            nets in prop::collection::vec((0u32..64, 24u8..=32), 0..12),
            high in any::<bool>(),
        ) {
            // A few addresses at either end of the address space, so that they meet often.
            let base = if high { u32::MAX - 255 } else { 0 };
            let nets: Vec<Ipv4Network> = nets
                .into_iter()
                .filter_map(|(host, prefix)| {
                    let any = Ipv4Network::new((base + host * 4).into(), prefix).ok()?;
                    Ipv4Network::new(any.network(), prefix).ok()
                })
                .collect();
            let config = config(&nets);
            for address in base..=base + 255 {
                let address = Ipv4Addr::from(address);
                let want = (nets.iter().enumerate())
                    .filter(|(_, net)| net.contains(address))
                    .max_by_key(|(id, net)| (net.prefix(), std::cmp::Reverse(*id)))
                    .map(|(id, _)| id);
                prop_assert_eq!(config.subnet_of(address), want, "{}", address);
            }
        }
    }
}
