//! `dhcpd -u`: clients that no packet socket reads, behind a tunnel and on an ordinary wire.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;
use tests::daemon::{Dhcpd, LIMIT};
use tests::frame::Datagram;
use tests::lab::{Lab, Namespace, SERVER};
use tests::tun::Tun;
use tests::wire::{ACK, Answer, DISCOVER, INFORM, OFFER, Packet, REQUEST};

const CONFIG: &str = "
ping-check false;
subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.100 192.0.2.109; }
subnet 10.8.0.0 netmask 255.255.255.0 { option domain-name \"tunnel.example\"; }
subnet 198.51.100.0 netmask 255.255.255.0 { option domain-name \"second.example\"; }
";

const FAR: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 2);
const MAC: [u8; 6] = [2, 0, 0, 0, 6, 1];

/// A socket of a client that has this address on an interface of its namespace.
fn client(space: &Namespace, interface: &'static str, address: Ipv4Addr) -> UdpSocket {
    space.run(&format!("ip addr replace {address}/24 dev {interface}"));
    space.within(move || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None);
        let socket = socket.expect("a socket");
        socket.set_broadcast(true).expect("allow broadcasts");
        socket.bind_device(Some(interface.as_bytes())).expect("bind to the interface");
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68).into()).expect("port 68");
        UdpSocket::from(socket)
    })
}

fn ask(socket: &UdpSocket, to: Ipv4Addr, packet: &Packet) {
    socket.send_to(&packet.bytes(), (to, 67)).expect("send");
}

fn answer(socket: &UdpSocket, limit: Duration) -> Option<(Answer, SocketAddrV4)> {
    let mut bytes = [0; 1600];
    socket.set_read_timeout(Some(limit)).expect("set a time limit");
    let (length, from) = socket.recv_from(&mut bytes).ok()?;
    let std::net::SocketAddr::V4(from) = from else { return None };
    Some((Answer::decode(&bytes[..length])?, from))
}

fn inform(address: Ipv4Addr, xid: u32) -> Packet {
    Packet::new(INFORM, MAC, xid).ciaddr(address)
}

fn domain(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.options[&15]).into_owned()
}

#[test]
fn a_client_behind_a_tunnel_is_told_what_there_is() {
    let lab = Lab::new();
    let Some(mut tun) = Tun::open(&lab.server, "tun7") else {
        eprintln!("no /dev/net/tun: not tried");
        return;
    };
    lab.server.run(&format!("ip addr add 10.8.0.1 peer {FAR} dev tun7"));
    lab.server.run("ip link set tun7 up");
    for flags in [&["-u"][..], &["-u", "srv0"]] {
        let mut dhcpd = Dhcpd::start(&lab, CONFIG, flags);
        dhcpd.wait_for("Listening on 255.255.255.255:67/udp.");
        let by = |payload: Vec<u8>| Datagram {
            source_mac: [0; 6],
            dest_mac: [0; 6],
            source: SocketAddrV4::new(FAR, 68),
            dest: SocketAddrV4::new(Ipv4Addr::BROADCAST, 67),
            payload,
        };
        tun.send(&by(inform(FAR, 1).bytes()));
        let got = tun.next(LIMIT).expect("an answer");
        let own = Ipv4Addr::new(10, 8, 0, 1);
        assert_eq!((got.source, got.dest), (SocketAddrV4::new(own, 67), by(vec![]).source));
        let told = Answer::decode(&got.payload).expect("an answer");
        assert_eq!((told.kind, told.yiaddr), (ACK, Ipv4Addr::UNSPECIFIED));
        assert_eq!(
            (domain(&told).as_str(), &told.options[&54][..]),
            ("tunnel.example", &own.octets()[..])
        );
        assert!(!told.options.contains_key(&51));
        dhcpd.wait_for("DHCPINFORM from 10.8.0.2");
        dhcpd.wait_for("DHCPACK to 10.8.0.2 (02:00:00:00:06:01) via tun7");
        tun.send(&by(Packet::new(DISCOVER, MAC, 2).bytes()));
        dhcpd.wait_for("Unable to handle a DHCP message type=1 on UDP socket");
        tun.send(&by(inform(FAR, 3).bytes()));
        let told = Answer::decode(&tun.next(LIMIT).expect("an answer").payload);
        assert_eq!(told.expect("an answer").xid, 3, "nothing was said to the DISCOVER");
        assert!(dhcpd.terminate().success());
    }
}

