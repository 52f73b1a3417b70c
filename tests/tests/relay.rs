//! Clients behind relay agents: ISC's, and sockets that say what no polite agent would.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;
use tests::capture::passed;
use tests::client::{Client, Kind};
use tests::daemon::{Dhcpd, LIMIT};
use tests::frame::{Datagram, EVERYBODY, Tap};
use tests::lab::{Lab, SERVER};
use tests::process::until;
use tests::relayed::{AGENT, Agent, Program, Relayed, UPWARD};
use tests::wire::{ACK, Answer, DISCOVER, INFORM, NAK, OFFER, Packet, RELEASE, REQUEST, Relay};

const CONFIG: &str = "
ping-check false;
default-lease-time 600;
subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.100 192.0.2.199; }
subnet 198.51.100.0 netmask 255.255.255.0 {
    range 198.51.100.100 198.51.100.199;
    option routers 198.51.100.1;
    option domain-name \"behind.example\";
}
";

/// Circuit, remote, one that nobody knows, an empty one, and RFC 5107's: who we are to be.
const AGENT_INFORMATION: &[u8] =
    b"\x01\x05down0\x02\x06\x02\0\0\0\0\x09\xc8\x03\0\xff\x01\x96\0\x0b\x04\xc6\x33\x64\x01";

/// The options of a message one by one, in their order.
fn options(message: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut rest = &message[240..];
    let mut options = Vec::new();
    loop {
        match rest {
            [0, behind @ ..] => rest = behind,
            [255, padding @ ..] => {
                assert!(padding.iter().all(|byte| *byte == 0), "bytes behind the end");
                return options;
            }
            [code, length, behind @ ..] => {
                let (value, behind) = behind.split_at(usize::from(*length));
                options.push((*code, value.to_vec()));
                rest = behind;
            }
            _ => panic!("options without an end"),
        }
    }
}

/// The value of option 82 with all that follows the first part of it, which must be the rest of it.
fn last_is_82(message: &[u8]) -> Vec<u8> {
    let all = options(message);
    let first = all.iter().position(|(code, _)| *code == 82).expect("option 82");
    assert!(all[first..].iter().all(|(code, _)| *code == 82), "{all:?}");
    all.into_iter().filter(|(code, _)| *code == 82).flat_map(|(_, value)| value).collect()
}

/// Its DHCP message type.
fn kind(message: &[u8]) -> u8 {
    let all = options(message);
    all.into_iter().find(|(code, _)| *code == 53).expect("option 53").1[0]
}

fn server(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(SERVER.parse().expect("an address"), port)
}

fn mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 7, last]
}

/// A real client gets, renews and gives back a lease through dhcrelay; what passed between that
/// and the server is returned.
fn behind_dhcrelay(
    kind: Kind,
    arguments: &'static [&'static str],
    giaddr: Ipv4Addr,
) -> Vec<Datagram> {
    let relayed = Relayed::new();
    let lab = &relayed.lab;
    lab.make_sets();
    let mut dhcpd = Dhcpd::start(lab, CONFIG, &["-L", "leased"]);
    let tap = Tap::open(&relayed.agent, "up0");
    let _relay = Agent::start(&relayed, Program::Dhcrelay(arguments));

    let mut client = Client::start(lab, kind);
    let (address, told) = client.bound();
    assert_eq!(
        (address.octets()[..3].to_vec(), told["domain"].as_str()),
        (vec![198, 51, 100], "behind.example")
    );
    dhcpd.wait_for(&format!("DHCPACK on {address} to "));
    let log = dhcpd.log();
    assert!(log.contains(&format!("via {giaddr}")), "{log}");
    until("the address is in the set", LIMIT, || lab.server.set("leased") == [address]);

    // Our clients' script makes no routes. With one, they speak to the server without the agent.
    lab.client.run(&format!("ip route add 192.0.2.0/24 via {AGENT}"));
    if kind == Kind::Udhcpc {
        client.renew();
        dhcpd.wait_for(&format!("DHCPREQUEST for {address} from "));
        dhcpd.wait_for(&format!("DHCPACK on {address} to "));
        assert_eq!(client.bound().0, address);
    }
    client.release(lab);
    dhcpd.wait_for(&format!("DHCPRELEASE of {address} from "));
    until("the address left the set", LIMIT, || lab.server.set("leased").is_empty());

    passed(&tap)
}

