//! The life of hastlite's processes: what each holds and may do, that nobody is left, that who dies
//! is replaced, and that no other node and no stranger can stop them.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may say what it expects")]

use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tests::daemon::LIMIT;
use tests::nbd::command;
use tests::pair::{Node, Options, PORT, Pair};
use tests::peer::frame::packet;
use tests::peer::nv::List;
use tests::process::{self, gone, until};
use tests::random::Random;

/// What every child holds: nothing to read, the log, its channel.
fn common(node: &Node) -> Vec<String> {
    let log = node.path("log").display().to_string();
    ["/dev/null".to_owned(), "/dev/null".to_owned(), log, "socket".to_owned()].to_vec()
}

fn assert_holds(pid: u32, node: &Node, more: &[&str]) {
    let mut wanted = common(node);
    wanted.extend(more.iter().map(|what| (*what).to_owned()));
    wanted.sort();
    let rights = process::rights(pid);
    assert_eq!(rights.fds, wanted, "{}", process::title(pid));
    rights.assert_unprivileged("hast", "0000000000000000");
    assert_eq!(rights.root, 0, "the root directory of {}", process::title(pid));
}

#[test]
fn every_process_has_its_rights_and_descriptors_and_no_others() {
    let pair = Pair::running(&Options::default());
    let disks = [&pair.a, &pair.b].map(|node| node.component().display().to_string());
    // Each listener: where it listens.
    for node in [&pair.a, &pair.b] {
        assert_holds(node.listener().expect("a listener"), node, &["socket"]);
    }
    // The primary's worker: disk, two ends of what wakes it, export, C1 and C2.
    let primary = pair.a.worker("primary").expect("a worker");
    let of_primary = [&*disks[0], "pipe", "pipe", "socket", "socket", "socket"];
    assert_holds(primary, &pair.a, &of_primary);
    // The secondary's has no export.
    let secondary = pair.b.worker("secondary").expect("a worker");
    let of_secondary = [&*disks[1], "pipe", "pipe", "socket", "socket"];
    assert_holds(secondary, &pair.b, &of_secondary);
    // Clients come and go.
    let mut client = pair.a.client();
    client.write(0, &[1; 4096]).expect("write");
    assert_holds(primary, &pair.a, &[&of_primary[..], &["socket"]].concat());
    drop(client);
    until("the client's descriptor is closed", LIMIT, || process::rights(primary).fds.len() == 10);
    // And so do links: what has migrated is closed by whoever passed it on.
    let (a, b) = (pair.a.pid(), pair.b.pid());
    let parents = [a, b].map(|pid| process::rights(pid).fds);
    for _ in 0..3 {
        pair.b.role("init");
        pair.b.role("secondary");
        pair.a.client().write(0, &[2; 4096]).expect("write");
        pair.a.wait_synced();
    }
    assert_holds(primary, &pair.a, &of_primary);
    assert_holds(pair.b.worker("secondary").expect("a worker"), &pair.b, &of_secondary);
    assert_holds(pair.a.listener().expect("a listener"), &pair.a, &["socket"]);
    assert_holds(pair.b.listener().expect("a listener"), &pair.b, &["socket"]);
    for (pid, before) in [a, b].into_iter().zip(parents) {
        until("the parents hold what they held", LIMIT, || process::rights(pid).fds == before);
        // They hold no component and no connection of their children.
        assert!(before.iter().all(|fd| !disks.contains(fd)), "{before:?}");
    }
}

#[test]
fn a_killed_parent_leaves_nobody_and_nothing_locked() {
    let mut pair = Pair::running(&Options::default());
    let mut random = Random::new(1);
    for round in 0..20 {
        // In the middle of whatever the start leaves to do.
        std::thread::park_timeout(Duration::from_micros(random.below(50_000)));
        let killed = Instant::now();
        pair.a.kill();
        assert!(killed.elapsed() < Duration::from_secs(2), "round {round}: {:?}", killed.elapsed());
        pair.a.start();
        pair.a.role("primary");
        pair.a.client().write(round << 12, &[round as u8 + 1; 4096]).expect("write");
        if round % 5 == 0 {
            pair.b.kill();
            pair.b.start();
            pair.b.role("secondary");
        }
    }
    pair.a.wait_synced();
    pair.assert_same();
    for round in 0..20 {
        let read = pair.a.client().read(round << 12, 4096).expect("read");
        assert_eq!(read, [round as u8 + 1; 4096]);
    }
}

