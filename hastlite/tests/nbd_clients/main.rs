//! The server's side of NBD, judged by clients that others wrote: libnbd's tools, qemu's, fio, and
//! the kernel's ext4 through FUSE and a loop device.
//!
//! They need what `tools/packages test` installs, and the last one root.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may say what it expects of the machine")]

mod server;

use server::{Options, Server};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Seconds after which a client hangs.
const LIMIT: &str = "120";

/// Runs a client to its end, whatever comes of it.
fn try_run(program: &str, arguments: &[&str]) -> Output {
    Command::new("timeout")
        .args(["-k", "5", LIMIT, program])
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .unwrap()
}

/// Runs a client, which must succeed; what it prints.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = try_run(program, arguments);
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}

/// `size` bytes of a pattern that hardly repeats, with zeroes in every second piece of 192 KiB.
fn image(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let hole = bytes.len() / (192 << 10) % 2 == 1;
        bytes.extend_from_slice(&if hole { 0 } else { state }.to_ne_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn nbdinfo_is_told_what_the_export_can_do() {
    let server = Server::start("info", Options::default());
    for uri in [server.unix_uri(), server.tcp_uri()] {
        let told = run("nbdinfo", &["--json", &uri]);
        for want in [
            "\"protocol\": \"newstyle-fixed\"",
            "\"structured\": true",
            "\"export-name\": \"disk\"",
            "\"description\": \"a test's\"",
            "\"export-size\": 67108864",
            "\"base:allocation\"",
            "\"x-hastlite:dirty\"",
            "\"is_read_only\": false",
            "\"is_rotational\": false",
            "\"can_cache\": true",
            "\"can_df\": true",
            "\"can_fast_zero\": true",
            "\"can_flush\": true",
            "\"can_fua\": true",
            "\"can_multi_conn\": true",
            "\"can_trim\": true",
            "\"can_zero\": true",
            "\"block_size_minimum\": 512",
            "\"block_size_preferred\": 4096",
            "\"block_size_maximum\": 33554432",
        ] {
            assert!(told.contains(want), "no {want} in {told}");
        }
    }
    let socket = server.socket();
    let root = format!("nbd+unix://?socket={}", path(&socket));
    assert!(run("nbdinfo", &["--list", &root]).contains("export=\"disk\""));
    assert_eq!(run("nbdinfo", &["--size", &root]), "67108864\n", "the only one needs no name");
    let other = format!("nbd+unix:///other?socket={}", path(&socket));
    let refused = try_run("nbdinfo", &[&other]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("No such file"), "{refused:?}");
    let tls = try_run("nbdinfo", &[&server.unix_uri().replace("nbd+", "nbds+")]);
    assert!(!tls.status.success());
}

#[test]
fn nbdcopy_brings_an_image_in_and_out_again() {
    // Not a multiple of a piece, and with several connections.
    let size = (48 << 20) + 1536;
    for (block, limits) in [
        (512, hastlite::nbd::Limits::default()),
        (512, hastlite::nbd::Limits { requests: 3, bytes: 300_000, buffer: 0 }),
    ] {
        let options = Options { size: size as u64, block, limits, ..Options::default() };
        let server = Server::start(&format!("copy-{}", limits.requests), options);
        let (source, copy) = (server.directory().join("source"), server.directory().join("copy"));
        let image = image(size);
        fs::write(&source, &image).unwrap();
        for uri in [server.unix_uri(), server.tcp_uri()] {
            run("nbdcopy", &["--flush", path(&source), &uri]);
            run("nbdcopy", &[&uri, path(&copy)]);
            assert!(fs::read(&copy).unwrap() == image, "by {uri}");
            fs::remove_file(&copy).unwrap();
            // As --destination-is-zero would not: zeroes must be written over what is there.
            run("nbdcopy", &["--allocated", "--requests=64", path(&source), &uri]);
            run("nbdcopy", &["--synchronous", &uri, path(&copy)]);
            assert!(fs::read(&copy).unwrap() == image, "by {uri}, one at a time");
            fs::remove_file(&copy).unwrap();
        }
        let seen = server.seen();
        assert!(seen.flushes > 0 && seen.status > 0 && seen.zeroes > 0, "{seen:?}");
        assert!(seen.connections > 4, "nbdcopy uses several connections: {seen:?}");
        assert!(seen.deepest > 2 && seen.deepest <= limits.requests, "{seen:?}");
        assert!(seen.violations.is_empty(), "{seen:?}");
    }
}

#[test]
fn nbdinfo_maps_what_is_allocated_and_what_is_dirty() {
    let server = Server::start("map", Options::default());
    let uri = server.unix_uri();
    run("qemu-io", &["-f", "raw", &uri, "-c", "write -P 1 1M 128k"]);
    let rows = |arguments: &[&str]| -> Vec<Vec<String>> {
        let told = run("nbdinfo", arguments);
        told.lines().map(|row| row.split_whitespace().map(String::from).collect()).collect()
    };
    let want = [
        ["0", "1048576", "3", "hole,zero"],
        ["1048576", "131072", "0", "data"],
        ["1179648", "65929216", "3", "hole,zero"],
    ];
    assert_eq!(rows(&["--map", &uri]), want);
    let dirty = rows(&["--map=x-hastlite:dirty", &uri]);
    let dirty: Vec<_> = dirty.iter().map(|row| (&row[0][..], &row[1][..], &row[2][..])).collect();
    let want = [("0", "1048576", "0"), ("1048576", "131072", "1"), ("1179648", "65929216", "0")];
    assert_eq!(dirty, want);

    let image = format!(
        "driver=nbd,server.type=unix,server.path={},export=disk,x-dirty-bitmap=x-hastlite:dirty",
        path(&server.socket())
    );
    let told = run("qemu-img", &["map", "--output=json", "--image-opts", &image]);
    assert_eq!(told.matches("\"data\": false").count(), 1, "{told}");
    assert!(told.contains("\"start\": 1048576, \"length\": 131072"), "{told}");
}

#[test]
fn qemu_writes_reads_zeroes_discards_and_flushes() {
    for block in [512, 4096] {
        let options = Options { block, ..Options::default() };
        let server = Server::start(&format!("qemu-{block}"), options);
        let uri = server.unix_uri();
        let io = |commands: &[&str]| {
            let mut arguments = vec!["-f", "raw", "-d", "unmap", &uri];
            commands.iter().for_each(|command| arguments.extend(["-c", command]));
            let told = run("qemu-io", &arguments);
            assert!(!told.contains("rror") && !told.contains("failed"), "{told}");
            told
        };
        io(&[
            "write -P 0xaa 0 8M",
            "write -f -P 0xbb 1M 64k",
            "write -z 2M 512k",
            "write -z -u 3M 1M",
            "discard 5M 1M",
            "aio_write -P 0xcc 6M 1M",
            "aio_write -P 0xdd 7M 1M",
            "aio_flush",
            // Not a whole block: qemu reads, changes and writes it.
            "write -P 0xee 100 1000",
            "flush",
        ]);
        let seen = server.seen().clone();
        assert!(seen.fua >= 1, "write -f comes with FUA: {seen:?}");
        assert!(seen.zeroes == 2 && seen.provisioned == 1, "-u lets a hole be made: {seen:?}");
        assert!(seen.trims == 1 && seen.flushes >= 1, "{seen:?}");
        io(&[
            "read -P 0xaa 0 100",
            "read -P 0xee 100 1000",
            "read -P 0xaa 1100 1047476",
            "read -P 0xbb 1M 64k",
            "read -P 0 2M 512k",
            "read -P 0xaa 2560k 512k",
            "read -P 0 3M 1M",
            "read -P 0xaa 4M 1M",
            "read -P 0xcc 6M 1M",
            "read -P 0xdd 7M 1M",
        ]);
        let map = run("qemu-img", &["map", "--output=json", "-f", "raw", &uri]);
        let hole = "\"start\": 3145728, \"length\": 1048576";
        let hole = map.lines().find(|line| line.contains(hole)).unwrap_or_default();
        assert!(hole.contains("\"zero\": true, \"data\": false"), "{map}");
        assert!(run("qemu-nbd", &["--list", "-k", path(&server.socket())]).contains("'disk'"));
        assert!(server.seen().violations.is_empty());
    }
}

#[test]
fn qemu_compares_what_it_has_converted() {
    let server = Server::start("convert", Options::default());
    let source = server.directory().join("source");
    fs::write(&source, image(64 << 20)).unwrap();
    let uri = server.tcp_uri();
    let both = ["-f", "raw", "-O", "raw", "-n", "-W", "-m", "16", path(&source), &uri];
    run("qemu-img", &[&["convert"], &both[..]].concat());
    run("qemu-img", &["compare", "-f", "raw", "-F", "raw", path(&source), &uri]);
}

#[test]
fn fio_verifies_what_it_has_written() {
    let server = Server::start("fio", Options::default());
    for uri in [server.unix_uri(), server.tcp_uri()] {
        let uri = format!("--uri={uri}");
        let state = format!("--aux-path={}", path(server.directory()));
        let common = ["--name=x", "--ioengine=nbd", &uri, &state, "--size=32M", "--thread"];
        let verify =
            ["--verify=crc32c", "--verify_fatal=1", "--randseed=7", "--output-format=json"];
        for job in [
            &["--rw=randwrite", "--bs=4k", "--iodepth=32"][..],
            &["--rw=randwrite", "--bsrange=512-256k", "--bs_unaligned=0", "--iodepth=128"],
            &["--rw=write", "--bs=1M", "--iodepth=8", "--fsync=4"],
            &["--rw=randtrimwrite", "--bs=64k", "--iodepth=4", "--io_size=8M"],
        ] {
            let verify = if job[0] == "--rw=randtrimwrite" { &verify[3..] } else { &verify[..] };
            let told = run("fio", &[&common[..], job, verify].concat());
            assert!(told.contains("\"error\" : 0"), "{told}");
        }
    }
    let seen = server.seen();
    assert!(seen.trims > 0 && seen.flushes > 0 && seen.deepest > 16, "{seen:?}");
    assert!(seen.violations.is_empty(), "{seen:?}");
}

#[test]
fn odd_requests_by_libnbd() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nbd_clients/odd.py");
    let options =
        Options { bad: 32 << 20..(32 << 20) + 4096, fast_zero: false, ..Options::default() };
    let server = Server::start("odd", options);
    run("/usr/bin/python3", &[script, path(&server.socket())]);
    let seen = server.seen();
    assert!(seen.will_need >= 1, "{seen:?}");
    assert_eq!(seen.violations, ["no export \"other\" here"]);
}

#[test]
fn ext4_lives_on_it() {
    let options = Options { size: 256 << 20, ..Options::default() };
    let server = Server::start("ext4", options);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nbd_clients/ext4");
    let directory = path(server.directory());
    // What it mounts is gone with its last process.
    run("unshare", &["-m", "-p", "-f", "--kill-child", script, directory, &server.unix_uri()]);
    let seen = server.seen();
    assert!(seen.writes > 100 && seen.flushes > 0, "{seen:?}");
    assert!(seen.violations.is_empty(), "{seen:?}");
}