/// What the agent sent up has an option 82, and the answers to it end with the same.
fn check_conversation(seen: &[Datagram], giaddr: Ipv4Addr) -> Vec<Vec<u8>> {
    // Without the RELEASE, of which dhcrelay overhears what it routes too.
    let from_agent = |d: &&Datagram| {
        d.payload[0] == 1 && d.payload[24..28] == giaddr.octets() && kind(&d.payload) != RELEASE
    };
    let asked: Vec<&Datagram> = seen.iter().filter(from_agent).collect();
    let answers: Vec<&Datagram> =
        seen.iter().filter(|d| d.payload[0] == 2 && d.dest.port() == 67).collect();
    assert!(asked.len() >= 2 && answers.len() >= 2, "{seen:#?}");
    for answer in &answers {
        assert_eq!((answer.source, answer.dest), (server(67), SocketAddrV4::new(giaddr, 67)));
        let question = asked.iter().find(|q| {
            q.payload[4..8] == answer.payload[4..8]
                && last_is_82(&q.payload) == last_is_82(&answer.payload)
        });
        let question = question.unwrap_or_else(|| panic!("{answer:?} answers none of {asked:#?}"));
        // hops aside, which is the agent's to count: flags, giaddr, chaddr.
        for same in [1..3, 10..12, 24..44] {
            assert_eq!(question.payload[same.clone()], answer.payload[same]);
        }
    }
    asked.iter().map(|datagram| last_is_82(&datagram.payload)).collect()
}

#[test]
fn udhcpc_behind_iscs_relay_agent_leases_renews_and_releases() {
    let seen = behind_dhcrelay(Kind::Udhcpc, &[], AGENT);
    for information in check_conversation(&seen, AGENT) {
        assert!(information.starts_with(b"\x01\x05down0"), "{information:?}");
    }
    // The renewal went past the agent, and so did its answer.
    let renewal = seen.iter().find(|d| d.payload[0] == 1 && d.payload[24..28] == [0; 4]);
    let renewal = renewal.expect("a renewal without giaddr");
    let client = *renewal.source.ip();
    assert_eq!(
        (renewal.dest, renewal.payload[12..16].to_vec()),
        (server(67), client.octets().to_vec())
    );
    let direct = seen.iter().find(|d| d.payload[0] == 2 && *d.dest.ip() == client);
    let direct = direct.expect("its answer");
    assert_eq!((direct.source, direct.dest.port(), kind(&direct.payload)), (server(67), 68, ACK));
    assert!(options(&direct.payload).iter().all(|(code, _)| *code != 82));
}

#[test]
fn dhclient_behind_iscs_relay_agent_with_link_selection() {
    // dhcrelay is then known by its address on the server's wire, and says what link it means.
    let seen = behind_dhcrelay(Kind::Dhclient, &["-U", "up0"], UPWARD);
    for information in check_conversation(&seen, UPWARD) {
        assert!(information.ends_with(&[5, 4, 198, 51, 100, 1]), "{information:?}");
    }
}

/// A relay agent on the clients' wire of a lab, and the server.
fn with_agent(detour: bool) -> (Relayed, Dhcpd, Relay) {
    let relayed = Relayed::new();
    if detour {
        relayed.detour();
    }
    let dhcpd = Dhcpd::start(&relayed.lab, CONFIG, &[]);
    let relay = Relay::at(&relayed.agent, AGENT);
    (relayed, dhcpd, relay)
}

