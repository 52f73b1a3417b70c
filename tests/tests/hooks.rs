//! dhcpd's hooks, with the whole of it: what they are told and when, and that no packet waits for
//! one; and the samples, as they are shipped.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use nix::sys::signal::Signal;
use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::daemon::{Dhcpd, LIMIT};
use tests::lab::Lab;
use tests::leasefile::LeaseFile;
use tests::process::{self, until};
use tests::wire::{DECLINE, Packet, RELEASE, Relay};

const CONFIG: &str = "ping-check false;\n\
    subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.100 192.0.2.250; }\n";

/// A place that hooks can write to, and a hook in it.
fn place(lab: &Lab, script: &str) -> (PathBuf, PathBuf) {
    let folder = lab.path("hooks");
    fs::create_dir(&folder).expect("a directory");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("chmod");
    let hook = folder.join("hook");
    fs::write(&hook, format!("#!/bin/sh\nDIR={}\n{script}\n", folder.display())).expect("write");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("chmod");
    (folder, hook)
}

fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Who signals dhcpd's processes means the parent, and takes no hook away.
#[test]
fn a_reload_of_the_whole_service_ends_no_hook() {
    let lab = Lab::new();
    let (folder, hook) =
        place(&lab, "echo begin >>$DIR/out; read -r line <$DIR/go; echo $line >>$DIR/out");
    let (out, go) = (folder.join("out"), folder.join("go"));
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::from_bits_truncate(0o666)).expect("a fifo");
    fs::set_permissions(&go, fs::Permissions::from_mode(0o666)).expect("chmod");
    // For both: opening it waits for nobody.
    let mut go = fs::File::options().read(true).write(true).open(&go).expect("open the fifo");
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &["-E", &hook.display().to_string()]);
    let relay = Relay::new(&lab);
    relay.lease([2, 0, 0, 0, 0, 1], 1);
    until("the hook", LIMIT, || !lines(&out).is_empty());
    let children = process::children(dhcpd.pid());
    for signal in [Signal::SIGHUP, Signal::SIGINT] {
        children.iter().for_each(|child| process::kill(*child, signal));
    }
    process::kill(dhcpd.pid(), Signal::SIGHUP);
    dhcpd.wait_for("SIGHUP");
    go.write_all(b"end\n").expect("let the hook go on");
    until("the hook's end", LIMIT, || lines(&out) == ["begin", "end"]);
    let now = process::children(dhcpd.pid());
    assert!(children.iter().all(|child| now.contains(child)), "none was replaced");
    assert!(dhcpd.terminate().success());
}

#[test]
fn a_lease_s_life_is_told() {
    let lab = Lab::new();
    let script = "echo \"$* $LEASE_HARDWARE $((LEASE_ENDS - LEASE_STARTS)) \
        ${LEASE_HOST_NAME:-none} $(id -un)\" >>$DIR/out";
    let (folder, hook) = place(&lab, script);
    let out = folder.join("out");
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &["-E", &hook.display().to_string()]);
    let relay = Relay::new(&lab);
    let address = relay.lease([2, 0, 0, 0, 0, 1], 1);
    let heard = |count: usize| until("the hook", LIMIT, || lines(&out).len() >= count);
    heard(1);
    let release = Packet::new(RELEASE, [2, 0, 0, 0, 0, 1], 2).ciaddr(address);
    relay.send_bytes(&release.bytes());
    heard(2);
    let other = relay.lease([2, 0, 0, 0, 0, 2], 3);
    heard(3);
    let decline = Packet::new(DECLINE, [2, 0, 0, 0, 0, 2], 4).option(50, &other.octets());
    relay.send_bytes(&decline.bytes());
    heard(4);
    let told = lines(&out);
    assert_eq!(told[0], format!("commit {address} 02:00:00:00:00:01 43200 none _dhcp"));
    assert!(told[1].starts_with(&format!("release {address} 02:00:00:00:00:01 ")), "{}", told[1]);
    assert!(told[2].starts_with(&format!("commit {other} 02:00:00:00:00:02 ")), "{}", told[2]);
    assert!(told[3].starts_with(&format!("abandon {other} ")), "{}", told[3]);
    let runner = process::child_titled(dhcpd.pid(), "dhcpd: hooks").expect("the runner");
    let rights = process::rights(runner);
    assert_eq!(rights.status["CapEff"], "0000000000000000");
    process::kill(dhcpd.pid(), Signal::SIGTERM);
    assert!(dhcpd.ended().success());
    assert!(!process::alive(runner));
}