#[test]
fn a_killed_worker_is_replaced_in_the_same_role() {
    let mut pair = Pair::running(&Options::default());
    let mut client = pair.a.client();
    client.write(0, &[1; 4096]).expect("write");
    let worker = pair.a.worker("primary").expect("a worker");
    process::kill(worker, Signal::SIGKILL);
    let line = pair.a.wait_for("is gone");
    assert!(line.contains("hastlite: data (primary) is gone: killed by SIGKILL"), "{line}");
    assert!(client.read(0, 4096).is_err());
    until("another worker", LIMIT, || {
        pair.a.worker("primary").is_some_and(|next| next != worker)
            && tests::pair::listens(&pair.a.socket())
    });
    assert_eq!(pair.a.client().read(0, 4096).expect("read"), [1; 4096]);
    pair.a.wait_synced();

    let worker = pair.b.worker("secondary").expect("a worker");
    process::kill(worker, Signal::SIGABRT);
    let line = pair.b.wait_for("is gone");
    assert!(line.contains("hastlite: data (secondary) is gone: killed by SIGABRT"), "{line}");
    pair.a.client().write(4096, &[2; 4096]).expect("write");
    pair.a.wait_synced();
    assert_ne!(pair.b.worker("secondary"), Some(worker));
    pair.assert_same();
    // That it has died once is no reason to try for ever what is refused.
    let refused = pair.b.must_not(5, &["role", "primary", "data"]);
    assert!(refused.contains("alive"), "{refused}");
    until("it is secondary again", LIMIT, || pair.b.worker("secondary").is_some());
}

/// Without it nobody could ever connect again: better to be started again by whoever does that.
#[test]
fn a_killed_listener_ends_all_of_it_with_the_reason() {
    let mut pair = Pair::running(&Options::default());
    let all = process::descendants(pair.b.pid());
    process::kill(pair.b.listener().expect("a listener"), Signal::SIGKILL);
    assert_eq!(pair.b.ended().code(), Some(71));
    let log = pair.b.log();
    assert!(log.contains("hastlite: listener killed by SIGKILL"), "{log}");
    assert!(all.iter().all(|pid| gone(*pid)));
    // The other node goes on.
    pair.a.client().write(0, &[1; 4096]).expect("write");
}

/// A node that is there and does nothing, with whatever the sockets hold on their way to it.
#[test]
fn a_peer_that_does_not_read_holds_up_nobody_longer_than_the_timeout() {
    let pair = Pair::running(&Options::default());
    let frozen = pair.b.worker("secondary").expect("a worker");
    process::kill(frozen, Signal::SIGSTOP);
    let begin = Instant::now();
    let mut client = pair.a.client();
    // 64 at a time, and more than any socket takes.
    let mut random = Random::new(2);
    let (mut flying, mut answered) = (0, 0);
    let mut slowest = Duration::ZERO;
    let mut sent = std::collections::HashMap::new();
    for _ in 0..1024 {
        let at = random.below(256) << 16;
        let cookie = client.send(command::WRITE, 0, at, 1 << 16, &[random.number() as u8; 1 << 16]);
        sent.insert(cookie.expect("send"), Instant::now());
        flying += 1;
        while flying == 64 || (answered + flying == 1024 && flying > 0) {
            let reply = client.reply().expect("a reply");
            assert_eq!(reply.error, 0);
            slowest = slowest.max(sent[&reply.cookie].elapsed());
            (flying, answered) = (flying - 1, answered + 1);
        }
    }
    assert_eq!((flying, answered), (0, 1024));
    // 2 s, as configured, and what a busy machine needs.
    assert!(slowest < Duration::from_secs(4), "a request took {slowest:?}");
    assert!(begin.elapsed() < Duration::from_secs(12), "{:?}", begin.elapsed());
    pair.a.wait_status("connected", "false");
    process::kill(frozen, Signal::SIGCONT);
    pair.a.wait_synced();
    pair.assert_same();
}

/// Answers that nobody takes are bounded, and hold up nobody else.
#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let pair = Pair::running(&Options::default());
    let worker = pair.a.worker("primary").expect("a worker");
    let mut deaf: Vec<_> = (0..4).map(|_| pair.a.client()).collect();
    for client in &mut deaf {
        // As many as fit into the socket.
        for at in 0..200 {
            client.send(command::READ, 0, (at % 16) << 20, 1 << 20, &[]).expect("send");
        }
    }
    let mut client = pair.a.client();
    for at in 0..50 {
        let begin = Instant::now();
        client.write(at << 16, &[at as u8; 1 << 16]).expect("write");
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    }
    let status = process::rights(worker).status;
    let resident: u64 = status["VmHWM"].trim_end_matches(" kB").parse().expect("a number");
    assert!(resident < 700 << 10, "{resident} KiB");
    // They are answered all the same.
    for client in &mut deaf {
        for _ in 0..200 {
            assert_eq!(client.reply().expect("a reply").data.len(), 1 << 20);
        }
    }
    drop((deaf, client));
    pair.a.wait_synced();
    pair.assert_same();
}

