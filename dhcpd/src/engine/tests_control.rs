//! What is asked and ordered by hand: shown as it is, changed for good, and never by asking.

use super::inspect::{Filter, PoolCount, State};
use super::orders::Order;
use super::tests_kit::*;
use super::why::Question;
use super::*;
use crate::config::{Class, Settings};

fn question(client: u16) -> Question {
    Question { hardware: mac(client).to_vec(), ..Question::default() }
}

fn look(b: &Bench, filter: &Filter) -> Vec<super::inspect::Entry> {
    let (mut all, mut cursor) = (Vec::new(), Some(0));
    // In pieces of one: nothing is lost between them.
    while let Some(from) = cursor {
        cursor = b.engine.look(filter, from, 1, b.now, &mut all);
    }
    all
}

fn order(b: &mut Bench, order: Order, address: Ipv4Addr) -> Result<String, String> {
    b.out.clear();
    b.engine.order(order, address, b.now, &mut b.out)
}

fn answer(b: &mut Bench, question: &Question, name: &str) -> String {
    let explanation = b.engine.why(question, b.now).unwrap();
    let found = explanation.answer.iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("{name} in {explanation:?}")).1.clone()
}

#[test]
fn leases_are_seen_as_they_are() {
    let mut b = Bench::new();
    let leased = b.dora(1);
    let offered = b.one(&discover(2)).yours();
    let abandoned = b.dora(3);
    b.send(&decline(3, abandoned));
    let ended = b.dora(4);
    b.send(&release(4, ended));
    let all = look(&b, &Filter::default());
    let states: Vec<_> = all.iter().map(|entry| (entry.address, entry.state)).collect();
    assert_eq!(
        states,
        [
            (leased, State::Leased),
            (offered, State::Offered),
            (abandoned, State::Abandoned),
            (ended, State::Ended)
        ]
    );
    assert_eq!(all[0].ends, START + 43_200);
    assert_eq!((all[1].starts, all[1].ends), (None, START + 120));
    assert_eq!(all[1].hardware.as_ref().unwrap().addr, mac(2));
    assert_eq!(all[2].hardware, None);
    let only = |filter: Filter| look(&b, &filter).iter().map(|e| e.address).collect::<Vec<_>>();
    assert_eq!(only(Filter { state: Some(State::Ended), ..Filter::default() }), [ended]);
    assert_eq!(only(Filter { hardware: Some(mac(1).to_vec()), ..Filter::default() }), [leased]);
    assert_eq!(
        only(Filter { addresses: Some((offered, offered)), ..Filter::default() }),
        [offered]
    );
    assert_eq!(only(Filter { network: Some("10.1.0.0".into()), ..Filter::default() }).len(), 0);
    assert_eq!(only(Filter { client_id: Some(vec![1]), ..Filter::default() }).len(), 0);
    let mut count = PoolCount::default();
    while !b.engine.count_pools(&mut count, 1) {}
    let pools = b.engine.pools(&count, 0, 10);
    let first = &pools[0];
    assert_eq!(
        (first.size, first.leased, first.offered, first.abandoned, first.reserved, first.free),
        (10, 1, 1, 1, 0, 7)
    );
    assert_eq!((pools.len(), pools[1].free), (2, 3));
}

