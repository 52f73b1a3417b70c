//! Which interfaces are served. Pure: what there is and what is wanted come in.
//!
//! Opening them, and looking again when something changes, is the parent's (`parent/interfaces`).

use crate::config::Config;
use crate::interfaces;
use crate::msg::Interface;
use std::collections::HashMap;

/// What choosing came to.
#[derive(Debug, Default)]
pub struct Choice {
    /// The interfaces to serve.
    pub chosen: Vec<Interface>,
    /// Those that are not served though they might be expected to be.
    pub refused: Vec<Refused>,
}

/// An interface that is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its name.
    pub name: String,
    /// What the log says of it.
    pub line: String,
    /// Whether it was named on the command line.
    pub named: bool,
}

/// The interfaces that UDP mode (`-u`) may hear from, tunnels among them: those with an address in
/// a subnet and without a packet socket.
pub fn tunnels(
    served: &[Interface],
    there: &[interfaces::Interface],
    config: &Config,
) -> Vec<Interface> {
    let tunnel = |i: &&interfaces::Interface| {
        let in_subnet = |address| config.subnet_of(address).is_some();
        !served.iter().any(|served| served.index == i.index) && i.address().is_some_and(in_subnet)
    };
    let interface = |i: &interfaces::Interface| Interface {
        name: i.name.clone(),
        index: i.index,
        mac: i.mac.unwrap_or_default(),
        addresses: i.addresses.iter().map(|network| network.ip()).collect(),
    };
    there.iter().filter(tunnel).map(interface).collect()
}

/// The interfaces to serve: those named, else all that could be. One is left out when it has no
/// address, or no subnet has its first address, or an earlier one serves that subnet already.
pub fn choose(named: &[String], there: &[interfaces::Interface], config: &Config) -> Choice {
    let mut choice = Choice::default();
    let mut refuse = |name: &str, named: bool, why: String| {
        let line = format!("Can't listen on {name} - {why}.");
        choice.refused.push(Refused { name: name.to_owned(), line, named });
    };
    for name in named.iter().filter(|name| !there.iter().any(|i| i.name == **name)) {
        refuse(name, true, "no such interface".to_owned());
    }
    let mut served: HashMap<usize, &str> = HashMap::new();
    for interface in there {
        let name = interface.name.as_str();
        let wanted = named.iter().any(|wanted| wanted == name);
        if !wanted && !named.is_empty() {
            continue;
        }
        let mac = match (interface.unsuitable(), interface.mac) {
            (None, Some(mac)) => mac,
            (Some(why), _) if wanted => {
                refuse(name, wanted, why.to_owned());
                continue;
            }
            _ => continue,
        };
        let Some(address) = interface.address() else {
            refuse(name, wanted, "it has no IP address".to_owned());
            continue;
        };
        let Some(subnet) = config.subnet_of(address) else {
            refuse(name, wanted, format!("dhcpd.conf has no subnet declaration for {address}"));
            continue;
        };
        if let Some(first) = served.insert(subnet, name) {
            refuse(name, wanted, format!("{first} serves the subnet of {address} already"));
            served.insert(subnet, first);
            continue;
        }
        let addresses = interface.addresses.iter().map(|network| network.ip()).collect();
        let (name, index) = (name.to_owned(), interface.index);
        choice.chosen.push(Interface { name, index, mac, addresses });
    }
    choice
}

