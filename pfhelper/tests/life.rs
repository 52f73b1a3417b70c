//! How the handler begins and how it ends: its rights, what it refuses, and that what was said to
//! it before the end is carried out.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may say what it expects")]

#[path = "support/lab.rs"]
mod lab;

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::time::{Duration, Instant};

use lab::{
    Handler, PATIENCE, address, all_tables, members, own_network, signal, stopped, three_sets,
    wait_for,
};
use nix::sys::socket::{MsgFlags, send};
use pfhelper::{FromParent, FromServer, MAX_COMMANDS, Tables, ToParent, ToServer, Verb};
use proto::unix::Channel;

/// A handler that is ready, in a network with three sets.
fn ready() -> Handler {
    own_network();
    three_sets();
    Handler::start(all_tables(), None)
}

fn closed(handler: &mut Handler) {
    assert_eq!(handler.end().code(), Some(1));
    let log = handler.rest_of_log();
    assert!(log.contains("fatal in pf table handler: pf channel closed\n"), "{log}");
}

#[test]
fn started_by_hand_it_says_what_it_is() {
    let output = Command::new(env!("CARGO_BIN_EXE_pfhelper")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("dhcpd's pf table handler"), "{text}");
}

#[test]
fn it_keeps_one_right_and_six_descriptors() {
    let mut handler = ready();
    handler.apply(&[(Verb::Leased, address(1))]);
    let process = format!("/proc/{}", handler.child.id());
    let status = fs::read_to_string(format!("{process}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let user = nix::unistd::User::from_name("_dhcp").unwrap().unwrap();
    assert_eq!(field("Uid"), vec![user.uid.to_string(); 4].join(" "));
    assert_eq!(field("Gid"), vec![user.gid.to_string(); 4].join(" "));
    let net_admin = format!("{:016x}", 1 << 12);
    assert_eq!(field("CapPrm"), net_admin);
    assert_eq!(field("CapEff"), net_admin);
    for none in ["CapInh", "CapBnd", "CapAmb"] {
        assert_eq!(field(none), "0000000000000000", "{none}");
    }
    assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".into(), "2".into()));
    assert_eq!(field("Threads"), "1");
    assert_eq!(fs::read_dir(format!("{process}/root/")).unwrap().count(), 0);
    let links = fs::read_dir(format!("{process}/fd")).unwrap();
    let mut held: Vec<_> = links
        .map(|link| fs::read_link(link.unwrap().path()).unwrap().display().to_string())
        .map(|target| target.split(':').next().unwrap().to_owned())
        .collect();
    held.sort();
    // Both channels and netlink; the log; the other two it was given.
    assert_eq!(held, ["/dev/null", "/dev/null", "pipe", "socket", "socket", "socket"]);
}

#[test]
fn without_the_right_to_the_firewall_it_refuses_and_says_so() {
    own_network();
    // SAFETY: numbers only; this thread's bounding set is not used for anything else.
    let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, 12, 0, 0, 0) };
    assert_eq!(dropped, 0);
    let reason = Handler::try_start(all_tables(), None).err().expect("refused");
    assert!(reason.contains("Operation not permitted"), "{reason}");
    assert!(reason.contains("CAP_NET_ADMIN"), "{reason}");
}

#[test]
fn end_of_both_channels_is_the_end() {
    let mut handler = ready();
    handler.server = None;
    handler.parent = None;
    closed(&mut handler);
}

#[test]
fn end_of_the_parents_channel_is_the_end() {
    let mut handler = ready();
    handler.apply(&[(Verb::Leased, address(1))]);
    handler.parent = None;
    closed(&mut handler);
}

#[test]
fn end_of_the_servers_channel_is_the_end() {
    let mut handler = ready();
    handler.server = None;
    closed(&mut handler);
}

#[test]
fn end_before_the_set_up_is_the_end() {
    own_network();
    let mut handler = Handler::launch("dhcpd: pf table handler");
    handler.parent = None;
    closed(&mut handler);
}

#[test]
fn end_before_there_is_a_server_is_the_end() {
    own_network();
    let mut handler = Handler::launch("dhcpd: pf table handler");
    let parent = handler.parent.as_ref().unwrap();
    parent.send(&FromParent::Setup { tables: all_tables(), element_timeout: None }).unwrap();
    assert!(matches!(parent.recv(), Ok(ToParent::Ready)));
    handler.parent = None;
    closed(&mut handler);
}