/// Connects to `b` from `a`'s side.
fn connect(pair: &Pair) -> TcpStream {
    let address = (pair.b.address, PORT);
    let stream = pair.a.space.within(move || TcpStream::connect(address).expect("connect"));
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream.set_nodelay(true).expect("at once");
    stream
}

fn hello(resource: &str) -> Vec<u8> {
    let mut hello = List::new();
    hello.put_text("resource", resource);
    hello.put_uint8("version", 2);
    packet(1, &hello, &[])
}

/// The list of the next packet, or `None` at the end.
fn answer(stream: &mut TcpStream) -> Option<List> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).ok()?;
    let mut list = vec![0; u32::from_le_bytes(head[1..].try_into().unwrap()) as usize];
    stream.read_exact(&mut list).expect("a whole list");
    Some(List::decode(&list).expect("a list"))
}

#[test]
fn a_connection_that_arrives_in_pieces_arrives() {
    let mut pair = Pair::new(&Options::default());
    pair.b.start();
    pair.b.role("secondary");
    let listener = pair.b.listener().expect("a listener");
    let ticks = process::stat(listener).expect("the listener").ticks;
    let mut stream = connect(&pair);
    for byte in hello("data") {
        stream.write_all(&[byte]).expect("send a byte");
        // Each on its own: what is acknowledged has left here.
        until("it has arrived", LIMIT, || unsent(&stream) == 0);
    }
    let reply = answer(&mut stream).expect("an answer");
    let token = reply.array("token").expect("an array").expect("a token").to_vec();
    assert_eq!((reply.uint8("version"), token.len()), (Ok(2), 16));
    // The second connection, too, and the answer to it on the first.
    let mut second = List::new();
    second.put_text("resource", "data");
    second.put_array("token", &token);
    second.put_int8("virgin", 1);
    second.put_uint64("resuid", 7);
    second.put_uint64("localcnt", 0);
    second.put_uint64("remotecnt", 0);
    let mut c2 = connect(&pair);
    for piece in packet(2, &second, &[]).chunks(3) {
        c2.write_all(piece).expect("send a piece");
        until("it has arrived", LIMIT, || unsent(&c2) == 0);
    }
    let reply = answer(&mut stream).expect("an answer");
    assert_eq!(reply.int64("datasize"), Ok(16 << 20));
    assert_eq!(reply.uint8("syncsrc"), Ok(1));
    pair.b.wait_for("connected to the other node");
    // Waiting for bytes costs nothing.
    let used = process::stat(listener).expect("the listener").ticks - ticks;
    assert!(used < 50, "{used} ticks");
}

/// Bytes that the other side has not acknowledged yet.
fn unsent(stream: &TcpStream) -> libc::c_int {
    use std::os::fd::AsRawFd;
    let mut count = 0;
    // SAFETY: TIOCOUTQ writes an int to where the third argument points.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    assert_eq!(result, 0, "TIOCOUTQ");
    count
}