#[test]
fn option_82_comes_back_last_and_verbatim() {
    let (_relayed, _dhcpd, relay) = with_agent(false);
    let whole: Vec<u8> = (0..=254).collect();
    for (number, information) in [AGENT_INFORMATION, &[], &[7], &whole].into_iter().enumerate() {
        let number = number as u32;
        let packet = |kind| {
            // In front of the others, where no agent puts it.
            let mut packet = Packet::new(kind, mac(number as u8), number).option(82, information);
            packet.options.rotate_left(3);
            packet.options.extend([53, 1, kind]);
            packet.options.truncate(packet.options.len() - 3);
            packet.option(61, b"client").option(55, &[1, 3, 15, 82])
        };
        relay.send(packet(DISCOVER));
        let offer = relay.receive(number);
        assert_eq!(offer.kind, OFFER);
        let server = offer.options[&54].clone();
        relay.send(packet(REQUEST).option(50, &offer.yiaddr.octets()).option(54, &server));
        let ack = relay.receive(number);
        assert_eq!(ack.kind, ACK);
        relay.send(packet(REQUEST).option(50, &[192, 0, 2, 150]));
        let nak = relay.receive(number);
        assert_eq!(nak.kind, NAK);
        relay.send(packet(INFORM).ciaddr(offer.yiaddr));
        let told = relay.receive(number);
        assert_eq!((told.kind, told.yiaddr), (ACK, Ipv4Addr::UNSPECIFIED));
        for answer in [&offer, &ack, &nak, &told] {
            assert_eq!(last_is_82(&answer.bytes), information, "{answer:?}");
            // Our own word, but for where the agent has another (RFC 5107).
            let server: Ipv4Addr = SERVER.parse().expect("an address");
            let ours = if information == AGENT_INFORMATION { AGENT } else { server };
            assert_eq!(answer.options[&54], ours.octets());
        }
    }
    // Longer than one option can be (RFC 3396), and so long that nothing else finds room.
    for (number, length) in [(10, 300), (11, 540)] {
        let long: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let mut packet =
            Packet::new(DISCOVER, mac(number as u8), number).option(57, &1400u16.to_be_bytes());
        for part in long.chunks(200) {
            packet = packet.option(82, part);
        }
        relay.send(packet);
        assert_eq!(last_is_82(&relay.receive(number).bytes), long);
    }
    // Who sent none gets none.
    relay.send(Packet::new(DISCOVER, mac(20), 20));
    assert!(!relay.receive(20).options.contains_key(&82));
}

#[test]
fn an_answer_goes_to_port_67_of_giaddr_whoever_sent_the_question() {
    let (relayed, _dhcpd, relay) = with_agent(false);
    let tap = Tap::open(&relayed.agent, "up0");
    let packet = Packet::new(DISCOVER, mac(1), 1).giaddr(AGENT).broadcast();
    let mut bytes = packet.bytes();
    bytes[3] = 3; // hops
    bytes[8..10].copy_from_slice(&[1, 2]); // secs
    let others = relayed.agent.within(|| UdpSocket::bind((UPWARD, 1067)).expect("port 1067"));
    others.send_to(&bytes, server(67)).expect("send");
    let answer = tap.wait(LIMIT, |d| d.payload[0] == 2);
    assert_eq!((answer.source, answer.dest), (server(67), SocketAddrV4::new(AGENT, 67)));
    let offer = relay.receive(1);
    assert_eq!(offer.kind, OFFER);
    for same in [1..3, 4..8, 10..12, 24..44] {
        assert_eq!(offer.bytes[same.clone()], bytes[same]);
    }
    assert_eq!((offer.bytes[3], &offer.bytes[8..10]), (0, &[0, 0][..]), "hops and secs");
    // The whole of it from the same agent by a broadcast on the server's wire: a frame goes back
    // to the frame's sender.
    let frame = Datagram {
        source_mac: tap.mac,
        dest_mac: EVERYBODY,
        source: SocketAddrV4::new(UPWARD, 67),
        dest: SocketAddrV4::new(Ipv4Addr::BROADCAST, 67),
        payload: bytes,
    };
    tap.send(&frame.frame());
    let again = tap.wait(LIMIT, |d| d.payload[0] == 2);
    assert_eq!((again.dest_mac, again.source, again.dest), (tap.mac, answer.source, answer.dest));
    assert_eq!(relay.receive(1).yiaddr, offer.yiaddr);
}

