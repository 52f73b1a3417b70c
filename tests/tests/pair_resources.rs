//! Several resources on a pair: each node is primary of one, and what happens to one of them is
//! nothing to the others. One is exported over TCP.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may say what it expects")]

use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tests::daemon::LIMIT;
use tests::pair::{Node, Options, Pair, field, host};
use tests::process::{self, until};

const SIZE: u64 = 8 << 20;

fn component(node: &Node, name: &str) -> PathBuf {
    node.path(&format!("{name}.component"))
}

/// hast.conf with the resources `left` and `right`; `right` is exported over TCP.
fn configure(node: &Node, peer: &str) {
    let mut text = "timeout 2\n".to_owned();
    for (name, mode) in [("left", "memsync"), ("right", "async")] {
        let export = match name {
            "right" => "tcp4://127.0.0.1:10809".to_owned(),
            _ => node.socket().display().to_string(),
        };
        text += &format!(
            "resource {name} {{\n\treplication {mode}\n\tlocal {}\n\tname {export}\n\
             \ton {} {{\n\t\tremote tcp4://{peer}\n\t}}\n}}\n",
            component(node, name).display(),
            host()
        );
    }
    node.write_config(&text);
    for name in ["left", "right"] {
        let file = File::create(component(node, name)).unwrap();
        file.set_len(SIZE + (1 << 20)).unwrap();
        node.must(&["create", "-e", "64k", name]);
    }
}

fn data(node: &Node, name: &str) -> Vec<u8> {
    let mut bytes = vec![0; SIZE as usize];
    File::open(component(node, name)).unwrap().read_exact_at(&mut bytes, 1 << 20).unwrap();
    bytes
}

fn wait_synced(node: &Node) {
    node.must(&["status", "--wait=40", "all"]);
}

/// Works with `right`, by TCP, in its primary's namespace.
fn qemu_io(node: &Node, command: &str) {
    let mut io = node.space.command("qemu-io");
    io.args(["-f", "raw", "nbd://127.0.0.1:10809/right", "-c", command]);
    let output = io.output().expect("run qemu-io");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !told.contains("rror"), "{command}: {told}");
}

#[test]
fn what_happens_to_one_resource_is_nothing_to_another() {
    let mut pair = Pair::new(&Options::default());
    configure(&pair.a, pair.b.address);
    configure(&pair.b, pair.a.address);
    pair.a.start();
    pair.b.start();
    pair.a.must(&["role", "secondary", "right"]);
    pair.b.must(&["role", "secondary", "left"]);
    pair.a.must(&["role", "primary", "left"]);
    pair.b.must(&["role", "primary", "right"]);
    wait_synced(&pair.a);
    wait_synced(&pair.b);
    let listed = pair.a.must(&["status"]);
    assert!(listed.contains("left\tcomplete") && listed.contains("right\tcomplete"), "{listed}");

    let connect = |node: &Node| tests::nbd::Nbd::connect(&node.socket(), "left", LIMIT);
    let mut client = connect(&pair.a).expect("connect");
    client.write(0, &[1; 65536]).expect("write");
    qemu_io(&pair.b, "write -P 2 1M 1M");

    // The worker of one dies, again and again; the other one's clients notice nothing of it.
    let worker = |node: &Node, title: &str| process::child_titled(node.pid(), title);
    let title = "hastlite: right (secondary)";
    for round in 0..2_u8 {
        until("a worker", LIMIT, || worker(&pair.a, title).is_some());
        let killed = worker(&pair.a, title).unwrap();
        process::kill(killed, Signal::SIGKILL);
        let begin = Instant::now();
        for at in 0..100 {
            client.write(at * 4096, &[round + 3; 4096]).expect("write");
        }
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        until("it is gone", LIMIT, || worker(&pair.a, title) != Some(killed));
    }
    qemu_io(&pair.b, "write -P 3 2M 1M");
    wait_synced(&pair.b);

    // Its component is gone, and what was there is no component: that one fails, and is told of.
    pair.a.must(&["role", "init", "right"]);
    let aside = pair.a.path("aside");
    fs::rename(component(&pair.a, "right"), &aside).unwrap();
    fs::write(component(&pair.a, "right"), [7; 65536]).unwrap();
    pair.a.must_not(6, &["role", "secondary", "right"]);
    client.write(0, &[9; 65536]).expect("write");
    fs::rename(&aside, component(&pair.a, "right")).unwrap();
    pair.a.must(&["role", "secondary", "right"]);
    wait_synced(&pair.b);
    wait_synced(&pair.a);

    // All of one node at once.
    drop(client);
    pair.a.kill();
    pair.b.must(&["role", "primary", "left"]);
    assert_eq!(connect(&pair.b).unwrap().read(0, 65536).expect("read"), [9; 65536]);
    qemu_io(&pair.b, "read -P 3 2M 1M");
    pair.a.start();
    pair.a.must(&["role", "secondary", "all"]);
    wait_synced(&pair.b);
    let listed = pair.b.must(&["status", "--json", "right"]);
    assert_eq!(field(&listed, "role"), Some("primary"), "{listed}");
    connect(&pair.b).unwrap().flush().expect("flush");
    qemu_io(&pair.b, "flush");
    for name in ["left", "right"] {
        assert!(data(&pair.a, name) == data(&pair.b, name), "{name} differs");
    }
    assert_eq!(data(&pair.a, "right")[1 << 20], 2);
}
