//! The lines that people search their logs for, as they leave dhcpd: on standard error, and in
//! syslog. Which there are and when is the engine's, and tested there; here is how they look.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use tests::daemon::{Dhcpd, LIMIT};
use tests::lab::{Lab, binary};
use tests::process::{self, until};
use tests::wire::{ACK, DECLINE, DISCOVER, INFORM, NAK, OFFER, Packet, RELEASE, REQUEST, Relay};

const CONFIG: &str = "ping-check false;\n\
    subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.100 192.0.2.101; }\n";

/// What a few clients do, one packet at a time. `said` returns when something has been logged: a
/// DISCOVER that is not answered has no other end, and may be overtaken by what comes after it.
fn story(relay: &Relay, said: impl FnOnce(&str)) {
    let (a, b, c) = ([2, 0, 0, 0, 0, 0xa], [2, 0, 0, 0, 0, 0xb], [2, 0, 0, 0, 0, 0xc]);
    let address = |last: u8| Ipv4Addr::new(192, 0, 2, last);
    let ask = |kind: u8, mac: [u8; 6], asked: Option<u8>| {
        let packet = Packet::new(kind, mac, 1);
        relay.send(match asked {
            Some(last) => packet.option(50, &address(last).octets()),
            None => packet,
        });
    };
    let told = |kind: u8| assert_eq!(relay.receive(1).kind, kind);
    ask(DISCOVER, a, None);
    told(OFFER);
    ask(REQUEST, a, Some(100));
    told(ACK);
    ask(REQUEST, b, Some(100));
    told(NAK);
    ask(REQUEST, b, Some(101));
    told(ACK);
    ask(DISCOVER, c, None);
    said("no free leases");
    ask(DECLINE, b, Some(101));
    for mac in [c, a] {
        relay.send(Packet::new(RELEASE, mac, 1).ciaddr(address(100)));
    }
    ask(REQUEST, c, Some(101));
    told(ACK);
    relay.send(Packet::new(INFORM, c, 1).ciaddr(address(50)));
    told(ACK);
}

/// What is logged of it, and how bad that is: syslog(3)'s LOG_ERR is 3, LOG_INFO 6.
const LINES: [(u8, &str); 20] = [
    (6, "DHCPDISCOVER from 02:00:00:00:00:0a via 192.0.2.2"),
    (6, "DHCPOFFER on 192.0.2.100 to 02:00:00:00:00:0a via 192.0.2.2"),
    (6, "DHCPREQUEST for 192.0.2.100 from 02:00:00:00:00:0a via 192.0.2.2"),
    (6, "DHCPACK on 192.0.2.100 to 02:00:00:00:00:0a via 192.0.2.2"),
    (6, "DHCPREQUEST for 192.0.2.100 from 02:00:00:00:00:0b via 192.0.2.2"),
    (6, "DHCPNAK on 192.0.2.100 to 02:00:00:00:00:0b via 192.0.2.2"),
    (6, "DHCPREQUEST for 192.0.2.101 from 02:00:00:00:00:0b via 192.0.2.2"),
    (6, "DHCPACK on 192.0.2.101 to 02:00:00:00:00:0b via 192.0.2.2"),
    (6, "DHCPDISCOVER from 02:00:00:00:00:0c via 192.0.2.2"),
    (6, "no free leases on subnet 192.0.2.0"),
    (6, "DHCPDECLINE on 192.0.2.101 from 02:00:00:00:00:0b via 192.0.2.2"),
    (3, "Abandoning IP address 192.0.2.101 for 43200 seconds: declined."),
    (6, "DHCPRELEASE of 192.0.2.100 from 02:00:00:00:00:0c via 192.0.2.2 (not found)"),
    (6, "DHCPRELEASE of 192.0.2.100 from 02:00:00:00:00:0a via 192.0.2.2 (found)"),
    (6, "Released lease for IP address 192.0.2.100"),
    (6, "DHCPREQUEST for 192.0.2.101 from 02:00:00:00:00:0c via 192.0.2.2"),
    (3, "Reclaiming REQUESTed abandoned IP address 192.0.2.101."),
    (6, "DHCPACK on 192.0.2.101 to 02:00:00:00:00:0c via 192.0.2.2"),
    (6, "DHCPINFORM from 192.0.2.50"),
    (6, "DHCPACK to 192.0.2.50 (02:00:00:00:00:0c) via 192.0.2.2"),
];

