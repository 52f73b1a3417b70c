//! `link`, `udp`, `icmp` and `interfaces` on a real wire: a veth pair in a network namespace that
//! each test makes for itself and that goes away with its thread. Needs root; says so without.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may say what it expects of its set-up")]

mod net;

use dhcpd::icmp::{self, Icmp};
use dhcpd::interfaces;
use dhcpd::link::{self, Link, OutFrame};
use dhcpd::socket::{BATCH, LONGEST, Queue};
use dhcpd::udp::{self, Accept, Outgoing, Udp};
use dhcpd::wire::frame::{self, UdpChecksum};
use net::{
    BROADCAST, CLIENT, CLIENT_MAC, Client, Raw, SERVER, SERVER_MAC, Wire, ip, request,
    until_readable,
};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;

fn open_link(wire: &Wire) -> Link {
    let index = wire.index("va");
    Link::new(link::open("va", index).unwrap(), "va", SERVER_MAC)
}

fn open_udp() -> Udp {
    let fd = udp::open(Ipv4Addr::UNSPECIFIED, Accept::Unicast).unwrap();
    Udp::new(fd, Accept::Unicast)
}

/// All payloads that wait, as text.
fn on_link(link: &mut Link) -> Vec<String> {
    link_queue(link, Queue::Others).chain(link_queue(link, Queue::Discovers)).collect()
}

fn link_queue(link: &mut Link, queue: Queue) -> std::vec::IntoIter<String> {
    let mut found = Vec::new();
    let mut show = |payload: &[u8]| found.push(String::from_utf8_lossy(payload).into_owned());
    while link.receive(queue, |datagram| show(datagram.payload)).unwrap() > 0 {}
    found.into_iter()
}

fn on_udp(udp: &mut Udp) -> Vec<String> {
    udp_queue(udp, Queue::Others).chain(udp_queue(udp, Queue::Discovers)).collect()
}

fn udp_queue(udp: &mut Udp, queue: Queue) -> std::vec::IntoIter<String> {
    let mut found = Vec::new();
    let mut show = |payload: &[u8]| found.push(String::from_utf8_lossy(payload).into_owned());
    while udp.receive(queue, |message| show(message.payload)).unwrap() > 0 {}
    found.into_iter()
}

#[test]
fn every_message_comes_by_exactly_one_of_the_two_sockets() {
    Wire::run(|wire| {
        let mut client = Client::new(wire);
        let (mut link, mut udp) = (open_link(wire), open_udp());
        let multicast = [1, 0, 0x5e, 0, 0, 1];
        for (mac, dest, text) in [
            (BROADCAST, Ipv4Addr::BROADCAST, "all"),
            (SERVER_MAC, SERVER, "us"),
            (multicast, Ipv4Addr::BROADCAST, "group"),
            (SERVER_MAC, Ipv4Addr::BROADCAST, "us by frame"),
            (BROADCAST, SERVER, "us by address"),
            ([2, 9, 9, 9, 9, 9], Ipv4Addr::BROADCAST, "another"),
            (BROADCAST, Ipv4Addr::BROADCAST, "end"),
            (SERVER_MAC, SERVER, "end"),
        ] {
            client.send(&request(mac, dest, text.as_bytes()));
        }
        client.settle();
        assert_eq!(on_link(&mut link), ["all", "group", "us by address", "end"]);
        assert_eq!(on_udp(&mut udp), ["us", "us by frame", "end"]);
        assert_eq!(link.counters().frames, 4);
    });
}

/// A message as long as a client's, with these first options, and named by its first byte.
fn message(name: u8, options: &[u8]) -> Vec<u8> {
    let mut message = vec![name; 300];
    message[240..240 + options.len()].copy_from_slice(options);
    message
}