/// What is wrong with an interface that was named and can never be served as it is.
pub fn impossible(named: &[String], there: &[interfaces::Interface]) -> Option<String> {
    let wanted = there.iter().filter(|interface| named.contains(&interface.name));
    wanted.filter_map(|i| i.unsuitable().map(|why| format!("{}: {why}", i.name))).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Place, Settings, SharedNetwork, Subnet};
    use nix::net::if_::InterfaceFlags;

    fn interface(
        name: &str,
        address: Option<&str>,
        flags: InterfaceFlags,
    ) -> interfaces::Interface {
        interfaces::Interface {
            name: name.to_owned(),
            index: 1,
            mac: Some([2, 0, 0, 0, 0, 1]),
            flags,
            addresses: address.map(|text| text.parse().unwrap()).into_iter().collect(),
        }
    }

    fn config() -> Config {
        let subnet = |net: &str| Subnet {
            network: 0,
            net: net.parse().unwrap(),
            ranges: Vec::new(),
            settings: Settings::default(),
            at: Place { file: "test".into(), line: 1, column: 1 },
        };
        let mut config = Config {
            networks: vec![SharedNetwork {
                name: "n".into(),
                authoritative: true,
                subnets: vec![0, 1],
                settings: Settings::default(),
            }],
            subnets: vec![subnet("192.0.2.0/24"), subnet("198.51.100.0/24")],
            ..Config::default()
        };
        config.build_lookup();
        config
    }

    const LAN: InterfaceFlags = InterfaceFlags::IFF_BROADCAST;

    fn names(chosen: &[Interface]) -> Vec<&str> {
        chosen.iter().map(|i| i.name.as_str()).collect()
    }

    #[test]
    fn without_names_all_that_have_a_subnet_are_served_even_if_down() {
        let there = [
            interface("lo", Some("127.0.0.1/8"), InterfaceFlags::IFF_LOOPBACK),
            interface("em0", Some("192.0.2.1/24"), LAN),
            interface("em1", Some("203.0.113.1/24"), LAN),
            interface("em2", None, LAN),
            interface("em3", Some("192.0.2.2/24"), LAN),
            interface("em4", Some("198.51.100.1/24"), LAN | InterfaceFlags::IFF_UP),
        ];
        let choice = choose(&[], &there, &config());
        assert_eq!(names(&choice.chosen), ["em0", "em4"]);
        let lines: Vec<&str> = choice.refused.iter().map(|refused| &*refused.line).collect();
        assert_eq!(
            lines,
            [
                "Can't listen on em1 - dhcpd.conf has no subnet declaration for 203.0.113.1.",
                "Can't listen on em2 - it has no IP address.",
                "Can't listen on em3 - em0 serves the subnet of 192.0.2.2 already.",
            ]
        );
    }

    #[test]
    fn udp_mode_hears_from_what_no_packet_socket_reads() {
        let mut there = [
            interface("lo", Some("127.0.0.1/8"), InterfaceFlags::IFF_LOOPBACK),
            interface("em0", Some("192.0.2.1/24"), LAN),
            interface("tun0", Some("198.51.100.1/32"), InterfaceFlags::IFF_POINTOPOINT),
            interface("em1", Some("203.0.113.1/24"), LAN),
            interface("tun1", None, InterfaceFlags::IFF_POINTOPOINT),
        ];
        (1..).zip(&mut there).for_each(|(index, interface)| interface.index = index);
        let served = choose(&["em0".to_owned()], &there, &config()).chosen;
        assert_eq!(names(&tunnels(&served, &there, &config())), ["tun0"]);
        assert_eq!(names(&tunnels(&[], &there, &config())), ["em0", "tun0"]);
    }

    #[test]
    fn a_name_chooses_and_what_is_not_there_is_waited_for() {
        let there = [
            interface("em0", Some("192.0.2.1/24"), LAN),
            interface("em4", Some("198.51.100.1/24"), LAN),
            interface("lo", None, InterfaceFlags::IFF_LOOPBACK),
        ];
        let choose = |name: &str| choose(&[name.to_owned()], &there, &config());
        assert_eq!(names(&choose("em4").chosen), ["em4"]);
        for (name, line) in [
            ("em9", "Can't listen on em9 - no such interface."),
            ("lo", "Can't listen on lo - it is a loopback interface."),
        ] {
            let choice = choose(name);
            assert_eq!(names(&choice.chosen), Vec::<&str>::new());
            let line = Refused { name: name.into(), line: line.into(), named: true };
            assert_eq!(choice.refused, [line]);
        }
        let impossible = |name: &str| impossible(&[name.to_owned()], &there);
        assert_eq!(impossible("lo").as_deref(), Some("lo: it is a loopback interface"));
        assert_eq!((impossible("em9"), impossible("em0")), (None, None));
    }
}
