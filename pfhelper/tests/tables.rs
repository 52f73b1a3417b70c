//! What becomes of the tables: every row of the rules, on a real firewall.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may say what it expects")]

#[path = "support/lab.rs"]
mod lab;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::Duration;

use lab::{
    Handler, Monitor, address, all_tables, assert_members, members, nft, own_network, three_sets,
};
use pfhelper::{Condition, MAX_COMMANDS, Report, Tables, Verb};

const X: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 1);

/// A handler with all three tables, X being in those named.
fn with_x_in(sets: &[&str]) -> Handler {
    own_network();
    three_sets();
    for set in sets {
        nft(&format!("add element inet dhcpd {set} {{ {X} }}"));
    }
    Handler::start(all_tables(), None)
}

fn is_in() -> Vec<&'static str> {
    ["abandoned", "changed", "leased"].into_iter().filter(|s| members(s).contains(&X)).collect()
}

fn is_failed(condition: &Condition, begin: &str) -> bool {
    matches!(condition, Condition::Failed(why) if why.starts_with(begin))
}

fn full(left: u32) -> Condition {
    Condition::Failed(format!("it is full, {left} addresses are not in it"))
}

fn done(report: &Report, count: u32) {
    let Report { applied, missing, failed, .. } = report;
    assert_eq!((*applied, *missing, *failed), (count, 0, 0));
}

#[test]
fn row_abandoned_adds_to_abandoned_and_deletes_from_leased() {
    let mut handler = with_x_in(&["changed", "leased"]);
    done(&handler.apply(&[(Verb::Abandoned, X)]), 1);
    assert_eq!(is_in(), ["abandoned", "changed"]);
}

#[test]
fn row_changed_deletes_from_abandoned_and_changed() {
    let mut handler = with_x_in(&["abandoned", "changed", "leased"]);
    done(&handler.apply(&[(Verb::Changed, X)]), 1);
    assert_eq!(is_in(), ["leased"]);
}

#[test]
fn row_changed_never_adds() {
    let mut handler = with_x_in(&[]);
    done(&handler.apply(&[(Verb::Changed, X)]), 1);
    assert!(is_in().is_empty());
}

#[test]
fn row_leased_deletes_from_abandoned_and_adds_to_leased() {
    let mut handler = with_x_in(&["abandoned", "changed"]);
    done(&handler.apply(&[(Verb::Leased, X)]), 1);
    assert_eq!(is_in(), ["changed", "leased"]);
}

#[test]
fn row_released_deletes_from_leased() {
    let mut handler = with_x_in(&["abandoned", "changed", "leased"]);
    done(&handler.apply(&[(Verb::Released, X)]), 1);
    assert_eq!(is_in(), ["abandoned", "changed"]);
}

#[test]
fn a_table_that_was_not_named_is_left_alone() {
    own_network();
    three_sets();
    nft(&format!("add element inet dhcpd abandoned {{ {X} }}"));
    let leased = Tables { leased: all_tables().leased, ..Tables::default() };
    let mut handler = Handler::start(leased, None);
    done(&handler.apply(&[(Verb::Leased, X), (Verb::Changed, X)]), 2);
    assert_eq!(is_in(), ["abandoned", "leased"]);
}

#[test]
fn what_is_there_already_and_what_is_not_are_no_failures() {
    let mut handler = with_x_in(&["leased"]);
    done(&handler.apply(&[(Verb::Leased, X)]), 1);
    done(&handler.apply(&[(Verb::Released, X)]), 1);
    done(&handler.apply(&[(Verb::Released, X), (Verb::Changed, X)]), 2);
    assert!(is_in().is_empty());
}

#[test]
fn the_order_of_events_decides() {
    let mut handler = with_x_in(&[]);
    // A declined address that somebody gets later, all in one message.
    let events = [Verb::Leased, Verb::Changed, Verb::Abandoned, Verb::Leased, Verb::Changed];
    done(&handler.apply(&events.map(|verb| (verb, X))), 5);
    assert_eq!(is_in(), ["leased"]);
    let events = [Verb::Leased, Verb::Released, Verb::Abandoned];
    done(&handler.apply(&events.map(|verb| (verb, X))), 3);
    assert_eq!(is_in(), ["abandoned"]);
}

#[test]
fn a_full_name_reaches_a_set_of_another_family() {
    own_network();
    nft("add table bridge lan; add set bridge lan in-use { type ipv4_addr; }");
    let leased = Some("bridge/lan/in-use".parse().unwrap());
    let mut handler = Handler::start(Tables { leased, ..Tables::default() }, None);
    done(&handler.apply(&[(Verb::Leased, X)]), 1);
    assert!(lab::run("nft", &["list", "ruleset"]).contains("elements = { 10.1.1.1 }"));
}

