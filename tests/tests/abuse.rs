//! A wire full of liars, and real clients on it: they get addresses, renew and give back, nobody gets
//! theirs, the log says what is going on, and the server's memory stays what it was.
//!
//! What each lie leads to is the engine's tests' (`tests_abuse`); bad packets are `bad_input`'s.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tests::client::{Client, Kind};
use tests::daemon::Dhcpd;
use tests::frame::{Datagram, EVERYBODY, Tap};
use tests::lab::{Lab, SERVER};
use tests::random::Random;
use tests::wire::{ACK, Answer, DECLINE, DISCOVER, Packet, RELEASE, REQUEST};

const CONFIG: &str = "
ping-check false;
default-lease-time 3600;
subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.100 192.0.2.199; }
";

/// Never more packets than this, however long it takes.
const MOST: u32 = 400_000;
/// Packets sent before the answers are read.
const BURST: u32 = 32;

/// Liars at work on `cli0`, until they are stopped.
struct Flood {
    stop: Arc<AtomicBool>,
    /// Whose address they are after; 0 while there is none.
    victim: Arc<AtomicU32>,
    thread: Option<std::thread::JoinHandle<(u32, Vec<String>)>>,
}

impl Flood {
    fn begin(lab: &Lab) -> Flood {
        let (stop, victim) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let tap = Tap::open(&lab.client, "cli0");
        let (stopped, after) = (stop.clone(), victim.clone());
        let thread = std::thread::spawn(move || lie(&tap, &stopped, &after));
        Flood { stop, victim, thread: Some(thread) }
    }

    /// How many packets were sent, and every acknowledgement of an address that they were after.
    fn end(mut self) -> (u32, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it was begun");
        thread.join().expect("the liars do not panic")
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn lie(tap: &Tap, stop: &AtomicBool, victim: &AtomicU32) -> (u32, Vec<String>) {
    let mut random = Random::new(0x11a5);
    let (mut sent, mut won, mut heard) = (0, Vec::new(), Vec::new());
    let server: Ipv4Addr = SERVER.parse().expect("an address");
    while sent < MOST && !stop.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            sent += 1;
            let liar = 1 + random.below(1000) as u16;
            let [high, low] = liar.to_be_bytes();
            let own = [0x0a, 0, 0, 0, high, low];
            let xid = random.number() as u32;
            let address = Ipv4Addr::from(victim.load(Ordering::Relaxed));
            let packet = match random.below(16) {
                0 => Packet::new(DECLINE, own, xid).option(50, &address.octets()),
                1 => Packet::new(RELEASE, own, xid).ciaddr(address),
                2 => Packet::new(REQUEST, own, xid).option(50, &address.octets()),
                3 => Packet::new(REQUEST, own, xid).ciaddr(address),
                // What was heard on the wire, word for word.
                4 if !heard.is_empty() => {
                    let again: &Datagram = &heard[random.below(heard.len() as u64) as usize];
                    tap.send(&again.frame());
                    continue;
                }
                _ => {
                    let mut anybody = own;
                    anybody[1..5].copy_from_slice(&xid.to_be_bytes());
                    Packet::new(DISCOVER, anybody, xid)
                }
            };
            let packet = packet.option(54, &server.octets()).bytes();
            tap.send(&frame(tap, packet));
        }
        // Answers, to the honest ones too: this is a wire. The wait is what bounds the rate.
        while let Some(datagram) = tap.next(Duration::from_millis(4)) {
            // A REQUEST sent again renews what its client has; only DISCOVERs begin anything.
            let asks = datagram.payload.get(240..243);
            let honest = datagram.payload.get(28..34) == Some(&tap.mac[..]);
            if honest && matches!(asks, Some([53, 1, DISCOVER | REQUEST])) && heard.len() < 64 {
                heard.push(datagram);
            } else if let Some(answer) = Answer::decode(&datagram.payload)
                && answer.kind == ACK
                && answer.mac[0] == 0x0a
                // The system gives `cli0` an address at random, and one in 64 begins like a liar's.
                && !honest
            {
                won.push(format!("{} was given {}", answer.mac[5], answer.yiaddr));
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    (sent, won)
}

fn frame(tap: &Tap, payload: Vec<u8>) -> Vec<u8> {
    let datagram = Datagram {
        source_mac: tap.mac,
        dest_mac: EVERYBODY,
        source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
        dest: SocketAddrV4::new(Ipv4Addr::BROADCAST, 67),
        payload,
    };
    datagram.frame()
}

fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("RssAnon");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

#[test]
fn real_clients_on_a_wire_full_of_liars() {
    let lab = Lab::new();
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &[]);
    let server = dhcpd.server();
    let flood = Flood::begin(&lab);
    // Half of the pool is offered to nobody real by then.
    dhcpd.wait_for("offers that nobody requested went to others");
    let before = memory(server);
    for kind in [Kind::Udhcpc, Kind::Dhclient, Kind::Dhcpcd] {
        let mut client = Client::start(&lab, kind);
        let (address, _) = client.bound();
        flood.victim.store(address.into(), Ordering::Relaxed);
        // The others renew when their time has come, and not before.
        if kind == Kind::Udhcpc {
            client.renew();
            client.event(&["renew"]);
        }
        assert_eq!(lab.held(), [address], "{kind:?}");
        flood.victim.store(0, Ordering::Relaxed);
        client.release(&lab);
        dhcpd.wait_for(&format!("DHCPRELEASE of {address} from "));
    }
    let (sent, won) = flood.end();
    assert!(sent > 1000 && sent < MOST, "{sent} packets were sent");
    assert!(won.is_empty(), "{won:?}");
    let after = memory(server);
    assert!(after < before + 4096, "the server grew from {before} to {after} KiB");
    let log = dhcpd.log();
    assert_eq!(log.matches("offers that nobody requested went to others").count(), 1, "a minute");
    assert!(!log.contains("Abandoning"), "a stranger's word was believed");
    assert!(dhcpd.terminate().success());
}