#[test]
fn strangers_are_turned_away_and_the_node_serves_on() {
    let mut pair = Pair::new(&Options::default());
    pair.a.space.run("ip addr add 10.99.0.66/24 dev v0");
    pair.b.start();
    pair.b.role("secondary");
    let before = process::descendants(pair.b.pid());

    let errmsg = |pair: &Pair, bytes: &[u8]| {
        let mut stream = connect(pair);
        stream.write_all(bytes).expect("send");
        answer(&mut stream).map(|list| list.text("errmsg").expect("text").map(str::to_owned))
    };
    let refused = |text: &str| Some(Some(text.to_owned()));
    assert_eq!(errmsg(&pair, &hello("other")), refused("Resource not configured."));
    pair.b.role("init");
    let refusal = "Remote node acts as init for the resource and not as secondary.";
    assert_eq!(errmsg(&pair, &hello("data")), refused(refusal));
    pair.b.role("secondary");
    let before = match process::descendants(pair.b.pid()) {
        after if after.len() == before.len() => after,
        after => panic!("{after:?}"),
    };
    // Who is no node of ours gets nothing, not even a reason.
    let address = (pair.b.address, PORT);
    let from = "10.99.0.66:0".parse::<std::net::SocketAddr>().unwrap();
    let mut stranger = pair.a.space.within(move || {
        let to = std::net::ToSocketAddrs::to_socket_addrs(&address).unwrap().next().unwrap();
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        socket.bind(&from.into()).expect("bind");
        socket.connect(&to.into()).expect("connect");
        TcpStream::from(socket)
    });
    stranger.set_read_timeout(Some(LIMIT)).expect("a limit");
    stranger.write_all(&hello("data")).expect("send");
    assert!(answer(&mut stranger).is_none());

    // What is no hello.
    let mut odd: Vec<Vec<u8>> = vec![
        vec![0; 64],
        vec![0xff; 4096],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        packet(1, &List::new(), &[]),
        packet(200, &List::new(), &[7; 2000]),
        [&[1][..], &u32::MAX.to_le_bytes(), &[0; 100]].concat(),
        [&[1][..], &65_537_u32.to_le_bytes(), &vec![1; 70_000]].concat(),
        [&[2][..], &65_536_u32.to_le_bytes(), &vec![1; 65_536]].concat(),
    ];
    let mut random = Random::new(3);
    let good = hello("data");
    for _ in 0..300 {
        let mut bytes = good.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(3) {
                0 => bytes[at] = random.number() as u8,
                1 => bytes.truncate(at + 1),
                _ => bytes.insert(at, random.number() as u8),
            }
        }
        odd.push(bytes);
    }
    // A token of the wrong kind, and one of nobody.
    for token in [&[1; 15][..], &[1; 16], &[1; 17]] {
        let mut list = List::new();
        list.put_text("resource", "data");
        list.put_array("token", token);
        odd.push(packet(2, &list, &[]));
    }
    let mut open = Vec::new();
    for bytes in &odd {
        let mut stream = connect(&pair);
        // It may have been closed in the middle of this.
        let _ = stream.write_all(bytes);
        if random.one_in(2) {
            open.push(stream);
        }
    }
    // And who says nothing at all; there is room for so many.
    open.extend((0..100).map(|_| connect(&pair)));

    // Whoever has something to say is heard all the while, before those have timed out.
    pair.a.start();
    pair.a.role("primary");
    pair.a.wait_synced();
    assert_eq!(process::descendants(pair.b.pid()), before, "the same processes");
    drop(open);
    pair.a.client().write(0, &[1; 4096]).expect("write");
    pair.a.wait_synced();
    pair.assert_same();
    assert!(!pair.b.log().contains("panicked"));
}

/// A node that has introduced itself and then says what makes no sense.
#[test]
fn a_primary_that_talks_nonsense_is_dropped_and_may_come_again() {
    let mut pair = Pair::new(&Options::default());
    pair.b.start();
    pair.b.role("secondary");
    let worker = pair.b.worker("secondary").expect("a worker");
    let mut random = Random::new(4);
    for round in 0..40_u64 {
        let mut c1 = connect(&pair);
        c1.write_all(&hello("data")).expect("send");
        let reply = answer(&mut c1).expect("an answer");
        let token = reply.array("token").expect("an array").expect("a token").to_vec();
        let mut second = List::new();
        second.put_text("resource", "data");
        second.put_array("token", &token);
        if round == 0 {
            second.put_int8("virgin", 1);
        }
        second.put_uint64("resuid", 7);
        second.put_uint64("localcnt", 0);
        second.put_uint64("remotecnt", 0);
        let mut c2 = connect(&pair);
        c2.write_all(&packet(2, &second, &[])).expect("send");
        assert!(answer(&mut c1).expect("an answer").find("errmsg").is_none());
        let mut request = List::new();
        request.put_uint8("cmd", (random.below(9)) as u8);
        request.put_uint64("seq", round);
        request.put_uint64("offset", random.number() >> random.below(60));
        request.put_uint64("length", random.number() >> random.below(60));
        if random.one_in(2) {
            request.put_uint32("size", random.number() as u32 >> random.below(30));
        }
        let mut bytes = packet(2, &request, &[0; 700]);
        if random.one_in(2) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
        let _ = c1.write_all(&bytes);
        if random.one_in(2) {
            let _ = c1.shutdown(std::net::Shutdown::Write);
            // Whatever it answers, it comes to an end.
            let mut rest = Vec::new();
            c2.set_read_timeout(Some(LIMIT)).expect("a limit");
            let ended = c2.read_to_end(&mut rest);
            assert!(
                !matches!(&ended, Err(e) if e.kind() == std::io::ErrorKind::WouldBlock),
                "{ended:?}"
            );
        }
    }
    assert_eq!(pair.b.worker("secondary"), Some(worker), "the same worker");
}