#[test]
fn discovers_wait_in_a_queue_of_their_own() {
    Wire::run(|wire| {
        let mut client = Client::new(wire);
        let (mut link, mut udp) = (open_link(wire), open_udp());
        for (mac, dest) in [(BROADCAST, Ipv4Addr::BROADCAST), (SERVER_MAC, SERVER)] {
            for message in [
                message(b'd', &[53, 1, 1, 55]),
                message(b'r', &[53, 1, 3, 55]),
                message(b'l', &[12, 1, 1, 53, 1, 1]), // the type is not where it is usual
                message(b'b', &[0; 10]),
                message(b'w', &[53, 2, 1, 1]),
                message(b's', &[53, 1, 1])[..242].to_vec(),
                message(b'D', &[53, 1, 1, 255])[..244].to_vec(),
            ] {
                client.send(&request(mac, dest, &message));
            }
        }
        client.settle();
        let names = |found: std::vec::IntoIter<String>| -> String {
            found.filter_map(|text| text.chars().next()).collect()
        };
        // Of a short frame it is not known where its options are, should its header be a long one.
        assert_eq!(names(link_queue(&mut link, Queue::Discovers)), "d");
        assert_eq!(names(link_queue(&mut link, Queue::Others)), "rlbwsD");
        assert_eq!(names(udp_queue(&mut udp, Queue::Discovers)), "dD");
        assert_eq!(names(udp_queue(&mut udp, Queue::Others)), "rlbws");
    });
}

#[test]
fn where_a_message_came_from_is_told() {
    Wire::run(|wire| {
        let mut client = Client::new(wire);
        let (mut link, mut udp) = (open_link(wire), open_udp());
        client.send(&request(BROADCAST, Ipv4Addr::BROADCAST, b"x"));
        client.send(&request(SERVER_MAC, SERVER, b"y"));
        client.settle();
        let mut seen = 0;
        link.receive(Queue::Others, |d| {
            assert_eq!((d.mac, d.source, d.source_port), (CLIENT_MAC, CLIENT, 68));
            assert_eq!((d.dest, d.dest_port), (Ipv4Addr::BROADCAST, 67));
            seen += 1;
        })
        .unwrap();
        udp.receive(Queue::Others, |m| {
            assert_eq!((m.interface, m.source, m.source_port), (wire.index("va"), CLIENT, 68));
            assert_eq!((m.dest, m.payload), (SERVER, &b"y"[..]));
            seen += 1;
        })
        .unwrap();
        assert_eq!(seen, 2);
    });
}

#[test]
fn the_filters_cannot_be_taken_off() {
    Wire::run(|wire| {
        let link = link::open("va", wire.index("va")).unwrap();
        let udp = udp::open(Ipv4Addr::UNSPECIFIED, Accept::Unicast).unwrap();
        let fds = [link, udp].map(|queues| [Some(queues.others), queues.discovers]);
        for fd in fds.into_iter().flatten().flatten() {
            let socket = socket2::Socket::from(fd);
            let error = socket.detach_filter().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EPERM));
            let all = [socket2::SockFilter::new(6, 0, 0, u32::MAX)];
            let error = socket.attach_filter(&all).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        }
    });
}

#[test]
fn a_checksum_left_to_the_hardware_is_no_fault_and_a_wrong_one_is() {
    Wire::run(|wire| {
        let mut client = Client::new(wire);
        let mut link = open_link(wire);
        // A veth's sender leaves the checksum of its own sockets to hardware that is not there.
        ip("addr add 10.9.0.2/24 dev vb");
        let sender = socket2::Socket::from(UdpSocket::bind("10.9.0.2:68").unwrap());
        sender.bind_device(Some(b"vb")).unwrap();
        sender.set_broadcast(true).unwrap();
        let all: std::net::SocketAddr = "255.255.255.255:67".parse().unwrap();
        sender.send_to(b"unfinished", &all.into()).unwrap();
        let unfinished = client.overhear();
        assert_eq!(on_link(&mut link), ["unfinished"]);
        assert!(
            frame::parse(&unfinished, UdpChecksum::Unknown).is_err(),
            "this kernel finished the checksum: the test shows nothing"
        );

        let good = request(BROADCAST, Ipv4Addr::BROADCAST, b"good");
        for (at, value) in [(43, 0xee), (22, 0xee)] {
            let mut bad = good.clone();
            bad[at] = value;
            client.send(&bad);
        }
        client.send(&good);
        client.settle();
        assert_eq!(on_link(&mut link), ["good"]);
        let counters = link.counters();
        assert_eq!((counters.frames, counters.bad_udp, counters.bad_ip), (4, 1, 1));
    });
}

