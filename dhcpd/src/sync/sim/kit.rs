//! What the simulation is made with: chance, a small configuration, and the clients' packets.

use super::{LEASE, POOL};
use crate::config::{Config, Place, Range, Settings, SharedNetwork, Subnet};
use std::net::Ipv4Addr;

pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

pub(super) fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

pub(super) fn config() -> Config {
    let settings = Settings {
        default_lease_time: Some(LEASE as u32),
        max_lease_time: Some(LEASE as u32),
        ..Settings::default()
    };
    let ranges = vec![Range { low: ip(10), high: ip(9 + POOL), dynamic_bootp: false }];
    let at = Place { file: "sim".into(), line: 1, column: 1 };
    let net = "10.0.0.0/24".parse().unwrap();
    let mut config = Config {
        networks: vec![SharedNetwork {
            name: "10.0.0.0".into(),
            authoritative: true,
            subnets: vec![0],
            settings: Settings::default(),
        }],
        subnets: vec![Subnet { network: 0, net, ranges, settings, at }],
        ..Config::default()
    };
    config.build_lookup();
    config
}

pub(super) fn mac(client: u16) -> [u8; 6] {
    let [a, b] = client.to_be_bytes();
    [2, 0, 0, 0, a, b]
}

/// A DHCP message: kind, ciaddr, and options 50 and 54.
pub(super) fn packet(
    kind: u8,
    (client, xid): (u16, u32),
    ciaddr: Ipv4Addr,
    ask: Option<Ipv4Addr>,
    server: Option<[u8; 4]>,
) -> Vec<u8> {
    let mut m = vec![0; 236];
    m[4..8].copy_from_slice(&xid.to_be_bytes());
    (m[0], m[1], m[2]) = (1, 1, 6);
    m[12..16].copy_from_slice(&ciaddr.octets());
    m[28..34].copy_from_slice(&mac(client));
    m.extend([99, 130, 83, 99, 53, 1, kind]);
    if client % 3 == 0 {
        m.extend([61, 3, 0, 1, client as u8]);
    }
    if let Some(ask) = ask {
        m.extend([50, 4]);
        m.extend(ask.octets());
    }
    if let Some(server) = server {
        m.extend([54, 4]);
        m.extend(server);
    }
    m.push(255);
    m
}

pub(super) fn option(reply: &[u8], code: u8) -> Option<[u8; 4]> {
    let mut rest = &reply[240..];
    loop {
        match *rest {
            [255, ..] | [] => return None,
            [found, len, ref more @ ..] => {
                if found == code {
                    let mut value = [0; 4];
                    let length = usize::from(len).min(4);
                    value[..length].copy_from_slice(&more[..length]);
                    return Some(value);
                }
                rest = &more[usize::from(len)..];
            }
            _ => return None,
        }
    }
}
