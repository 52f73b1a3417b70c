//! Which interfaces are served, and their packet sockets.
//!
//! Choosing is pure; only [`open`] looks at the system.

use crate::config::Config;
use crate::interfaces;
use crate::link;
use crate::msg::Interface;
use crate::socket::Queues;
use std::collections::HashMap;

/// An interface that is served, with its packet socket.
#[derive(Debug)]
pub struct Listener {
    /// Name, index and addresses.
    pub interface: Interface,
    /// Read client broadcasts, send frames; their filters are locked.
    pub queues: Queues,
}

/// Opens a packet socket on each interface to serve. With them come the lines to log about what
/// is served and what is not.
///
/// # Errors
/// One that was named cannot be served at all, none is left, or a socket cannot be opened.
pub fn open(named: &[String], config: &Config) -> Result<(Vec<Listener>, Vec<String>), String> {
    let there = interfaces::list().map_err(|e| e.to_string())?;
    let (chosen, mut remarks) = choose(named, &there, config)?;
    let mut listeners = Vec::new();
    for interface in chosen {
        let queues =
            link::open(&interface.name, interface.index).map_err(|error| error.to_string())?;
        let address = interface.addresses.first().map(ToString::to_string).unwrap_or_default();
        remarks.push(format!("Listening on {} ({address}).", interface.name));
        listeners.push(Listener { interface, queues });
    }
    Ok((listeners, remarks))
}

/// The interfaces to serve: those named, else all that could be. One is left out, with a remark,
/// when it has no address, or no subnet has its first address, or an earlier one serves that
/// subnet already.
fn choose(
    named: &[String],
    there: &[interfaces::Interface],
    config: &Config,
) -> Result<(Vec<Interface>, Vec<String>), String> {
    if let Some(name) = named.iter().find(|name| !there.iter().any(|i| i.name == **name)) {
        return Err(format!("{name}: no such interface"));
    }
    let (mut chosen, mut remarks) = (Vec::new(), Vec::new());
    let mut served: HashMap<usize, &str> = HashMap::new();
    for interface in there {
        let name = interface.name.as_str();
        let wanted = named.iter().any(|wanted| wanted == name);
        if !wanted && !named.is_empty() {
            continue;
        }
        let mut leave_out = |why: String| remarks.push(format!("Can't listen on {name} - {why}."));
        let mac = match (interface.unsuitable(), interface.mac) {
            (None, Some(mac)) => mac,
            (Some(why), _) if wanted => return Err(format!("{name}: {why}")),
            _ => continue,
        };
        let Some(address) = interface.address() else {
            leave_out("it has no IP address".to_owned());
            continue;
        };
        let Some(subnet) = config.subnet_of(address) else {
            leave_out(format!("dhcpd.conf has no subnet declaration for {address}"));
            continue;
        };
        if let Some(first) = served.insert(subnet, name) {
            leave_out(format!("{first} serves the subnet of {address} already"));
            served.insert(subnet, first);
            continue;
        }
        let addresses = interface.addresses.iter().map(|network| network.ip()).collect();
        chosen.push(Interface { name: name.to_owned(), index: interface.index, mac, addresses });
    }
    if chosen.is_empty() {
        remarks.push("No interfaces to listen on.".to_owned());
        return Err(remarks.join("\n"));
    }
    Ok((chosen, remarks))
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
        let (chosen, remarks) = choose(&[], &there, &config()).unwrap();
        assert_eq!(names(&chosen), ["em0", "em4"]);
        assert_eq!(
            remarks,
            [
                "Can't listen on em1 - dhcpd.conf has no subnet declaration for 203.0.113.1.",
                "Can't listen on em2 - it has no IP address.",
                "Can't listen on em3 - em0 serves the subnet of 192.0.2.2 already.",
            ]
        );
    }

    #[test]
    fn a_name_chooses_and_a_wrong_one_is_fatal() {
        let there = [
            interface("em0", Some("192.0.2.1/24"), LAN),
            interface("em4", Some("198.51.100.1/24"), LAN),
            interface("lo", None, InterfaceFlags::IFF_LOOPBACK),
        ];
        let choose = |name: &str| choose(&[name.to_owned()], &there, &config());
        assert_eq!(names(&choose("em4").unwrap().0), ["em4"]);
        assert_eq!(choose("em9").unwrap_err(), "em9: no such interface");
        assert_eq!(choose("lo").unwrap_err(), "lo: it is a loopback interface");
    }

    #[test]
    fn no_interface_is_fatal_and_says_why() {
        let there = [interface("em1", Some("203.0.113.1/24"), LAN)];
        let why = choose(&[], &there, &config()).unwrap_err();
        assert!(why.contains("Can't listen on em1"), "{why}");
        assert!(why.ends_with("No interfaces to listen on."), "{why}");
    }
}