#[test]
fn fragments_are_refused() {
    Wire::run(|wire| {
        let mut client = Client::new(wire);
        let (mut link, mut udp) = (open_link(wire), open_udp());
        let mut first = request(BROADCAST, Ipv4Addr::BROADCAST, &[0; 600]);
        first[20] = 0x20;
        net::mend(&mut first);
        let mut later = request(BROADCAST, Ipv4Addr::BROADCAST, &[0; 600]);
        later[21] = 0x10;
        net::mend(&mut later);
        client.send(&first);
        client.send(&later);
        client.send(&request(BROADCAST, Ipv4Addr::BROADCAST, b"end"));
        client.settle();
        assert_eq!(on_link(&mut link), ["end"]);
        let counters = link.counters();
        assert_eq!((counters.frames, counters.malformed), (2, 1), "a later one is not even shown");
        assert!(on_udp(&mut udp).is_empty());
    });
}

#[test]
fn frames_of_a_vlan_are_not_the_parents() {
    Wire::run(|wire| {
        let mut client = Client::new(wire);
        let mut link = open_link(wire);
        for (tag, text) in [(5, "five"), (0, "priority"), (0xe000, "highest priority")] {
            let mut tagged = request(BROADCAST, Ipv4Addr::BROADCAST, text.as_bytes());
            let tag = u16::to_be_bytes(tag);
            tagged.splice(12..12, [0x81, 0, tag[0], tag[1]]);
            client.send(&tagged);
        }
        client.send(&request(BROADCAST, Ipv4Addr::BROADCAST, b"end"));
        client.settle();
        assert_eq!(on_link(&mut link), ["priority", "highest priority", "end"]);
    });
}

#[test]
fn batches_are_full_and_in_order_both_ways() {
    Wire::run(|wire| {
        let mut client = Client::new(wire);
        let (mut link, mut udp) = (open_link(wire), open_udp());
        for i in 0..100u32 {
            client.send(&request(BROADCAST, Ipv4Addr::BROADCAST, &i.to_be_bytes()));
            client.send(&request(SERVER_MAC, SERVER, &i.to_be_bytes()));
        }
        let mut found = Vec::new();
        let number = |payload: &[u8]| u32::from_be_bytes(payload.try_into().unwrap());
        client.settle();
        for expected in [BATCH, 100 - BATCH, 0] {
            let count = link.receive(Queue::Others, |d| found.push(number(d.payload))).unwrap();
            assert_eq!(count, expected);
        }
        for expected in [BATCH, 100 - BATCH, 0] {
            let count = udp.receive(Queue::Others, |m| found.push(number(m.payload))).unwrap();
            assert_eq!(count, expected);
        }
        assert_eq!(found, (0..100).chain(0..100).collect::<Vec<u32>>());

        let payloads: Vec<Vec<u8>> = (0..150u16).map(|i| i.to_be_bytes().repeat(150)).collect();
        let sent = link.wire().send(payloads.iter().map(|payload| OutFrame {
            mac: CLIENT_MAC,
            source: SERVER,
            dest: CLIENT,
            dest_port: 68,
            payload,
        }));
        assert_eq!((sent.sent, sent.failed), (150, 0));
        for payload in &payloads {
            let bytes = client.next();
            let d = frame::parse(&bytes, UdpChecksum::Unknown).unwrap();
            assert_eq!((d.mac, d.source, d.dest), (SERVER_MAC, SERVER, CLIENT));
            assert_eq!((d.source_port, d.dest_port, d.payload), (67, 68, &payload[..]));
            assert_eq!(bytes[..6], CLIENT_MAC);
        }
    });
}