#[test]
fn why_tells_what_then_happens_and_changes_nothing() {
    let mut config = config();
    config.hosts.push(host("elsewhere", mac(5), &["10.1.0.200"]));
    config.hosts.push(host("fixed", mac(6), &["10.0.0.15"]));
    config.subnets[1].settings.unknown_clients = Some(false);
    let mut class = Class { value: b"PXE".to_vec(), settings: Settings::default(), at: place() };
    class.settings.booting = Some(false);
    config.vendor_classes.push(class);
    let mut b = Bench::with(config);
    b.dora(1);
    for client in [1, 5, 6, 7] {
        let before = format!("{:?} {:?}", look(&b, &Filter::default()), b.engine.counters());
        let told = answer(&mut b, &question(client), "yiaddr");
        assert_eq!(answer(&mut b, &question(client), "yiaddr"), told);
        let after = format!("{:?} {:?}", look(&b, &Filter::default()), b.engine.counters());
        assert_eq!(after, before, "asking changes nothing");
        let got = b.one(&discover(client));
        assert_eq!(got.yours().to_string(), told, "what was told is what happens");
        b.pass(121);
    }
    let steps = b.engine.why(&question(5), b.now).unwrap().steps;
    let host = steps.iter().find(|step| step.rule.starts_with("host elsewhere")).unwrap();
    assert!(!host.applies && host.why == "no address on this network: 10.1.0.200", "{host:?}");
    assert_eq!(steps[0].why, "10.0.0.0, as it comes via em0");

    let relayed = Question { giaddr: Some(RELAY), ..question(9) };
    let why = answer(&mut b, &relayed, "answer");
    assert_eq!(why, "none: deny unknown-clients, and no host declares it");
    let pxe = Question { vendor_class: Some(b"PXE".to_vec()), ..question(9) };
    assert_eq!(answer(&mut b, &pxe, "answer"), "none: deny booting of its class");
    let far = Question { giaddr: Some(ip("192.0.2.1")), ..question(9) };
    let why = answer(&mut b, &far, "answer");
    assert_eq!(why, "none: it comes from no network that is served");
    let wrong = Question { interface: Some("em9".into()), ..question(9) };
    assert_eq!(b.engine.why(&wrong, b.now).unwrap_err(), "em9 is not served; these are: em0");
    // A ping is told of, and not begun.
    let mut b = Bench::pinging(super::tests_kit::config());
    let after = answer(&mut b, &question(9), "after");
    assert_eq!(after, "a ping that nobody answers for 1000 ms");
    assert_eq!(b.engine.counters().pings, 0);
}

#[test]
fn release_and_delete_leave_a_record_and_tell_the_tables() {
    let mut b = Bench::new();
    let address = b.dora(1);
    order(&mut b, Order::Release, address).unwrap();
    assert_eq!(b.events(address), "LR");
    assert!(b.journal().contains("hardware ethernet 02:00:00:00:00:01"));
    assert!(order(&mut b, Order::Release, address).unwrap_err().starts_with("nobody has "));
    assert_eq!(b.one(&discover(1)).yours(), address, "whose it was is remembered");
    b.send(&select(1, address));
    order(&mut b, Order::Delete, address).unwrap();
    assert_eq!(b.events(address), "LR");
    let journal = b.journal();
    let last = journal.rfind("lease ").unwrap();
    assert!(!journal[last..].contains("hardware"), "the last record counts: {journal}");
    assert_eq!(look(&b, &Filter::default()).len(), 0);
    b.engine.core.check();
    assert_ne!(b.one(&discover(1)).yours(), address, "and nobody's any more");

    let bad = b.dora(2);
    b.send(&decline(2, bad));
    assert!(order(&mut b, Order::Release, bad).unwrap_err().contains("abandoned"));
    order(&mut b, Order::Delete, bad).unwrap();
    assert_eq!(b.events(bad), "LR", "out of the abandoned table, and not in the leased one");
    assert_eq!(b.out.records, 1);
    b.engine.core.check();

    let offered = b.one(&discover(3)).yours();
    order(&mut b, Order::Release, offered).unwrap();
    assert_eq!((b.events(offered).as_str(), b.out.records), ("R", 0));
    b.engine.core.check();
}

#[test]
fn what_is_no_lease_is_said_to_be_what_it_is() {
    let mut config = config();
    config.hosts.push(host("fixed", mac(6), &["10.0.0.15"]));
    let mut b = Bench::with(config);
    for (address, want) in [
        ("10.0.0.15", "10.0.0.15 is no lease but a fixed address, of host fixed (test:1:1)"),
        ("10.0.0.1", "10.0.0.1 is this server's own"),
        ("10.0.0.99", "10.0.0.99 is in no range"),
        ("10.0.0.19", "nobody has 10.0.0.19, and nobody had"),
    ] {
        for kind in [Order::Release, Order::Delete] {
            let why = order(&mut b, kind, ip(address)).unwrap_err();
            assert!(why.starts_with(want), "{why}");
            assert!(b.out.tables.is_empty() && b.out.journal.is_empty());
        }
    }
}

/// A lease that is kept aside can be ended too.
#[test]
fn a_lease_in_no_range_is_seen_and_ended() {
    let mut b = Bench::new();
    let address = ip("10.0.0.99");
    let record = LeaseRecord { ends: START + 500, ..LeaseRecord::new(address) };
    b.engine.load(record, b.now);
    let all = look(&b, &Filter::default());
    assert_eq!((all.len(), all[0].state, &all[0].network), (1, State::Leased, &None));
    order(&mut b, Order::Release, address).unwrap();
    assert_eq!(b.out.records, 1);
    assert_eq!(look(&b, &Filter::default()).len(), 0);
}
