//! UDP mode (`-u`): clients that no packet socket reads, behind tunnels. They have their addresses
//! from elsewhere, so an INFORM is all that there is to answer.

use super::{Actions, Engine, Interface, Meta, Now};
use crate::wire::code::message;
use crate::wire::message::Message;

impl Engine {
    /// Decides about one message that came by an interface without a packet socket, `by`, whose
    /// first address must be in a subnet. `meta` is about the same message; its interface says
    /// nothing here. `others`: what is no INFORM is for [`Engine::input`].
    pub fn input_by_udp(
        &mut self,
        packet: &[u8],
        by: &Interface,
        meta: &Meta,
        others: bool,
        now: Now,
        out: &mut Actions,
    ) {
        let kind = Message::parse(packet).ok().and_then(|message| {
            let read = self.options.parse(&message);
            read.is_ok().then(|| self.options.message_type().unwrap_or(0))
        });
        if kind != Some(message::INFORM) && others {
            self.input(packet, meta, now, out);
            return;
        }
        match kind {
            // Malformed: it is counted where such are.
            None => {}
            Some(message::INFORM) => {
                let Some(subnet) = self.core.config.subnet_of(by.address) else {
                    log::debug!("DHCPINFORM by {} ignored: no subnet for {}", by.name, by.address);
                    self.core.counters.unknown_network += 1;
                    return;
                };
                let interface = self.core.interfaces.len();
                self.core.interfaces.push(by.clone());
                self.core.tunnel = Some(subnet);
                let meta = Meta { interface, served: false, mac: None, ..meta.clone() };
                self.input(packet, &meta, now, out);
                self.core.tunnel = None;
                self.core.interfaces.pop();
            }
            Some(kind) => {
                log::info!("Unable to handle a DHCP message type={kind} on UDP socket");
                self.core.counters.received(kind);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests_kit::*;
    use super::super::tests_log::{capture, lines};
    use super::super::*;

    const TUNNEL: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);

    fn tunnel(address: Ipv4Addr) -> Interface {
        Interface {
            name: "tun0".to_owned(),
            index: 9,
            address,
            addresses: vec![address],
            mac: [0; 6],
            network: None,
        }
    }

    fn bench(served: bool) -> Bench {
        let mut config = read(
            "option domain-name \"root\";
             subnet 10.0.0.0 netmask 255.255.255.0 { range 10.0.0.10 10.0.0.19; }
             subnet 10.8.0.0 netmask 255.255.255.0 { option domain-name \"tunnel\"; }",
        );
        config.build_lookup();
        let mut b = Bench::with(config.clone());
        if !served {
            b.engine = Engine::new(Arc::new(config), vec![], EngineOptions::default());
        }
        b
    }

    fn by(
        b: &mut Bench,
        ask: &Ask,
        source: Ipv4Addr,
        tunnel: &Interface,
        others: bool,
    ) -> Vec<Got> {
        let meta = Meta { served: false, source, ..Bench::meta(None) };
        b.out.clear();
        b.engine.input_by_udp(&ask.bytes(), tunnel, &meta, others, b.now, &mut b.out);
        b.engine.core.check();
        assert_eq!(b.engine.core.interfaces.iter().filter(|i| i.name == "tun0").count(), 0);
        b.replies()
    }

    fn inform(ciaddr: Ipv4Addr) -> Ask {
        Ask { ciaddr, ..ask(message::INFORM, 1) }
    }

    #[test]
    fn an_inform_is_answered_for_the_interface_it_came_by() {
        for served in [false, true] {
            capture();
            let mut b = bench(served);
            let client = ip("10.8.0.77");
            let got = by(&mut b, &inform(client), client, &tunnel(TUNNEL), false).remove(0);
            assert_eq!((got.kind(), got.yours()), (message::ACK, Ipv4Addr::UNSPECIFIED));
            assert_eq!(got.options.get(15), Some(&b"tunnel"[..]));
            assert_eq!((got.options.ipv4(54), got.message().siaddr()), (Some(TUNNEL), TUNNEL));
            let udp = Destination::Udp { interface: None, address: client, port: 68 };
            assert_eq!((got.reply.destination, got.reply.source), (udp, TUNNEL));
            assert_eq!(
                lines(),
                [
                    "INFO DHCPINFORM from 10.8.0.77",
                    "INFO DHCPACK to 10.8.0.77 (02:00:00:00:00:01) via tun0",
                ]
            );
        }
    }

    #[test]
    fn the_interface_determines_the_subnet_where_the_client_is_in_none() {
        let mut b = bench(false);
        let client = ip("172.16.0.9");
        let got = by(&mut b, &inform(client), client, &tunnel(TUNNEL), false).remove(0);
        assert_eq!(got.options.get(15), Some(&b"tunnel"[..]));
        // And none that is in none itself.
        let other = tunnel(ip("172.16.0.1"));
        assert!(by(&mut b, &inform(client), client, &other, false).is_empty());
        let inside = ip("10.8.0.77");
        assert!(by(&mut b, &inform(inside), inside, &other, false).is_empty());
        // Nor anybody in another's name.
        assert!(by(&mut b, &inform(inside), client, &tunnel(TUNNEL), false).is_empty());
    }

    #[test]
    fn other_messages_are_named_or_go_where_they_go_without() {
        let mut b = bench(true);
        let client = ip("10.8.0.77");
        for (kind, number) in [(0, 0), (1, 1), (3, 3), (4, 4), (7, 7), (8, 8), (13, 13)] {
            capture();
            by(&mut b, &ask(kind, 1), client, &tunnel(TUNNEL), false);
            let said = format!("INFO Unable to handle a DHCP message type={number} on UDP socket");
            assert_eq!(lines().contains(&said), kind != message::INFORM, "{kind}");
            assert!(b.out.replies.is_empty());
        }
        let got = by(&mut b, &discover(1).relayed(), RELAY, &tunnel(TUNNEL), true);
        assert!(got.is_empty(), "no such network here");
        let ask = Ask { giaddr: ip("10.0.0.200"), ..discover(1) };
        assert_eq!(by(&mut b, &ask, ask.giaddr, &tunnel(TUNNEL), true).len(), 1);
        let got = by(&mut b, &inform(client), client, &tunnel(TUNNEL), true).remove(0);
        assert_eq!(got.options.ipv4(54), Some(TUNNEL));
        capture();
        b.out.clear();
        let meta = Bench::meta(None);
        for bytes in [&[][..], &[1; 240], &[1; 9]] {
            b.engine.input_by_udp(bytes, &tunnel(TUNNEL), &meta, false, b.now, &mut b.out);
        }
        assert!(b.out.replies.is_empty());
    }
}
