//! Whatever comes in whatever order, from clients, peers, administrators, the clock and new
//! configurations: nothing panics, the tables add up, and what is written can be read. Who has which
//! address is `tests_model`'s.

use super::inspect::{Filter, PoolCount};
use super::orders::Order;
use super::tests_kit::*;
use super::*;
use crate::config::Hardware;
use crate::lease::LeaseRecord;
use proptest::prelude::*;

fn variant(n: u8) -> Config {
    let mut config = config();
    match n % 5 {
        0 => {}
        1 => config.subnets[0].ranges[0].high = ip("10.0.0.12"),
        2 => {
            config.networks.pop();
            config.subnets.pop();
        }
        3 => config.hosts = vec![host("p", mac(99), &["10.0.0.11"])],
        _ => {
            config.networks.swap(0, 1);
            (config.subnets[0].network, config.subnets[1].network) = (1, 0);
            config.networks[0].subnets = vec![1];
            config.networks[1].subnets = vec![0];
        }
    }
    for s in &mut config.subnets {
        s.settings.dynamic_bootp = Some(n & 1 == 0);
        s.settings.rapid_commit = Some(true);
        s.settings.leasequery = Some([1, 2].contains(&(n % 3)));
        s.settings.ping_check = Some(n & 3 > 0);
    }
    config.build_lookup();
    config
}
const T: [i64; 9] =
    [i64::MIN, -1, 0, START - 10, START, START + 100, START + 5000, i64::MAX - 1, i64::MAX];
proptest! {
    #[test]
    fn everything_adds_up(steps in prop::collection::vec((0u8..16, 0u8..8, 10u8..15, any::<bool>(), 0usize..9, 0usize..9), 1..120)) {
        let mut b = Bench::pinging(variant(0));
        b.out.hooks = Some(vec![]); b.out.sync = Some(vec![]);
        for (kind, c, last, far, t1, t2) in steps {
            let at = Ipv4Addr::new(10, u8::from(far), 0, last);
            let relay = |a: Ask| if far { a.relayed() } else { a };
            let who = |a: Ask| if c % 3 == 0 { a.id(&[c, 1]) } else { a };
            let c16 = u16::from(c / 2);
            match kind {
                0 | 1 => { b.send(&who(relay(discover(c16)))); }
                2 => { b.send(&who(relay(discover(c16).with(80, []).with(50, at.octets())))); }
                3 => { b.send(&who(relay(select(c16, at)))); }
                4 => { b.send(&who(relay(reboot(c16, at)))); }
                5 => { b.send(&who(renew(c16, at))); }
                6 => { b.send(&who(release(c16, at))); }
                7 => { b.send(&who(relay(decline(c16, at)))); }
                8 => { b.out.clear(); let a = relay(ask(0, c16)); let own = mac(c16); let m = Bench::meta(Some(own)); b.engine.input(&a.bytes(), &m, b.now, &mut b.out); }
                9 => { b.out.clear(); let a = Ask { htype: 0, hw: vec![], giaddr: RELAY, ciaddr: at, ..ask(message::LEASEQUERY, 0) };
                    let m = Bench::meta(None); b.engine.input(&a.bytes(), &m, b.now, &mut b.out); }
                10 => { b.out.clear(); let _ = b.engine.order(if far {Order::Delete} else {Order::Release}, at, b.now, &mut b.out); }
                11 | 12 => {
                    let mut r = LeaseRecord::new(at);
                    (r.starts, r.ends) = (T[t1], T[t2]);
                    r.abandoned = c == 7;
                    if !r.abandoned {
                        if c != 5 { r.hardware = Some(Hardware { htype: 1, addr: mac(c16).to_vec() }); }
                        if c % 3 == 0 || c == 5 { r.client_id = Some(vec![c, 1]); }
                        r.client_hostname = Some(vec![b'x'; 255]);
                    }
                    b.out.clear();
                    b.engine.merge(&r.view(), if t1 % 2 == 0 {Word::Whole} else {Word::Part}, b.now, &mut b.out);
                    // What was taken is no news when it is told again, whatever its times are.
                    if t1 % 2 == 0 {
                        let again = b.engine.merge(&r.view(), Word::Whole, b.now, &mut b.out);
                        prop_assert!(again != Merged::Taken || b.engine.core.pools.find(at.into()).is_none(), "{:?} {r:?}", b.engine.lease(at));
                    }
                }
                13 => {
                    let near = interfaces().remove(0);
                    let f = Interface { name: "em1".to_owned(), index: 4, address: RELAY, addresses: vec![RELAY], ..near.clone() };
                    let ifs = match t2 % 4 { 0 => vec![near], 1 => vec![f, near], 2 => vec![], _ => vec![near, f] };
                    b.reconfigure(variant(last + c), ifs);
                }
                14 => { b.engine.set_share(match t1 % 4 { 0 => Share::All, 1 => Share::Nothing, n => Share::Part { mine: n as u32 % 2, of: 2 } }); }
                _ => {
                    if far && c == 1 { b.now.wall += T[3 + t1 % 4] - START; }
                    b.pass(if far { 5000 } else { 1 });
                    if t1 == 0 { b.echo(at); }
                }
            }
            b.engine.core.check();
            let mut seen = vec![];
            b.engine.look(&Filter::default(), 0, 1000, b.now, &mut seen);
            let mut count = PoolCount::default();
            while !b.engine.count_pools(&mut count, 3) {}
            b.engine.pools(&count, 0, 10);
            b.engine.next_tick();
            let mut file = vec![];
            let mut cursor = Some(0);
            while let Some(at) = cursor {
                cursor = b.engine.snapshot_from(at, 2, &mut file);
            }
            for record in crate::leasefile::read(&file) {
                record.unwrap();
            }
        }
    }
}