#[test]
fn ten_thousand_elements_in_one_message() {
    let mut handler = with_x_in(&[]);
    let addresses: Vec<_> = (1..=10_000).map(address).collect();
    let commands: Vec<_> = addresses.iter().map(|a| (Verb::Leased, *a)).collect();
    done(&handler.apply(&commands), 10_000);
    assert_members("leased", addresses.iter().copied());
    let commands: Vec<_> = addresses.iter().map(|a| (Verb::Released, *a)).collect();
    done(&handler.apply(&commands), 10_000);
    assert!(members("leased").is_empty());
}

#[test]
fn messages_that_wait_become_one_change() {
    let mut handler = with_x_in(&[]);
    let mut last = 0;
    for round in 0..200 {
        let verb = if round % 2 == 0 { Verb::Leased } else { Verb::Released };
        let commands: Vec<_> = (1..200).map(|n| (verb, address(n))).collect();
        last = handler.send(&commands);
    }
    let report = handler.report(last);
    done(&report, 200 * 199);
    assert!(members("leased").is_empty());
}

#[test]
fn a_missing_set_is_said_once_and_filled_when_it_appears() {
    own_network();
    nft("add table inet dhcpd; add set inet dhcpd abandoned { type ipv4_addr; }");
    let mut handler = Handler::start(all_tables(), None);
    for n in 1..=3 {
        let report = handler.apply(&[(Verb::Leased, address(n)), (Verb::Abandoned, X)]);
        assert_eq!((report.applied, report.missing, report.failed), (0, 2, 0), "{report:?}");
    }
    // What concerns the table that is there is done all the same.
    assert_eq!(members("abandoned"), BTreeSet::from([X]));
    // The rules change, and it is still missing.
    for n in 1..=2 {
        nft(&format!("add set inet dhcpd other{n} {{ type ipv4_addr; }}"));
        let one_look = Duration::from_millis(1_200);
        assert!(!lab::wait_for(handler.server.as_ref().unwrap().as_fd(), one_look));
    }
    nft("add set inet dhcpd leased { type ipv4_addr; }");
    handler.wait_until_asked();
    done(&handler.replace(&[address(1), address(2)], &[X]), 3);
    assert_eq!(members("leased"), BTreeSet::from([address(1), address(2)]));
    done(&handler.apply(&[(Verb::Leased, address(3))]), 1);
    assert!(members("leased").contains(&address(3)));
    let log = handler.stop();
    assert_eq!(log.matches("table leased: no such set").count(), 1, "{log}");
    assert_eq!(log.matches("table leased: the set has been made").count(), 1, "{log}");
}

#[test]
fn a_missing_table_is_like_a_missing_set() {
    own_network();
    let mut handler = Handler::start(all_tables(), None);
    let report = handler.apply(&[(Verb::Leased, X)]);
    assert_eq!((report.applied, report.missing, report.failed), (0, 1, 0), "{report:?}");
    three_sets();
    handler.wait_until_asked();
    done(&handler.replace(&[X], &[]), 1);
    assert_eq!(is_in(), ["leased"]);
}

#[test]
fn a_set_that_is_taken_away_under_load_is_missing_and_comes_back() {
    let mut handler = with_x_in(&[]);
    done(&handler.apply(&[(Verb::Leased, X)]), 1);
    nft("delete table inet dhcpd");
    let report = handler.apply(&[(Verb::Leased, X)]);
    assert_eq!((report.applied, report.missing, report.failed), (0, 1, 0), "{report:?}");
    three_sets();
    handler.wait_until_asked();
    done(&handler.replace(&[X], &[]), 1);
    assert_eq!(is_in(), ["leased"]);
}

#[test]
fn a_set_that_somebody_empties_is_noticed_without_any_command() {
    let mut handler = with_x_in(&[]);
    done(&handler.apply(&[(Verb::Leased, X)]), 1);
    nft("flush set inet dhcpd leased");
    handler.wait_until_asked();
    done(&handler.replace(&[X], &[]), 1);
    assert_eq!(is_in(), ["leased"]);
    // The ruleset read anew in one go, as by systemctl reload nftables.
    nft("flush ruleset; table inet dhcpd {
        set abandoned { type ipv4_addr; }
        set changed { type ipv4_addr; }
        set leased { type ipv4_addr; elements = { 10.1.1.1, 10.9.9.9 }; }
    }");
    handler.wait_until_asked();
    done(&handler.replace(&[X], &[]), 1);
    assert_eq!(members("leased"), BTreeSet::from([X]));
}

