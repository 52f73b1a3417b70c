//! The system's network interfaces, and which of them can be served.
//!
//! What a subnet has to do with them is the parent's business.

use crate::socket::Error;
use ipnetwork::Ipv4Network;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use std::net::Ipv4Addr;

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The system's index.
    pub index: u32,
    /// Its Ethernet address, if it has one.
    pub mac: Option<[u8; 6]>,
    /// IFF_UP, IFF_LOOPBACK and their like.
    pub flags: InterfaceFlags,
    /// Its IPv4 addresses with their masks, in the system's order; /32 where it gives no mask.
    pub addresses: Vec<Ipv4Network>,
}

impl Interface {
    /// Why it cannot be served, if so. One that is down can: it may come up.
    pub fn unsuitable(&self) -> Option<&'static str> {
        if self.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            Some("it is a loopback interface")
        } else if self.flags.contains(InterfaceFlags::IFF_POINTOPOINT) {
            Some("it is a point-to-point interface")
        } else if !self.flags.contains(InterfaceFlags::IFF_BROADCAST) {
            Some("it cannot broadcast")
        } else if self.mac.is_none() {
            Some("it has no Ethernet address")
        } else {
            None
        }
    }

    /// Its first IPv4 address: who we are on that wire.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.addresses.first().map(|network| network.ip())
    }
}

/// All interfaces, in the system's order.
///
/// # Errors
/// What getifaddrs(3) says.
pub fn list() -> Result<Vec<Interface>, Error> {
    let entries = getifaddrs().map_err(|error| Error::new("list interfaces", error))?;
    let mut interfaces = Vec::new();
    for entry in entries {
        merge(&mut interfaces, &entry);
    }
    for interface in &mut interfaces {
        if interface.index == 0 {
            // On Linux a tunnel has no link-level address, and getifaddrs(3) no index for it.
            interface.index = if_nametoindex(interface.name.as_str()).unwrap_or(0);
        }
    }
    // Without one it cannot be named to the system: it has just gone.
    interfaces.retain(|interface| interface.index != 0);
    Ok(interfaces)
}

/// Adds what one entry of getifaddrs(3) says: there is one for each address.
fn merge(interfaces: &mut Vec<Interface>, entry: &InterfaceAddress) {
    // Linux gives an address the label it was added with, "eth0:1", in place of the name.
    let name = entry.interface_name.split(':').next().unwrap_or_default();
    let known = interfaces.iter().position(|interface| interface.name == name);
    let at = known.unwrap_or_else(|| {
        interfaces.push(Interface {
            name: name.to_owned(),
            index: 0,
            mac: None,
            flags: entry.flags,
            addresses: Vec::new(),
        });
        interfaces.len() - 1
    });
    let (Some(interface), Some(address)) = (interfaces.get_mut(at), &entry.address) else { return };
    if let Some(link) = address.as_link_addr() {
        interface.index = u32::try_from(link.ifindex()).unwrap_or(0);
        #[cfg(target_os = "linux")]
        let six = link.halen() == 6 && link.hatype() == libc::ARPHRD_ETHER;
        #[cfg(not(target_os = "linux"))]
        let six = link.alen() == 6;
        interface.mac = if six { link.addr() } else { None };
    }
    if let Some(address) = address.as_sockaddr_in() {
        let mask = entry.netmask.as_ref().and_then(|mask| mask.as_sockaddr_in());
        let mask = mask.map_or(Ipv4Addr::BROADCAST, |mask| mask.ip());
        let network = Ipv4Network::with_netmask(address.ip(), mask).ok();
        interface.addresses.extend(network.or_else(|| Ipv4Network::new(address.ip(), 32).ok()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(flags: InterfaceFlags) -> Interface {
        Interface {
            name: "eth0".into(),
            index: 2,
            mac: Some([2; 6]),
            flags,
            addresses: vec!["192.0.2.1/24".parse().unwrap(), "198.51.100.1/25".parse().unwrap()],
        }
    }

    #[test]
    fn only_what_carries_broadcasts_of_ethernet_is_served() {
        let broadcast = InterfaceFlags::IFF_BROADCAST;
        assert_eq!(interface(broadcast).unsuitable(), None, "down is no reason");
        assert_eq!(interface(broadcast | InterfaceFlags::IFF_UP).unsuitable(), None);
        for bad in [
            broadcast | InterfaceFlags::IFF_LOOPBACK,
            broadcast | InterfaceFlags::IFF_POINTOPOINT,
            InterfaceFlags::IFF_UP,
        ] {
            assert!(interface(bad).unsuitable().is_some(), "{bad:?}");
        }
        let nameless = Interface { mac: None, ..interface(broadcast) };
        assert!(nameless.unsuitable().is_some());
        assert_eq!(interface(broadcast).address(), Some(Ipv4Addr::new(192, 0, 2, 1)));
    }

    #[test]
    fn the_loopback_interface_is_there() {
        let all = list().unwrap();
        let lo = all.iter().find(|i| i.flags.contains(InterfaceFlags::IFF_LOOPBACK)).unwrap();
        assert!(lo.index > 0);
        assert_eq!((lo.mac, lo.unsuitable().is_some()), (None, true));
        assert_eq!(lo.addresses.first().map(|a| a.to_string()), Some("127.0.0.1/8".into()));
    }
}