/// A time that comes to its end by itself, too.
#[test]
fn an_expiry_is_told() {
    let lab = Lab::new();
    let (folder, hook) = place(&lab, "echo \"$*\" >>$DIR/out");
    let config = format!("default-lease-time 1;\nmax-lease-time 1;\n{CONFIG}");
    let _dhcpd = Dhcpd::start(&lab, &config, &["-E", &hook.display().to_string()]);
    let address = Relay::new(&lab).lease([2, 0, 0, 0, 0, 1], 1);
    let out = folder.join("out");
    until("the expiry", LIMIT, || lines(&out).len() >= 2);
    assert_eq!(lines(&out), [format!("commit {address}"), format!("expiry {address}")]);
}

/// Hooks that hang, flood and die, and a runner that is killed: everybody gets a lease all the same.
#[test]
fn no_packet_waits_for_a_hook() {
    let lab = Lab::new();
    let (folder, hook) = place(
        &lab,
        "echo $$ >>$DIR/pids\ncase $((${2##*.} % 3)) in 0) while :; do sleep 1; done;; \
         1) yes;; *) kill -9 $$;; esac",
    );
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &["-E", &hook.display().to_string()]);
    let relay = Relay::new(&lab);
    let lease = |n: u8| relay.lease([2, 0, 0, 0, 1, n], u32::from(n));
    let mut given: Vec<Ipv4Addr> = (0..70).map(lease).collect();
    let runner = process::child_titled(dhcpd.pid(), "dhcpd: hooks").expect("the runner");
    process::kill(runner, Signal::SIGKILL);
    given.extend((70..100).map(lease));
    dhcpd.wait_for("dhcpd: hooks is gone: killed by SIGKILL; starting another");
    given.extend((100..130).map(lease));
    let file = LeaseFile::read(&lab.path("leases"));
    for (n, address) in (0..).zip(&given) {
        assert_eq!(file.holder(*address), Some([2, 0, 0, 0, 1, n]));
    }
    let all: Vec<u32> =
        lines(&folder.join("pids")).iter().filter_map(|line| line.parse().ok()).collect();
    assert!(all.len() >= 32, "{}", all.len());
    process::kill(dhcpd.pid(), Signal::SIGTERM);
    assert!(dhcpd.ended().success());
    until("no hook is left", LIMIT, || {
        let left = lines(&folder.join("pids"));
        left.iter().filter_map(|line| line.parse().ok()).all(process::gone)
    });
}

#[test]
fn a_hook_that_cannot_be_is_an_error_at_once() {
    let lab = Lab::new();
    let mut dhcpd = Dhcpd::launch(&lab, CONFIG, &["-E", "hook"]);
    assert!(!dhcpd.ended().success());
    dhcpd.wait_for("dhcpd: -E hook: not an absolute path");
}

fn sample(name: &str) -> String {
    format!("{}/../etc/hooks/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_sample_keeps_a_hosts_file() {
    let lab = Lab::new();
    let file = lab.path("hosts");
    let run = |happening: &str, address: &str, name: Option<&str>| {
        let mut command = Command::new(sample("hosts"));
        command.args([happening, address]).env_clear().env("LEASE_ADDRESS", address);
        command.env("HOSTS_FILE", &file).env("HOSTS_DOMAIN", "example");
        command.envs(name.map(|name| ("LEASE_HOST_NAME", name)));
        let output = command.output().expect("run the sample");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run("commit", "192.0.2.7", Some("printer"));
    run("commit", "192.0.2.8", None);
    run("commit", "192.0.2.70", Some("phone"));
    run("commit", "192.0.2.7", Some("printer"));
    assert_eq!(lines(&file), ["192.0.2.70 phone.example", "192.0.2.7 printer.example"]);
    // A name that moves to another address has one address.
    run("commit", "192.0.2.9", Some("printer"));
    run("release", "192.0.2.70", Some("phone"));
    assert_eq!(lines(&file), ["192.0.2.9 printer.example"]);
    run("expiry", "192.0.2.9", None);
    assert!(lines(&file).is_empty());
}

#[test]
fn the_sample_follows_the_role() {
    let run = |words: &[&str]| {
        let mut command = Command::new(sample("failover"));
        let output = command.args(words).env("FAILOVER_DRY_RUN", "1").output().expect("run it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = run(&["role", "data", "secondary", "primary"]);
    assert_eq!(said, "would run: systemctl --no-block start data-volume.target\n");
    let said = run(&["role", "data", "primary", "secondary"]);
    assert_eq!(said, "would run: systemctl --no-block stop data-volume.target\n");
    assert_eq!(run(&["syncdone", "data"]), "data: syncdone\n");
    assert_eq!(run(&["split-brain", "data"]), "");
}
