//! A pair whose nodes know each other by name, with a name server that answers and with one that
//! does not.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may say what it expects")]

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tests::daemon::LIMIT;
use tests::pair::{Node, Options, PORT, Pair, RESOURCE, host};
use tests::peer::frame::packet;
use tests::peer::nv::List;
use tests::process::until;

/// Files that stand in for those of /etc for what `ip netns exec` starts in a namespace.
struct Etc(PathBuf);

impl Etc {
    fn of(node: &Node, name: &str, text: &str) -> Etc {
        let folder = PathBuf::from("/etc/netns").join(node.space.name());
        fs::create_dir_all(&folder).expect("make a folder");
        fs::write(folder.join(name), text).expect("write a file");
        Etc(folder)
    }
}

impl Drop for Etc {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A node that knows the other one by this name.
fn configure(node: &Node, remote: &str) {
    node.write_config(&format!(
        "timeout 2\nresource {RESOURCE} {{\n\tlocal {}\n\tname {}\n\ton {} {{\n\t\t\
         remote tcp4://{remote}\n\t}}\n}}\n",
        node.component().display(),
        node.socket().display(),
        host()
    ));
}

#[test]
fn nodes_know_each_other_by_name() {
    let mut pair = Pair::new(&Options::default());
    let etc = [&pair.a, &pair.b]
        .map(|node| Etc::of(node, "hosts", "10.99.0.1 a.test\n10.99.0.2 b.test\n"));
    configure(&pair.a, "b.test");
    configure(&pair.b, "a.test");
    pair.a.start();
    pair.b.start();
    pair.b.role("secondary");
    pair.a.role("primary");
    pair.a.wait_synced();
    // And before a promotion the other one is asked, although its name is a question too.
    pair.b.kill();
    pair.b.start();
    pair.b.must_not(5, &["role", "primary", RESOURCE]);
    drop(etc);
}

#[test]
fn a_name_server_that_does_not_answer_holds_up_nobody() {
    let mut pair = Pair::new(&Options::default());
    let _etc = Etc::of(&pair.b, "resolv.conf", "nameserver 10.99.0.77\n");
    configure(&pair.b, "other.test");
    pair.b.start();
    pair.b.role("secondary");
    let mut hello = List::new();
    hello.put_text("resource", RESOURCE);
    hello.put_uint8("version", 2);
    let (hello, address) = (packet(1, &hello, &[]), (pair.b.address, PORT));
    pair.a.space.within(move || {
        for _ in 0..8 {
            let mut stream = TcpStream::connect(address).expect("connect");
            stream.write_all(&hello).expect("send");
        }
    });
    until("they are heard", LIMIT, || {
        pair.b.log().matches("other node of no resource").count() == 8
    });
    let begin = Instant::now();
    pair.b.role("primary");
    pair.b.must(&["status", RESOURCE]);
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
}