#[test]
fn changes_of_others_elsewhere_ask_for_nothing() {
    let mut handler = with_x_in(&[]);
    done(&handler.apply(&[(Verb::Leased, X)]), 1);
    nft("add set inet dhcpd other { type ipv4_addr; }");
    nft("add element inet dhcpd other { 10.3.3.3 }");
    // Two looks at the firewall later nothing has been said.
    let two_looks = Duration::from_millis(2_500);
    assert!(!lab::wait_for(handler.server.as_ref().unwrap().as_fd(), two_looks));
}

#[test]
fn a_truth_makes_the_tables_equal_to_it() {
    let mut handler = with_x_in(&["abandoned", "changed", "leased"]);
    nft("add element inet dhcpd abandoned { 10.2.2.2, 10.2.2.3 }");
    let leased: Vec<_> = (1..=40_000).map(address).collect();
    let abandoned = [address(50_000), Ipv4Addr::new(10, 2, 2, 2)];
    done(&handler.replace(&leased, &abandoned), 40_002);
    assert_members("leased", leased.iter().copied());
    assert_eq!(members("abandoned"), abandoned.into());
    // -C is drained by events, it has no truth.
    assert_eq!(is_in(), ["changed"]);
    done(&handler.replace(&[], &[]), 0);
    assert!(members("leased").is_empty() && members("abandoned").is_empty());
}

/// Behind a large change the kernel sorts the set anew, and tells of it wrongly for a while.
#[test]
fn a_truth_right_behind_a_large_one_leaves_nothing_over() {
    let mut handler = with_x_in(&[]);
    let large: Vec<_> = (1..=150_000).map(address).collect();
    handler.send_truth(&large, &[]);
    let seq = handler.send_truth(&[X], &[]);
    done(&handler.report(seq), 150_001);
    assert_members("leased", [X]);
}

/// What others see is one new generation of the ruleset, with all tables right in it.
#[test]
fn all_that_waits_is_one_transaction_and_so_is_a_truth() {
    let mut handler = with_x_in(&["abandoned", "changed"]);
    handler.apply(&[(Verb::Released, X)]);
    let mut monitor = Monitor::start();
    lab::stopped(&handler);
    for part in 0..4 {
        let commands: Vec<_> =
            (0..2_500).map(|n| (Verb::Leased, address(part * 2_500 + n))).collect();
        handler.send(&commands);
    }
    let last = handler.send(&[(Verb::Leased, X), (Verb::Changed, X)]);
    lab::signal(&handler, libc::SIGCONT);
    done(&handler.report(last), 10_002);
    nft("add table inet between");
    let large: Vec<_> = (5_000..15_000).map(address).collect();
    done(&handler.replace(&large, &[X]), 10_001);
    nft("add table inet after");
    let seen = monitor.until("add table inet after");
    let (commands, truth) = seen.split_once("add table inet between").unwrap();
    for (seen, what) in [(commands, "commands"), (truth, "truth")] {
        // By name: the kernel tells the number of the machine, which a container's is not.
        let ours = |line: &&str| line.contains("by process ") && !line.ends_with("(nft)");
        assert_eq!(seen.lines().filter(ours).count(), 1, "{what}");
        assert!(seen.matches("element inet dhcpd").count() > 10_000, "{what}");
    }
    assert_members("leased", large);
    assert_members("abandoned", [X]);
    assert_members("changed", []);
}

#[test]
fn a_full_set_takes_what_fits_and_the_rest_is_counted() {
    own_network();
    nft("add table inet dhcpd; add set inet dhcpd leased { type ipv4_addr; size 100; }");
    let leased = Tables { leased: all_tables().leased, ..Tables::default() };
    let mut handler = Handler::start(leased, None);
    let commands: Vec<_> = (1..=150).map(|n| (Verb::Leased, address(n))).collect();
    let report = handler.apply(&commands);
    assert_eq!((report.applied, report.missing, report.failed), (100, 0, 50), "{report:?}");
    assert_eq!(handler.tables[2], full(50));
    assert_eq!(members("leased").len(), 100);
    // Full or not, what is given back leaves, and something else finds its place.
    done(&handler.apply(&[(Verb::Released, address(1)), (Verb::Leased, address(200))]), 2);
    assert!(members("leased").contains(&address(200)));
    assert!(!members("leased").contains(&address(1)));
    let log = handler.stop();
    assert!(log.contains("table leased: it is full, 50 addresses are not in it"), "{log}");
}

