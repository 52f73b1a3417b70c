//! Reconfiguration: what each change does to leases, offers and pings, and that it is quick.

use super::tests_kit::*;
use super::*;
use crate::leasefile;

fn records(b: &Bench) -> Vec<LeaseRecord> {
    let mut file = Vec::new();
    let mut cursor = Some(0);
    while let Some(at) = cursor {
        cursor = b.engine.snapshot_from(at, 3, &mut file);
    }
    leasefile::read(&file).map(|record| record.unwrap()).collect()
}

/// The first network's range without its beginning.
fn shrunk() -> Config {
    let mut config = config();
    config.subnets[0].ranges[0].low = ip("10.0.0.15");
    config
}

#[test]
fn q09_a_lease_that_is_in_no_range_any_more_is_kept_and_comes_back() {
    let mut b = Bench::new();
    let address = b.dora(1);
    let before = records(&b);
    b.reconfigure(shrunk(), interfaces());
    assert_eq!(b.events(address), "R");
    assert_eq!((b.engine.tables(b.now).0.len(), records(&b)), (0, before.clone()));
    b.silent(&renew(1, address));
    assert_eq!(b.one(&discover(2)).yours(), ip("10.0.0.15"));
    b.pass(130);
    b.reconfigure(config(), interfaces());
    assert_eq!(b.events(address), "L");
    assert_eq!(records(&b), before);
    assert_eq!(b.one(&renew(1, address)).kind(), message::ACK);
    assert_ne!(b.one(&discover(3)).yours(), address);
}

/// Where it comes to stand may have been copied already, when the lease file is being rewritten, and
/// where it was may not. So the copy begins anew; a record would not do, there may be no room for it.
/// Found by the simulator of crashes: the next file did not have it.
#[test]
fn a_lease_that_comes_back_has_a_copy_begin_anew_and_no_record() {
    let mut b = Bench::new();
    let address = b.dora(1);
    b.reconfigure(shrunk(), interfaces());
    assert!(b.reconfigure(config(), interfaces()), "the copy is not told to begin anew");
    assert!(b.out.journal.is_empty());
    assert!(records(&b).iter().any(|record| record.address == address));
}

#[test]
fn a_lease_kept_aside_ends_like_any_other() {
    let mut b = Bench::new();
    let address = b.dora(1);
    b.reconfigure(shrunk(), interfaces());
    b.pass(43_200);
    assert_eq!(records(&b), []);
    b.reconfigure(config(), interfaces());
    assert_eq!(b.out.tables, []);
    assert_eq!(b.one(&discover(2)).yours(), address);
}

/// Whatever is done to the clock while it is aside.
#[test]
fn a_lease_kept_aside_lasts_as_long_as_was_said() {
    for by in [-100_000, 100_000] {
        let mut b = Bench::new();
        let address = b.dora(1);
        b.reconfigure(shrunk(), interfaces());
        b.now.wall += by;
        b.pass(43_199);
        b.reconfigure(config(), interfaces());
        assert_eq!(b.events(address), "L");
        b.pass(1);
        assert_eq!(b.events(address), "R");
    }
}

#[test]
fn a_removed_network_is_not_answered_for_and_one_that_is_added_is() {
    let mut b = Bench::new();
    let far = b.one(&discover(1).relayed()).yours();
    b.one(&select(1, far).relayed());
    let mut less = config();
    less.networks.pop();
    less.subnets.pop();
    b.reconfigure(less, interfaces());
    assert_eq!(b.events(far), "R");
    b.silent(&renew(1, far).relayed());
    b.silent(&discover(2).relayed());
    assert_eq!(b.dora(3), ip("10.0.0.10"));
    b.reconfigure(config(), interfaces());
    assert_eq!(b.one(&renew(1, far).relayed()).kind(), message::ACK);
    assert_ne!(b.one(&discover(2).relayed()).yours(), far);
    assert_eq!(b.one(&renew(3, ip("10.0.0.10"))).kind(), message::ACK);
}

