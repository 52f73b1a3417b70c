//! A file system of the kernel's on the pair, and programs that know what they have written to it,
//! while the other node comes and goes; and what the other node has of it after a failover.
//!
//! nbdfuse and a loop device make a disk of the export, mkfs.ext4 and mount(8) a file system of it,
//! fsx works on its files and e2fsck looks at it. fio verifies by NBD itself.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may say what it expects")]

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use tests::daemon::LIMIT;
use tests::pair::{Node, Options, Pair};
use tests::process::{self, until};

fn options(size: u64) -> Options {
    Options { size, extent: 256 << 10, ..Options::default() }
}

/// Runs a program, which must succeed.
fn run(program: impl AsRef<Path>, words: &[&str]) -> String {
    let program = program.as_ref();
    let mut command = Command::new("timeout");
    command.args(["-k", "5", "120"]).arg(program).args(words).env("LC_ALL", "C");
    let output = command.stdin(Stdio::null()).output().expect("run a program");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program:?} {words:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

/// Where fsx is. `make test` has it compiled; here it may take its time, once.
fn fsx() -> PathBuf {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/fsx");
    let output = Command::new(tool).stderr(Stdio::inherit()).output().expect("run tools/fsx");
    assert!(output.status.success(), "tools/fsx: {}", output.status);
    PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim_end())
}

/// An export as a block device of the kernel's: a loop device over a file of nbdfuse's, which takes
/// whole sectors only.
struct Disk {
    fuse: PathBuf,
    child: Child,
    /// The device.
    path: String,
}

impl Disk {
    /// Its folder is made; the thread has a mount namespace of its own.
    fn new(node: &Node, name: &str) -> Self {
        let (fuse, ready) = (node.path(name), node.path(&format!("{name}.pid")));
        fs::create_dir(&fuse).expect("make a mount point");
        let mut command = Command::new("nbdfuse");
        command.arg("-P").arg(&ready).arg(fuse.join("disk")).arg(node.uri());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("start nbdfuse");
        let mut disk = Disk { fuse, child, path: String::new() };
        until("nbdfuse is ready", LIMIT, || ready.exists());
        let device = run("losetup", &["--find", "--show", text(&disk.fuse.join("disk"))]);
        disk.path = device.trim_end().to_owned();
        disk
    }

    /// All of it has arrived afterwards.
    fn close(mut self) {
        run("losetup", &["--detach", &self.path]);
        self.path.clear();
        // The kernel lets go of a loop device when it likes.
        until("nobody holds the disk", LIMIT, || {
            let output = Command::new("umount").arg(&self.fuse).output().expect("run umount");
            output.status.success()
        });
        until("nbdfuse ends", LIMIT, || self.child.try_wait().expect("wait").is_some());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !self.path.is_empty() {
            let _ = Command::new("losetup").args(["--detach", &self.path]).output();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Nobody answers there any more, and nobody may be in its way.
        let _ = Command::new("umount").arg("-l").arg(&self.fuse).output();
    }
}

/// Mounts are seen by this thread and what it starts, and are gone with it.
fn own_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).expect("make a mount namespace");
    run("mount", &["--make-rslave", "/"]);
    // `ip netns exec` copies them for what it runs: those are to go with ours.
    run("mount", &["--make-rshared", "/"]);
}

/// What happens to the other node, once each; the pair has settled afterwards.
fn trouble(pair: &mut Pair) {
    pair.b.kill();
    until("it goes on alone", LIMIT, || pair.a.status().contains("\"connected\":false"));
    pair.b.start();
    pair.b.role("secondary");
    pair.a.wait_synced();
    pair.b.cut();
    until("it goes on alone", LIMIT, || pair.a.status().contains("\"connected\":false"));
    pair.b.heal();
    pair.a.wait_synced();
    process::kill(pair.b.worker("secondary").expect("a worker"), Signal::SIGKILL);
    pair.b.wait_for("starting another");
    until("another worker", LIMIT, || pair.b.worker("secondary").is_some());
    pair.a.wait_synced();
}

/// A file for fsx, and what it is to do: everything that a disk is asked for by way of files.
fn fsx_config(path: PathBuf, block: bool) -> PathBuf {
    let more = if block {
        "blockmode = true\nflen = 4194304\n[opsize]\nalign = 512\n[weights]\npunch_hole = 0\n\
         truncate = 0\nclose_open = 0\nposix_fallocate = 0\n"
    } else {
        "flen = 1048576\n[weights]\nclose_open = 1\npunch_hole = 5\ntruncate = 5\n\
         invalidate = 1\nposix_fallocate = 1\n"
    };
    fs::write(&path, format!("{more}write = 20\nread = 10\nmapwrite = 5\nfsync = 1\n")).unwrap();
    path
}