#[test]
fn what_is_longer_than_any_message_is_dropped() {
    Wire::run(|wire| {
        ip("link set va mtu 9000");
        ip("link set vb mtu 9000");
        let mut client = Client::new(wire);
        let (mut link, mut udp) = (open_link(wire), open_udp());
        for (mac, dest) in [(BROADCAST, Ipv4Addr::BROADCAST), (SERVER_MAC, SERVER)] {
            client.send(&request(mac, dest, &[b'x'; LONGEST + 1]));
            client.send(&request(mac, dest, b"end"));
        }
        client.settle();
        assert_eq!(on_link(&mut link), ["end"]);
        assert_eq!(on_udp(&mut udp), ["end"]);
    });
}

#[test]
fn a_message_that_cannot_leave_does_not_keep_the_next() {
    Wire::run(|wire| {
        let mut client = Client::new(wire);
        let link = open_link(wire);
        let huge = [0; 3000];
        let sent_to = |link: &Link, payloads: &[&[u8]]| {
            link.wire().send(payloads.iter().map(|payload| OutFrame {
                mac: CLIENT_MAC,
                source: SERVER,
                dest: CLIENT,
                dest_port: 68,
                payload,
            }))
        };
        let sent = sent_to(&link, &[b"one", &huge, &huge, b"four"]);
        assert_eq!((sent.sent, sent.failed), (2, 2));
        let error = sent.error.unwrap();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        assert!(error.to_string().starts_with("send to va: "), "{error}");
        for text in ["one", "four"] {
            let bytes = client.next();
            let d = frame::parse(&bytes, UdpChecksum::Unknown).unwrap();
            assert_eq!(d.payload, text.as_bytes());
        }

        let udp = open_udp();
        ip("neigh replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev va");
        let nowhere = Ipv4Addr::new(203, 0, 113, 1);
        let sent = udp.port().send([nowhere, CLIENT, nowhere].map(|dest| Outgoing {
            interface: None,
            source: Ipv4Addr::UNSPECIFIED,
            dest,
            dest_port: 67,
            payload: b"routed",
        }));
        assert_eq!((sent.sent, sent.failed), (1, 2));
        let bytes = client.next();
        assert_eq!(frame::parse(&bytes, UdpChecksum::Settled).unwrap().payload, b"routed");
    });
}

#[test]
fn a_routed_reply_leaves_from_the_address_and_interface_asked_for() {
    Wire::run(|wire| {
        let udp = open_udp();
        ip("addr add 10.9.0.77/24 dev va");
        ip("link add vc type veth peer name vd");
        ip("addr add 10.9.1.1/24 dev vc");
        wire.up(&["vc", "vd"]);
        for interface in ["va", "vc"] {
            ip(&format!("neigh replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev {interface}"));
        }
        let second = Ipv4Addr::new(10, 9, 0, 77);
        for (interface, source, far_end) in
            [(None, SERVER, "vb"), (None, second, "vb"), (Some("vc"), second, "vd")]
        {
            let mut client = Raw::open(wire, far_end);
            let sent = udp.port().send([Outgoing {
                interface: interface.map(|name| wire.index(name)),
                source,
                dest: CLIENT,
                dest_port: 67,
                payload: b"reply",
            }]);
            assert_eq!((sent.sent, sent.failed), (1, 0), "{:?}", sent.error);
            let bytes = client.next();
            let d = frame::parse(&bytes, UdpChecksum::Settled).unwrap();
            assert_eq!((d.source, d.source_port, d.payload), (source, 67, &b"reply"[..]));
        }
    });
}