/// Waits ten seconds: no failure may leave the tables wrong for long.
#[test]
fn after_a_failure_the_truth_is_asked_for_and_said_once() {
    own_network();
    nft("add table inet dhcpd; add set inet dhcpd leased { type ipv4_addr; size 1; }");
    let leased = Tables { leased: all_tables().leased, ..Tables::default() };
    let mut handler = Handler::start(leased, None);
    let begin = std::time::Instant::now();
    for _ in 0..50 {
        let report = handler.apply(&[(Verb::Leased, X), (Verb::Leased, address(1))]);
        assert_eq!((report.applied, report.failed), (1, 1), "{report:?}");
        assert_eq!(handler.tables[2], full(1));
    }
    handler.wait_until_asked();
    let waited = begin.elapsed().as_secs();
    assert!((9..20).contains(&waited), "{waited} s");
    done(&handler.replace(&[address(1)], &[]), 1);
    assert_members("leased", [address(1)]);
    // Nothing is asked for any more.
    assert!(!lab::wait_for(handler.server.as_ref().unwrap().as_fd(), Duration::from_secs(2)));
    let log = handler.stop();
    assert_eq!(log.matches("table leased: it is full").count(), 1, "{log}");
}

/// Without a command that would meet it, too.
#[test]
fn how_it_is_with_each_table_is_told_when_it_changes() {
    use Condition::{Kept, Missing, Unfilled};
    own_network();
    let mut handler = Handler::start(all_tables(), None);
    let hear_until = |handler: &mut Handler, expected: [Condition; 3]| {
        while handler.tables != expected {
            handler.hear();
        }
    };
    hear_until(&mut handler, [Missing, Missing, Missing]);
    three_sets();
    hear_until(&mut handler, [Unfilled, Kept, Unfilled]);
    handler.wait_until_asked();
    // It is not what it must be because something could be put into it.
    done(&handler.apply(&[(Verb::Leased, X)]), 1);
    assert_eq!(handler.tables, [Unfilled, Kept, Unfilled]);
    done(&handler.replace(&[X], &[]), 1);
    assert_eq!(handler.tables, [Kept, Kept, Kept]);
    nft("flush set inet dhcpd leased");
    hear_until(&mut handler, [Kept, Kept, Unfilled]);
    done(&handler.replace(&[X], &[]), 1);
    assert_eq!(handler.tables, [Kept, Kept, Kept]);
    nft("delete set inet dhcpd leased; delete set inet dhcpd changed");
    hear_until(&mut handler, [Kept, Missing, Missing]);
    nft("add set inet dhcpd leased { type ipv6_addr; }");
    while !is_failed(&handler.tables[2], "cannot be used: ") {
        handler.hear();
    }
    nft("delete table inet dhcpd");
    hear_until(&mut handler, [Missing, Missing, Missing]);
}

#[test]
fn a_set_that_cannot_hold_addresses_is_refused_with_the_reason() {
    own_network();
    nft("table inet dhcpd {
        set ranges { type ipv4_addr; flags interval; }
        set pairs { type ipv4_addr . inet_service; }
        set six { type ipv6_addr; }
        set marks { type mark; }
        map names { type ipv4_addr : mark; }
        set fixed { type ipv4_addr; flags constant; elements = { 10.0.0.1 }; }
    }");
    for (name, part) in [
        ("ranges", "interval"),
        ("pairs", "concatenation"),
        ("six", "not ipv4_addr"),
        ("marks", "not ipv4_addr"),
        ("names", "a map"),
        ("fixed", "constant"),
    ] {
        let abandoned = Some(name.parse().unwrap());
        let refused = Handler::try_start(Tables { abandoned, ..Tables::default() }, None);
        let reason = refused.err().unwrap_or_else(|| panic!("{name} was accepted"));
        assert!(reason.contains(name) && reason.contains(part), "{reason}");
    }
}

#[test]
fn a_set_made_anew_that_cannot_hold_addresses_is_a_failure() {
    let mut handler = with_x_in(&[]);
    nft("delete set inet dhcpd leased; add set inet dhcpd leased { type ipv6_addr; }");
    lab::eventually("it is noticed", || {
        let report = handler.apply(&[(Verb::Leased, X)]);
        report.failed == 1 && is_failed(&handler.tables[2], "cannot be used: ")
    });
    // What it does not concern goes on.
    done(&handler.apply(&[(Verb::Changed, X)]), 1);
}

#[test]
fn the_longest_message_is_one_report() {
    let mut handler = with_x_in(&[]);
    let most = u32::try_from(MAX_COMMANDS).unwrap();
    let commands: Vec<_> = (0..most).map(|n| (Verb::Leased, address(n))).collect();
    done(&handler.apply(&commands), most);
    assert_eq!(members("leased").len(), MAX_COMMANDS);
}
