//! The back end on kernels and with rights that are not those of the machine at hand: without a way
//! to delete what may be missing (before Linux 6.3), and with small buffers. What it does
//! otherwise is tested with the whole program, in `tests/`.

#![allow(clippy::unwrap_used, reason = "a test may say what it expects")]

use super::*;
use pfhelper::{Command, Verb};

#[path = "../tests/support/net.rs"]
mod net;
use net::{address, assert_members, members, nft, own_network, three_sets};

const X: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 1);
const Y: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 2);

/// The firewall of an older kernel.
fn old(element_timeout: Option<u32>) -> Firewall {
    let mut firewall = Firewall::open().unwrap();
    let table = |name: &str| Some(name.parse().unwrap());
    let tables = Tables {
        abandoned: table("abandoned"),
        changed: table("changed"),
        leased: table("leased"),
    };
    firewall.set_up(&tables, element_timeout).unwrap();
    firewall.destroys = false;
    firewall
}

fn changes(commands: impl IntoIterator<Item = (Verb, Ipv4Addr)>) -> Changes {
    let mut changes = Changes::default();
    for (verb, address) in commands {
        changes.push(Command { verb, address });
    }
    changes
}

fn outcome(applied: u32, missing: u32, failed: u32) -> Outcome {
    Outcome { applied, missing, failed }
}

#[test]
fn an_older_kernel_deletes_what_may_be_missing() {
    own_network();
    three_sets();
    nft(&format!("add element inet dhcpd changed {{ {X} }}"));
    let mut firewall = old(None);
    for (verb, expected) in [
        (Verb::Released, [vec![], vec![X], vec![]]),
        (Verb::Abandoned, [vec![X], vec![X], vec![]]),
        (Verb::Abandoned, [vec![X], vec![X], vec![]]),
        (Verb::Leased, [vec![], vec![X], vec![X]]),
        (Verb::Leased, [vec![], vec![X], vec![X]]),
        (Verb::Changed, [vec![], vec![], vec![X]]),
        (Verb::Changed, [vec![], vec![], vec![X]]),
        (Verb::Released, [vec![], vec![], vec![]]),
    ] {
        assert_eq!(firewall.apply(&changes([(verb, X)])), outcome(1, 0, 0), "{verb:?}");
        for (set, expected) in ["abandoned", "changed", "leased"].into_iter().zip(expected) {
            assert_eq!(members(set), expected.into_iter().collect(), "{verb:?}: {set}");
        }
    }
}

#[test]
fn an_older_kernel_tells_a_missing_set_from_a_missing_element() {
    own_network();
    nft("add table inet dhcpd; add set inet dhcpd abandoned { type ipv4_addr; }");
    let mut firewall = old(None);
    let commands = changes([(Verb::Released, X), (Verb::Abandoned, Y)]);
    assert_eq!(firewall.apply(&commands), outcome(0, 2, 0));
    assert_members("abandoned", [Y]);
}

#[test]
fn an_older_kernel_renews_what_would_fade() {
    own_network();
    nft("table inet dhcpd {
        set abandoned { type ipv4_addr; }
        set changed { type ipv4_addr; }
        set leased { type ipv4_addr; flags timeout; size 2; elements = { 10.1.1.1 timeout 5s }; }
    }");
    let mut firewall = old(Some(600));
    let expected = outcome(2, 0, 0);
    assert_eq!(firewall.apply(&changes([(Verb::Leased, X), (Verb::Leased, Y)])), expected);
    let listed = net::run("nft", &["list", "set", "inet", "dhcpd", "leased"]);
    assert_eq!(listed.matches("timeout 10m").count(), 2, "{listed}");
    // It is full now; what is in it is renewed and makes room all the same.
    assert_eq!(firewall.replace(&[X, address(1)], &[]), expected);
    assert_members("leased", [X, address(1)]);
}

#[test]
fn a_small_buffer_takes_as_many_addresses_in_pieces() {
    own_network();
    three_sets();
    for destroys in [true, false] {
        let mut firewall = old(None);
        firewall.destroys = destroys;
        firewall.netlink.shrink();
        let commands = || (1..=9_000).map(|n| (Verb::Leased, address(n)));
        assert_eq!(firewall.apply(&changes(commands())), outcome(9_000, 0, 0));
        assert_members("leased", (1..=9_000).map(address));
        let truth: Vec<_> = (5_000..=15_000).map(address).collect();
        assert_eq!(firewall.replace(&truth, &[X]), outcome(10_002, 0, 0));
        assert_members("leased", truth);
        assert_members("abandoned", [X]);
        assert_eq!(firewall.replace(&[], &[]), outcome(0, 0, 0));
        assert_members("leased", []);
    }
}

#[test]
fn a_list_with_doubles_is_not_trusted() {
    assert_eq!(without_doubles(&[X, Y]), Some([Y, X].into()));
    assert_eq!(without_doubles(&[X, Y, X]), None);
}

/// Wrong lists are frequent here, not certain.
#[test]
fn a_list_told_while_the_kernel_sorts_the_set_is_not_trusted() {
    own_network();
    three_sets();
    let mut firewall = old(None);
    let truth: Vec<_> = (1..=100_000).map(address).collect();
    for _ in 0..3 {
        assert_eq!(firewall.replace(&truth, &[]), outcome(100_000, 0, 0));
        let members = firewall.members(Role::Leased as usize).unwrap();
        assert_eq!(members.len(), truth.len());
        nft("delete set inet dhcpd leased; add set inet dhcpd leased { type ipv4_addr; }");
    }
}

#[test]
fn a_small_buffer_renews_what_would_fade_in_pieces() {
    own_network();
    three_sets();
    nft(
        "delete set inet dhcpd leased; add set inet dhcpd leased { type ipv4_addr; flags timeout; }",
    );
    let addresses: Vec<_> = (1..=3_000).map(address).collect();
    let first: Vec<String> = addresses.iter().map(|a| format!("{a} timeout 1h")).collect();
    nft(&format!("add element inet dhcpd leased {{ {} }}", first.join(", ")));
    let mut firewall = old(Some(600));
    firewall.netlink.shrink();
    let commands = changes(addresses.iter().map(|a| (Verb::Leased, *a)));
    assert_eq!(firewall.apply(&commands), outcome(3_000, 0, 0));
    let listed = || net::run("nft", &["list", "set", "inet", "dhcpd", "leased"]);
    assert_eq!(listed().matches("timeout 10m").count(), 3_000);
    firewall.element_timeout = Some(300_000);
    assert_eq!(firewall.replace(&addresses, &[]), outcome(3_000, 0, 0));
    assert_eq!(listed().matches("timeout 5m").count(), 3_000);
}