#[test]
fn on_standard_error_a_line_is_its_text() {
    let lab = Lab::new();
    let relay = Relay::new(&lab);
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &[]);
    dhcpd.wait_for(" leases from ");
    story(&relay, |text| drop(dhcpd.wait_for(text)));
    dhcpd.wait_for("DHCPACK to ");
    let log = dhcpd.log();
    let (before, _) = log.split_once("DHCPDISCOVER").expect("a discover");
    assert!(before.starts_with("Listening on srv0 (192.0.2.1).\n"), "{log}");
    let told: Vec<&str> = log[before.len()..].lines().collect();
    assert_eq!(told, LINES.map(|(_, text)| text));
}

/// A syslogd's socket in a /dev that has nothing else but the null device, in the place of the
/// system's for this thread and what it starts.
struct Syslogd {
    socket: UnixDatagram,
    mounts: [PathBuf; 2],
}

impl Syslogd {
    /// The next line that came.
    fn line(&self) -> String {
        let mut bytes = [0; 2048];
        let length = self.socket.recv(&mut bytes).expect("a line");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }
}

impl Drop for Syslogd {
    fn drop(&mut self) {
        for path in &self.mounts {
            let _ = umount2(path, MntFlags::MNT_DETACH);
        }
    }
}

fn syslogd(lab: &Lab) -> Syslogd {
    let dev = lab.path("dev");
    std::fs::create_dir(&dev).expect("make a folder");
    let socket = UnixDatagram::bind(dev.join("log")).expect("bind the log's socket");
    socket.set_read_timeout(Some(LIMIT)).expect("set a time limit");
    std::fs::write(dev.join("null"), "").expect("make a mount point");
    lab.own_mounts();
    let none: Option<&str> = None;
    let bind = |from: &Path, to: &Path| {
        mount(Some(from), to, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).expect("bind");
    };
    let null = dev.join("null");
    bind(Path::new("/dev/null"), &null);
    bind(&dev, Path::new("/dev"));
    Syslogd { socket, mounts: ["/dev".into(), null] }
}

/// Ends whatever runs in a laboratory's server side.
struct Stop<'a>(&'a Lab);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        for pid in self.0.server.pids() {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a process id")),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
    }
}

#[test]
fn in_syslog_it_has_facility_daemon_and_who_said_it() {
    let lab = Lab::new();
    let relay = Relay::new(&lab);
    let log = syslogd(&lab);
    let config = lab.write("dhcpd.conf", CONFIG);
    let mut start = lab.server.command(binary("dhcpd"));
    start.arg("-c").arg(&config).arg("-l").arg(lab.path("leases"));
    start.arg("-s").arg(lab.path("dhcpd.sock"));
    let _stop = Stop(&lab);
    let output = start.output().expect("start dhcpd");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mine = |pid: &u32| process::title(*pid).contains(&config.display().to_string());
    let parent = lab.server.pids().into_iter().find(mine).expect("the parent");
    let server = process::child_titled(parent, "dhcpd: server").expect("the server");

    let mut told: Vec<String> = Vec::new();
    let hear = |told: &mut Vec<String>, text: &str| {
        while !told.iter().any(|line| line.contains(text)) {
            told.push(log.line());
        }
    };
    story(&relay, |text| hear(&mut told, text));
    hear(&mut told, "DHCPACK to ");
    assert_eq!(told[0], format!("<30>dhcpd[{parent}]: Listening on srv0 (192.0.2.1)."));
    let from = told.iter().position(|line| line.contains("DHCPDISCOVER")).expect("a discover");
    let wanted = LINES.map(|(level, text)| format!("<{}>dhcpd[{server}]: {text}", 24 + level));
    assert_eq!(told[from..], wanted);

    // Why it ended is the last word, and critical.
    process::kill(server, nix::sys::signal::Signal::SIGKILL);
    until("all of it ends", LIMIT, || lab.server.pids().is_empty());
    let last = loop {
        let line = log.line();
        if line.starts_with("<26>") {
            break line;
        }
    };
    assert!(last.starts_with(&format!("<26>dhcpd[{parent}]: fatal in dhcpd: ")), "{last}");
    assert!(last.contains("dhcpd: server killed by SIGKILL"), "{last}");
}