#[test]
fn what_was_said_before_the_end_is_carried_out() {
    for parent_first in [true, false] {
        let mut handler = ready();
        // All of it waits, and the end with it, when the handler goes on.
        stopped(&handler);
        for part in 0..4 {
            let commands: Vec<_> =
                (0..500).map(|n| (Verb::Leased, address(part * 500 + n))).collect();
            handler.send(&commands);
        }
        if parent_first {
            handler.parent = None;
            handler.server = None;
        } else {
            handler.server = None;
        }
        signal(&handler, libc::SIGCONT);
        closed(&mut handler);
        assert_eq!(members("leased").len(), 2_000);
        lab::nft("flush ruleset");
    }
}

#[test]
fn a_server_that_goes_on_talking_does_not_delay_the_end() {
    let mut handler = ready();
    let server = handler.server.take().unwrap();
    let (talks, listening) = std::sync::mpsc::channel();
    let talker = std::thread::spawn(move || {
        let command = pfhelper::Command { verb: Verb::Leased, address: address(1) };
        for seq in 0.. {
            let message = FromServer::Apply { seq, commands: vec![command; 2_000] };
            if server.send(&message).is_err() {
                return;
            }
            let _ = talks.send(seq);
        }
    });
    // More than the channel holds: the handler is at work.
    while listening.recv().unwrap() < 100 {}
    let begin = Instant::now();
    handler.parent = None;
    closed(&mut handler);
    let took = begin.elapsed();
    talker.join().unwrap();
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_server_that_never_listens_stops_nothing() {
    let mut handler = ready();
    let mut last = 0;
    for n in 0..3_000 {
        last = handler.send(&[(Verb::Leased, address(n))]);
    }
    lab::eventually("all are in", || members("leased").len() == 3_000);
    // Now it listens: nothing is missing from the sum.
    let report = handler.report(last);
    assert_eq!((report.applied, report.failed), (3_000, 0));
}

/// What must never be said ends the handler, but not before what was said well is carried out.
fn broken(bytes: &[u8], reason: &str) {
    let mut handler = ready();
    stopped(&handler);
    handler.send(&[(Verb::Leased, address(1))]);
    let server = handler.server.as_ref().unwrap().as_fd().as_raw_fd();
    send(server, bytes, MsgFlags::empty()).unwrap();
    handler.send(&[(Verb::Leased, address(2))]);
    signal(&handler, libc::SIGCONT);
    assert_eq!(handler.end().code(), Some(1));
    let log = handler.rest_of_log();
    assert!(log.contains("fatal in pf table handler: pf channel: "), "{log}");
    assert!(log.contains(reason), "{log}");
    assert_eq!(members("leased"), [address(1)].into());
}

#[test]
fn half_a_message_is_the_end() {
    // A header that says 9 bytes, and 4 of them.
    broken(&[0, 5, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2], "malformed");
}

#[test]
fn a_verb_that_is_none_is_the_end() {
    broken(&[0, 5, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, b'Z', 10, 0, 0, 1], "no such verb");
}

#[test]
fn a_message_of_no_kind_is_the_end() {
    broken(&[0, 99, 0, 0, 0, 0, 0, 0], "unknown kind");
}

#[test]
fn parts_of_a_truth_out_of_their_order_are_the_end() {
    for (messages, reason) in [
        (vec![(1, 1, false)], "out of its order"),
        (vec![(1, 0, false), (1, 2, true)], "out of its order"),
        (vec![(1, 0, false), (2, 1, true)], "out of its order"),
    ] {
        let mut handler = ready();
        for (seq, part, last) in messages {
            let (leased, abandoned) = (vec![address(1)], vec![]);
            let message = FromServer::Replace { seq, part, last, leased, abandoned };
            // It may be gone before all is said.
            let _ = handler.server.as_ref().unwrap().send(&message);
        }
        assert_eq!(handler.end().code(), Some(1));
        assert!(handler.rest_of_log().contains(reason));
        lab::nft("flush ruleset");
    }
    let mut handler = ready();
    let server = handler.server.as_ref().unwrap();
    let (leased, abandoned) = (vec![address(1)], vec![]);
    let first = FromServer::Replace { seq: 1, part: 0, last: false, leased, abandoned };
    server.send(&first).unwrap();
    let _ = server.send(&FromServer::Apply { seq: 2, commands: vec![] });
    assert_eq!(handler.end().code(), Some(1));
    assert!(handler.rest_of_log().contains("in the middle of a truth"));
}

/// The leases went on while a long truth was being told, and the server begins again.
#[test]
fn a_truth_that_is_begun_again_takes_the_place_of_the_first() {
    let mut handler = ready();
    let server = handler.server.as_ref().unwrap();
    for (seq, part, last, n) in
        [(1, 0, false, 1), (1, 1, false, 2), (2, 0, false, 3), (2, 1, true, 4)]
    {
        let (leased, abandoned) = (vec![address(n)], vec![]);
        server.send(&FromServer::Replace { seq, part, last, leased, abandoned }).unwrap();
    }
    assert_eq!(handler.report(2).failed, 0);
    assert_eq!(members("leased"), [address(3), address(4)].into());
}

#[test]
fn a_second_set_up_or_server_is_the_end() {
    let setup = FromParent::Setup { tables: Tables::default(), element_timeout: None };
    let server = FromParent::Commands(proto::unix::pair().unwrap().0);
    for (message, reason) in [(setup, "a second set-up"), (server, "a second server")] {
        let mut handler = ready();
        // It has its server.
        handler.apply(&[(Verb::Leased, address(1))]);
        handler.parent.as_ref().unwrap().send(&message).unwrap();
        assert_eq!(handler.end().code(), Some(1));
        let log = handler.rest_of_log();
        assert!(log.contains(reason), "{log}");
        lab::nft("flush ruleset");
    }
}

#[test]
fn a_server_before_the_set_up_is_refused() {
    own_network();
    let mut handler = Handler::launch("dhcpd: pf table handler");
    let (_ours, theirs) = proto::unix::pair().unwrap();
    handler.parent.as_ref().unwrap().send(&FromParent::Commands(theirs)).unwrap();
    assert!(matches!(handler.parent.as_ref().unwrap().recv(), Ok(ToParent::Refused(_))));
    assert_eq!(handler.end().code(), Some(1));
}

#[test]
fn a_channel_that_is_none_is_the_end() {
    own_network();
    let mut handler = Handler::launch("dhcpd: pf table handler");
    let parent = handler.parent.as_ref().unwrap();
    parent.send(&FromParent::Setup { tables: all_tables(), element_timeout: None }).unwrap();
    assert!(matches!(parent.recv(), Ok(ToParent::Ready)));
    let file = fs::File::open("/dev/null").unwrap();
    parent.send(&FromParent::Commands(file.into())).unwrap();
    assert_eq!(handler.end().code(), Some(1));
    assert!(handler.rest_of_log().contains("not a SOCK_SEQPACKET socket"));
}

#[test]
fn the_server_may_be_there_before_the_handler_is_asked() {
    // Two channels, one process at their other ends: as dhcpd's parent hands one on.
    own_network();
    three_sets();
    let handler = Handler::launch("dhcpd: pf table handler");
    let parent = handler.parent.as_ref().unwrap();
    let (ours, theirs) = proto::unix::pair().unwrap();
    let server: Channel<FromServer, ToServer> = Channel::from_fd(ours).unwrap();
    let command = pfhelper::Command { verb: Verb::Leased, address: address(1) };
    server.send(&FromServer::Apply { seq: 1, commands: vec![command; MAX_COMMANDS] }).unwrap();
    parent.send(&FromParent::Setup { tables: all_tables(), element_timeout: None }).unwrap();
    parent.send(&FromParent::Commands(theirs)).unwrap();
    assert!(matches!(parent.recv(), Ok(ToParent::Ready)));
    for what in ["tables", "report"] {
        assert!(wait_for(server.as_fd(), PATIENCE), "no {what}");
        match server.recv() {
            Ok(ToServer::Tables(_)) => assert_eq!(what, "tables"),
            Ok(ToServer::Report(report)) => assert_eq!((what, report.seq), ("report", 1)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(members("leased"), [address(1)].into());
}

#[test]
fn with_nothing_to_do_it_does_nothing() {
    let mut handler = ready();
    handler.apply(&[(Verb::Leased, address(1))]);
    let before = lab::cpu_time(handler.child.id());
    // Nothing comes for three looks at the firewall.
    let server = handler.server.as_ref().unwrap();
    assert!(!wait_for(server.as_fd(), Duration::from_secs(3)));
    let used = lab::cpu_time(handler.child.id()) - before;
    assert!(used < Duration::from_millis(50), "{used:?} in three seconds");
}
