//! UDP mode (`-u`) in the server: its socket, and by which interface each message came. What is
//! answered is the engine's business.

use crate::engine::{Actions, Engine, Interface, Meta, Now};
use crate::msg;
use crate::socket::{BATCH, Error, Queue};
use crate::udp::{Received, Udp};

/// The most interfaces remembered: tunnels come and go, and each has another number.
const MOST: usize = 4096;

pub struct UdpMode {
    /// `None`: the server's only UDP socket is this one, and there are no links.
    socket: Option<Udp>,
    /// Those without a packet socket, as far as they are known.
    interfaces: Vec<Interface>,
}

impl UdpMode {
    /// `socket`: beside the server's own.
    pub fn new(socket: Option<Udp>, interfaces: Vec<msg::Interface>) -> UdpMode {
        let mut mode = UdpMode { socket, interfaces: Vec::new() };
        interfaces.into_iter().for_each(|interface| mode.learn(interface));
        mode
    }

    /// Takes an interface, or what has become of it.
    pub fn learn(&mut self, interface: msg::Interface) {
        let msg::Interface { name, index, mac, addresses } = interface;
        self.interfaces.retain(|known| known.index != index);
        let Some(&address) = addresses.first() else { return };
        if self.interfaces.len() >= MOST {
            self.interfaces.remove(0);
        }
        self.interfaces.push(Interface { name, index, address, addresses, mac, network: None });
    }

    /// What to wait for beside the server's own socket.
    pub fn socket(&self) -> Option<&Udp> {
        self.socket.as_ref()
    }

    /// Whether the server's own socket is the one of this mode.
    pub fn is_only(&self) -> bool {
        self.socket.is_none()
    }

    /// Shows what waits to the engine, `turns` times as much as one call gives. `own` is the server's
    /// socket, `links` are the system's numbers of the interfaces that packet sockets read.
    pub fn take(
        &mut self,
        own: &mut Udp,
        links: &[u32],
        turns: usize,
        (engine, now, out): (&mut Engine, Now, &mut Actions),
    ) -> Result<(), Error> {
        let UdpMode { socket, interfaces } = self;
        let only = socket.is_none();
        let socket = socket.as_mut().unwrap_or(own);
        for _ in 0..turns {
            let taken = socket.receive(Queue::Others, |received| {
                let link = links.iter().position(|index| *index == received.interface);
                let to_many = received.dest.is_broadcast() || received.dest.is_multicast();
                let meta = Meta {
                    interface: link.unwrap_or(0),
                    served: link.is_some(),
                    source: received.source,
                    source_port: received.source_port,
                    dest: received.dest,
                    mac: None,
                };
                if link.is_some() {
                    // What came to many was read from the link.
                    if !to_many {
                        engine.input(received.payload, &meta, now, out);
                    }
                    return;
                }
                let Some(by) = known(interfaces, received) else {
                    log::debug!("packet from {} by an unknown interface", received.source);
                    return;
                };
                let others = !only && !to_many;
                engine.input_by_udp(received.payload, by, &meta, others, now, out);
            })?;
            if taken < BATCH {
                break;
            }
        }
        Ok(())
    }
}

/// The interface that a message came by. Where the system says which address of ours that has (on
/// Linux), it need not have been told of before.
fn known<'a>(interfaces: &'a mut Vec<Interface>, received: &Received<'_>) -> Option<&'a Interface> {
    let (index, local) = (received.interface, received.local);
    let at = interfaces.iter().position(|known| known.index == index);
    if local.is_unspecified() || index == 0 {
        return interfaces.get(at?);
    }
    let at = match at {
        Some(at) => at,
        None => {
            if interfaces.len() >= MOST {
                interfaces.remove(0);
            }
            let name = format!("interface {index}");
            interfaces.push(Interface {
                name,
                index,
                address: local,
                addresses: vec![local],
                mac: [0; 6],
                network: None,
            });
            interfaces.len() - 1
        }
    };
    let known = interfaces.get_mut(at)?;
    if known.address != local {
        known.address = local;
        known.addresses = vec![local];
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn received(interface: u32, local: [u8; 4]) -> Received<'static> {
        Received {
            interface,
            local: local.into(),
            source: Ipv4Addr::new(10, 8, 0, 9),
            source_port: 68,
            dest: Ipv4Addr::BROADCAST,
            payload: &[],
        }
    }

    #[test]
    fn interfaces_are_told_or_learnt() {
        let told = |address: [u8; 4]| msg::Interface {
            name: "tun0".into(),
            index: 7,
            mac: [0; 6],
            addresses: vec![address.into()],
        };
        let mut mode = UdpMode::new(None, vec![told([10, 8, 0, 1])]);
        let find = |mode: &mut UdpMode, interface, local| {
            let found = known(&mut mode.interfaces, &received(interface, local))?;
            Some((found.name.clone(), found.address.octets()))
        };
        assert_eq!(find(&mut mode, 7, [0; 4]), Some(("tun0".into(), [10, 8, 0, 1])));
        assert_eq!(find(&mut mode, 8, [0; 4]), None);
        assert_eq!(find(&mut mode, 0, [10, 9, 0, 1]), None);
        assert_eq!(find(&mut mode, 8, [10, 9, 0, 1]), Some(("interface 8".into(), [10, 9, 0, 1])));
        assert_eq!(find(&mut mode, 7, [10, 8, 0, 2]), Some(("tun0".into(), [10, 8, 0, 2])));
        mode.learn(told([10, 8, 0, 3]));
        assert_eq!(find(&mut mode, 7, [0; 4]), Some(("tun0".into(), [10, 8, 0, 3])));
        mode.learn(msg::Interface { addresses: vec![], ..told([0; 4]) });
        assert_eq!(find(&mut mode, 7, [0; 4]), None);
        for index in 100..10_000 {
            find(&mut mode, index, [10, 9, 0, 1]);
        }
        assert_eq!(mode.interfaces.len(), MOST);
    }
}
