//! What the test peer holds against the other side: each fault, and what is none.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may say what it expects")]

use std::net::TcpStream;
use std::time::Instant;

use tests::peer::frame::{Cuts, Link};
use tests::peer::nv::List;
use tests::peer::pair::{SIZE, SOON, config, disk, listen, pair};
use tests::peer::primary::ConnectError;
use tests::peer::secondary::{Claim, Config, Fate};
use tests::peer::{Connection, Primary, cmd, errno};

fn hello(resource: &str, token: Option<&[u8]>) -> List {
    let mut list = List::new();
    list.put_text("resource", resource);
    match token {
        None => list.put_uint8("version", 2),
        Some(token) => list.put_array("token", token),
    }
    list
}

#[test]
fn tokens() {
    let secondary = listen(Config::new("data"), &disk());
    let open = || {
        let stream = TcpStream::connect(secondary.address()).unwrap();
        Link::new(stream, Connection::C1, 2, Cuts::default())
    };
    let mut c1 = open();
    c1.send(1, &hello("data", None), &[], SOON).unwrap();
    let token = c1.receive(SOON).unwrap().array("token").unwrap().unwrap().to_vec();
    let mut wrong = open();
    wrong.send(2, &hello("data", Some(&[7; 16])), &[], SOON).unwrap();
    let answer = wrong.receive(SOON).unwrap();
    assert_eq!(answer.text("errmsg"), Ok(Some("Token doesn't match.")));
    let mut short = open();
    short.send(2, &hello("data", Some(&token[..15])), &[], SOON).unwrap();
    short.receive(SOON).unwrap_err();
    let mut step2 = hello("data", Some(&token));
    step2.put_uint64("resuid", 5);
    let mut c2 = open();
    c2.send(2, &step2, &[], SOON).unwrap();
    assert_eq!(c1.receive(SOON).unwrap().uint8("syncsrc"), Ok(1));
    assert_eq!(secondary.faults().take(), []);
    // B4: the same token again.
    let mut again = open();
    again.send(2, &step2, &[], SOON).unwrap();
    secondary.wait("its death", SOON, |status| status.dead);
    let faults = secondary.faults().take();
    assert!(
        faults.len() == 1 && faults[0].aborts && faults[0].text.starts_with("B4"),
        "{faults:?}"
    );
}

fn request(cmd: u8, seq: u64, offset: u64, length: u64) -> List {
    let mut list = List::new();
    list.put_uint8("cmd", cmd);
    list.put_uint64("seq", seq);
    list.put_uint64("offset", offset);
    list.put_uint64("length", length);
    list
}

#[test]
fn what_a_secondary_must_not_be_sent() {
    let packet = tests::peer::frame::packet;
    let with = |mut list: List, fill: &dyn Fn(&mut List)| {
        fill(&mut list);
        list
    };
    let write = |length: u64| {
        with(request(cmd::WRITE, 9, 0, length), &|list| {
            list.put_uint32("size", length as u32);
        })
    };
    let tiny = with(request(cmd::WRITE, 9, 0, 512), &|list| {
        list.put_text("compression", "lzf");
        list.put_uint32("size", 4);
    });
    for (bytes, aborts, rule) in [
        (packet(2, &request(6, 9, 0, 512), &[]), true, "H11"),
        (packet(2, &request(0, 9, 0, 512), &[]), true, "H11"),
        (vec![2, 0, 0, 0, 0], true, "A10"),
        (packet(2, &tiny, &[0, 2, 0, 0]), true, "H11"),
        (packet(2, &write(256 << 10), &[]), false, "section 1.4"),
        (packet(2, &request(cmd::READ, 9, 0, 256 << 10), &[]), false, "section 1.4"),
        (packet(2, &write(511), &[0; 511]), false, "section 3: an invalid WRITE"),
        (packet(2, &request(cmd::WRITE, 9, 0, 512), &[]), false, "H9"),
        (packet(2, &request(cmd::FLUSH, 0, 0, 0), &[]), false, "B8"),
        (
            packet(
                2,
                &with(request(cmd::FLUSH, 9, 0, 0), &|list| list.put_uint8("memsync", 1)),
                &[],
            ),
            false,
            "section 3: memsync",
        ),
        (vec![2, 8, 0, 0, 0, 0x82, 4, 1, 0, 0, 0, 0, 0], false, "section 1.2"),
        (
            [
                packet(2, &request(cmd::READ, 9, 0, 512), &[]),
                packet(2, &request(cmd::READ, 9, 0, 512), &[]),
            ]
            .concat(),
            false,
            "section 3: the seq",
        ),
    ] {
        let (primary, secondary) = pair(|of_secondary, _| of_secondary.maxphys = 128 << 10);
        secondary.judge(|_| Fate::Withhold);
        primary.send_raw(&bytes);
        let deadline = Instant::now() + SOON;
        let faults = loop {
            let faults = secondary.faults().take();
            if !faults.is_empty() {
                break faults;
            }
            assert!(Instant::now() < deadline, "no fault: {rule}");
            std::thread::yield_now();
        };
        assert!(
            faults[0].aborts == aborts && faults[0].text.starts_with(rule),
            "{rule}: {faults:?}"
        );
        drop(primary);
        secondary.wait("the end", SOON, |status| !status.connected);
        secondary.faults().take();
    }
}