#[test]
fn a_file_system_survives_trouble_and_failover() {
    let fsx = fsx();
    let mut pair = Pair::running(&options(96 << 20));
    own_mounts();
    let mount = pair.path("mnt");
    fs::create_dir(&mount).unwrap();
    let disk = Disk::new(&pair.a, "fuse");
    run("mkfs.ext4", &["-q", "-F", &disk.path]);
    run("mount", &["-o", "discard", &disk.path, text(&mount)]);
    let config = fsx_config(pair.path("fsx.toml"), false);
    for name in 0..20_u8 {
        let mut file = File::create(mount.join(format!("file{name}"))).unwrap();
        file.write_all(&vec![name; 100_000 + usize::from(name) * 1000]).unwrap();
    }
    let stop = AtomicBool::new(false);
    // Threads of this scope are started by this one: they see its mounts.
    let rounds = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut seed = 0;
            while !stop.load(Ordering::Relaxed) {
                seed += 1;
                let file = mount.join("fsx");
                let words =
                    ["-q", "-N", "400", "-S", &seed.to_string(), "-P", text(pair_folder(&config))];
                run(&fsx, &[&words[..], &["-f", text(&config), text(&file)]].concat());
            }
            seed
        });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| trouble(&mut pair)));
        stop.store(true, Ordering::Relaxed);
        let rounds = worker.join().expect("fsx");
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        rounds
    });
    assert!(rounds > 1, "fsx has run {rounds} times only");
    run("fstrim", &[text(&mount)]);
    let sums = |mount: &Path| {
        let files = format!("cd {} && sha256sum f*", text(mount));
        run("sh", &["-c", &files])
    };
    let before = sums(&mount);
    run("umount", &[text(&mount)]);
    run("e2fsck", &["-f", "-n", &disk.path]);
    disk.close();
    pair.a.wait_synced();
    pair.assert_same();

    // The same on the other node.
    pair.a.kill();
    pair.b.role("primary");
    let disk = Disk::new(&pair.b, "fuse");
    run("e2fsck", &["-f", "-n", &disk.path]);
    run("mount", &[&*disk.path, text(&mount)]);
    assert_eq!(sums(&mount), before);
    // Killed in the middle of work: what a journal is for.
    let config = fsx_config(pair.path("fsx.toml"), false);
    let words = ["-q", "-N", "300", "-S", "77", "-P", text(pair_folder(&config)), "-f"];
    run(&fsx, &[&words[..], &[text(&config), text(&mount.join("fsx"))]].concat());
    pair.a.start();
    pair.a.role("secondary");
    pair.b.wait_synced();
    fs::write(mount.join("last"), "words").unwrap();
    run("sync", &["-f", text(&mount)]);
    pair.b.kill();
    let _ = Command::new("umount").arg("-l").arg(&mount).output();
    drop(disk);
    pair.a.role("primary");
    let disk = Disk::new(&pair.a, "again");
    run("e2fsck", &["-p", &disk.path]);
    run("e2fsck", &["-f", "-n", &disk.path]);
    run("mount", &[&*disk.path, text(&mount)]);
    assert_eq!(fs::read_to_string(mount.join("last")).unwrap(), "words");
    run("umount", &[text(&mount)]);
    disk.close();
}

/// The folder of a file.
fn pair_folder(path: &Path) -> &Path {
    path.parent().expect("a folder")
}

#[test]
fn fsx_on_the_disk_itself() {
    let fsx = fsx();
    let pair = Pair::running(&options(4 << 20));
    own_mounts();
    let disk = Disk::new(&pair.a, "fuse");
    let config = fsx_config(pair.path("fsx.toml"), true);
    let words = ["-q", "-N", "1500", "-P", text(pair_folder(&config)), "-f", text(&config)];
    run(&fsx, &[&words[..], &[&disk.path]].concat());
    disk.close();
    pair.a.wait_synced();
    pair.assert_same();
}

#[test]
fn fio_verifies_while_the_other_node_comes_and_goes() {
    let mut pair = Pair::running(&options(32 << 20));
    let (uri, state) = (pair.a.uri(), pair.path("fio"));
    fs::create_dir(&state).unwrap();
    let stop = AtomicBool::new(false);
    let rounds = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut seed = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                seed += 1;
                let (uri, state) = (format!("--uri={uri}"), format!("--aux-path={}", text(&state)));
                let seed = format!("--randseed={seed}");
                let jobs = [
                    ["--rw=randwrite", "--bsrange=512-128k", "--iodepth=32", "--io_size=24M"],
                    ["--rw=write", "--bs=1M", "--iodepth=4", "--fsync=4"],
                ];
                let job = jobs[usize::from(seed.ends_with(['0', '2', '4', '6', '8']))];
                let words =
                    ["--name=x", "--ioengine=nbd", &uri, &state, &seed, "--size=32M", "--thread"];
                let verify = ["--verify=crc32c", "--verify_fatal=1", "--bs_unaligned=0"];
                let json = ["--output-format=json"];
                let told = run("fio", &[&words[..], &job, &verify, &json].concat());
                assert!(told.contains("\"error\" : 0"), "{told}");
            }
            seed
        });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| trouble(&mut pair)));
        stop.store(true, Ordering::Relaxed);
        let rounds = worker.join().expect("fio");
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        rounds
    });
    println!("fio has run {rounds} times");
    pair.a.wait_synced();
    pair.a.client().flush().expect("flush");
    pair.assert_same();
}
