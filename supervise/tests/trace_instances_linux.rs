//! What a trace makes in the kernel: nobody is disturbed by it, and nothing of it is left.

use std::fs;
use std::io::Read;
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use supervise::attribution::{Seen, Trace};

use super::runner::Test;
use super::{Actor, Folder, again, exe, only, sender, traced};

pub const TESTS: &[Test] = &[
    ("two_do_not_disturb_each_other", two_do_not_disturb_each_other),
    ("nothing_is_left", nothing_is_left),
    ("what_a_killed_owner_leaves_is_removed", what_a_killed_owner_leaves_is_removed),
    ("works_without_a_mount", works_without_a_mount),
    ("not_in_another_pid_namespace", not_in_another_pid_namespace),
    ("not_without_the_right", not_without_the_right),
];

/// A trace that lives until it is told otherwise, or killed.
pub fn owner() {
    let _trace = traced();
    println!("ready");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// The same where no tracefs is mounted; it says whether one is after that.
pub fn without_a_mount() {
    unshare(CloneFlags::CLONE_NEWNS).expect("unshare");
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private");
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    for line in mounts.lines().filter(|line| line.split(' ').nth(2) == Some("tracefs")) {
        let place = line.split(' ').nth(1).expect("a place");
        umount2(place, MntFlags::MNT_DETACH).expect("umount");
    }
    let _ = umount2("/sys/kernel/debug", MntFlags::MNT_DETACH);
    assert!(!fs::exists("/sys/kernel/tracing/instances").expect("a look"), "still mounted");
    let mut trace = traced();
    let folder = Folder::new();
    let killer = folder.killer(b"killer");
    let mut victim = Command::new("/bin/sleep").arg("60").spawn().expect("start");
    let pid = victim.id().cast_signed();
    assert!(Command::new(&killer).arg(pid.to_string()).status().expect("start").success());
    victim.wait().expect("wait");
    let seen = only(&mut trace, pid);
    assert_eq!(sender(&seen).exe, exe(&killer));
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!mounts.contains("tracefs"), "{mounts}");
    println!("seen");
}

/// The instances that a process has made.
fn instances(pid: u32) -> Vec<String> {
    let entries = fs::read_dir("/sys/kernel/tracing/instances").expect("a mounted tracefs");
    let names = entries.map(|entry| entry.expect("a name").file_name().into_string());
    let prefix = format!("supervise-{pid}-");
    names.map(|name| name.expect("a name")).filter(|name| name.starts_with(&prefix)).collect()
}

fn two_do_not_disturb_each_other() {
    let mut one = traced();
    let mut other = traced();
    let kill = |traces: &mut [&mut Trace]| -> Vec<Seen> {
        let mut victim = Command::new("/bin/sleep").arg("60").spawn().expect("start");
        let pid = victim.id().cast_signed();
        victim.kill().expect("kill");
        victim.wait().expect("wait");
        traces.iter_mut().map(|trace| only(trace, pid)).collect()
    };
    for _ in 0..20 {
        let mut seen = kill(&mut [&mut one, &mut other]);
        let (mut second, first) = (seen.pop().expect("two"), seen.pop().expect("two"));
        // Each is stamped when it is written down.
        assert!(second.at - first.at < std::time::Duration::from_millis(100));
        second.at = first.at;
        assert_eq!(first, second);
    }
    drop(one);
    kill(&mut [&mut other]);
}

fn nothing_is_left() {
    let us = std::process::id();
    assert_eq!(instances(us), [""; 0]);
    let trace = traced();
    assert_eq!(instances(us).len(), 2);
    let dir = format!("/sys/kernel/tracing/instances/{}", instances(us)[0]);
    let clock = fs::read_to_string(format!("{dir}/trace_clock")).expect("clock");
    assert!(clock.contains("[mono]"), "{clock}");
    drop(trace);
    assert_eq!(instances(us), [""; 0]);
}

fn what_a_killed_owner_leaves_is_removed() {
    let mut owner = Actor::start(&mut again("owner"));
    let living = Actor::start(&mut again("owner"));
    let (dead, alive) = (owner.child.id(), living.child.id());
    assert_eq!(instances(dead).len(), 2);
    owner.child.kill().expect("kill");
    owner.child.wait().expect("wait");
    assert_eq!(instances(dead).len(), 2, "the kernel removes them itself: all this is not needed");
    // A directory that only looks like ours is somebody else's.
    let foreign = format!("/sys/kernel/tracing/instances/supervise-test-{}", std::process::id());
    fs::create_dir(&foreign).expect("an instance");
    let trace = traced();
    let kept = fs::exists(&foreign).expect("a look");
    fs::remove_dir(&foreign).expect("remove");
    assert!(kept);
    assert_eq!(instances(dead), [""; 0]);
    assert_eq!(instances(alive).len(), 2, "it is alive");
    drop(trace);
    drop(living);
    assert_eq!(instances(alive), [""; 0]);
}

fn works_without_a_mount() {
    let actor = Actor::start(&mut again("without a mount"));
    assert_eq!(actor.said, "seen");
}

/// A process that may not trace, for one of two reasons; it says what it is told.
pub fn refused(why: &str) {
    match why {
        "another namespace" => {
            unshare(CloneFlags::CLONE_NEWPID).expect("unshare");
            // Only children are in it.
            print!("{}", Actor::start(&mut again("not root")).said);
        }
        _ => {
            if nix::unistd::getpid().as_raw() != 1 {
                let nobody = nix::unistd::Uid::from_raw(65534);
                nix::unistd::setresuid(nobody, nobody, nobody).expect("setresuid");
            }
            println!("{}", Trace::open().expect_err("an error"));
        }
    }
}

fn not_in_another_pid_namespace() {
    let said = Actor::start(&mut again("another namespace")).said.clone();
    assert!(said.contains("the first pid namespace"), "{said}");
}

fn not_without_the_right() {
    let said = Actor::start(&mut again("not root")).said.clone();
    assert!(said.contains("tracefs: ") && said.contains("not permitted"), "{said}");
}