#[test]
fn link_selection_decides_the_network_and_giaddr_the_way_back() {
    let lab = Lab::new();
    let _dhcpd = Dhcpd::start(&lab, CONFIG, &[]);
    let relay = Relay::new(&lab);
    let ask = |kind: u8, number: u8, information: &[u8]| {
        Packet::new(kind, mac(number), u32::from(number)).option(82, information)
    };
    let third = |answer: Answer| (answer.kind, answer.yiaddr.octets()[..3].to_vec());
    relay.send(ask(DISCOVER, 1, &[1, 1, 9, 5, 4, 198, 51, 100, 0]));
    let offer = relay.receive(1);
    assert_eq!(offer.options[&1], [255, 255, 255, 0]);
    assert_eq!(offer.options[&3], AGENT.octets());
    let selected = ask(REQUEST, 1, &[1, 1, 9, 5, 4, 198, 51, 100, 0]);
    relay.send(selected.option(50, &offer.yiaddr.octets()).option(54, &offer.options[&54]));
    assert_eq!(third(relay.receive(1)), (ACK, vec![198, 51, 100]));
    // Without it the same address is on the wrong network.
    relay.send(ask(REQUEST, 1, &[1, 1, 9]).option(50, &offer.yiaddr.octets()));
    assert_eq!(relay.receive(1).kind, NAK);
    relay.send(ask(DISCOVER, 2, &[1, 1, 9]));
    assert_eq!(third(relay.receive(2)), (OFFER, vec![192, 0, 2]));
    // One that we do not know is not made up for by giaddr; one that is no address is none.
    relay.send(ask(DISCOVER, 3, &[5, 4, 203, 0, 113, 0]));
    relay.send(ask(DISCOVER, 4, &[5, 3, 198, 51, 100]));
    let next = relay.try_receive(LIMIT).expect("an answer");
    assert_eq!((next.xid, next.yiaddr.octets()[..3].to_vec()), (4, vec![192, 0, 2]));
}

#[test]
fn a_giaddr_that_is_not_served_gets_no_answer() {
    let relayed = Relayed::new();
    relayed.agent.run("ip addr add 203.0.113.9/24 dev down0");
    relayed.lab.server.run(&format!("ip route add 203.0.113.0/24 via {UPWARD}"));
    let mut dhcpd = Dhcpd::start(&relayed.lab, CONFIG, &[]);
    let stranger = Relay::at(&relayed.agent, Ipv4Addr::new(203, 0, 113, 9));
    let known = Relay::at(&relayed.agent, AGENT);
    stranger.send(Packet::new(DISCOVER, mac(1), 1));
    stranger.send(Packet::new(REQUEST, mac(1), 2).option(50, &[203, 0, 113, 50]));
    stranger.send(Packet::new(REQUEST, mac(1), 3).ciaddr(Ipv4Addr::new(203, 0, 113, 50)));
    stranger.send(Packet::new(INFORM, mac(1), 4).ciaddr(Ipv4Addr::new(203, 0, 113, 50)));
    known.lease(mac(2), 5);
    // An address of ours there: with authority over it, we say no (OpenBSD does the same).
    stranger.send(Packet::new(REQUEST, mac(1), 6).option(50, &[198, 51, 100, 150]));
    let first = stranger.try_receive(LIMIT).expect("the answer");
    assert_eq!((first.xid, first.kind), (6, NAK));
    dhcpd.wait_for("via 203.0.113.9");
}