#[test]
fn a_fixed_address_inside_a_range_is_excluded_and_given_back() {
    let mut b = Bench::new();
    let address = b.dora(1);
    let mut with = config();
    with.hosts = vec![host("printer", mac(2), &["10.0.0.10", "10.0.0.11"])];
    b.reconfigure(with, interfaces());
    assert_eq!(b.events(address), "R");
    assert_eq!(b.one(&renew(1, address)).kind(), message::NAK);
    assert_eq!(b.one(&discover(2)).yours(), address);
    assert_eq!(b.one(&discover(3)).yours(), ip("10.0.0.12"));
    b.reconfigure(config(), interfaces());
    // The search for fresh addresses had passed .11 by; it is not lost.
    let given: Vec<_> = (10..18).map(|client| b.dora(client)).collect();
    assert!(given.contains(&ip("10.0.0.11")) && !given.contains(&address), "{given:?}");
    b.silent(&discover(99));
    assert_eq!(b.one(&renew(1, address)).kind(), message::ACK);
}

#[test]
fn offers_and_pings_go_on() {
    let mut b = Bench::pinging(config());
    b.silent(&discover(1));
    let mut other = config();
    other.subnets[0].settings.default_lease_time = Some(77);
    b.reconfigure(other.clone(), interfaces());
    assert_eq!((&b.out.tables[..], &b.out.pings[..]), (&[][..], &[][..]));
    let got = b.pass(1);
    assert_eq!((got.len(), got[0].yours()), (1, ip("10.0.0.10")));
    b.reconfigure(config(), interfaces());
    b.reconfigure(other, interfaces());
    let ack = b.one(&select(1, ip("10.0.0.10")));
    assert_eq!((ack.kind(), ack.options.u32(51)), (message::ACK, Some(77)));
}

#[test]
fn a_held_offer_leaves_by_its_interface_whatever_number_that_has() {
    let em1 = Interface {
        name: "em1".into(),
        address: ip("10.1.0.1"),
        addresses: vec![ip("10.1.0.1")],
        ..interfaces().remove(0)
    };
    let mut b = Bench::pinging(config());
    b.silent(&discover(1));
    b.reconfigure(config(), [vec![em1.clone()], interfaces()].concat());
    let got = b.pass(1);
    assert!(matches!(got[0].reply.destination, Destination::Link { interface: 1, .. }));
    // The one it came by is gone: nobody would hear it, and the offer lapses by itself.
    let here = Meta { interface: 1, ..Bench::meta(Some(mac(2))) };
    assert_eq!(b.send_by(&discover(2), &here).len(), 0);
    b.reconfigure(config(), vec![em1]);
    assert_eq!(b.pass(1).len(), 0);
    assert_eq!(b.engine.tables(b.now).0, [ip("10.0.0.10"), ip("10.0.0.11")]);
    b.pass(120);
    assert!(b.engine.tables(b.now).0.is_empty());
}

#[test]
fn networks_that_become_one_share_what_their_clients_have() {
    let mut b = Bench::new();
    let near = b.dora(1);
    let far = b.one(&discover(1).relayed()).yours();
    let mut one = config();
    one.networks.pop();
    one.networks[0].subnets = vec![0, 1];
    one.subnets[1].network = 0;
    b.reconfigure(one, interfaces());
    // The client holds an address of the network: it needs no other.
    assert_eq!(b.events(far), "");
    b.pass(60);
    assert_eq!(b.one(&discover(1).relayed()).yours(), near);
    b.reconfigure(config(), interfaces());
    assert_eq!(b.one(&renew(1, near)).kind(), message::ACK);
    assert_ne!(b.one(&discover(1).relayed()).yours(), near);
}

#[test]
fn who_has_a_lease_on_each_of_two_networks_is_found_by_the_one_that_lasts_longest() {
    for far_first in [true, false] {
        let mut b = Bench::new();
        let mut lease = |far: bool| {
            let ask = |ask: Ask| if far { ask.relayed() } else { ask };
            let offered = b.one(&ask(discover(1))).yours();
            b.one(&ask(select(1, offered)));
            b.pass(100);
            offered
        };
        lease(far_first);
        let last = lease(!far_first);
        let mut one = config();
        one.networks.pop();
        one.networks[0].subnets = vec![0, 1];
        one.subnets[1].network = 0;
        b.reconfigure(one, interfaces());
        assert_eq!(b.one(&discover(1)).yours(), last, "{far_first}");
    }
}