#[test]
fn an_interface_may_go_down_and_come_back_or_go_for_good() {
    Wire::run(|wire| {
        let mut link = open_link(wire);
        ip("link set va down");
        until_readable(link.fds().next().unwrap().1);
        let error = link.receive(Queue::Others, |_| panic!("nothing was sent")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENETDOWN));
        assert!(error.to_string().starts_with("receive from va: "), "{error}");
        assert_eq!(
            link.receive(Queue::Others, |_| panic!("nothing was sent")).unwrap(),
            0,
            "said once"
        );
        assert!(!link.is_gone());
        wire.up(&["va", "vb"]);
        Client::new(wire).send(&request(BROADCAST, Ipv4Addr::BROADCAST, b"again"));
        until_readable(link.fds().next().unwrap().1);
        assert_eq!(on_link(&mut link), ["again"]);
        ip("link del va");
        until_readable(link.fds().next().unwrap().1);
        assert!(link.receive(Queue::Others, |_| panic!("nothing was sent")).is_err());
        assert!(link.is_gone());
    });
}

#[test]
fn opening_says_what_was_tried_on_what() {
    Wire::run(|_| {
        let error = link::open("nosuch", 4711).unwrap_err();
        assert!(error.to_string().starts_with("bind packet socket to nosuch: "), "{error}");
        let error = udp::open(Ipv4Addr::new(192, 0, 2, 1), Accept::All).unwrap_err();
        assert!(error.to_string().starts_with("bind UDP socket to 192.0.2.1:67: "), "{error}");
    });
}

#[test]
fn without_a_link_the_udp_socket_takes_broadcasts_too() {
    Wire::run(|wire| {
        let mut client = Client::new(wire);
        let fd = udp::open(Ipv4Addr::BROADCAST, Accept::All).unwrap();
        let mut udp = Udp::new(fd, Accept::All);
        client.send(&request(SERVER_MAC, SERVER, b"not at this address"));
        client.send(&request(BROADCAST, Ipv4Addr::BROADCAST, b"all"));
        client.settle();
        let mut found = Vec::new();
        udp.receive(Queue::Others, |m| found.push((m.dest, m.payload.to_vec()))).unwrap();
        assert_eq!(found, [(Ipv4Addr::BROADCAST, b"all".to_vec())]);
    });
}

#[test]
fn every_address_in_use_answers_a_ping_and_no_other() {
    Wire::run(|_| {
        ip("link set lo up");
        let mut icmp = Icmp::from_fd(icmp::open().unwrap());
        let used: Vec<Ipv4Addr> = (1..=100).map(|i| Ipv4Addr::new(127, 0, 0, i)).collect();
        let unroutable = Ipv4Addr::new(203, 0, 113, 1);
        let asked = used.iter().copied().chain([CLIENT, unroutable]);
        let sent = icmp.ask(asked, 1000);
        assert_eq!((sent.sent, sent.failed), (101, 1));
        assert!(sent.error.unwrap().to_string().starts_with("send ICMP echo: "));
        let mut found = Vec::new();
        while found.len() < used.len() {
            until_readable(icmp.as_fd());
            assert!(icmp.receive(1200, |address| found.push(address)).unwrap() <= BATCH);
        }
        assert_eq!(found, used);
        icmp.ask([used[0]], 2000);
        icmp.ask([used[1]], 9000);
        until_readable(icmp.as_fd());
        let mut found = Vec::new();
        icmp.receive(9000, |address| found.push(address)).unwrap();
        assert_eq!(found, [used[1]], "the first is too late");
    });
}

#[test]
fn interfaces_are_listed_with_all_their_addresses() {
    Wire::run(|wire| {
        ip("addr add 10.8.0.1/16 dev va label va:1");
        let all = interfaces::list().unwrap();
        let va = all.iter().find(|i| i.name == "va").unwrap();
        assert_eq!((va.index, va.mac, va.unsuitable()), (wire.index("va"), Some(SERVER_MAC), None));
        let addresses: Vec<String> = va.addresses.iter().map(|a| a.to_string()).collect();
        assert_eq!(addresses, ["10.9.0.1/24", "10.8.0.1/16"]);
        assert_eq!(va.address(), Some(SERVER));
        ip("link set va down");
        let all = interfaces::list().unwrap();
        let va = all.iter().find(|i| i.name == "va").unwrap();
        assert_eq!(va.unsuitable(), None, "down is accepted");
        assert!(all.iter().find(|i| i.name == "lo").unwrap().unsuitable().is_some());
    });
}