/// The renewal of a client behind a router, as the client sends it.
fn renewal(relayed: &Relayed, address: Ipv4Addr) -> UdpSocket {
    relayed.lab.client.run(&format!("ip addr replace {address}/24 dev cli0"));
    relayed.lab.client.run(&format!("ip route replace 192.0.2.0/24 via {AGENT}"));
    let socket =
        relayed.lab.client.within(move || UdpSocket::bind((address, 68)).expect("port 68"));
    socket.set_read_timeout(Some(LIMIT)).expect("set a time limit");
    socket
}

fn ask(socket: &UdpSocket, packet: &Packet) -> (Answer, SocketAddrV4) {
    socket.send_to(&packet.bytes(), server(67)).expect("send");
    let mut bytes = [0; 1500];
    let (length, from) = socket.recv_from(&mut bytes).expect("an answer");
    let std::net::SocketAddr::V4(from) = from else { panic!("{from}") };
    (Answer::decode(&bytes[..length]).expect("a DHCP answer"), from)
}

fn renewals_by_unicast(detour: bool) {
    let (relayed, mut dhcpd, relay) = with_agent(detour);
    let address = relay.lease(mac(1), 1);
    let socket = renewal(&relayed, address);
    let renew = Packet::new(REQUEST, mac(1), 2).ciaddr(address);
    for packet in [renew.clone(), renew.clone().broadcast()] {
        let (ack, from) = ask(&socket, &packet);
        assert_eq!((ack.kind, ack.yiaddr, from), (ACK, address, server(67)));
    }
    let (told, _) = ask(&socket, &Packet::new(INFORM, mac(1), 3).ciaddr(address));
    assert_eq!((told.kind, told.yiaddr), (ACK, Ipv4Addr::UNSPECIFIED));
    let release =
        Packet::new(RELEASE, mac(1), 4).ciaddr(address).option(54, &server(67).ip().octets());
    socket.send_to(&release.bytes(), server(67)).expect("send");
    dhcpd.wait_for(&format!("DHCPRELEASE of {address} from "));
    dhcpd.wait_for(&format!("Released lease for IP address {address}"));
}

#[test]
fn a_relayed_client_renews_by_unicast() {
    renewals_by_unicast(false);
}

#[test]
fn relayed_clients_and_their_renewals_may_come_by_an_interface_that_is_not_served() {
    renewals_by_unicast(true);
}

#[test]
fn strangers_by_an_interface_that_is_not_served_take_nothing_from_the_one_that_is() {
    let (relayed, mut dhcpd, relay) = with_agent(true);
    let socket = renewal(&relayed, Ipv4Addr::new(198, 51, 100, 77));
    let wire = Tap::open(&relayed.lab.server, "srv0");
    for packet in [
        Packet::new(DISCOVER, mac(1), 1),
        Packet::new(DISCOVER, mac(1), 2).broadcast(),
        Packet::new(REQUEST, mac(1), 3).option(50, &[192, 0, 2, 150]),
        Packet::new(REQUEST, mac(1), 4).ciaddr(Ipv4Addr::new(192, 0, 2, 150)),
        Packet::new(REQUEST, mac(1), 5).option(50, &[10, 0, 0, 1]),
    ] {
        socket.send_to(&packet.bytes(), server(67)).expect("send");
    }
    // Somebody else's address: no, and that goes to where it came from.
    let other = relay.lease(mac(2), 6);
    drop(socket);
    let socket = renewal(&relayed, other);
    let (nak, from) = ask(&socket, &Packet::new(REQUEST, mac(1), 7).ciaddr(other));
    assert_eq!((nak.xid, nak.kind, from), (7, NAK, server(67)));
    dhcpd.wait_for("DHCPNAK on ");
    assert_eq!(wire.next(Duration::from_millis(1)), None, "something went out by the other one");
    let log = dhcpd.log();
    assert!(!log.contains("ACK on 192.0.2.") && !log.contains("OFFER on 192.0.2."), "{log}");
    assert_eq!(log.matches("DHCPNAK on ").count(), 1, "{log}");
}