#[test]
fn alone_it_serves_informs_on_every_interface_and_nothing_else() {
    let lab = Lab::new();
    let address = Ipv4Addr::new(192, 0, 2, 50);
    let socket = client(&lab.client, "cli0", address);
    let server: Ipv4Addr = SERVER.parse().expect("an address");
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &["-u"]);
    ask(&socket, Ipv4Addr::BROADCAST, &Packet::new(DISCOVER, MAC, 1));
    dhcpd.wait_for("Unable to handle a DHCP message type=1 on UDP socket");
    ask(&socket, Ipv4Addr::BROADCAST, &inform(address, 2));
    let (told, from) = answer(&socket, LIMIT).expect("an answer");
    assert_eq!((told.kind, told.xid, from), (ACK, 2, SocketAddrV4::new(server, 67)));
    dhcpd.wait_for("DHCPACK to 192.0.2.50 (02:00:00:00:06:01) via srv0");
    assert!(!dhcpd.log().contains("Listening on srv0"));
    assert!(dhcpd.terminate().success());

    // At an address of its own, what comes there alone; what is broadcast is not for it.
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &["-u192.0.2.1"]);
    ask(&socket, Ipv4Addr::BROADCAST, &inform(address, 3));
    ask(&socket, server, &Packet::new(REQUEST, MAC, 4).ciaddr(address));
    dhcpd.wait_for("Unable to handle a DHCP message type=3 on UDP socket");
    ask(&socket, server, &inform(address, 5));
    assert_eq!(answer(&socket, LIMIT).expect("an answer").0.xid, 5);
    dhcpd.wait_for("DHCPACK to 192.0.2.50");
    assert_eq!(dhcpd.log().matches("DHCPINFORM from").count(), 1);
}

/// The other interface's clients are told what there is; the one named is served in full, once.
#[test]
fn q20_with_interfaces_named_both_are_served() {
    let lab = Lab::new();
    let names = (lab.server.name(), lab.client.name());
    lab.server.run(&format!("ip link add srv1 type veth peer name cli1 netns {}", names.1));
    lab.server.run("ip addr add 198.51.100.1/24 dev srv1");
    lab.server.run("ip link set srv1 up");
    lab.client.run("ip link set cli1 up");
    let second = Ipv4Addr::new(198, 51, 100, 50);
    let first = Ipv4Addr::new(192, 0, 2, 50);
    let server: Ipv4Addr = SERVER.parse().expect("an address");
    let by_second = client(&lab.client, "cli1", second);
    let by_first = client(&lab.client, "cli0", first);
    for flags in [&["-u", "srv0"], &["-u192.0.2.1", "srv0"]] {
        let mut dhcpd = Dhcpd::start(&lab, CONFIG, flags);
        dhcpd.wait_for("Listening on srv0 (192.0.2.1).");
        if flags[0] == "-u" {
            ask(&by_second, Ipv4Addr::BROADCAST, &inform(second, 1));
            let (told, from) = answer(&by_second, LIMIT).expect("an answer");
            assert_eq!((told.kind, domain(&told).as_str()), (ACK, "second.example"));
            assert_eq!(from.ip().octets(), [198, 51, 100, 1]);
            ask(&by_second, Ipv4Addr::BROADCAST, &Packet::new(DISCOVER, MAC, 2));
            dhcpd.wait_for("Unable to handle a DHCP message type=1 on UDP socket");
        }
        ask(&by_first, Ipv4Addr::BROADCAST, &inform(first, 3));
        assert_eq!(answer(&by_first, LIMIT).expect("an answer").0.xid, 3);
        ask(&by_first, Ipv4Addr::BROADCAST, &Packet::new(DISCOVER, MAC, 4).broadcast());
        let (offer, _) = answer(&by_first, LIMIT).expect("an answer");
        assert_eq!((offer.kind, offer.xid), (OFFER, 4));
        let request = Packet::new(REQUEST, MAC, 5).option(50, &offer.yiaddr.octets());
        ask(&by_first, Ipv4Addr::BROADCAST, &request.option(54, &server.octets()).broadcast());
        let (ack, _) = answer(&by_first, LIMIT).expect("an answer");
        assert_eq!((ack.kind, ack.xid, ack.yiaddr), (ACK, 5, offer.yiaddr));
        // A renewal comes to the address that UDP mode may listen at too.
        ask(&by_first, server, &inform(first, 6));
        let (told, _) = answer(&by_first, LIMIT).expect("an answer");
        assert_eq!(told.xid, 6, "each was answered once");
        for line in
            ["DHCPINFORM from", "DHCPDISCOVER from", "DHCPINFORM from", "DHCPACK to 192.0.2.50"]
        {
            dhcpd.wait_for(line);
        }
        let log = dhcpd.log();
        assert_eq!(log.matches("DHCPDISCOVER from").count(), 1, "{log}");
        assert!(dhcpd.terminate().success());
    }
}