#[test]
fn an_einval_that_harms_nobody() {
    let (primary, secondary) = pair(|_, _| {});
    assert_eq!(primary.read_remote(0, 511), Err(errno::EINVAL));
    assert_eq!(primary.read_remote(SIZE, 512), Err(errno::EINVAL));
    assert_eq!(primary.read_remote(u64::MAX - 511, 512), Err(errno::EINVAL));
    assert!(secondary.status().connected);
}

#[test]
fn what_a_primary_must_not_be_answered() {
    for (what, rule) in [("plain", "B3: a plain first"), ("twice", "B3: received twice")] {
        let (primary, secondary) = pair(|_, _| {});
        secondary.judge(|_| Fate::Withhold);
        let ticket = primary.start_write(0, &[1; 512]);
        secondary.wait("both withheld", SOON, |status| status.withheld == 2);
        secondary.release(|withheld| match what {
            "plain" => withheld[0].received = false,
            _ => withheld[1].received = true,
        });
        ticket.wait().unwrap();
        primary.wait("the end", SOON, |status| !status.connected);
        let faults = primary.faults().take();
        assert!(faults[0].aborts && faults[0].text.starts_with(rule), "{faults:?}");
    }
    for (claim, aborts) in [
        (Claim { virgin: Some(true), localcnt: Some(1), ..Claim::default() }, true),
        (Claim { virgin: Some(true), syncsrc: Some(2), ..Claim::default() }, true),
        (Claim { virgin: Some(true), remotecnt: Some(1), ..Claim::default() }, true),
        (Claim { map: Some(vec![0; 256]), ..Claim::default() }, true),
        (Claim { syncsrc: Some(0), ..Claim::default() }, false),
    ] {
        let secondary = listen(Config::new("data"), &disk());
        let primary = Primary::start(config(&secondary), disk());
        secondary.claim(claim.clone());
        primary.connect().unwrap_err();
        let faults = primary.faults().take();
        assert!(faults.len() == 1 && faults[0].aborts == aborts, "{claim:?}: {faults:?}");
    }
    let (primary, secondary) = pair(|_, _| {});
    secondary.claim(Claim { datasize: Some(SIZE as i64 - 512), ..Claim::default() });
    assert!(matches!(primary.connect(), Err(ConnectError::Broken(_))));
}

#[test]
#[should_panic(expected = "a FreeBSD secondary would abort here: H11: cmd 77")]
fn a_fault_nobody_looked_at_fails_the_test() {
    let (primary, secondary) = pair(|_, _| {});
    primary.send_raw(&tests::peer::frame::packet(2, &request(77, 1, 0, 0), &[]));
    secondary.wait("the end", SOON, |status| !status.connected);
}
