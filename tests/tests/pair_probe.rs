//! What a promotion asks the other node before, where that is a FreeBSD node: it must not be worse
//! off for having been asked.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may say what it expects")]

use std::net::TcpListener;
use tests::pair::{Options, PORT, Pair, RESOURCE};
use tests::peer::secondary::Config;
use tests::peer::{Disk, Secondary, SharedDisk};

/// A FreeBSD node in `b`'s place, with a new disk.
fn listen(pair: &Pair) -> (Secondary, SharedDisk) {
    let Options { size, extent, .. } = Options::default();
    let disk = Disk::memory(RESOURCE, size, extent).shared();
    let (address, theirs) = ((pair.b.address, PORT), disk.clone());
    let secondary = pair.b.space.within(move || {
        let listener = TcpListener::bind(address).expect("listen in the namespace");
        Secondary::start(listener, Config::new(RESOURCE), theirs)
    });
    (secondary, disk)
}

#[test]
fn a_new_disk_that_was_only_asked_still_gets_everything() {
    let mut pair = Pair::new(&Options::default());
    let (first, _) = listen(&pair);
    pair.a.start();
    pair.a.role("primary");
    pair.a.wait_synced();
    pair.a.client().write(1 << 20, &[7; 1 << 20]).expect("write");
    pair.a.role("init");
    drop(first);

    // It is told the resource's id by the question, and says once that it had none.
    let (_second, disk) = listen(&pair);
    pair.a.role("primary");
    pair.a.wait_synced();
    let theirs = disk.lock().unwrap().contents();
    let ours = pair.a.contents();
    assert_eq!(ours.iter().zip(&theirs).position(|(one, other)| one != other), None);
}
