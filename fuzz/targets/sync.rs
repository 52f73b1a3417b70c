//! What may come to the port of lease synchronisation: any bytes as either form, as the contents of
//! datagrams whose code is right, and all of it put to a server that takes part.

#![no_main]

use dhcpd::engine::{Actions, Now};
use dhcpd::sync::own::{self, Datagram, Digests, Hello, Kind};
use dhcpd::sync::{Options, Outbox, Sync, open, openbsd, record};
use fuzz::{SERVER, START, address, engine_with_everything, log_to_nowhere};
use libfuzzer_sys::fuzz_target;
use std::net::SocketAddrV4;

fuzz_target!(init: log_to_nowhere(), |bytes: &[u8]| {
    let _ = openbsd::decode(bytes, b"", |lease| {
        let _ = lease.view();
    });
    let _ = (Hello::decode(bytes), Digests::decode(bytes), own::decode_wanted(bytes));
    if let Some(lease) = record::decode(&mut &bytes[..]) {
        let mut again = Vec::new();
        record::encode(&lease, &mut again);
        assert_eq!(record::decode(&mut &again[..]), Some(lease), "a record is not what was read");
    }

    let source = SocketAddrV4::new(address(0, 2), 8067);
    let keys = open::keys(b"a key that the fuzzer may as well have");
    let mut engine = engine_with_everything();
    let mut out = Actions { sync: Some(Vec::new()), ..Actions::default() };
    let now = |seconds: u64| Now { wall: START + seconds as i64, mono: seconds * 1000 };
    engine.tick(now(0), &mut out);
    let options = Options {
        targets: vec![source],
        listens: true,
        keys: Some(keys.clone()),
        own_addresses: vec![SERVER],
        epoch: 1,
    };
    let mut sync = Sync::new(options, &engine, now(0));
    let mut outbox = Outbox::default();
    let mut sequence = 0;
    let mut hear = |kind: Kind, contents: &[u8], second: u64| {
        sequence += 1;
        let contents = &contents[..contents.len().min(own::ROOM)];
        let mut datagram = Vec::new();
        let said = Datagram { kind, epoch: 2, sequence, contents };
        own::encode(&said, &keys.own, &mut datagram);
        out.clear();
        sync.input(&datagram, source, &mut engine, now(second), &mut out);
        let changes = out.sync.clone().unwrap_or_default();
        sync.committing(&changes);
        sync.committed(&changes, true, &engine);
        sync.tick(&engine, now(second), &mut outbox);
        engine.set_share(sync.share(now(second)));
        assert!(outbox.iter().all(|(_, datagram)| datagram.len() <= dhcpd::sync::LONGEST));
        outbox.clear();
    };
    // It is believed, and then says whatever it likes.
    let mut hello = Vec::new();
    let heard = vec![own::Heard { epoch: 1, window: Default::default() }];
    Hello { wall: START, digest: 1, count: 0, heard }.encode(&mut hello);
    hear(Kind::Hello, &hello, 1);
    for (second, kind) in [Kind::Leases, Kind::Digests, Kind::Wanted, Kind::Hello].into_iter().enumerate() {
        hear(kind, bytes, 2 + second as u64);
    }
    sync.input(bytes, SocketAddrV4::new(address(0, 3), 8067), &mut engine, now(9), &mut out);
});
