//! One child a component: it opens it, loses all its rights, and then has everything done.

use hastlite::Data;
use hastlite::component::Component;
use hastlite::create::{self, create};
use hastlite::engine::{Io, Token};
use hastlite::layout::{Arrangement, Wish};
use hastlite::storage::{CALLS, Loaded, Options, Storage, load};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use supervise::confine::{Confinement, Rules, THREADS, confine};
use supervise::{Exit, Identity, Program, start};

const MIB: u64 = 1 << 20;

pub fn main() {
    match supervise::role() {
        Some(role) => child(
            Path::new(&std::env::var("COMPONENT").unwrap()),
            if role.ends_with("at once") { 128 << 10 } else { 0 },
        ),
        None => test(),
    }
}

/// Gone when its owner is.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

struct Loop(String);

impl Loop {
    fn new(file: &Path) -> Self {
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

fn test() {
    let name = format!("hastlite-confined-{}", std::process::id());
    let file = Scratch(std::env::temp_dir().join(name));
    std::fs::File::create(&file.0).unwrap().set_len(16 * MIB).unwrap();
    confined(file.0.to_str().unwrap());
    let disk = Loop::new(&file.0);
    confined(&disk.0);
    println!("storage_confined: a file and a disk, served without any rights");
}

fn confined(path: &str) {
    for arrangement in [Arrangement::Aligned, Arrangement::FreeBsd] {
        let component = Component::open(Path::new(path)).unwrap();
        let wish = Wish { arrangement, ..Wish::default() };
        create(&component, "r", &create::Options { wish, ..create::Options::default() }).unwrap();
        drop(component);
        for title in ["storage: at once", "storage: threads"] {
            let (mut child, _channel) =
                start(Program::Myself, title, &[("COMPONENT", path)]).unwrap();
            let exit = child.wait_until(Instant::now() + Duration::from_secs(60)).unwrap();
            assert_eq!(exit, Some(Exit::Exited(0)), "{title} {path}: {exit:?}");
        }
    }
}

fn child(path: &Path, at_once: usize) {
    let component = Component::open(path).unwrap();
    let Loaded { layout, book, mut meta, .. } = load(&component, "r").unwrap();
    let identity = Identity::numeric(65_533, 65_532);
    let rules = Rules { keep: &[], calls: &[CALLS, THREADS] };
    confine(&Confinement { identity: &identity, parent_death: None, rules: &rules }).unwrap();
    let options = Options { read_at_once: at_once, write_at_once: at_once, ..Options::default() };
    let mut storage = Storage::start(component, layout, book, options).unwrap();
    meta.localcnt += 1;
    let data = Data::from(vec![7; 100_000]);
    for io in [
        Io::Write { offset: 0, data: data.slice(0..512) },
        Io::Write { offset: MIB, data: data.slice(0..65_536) },
        Io::Zero { offset: 2 * MIB, length: MIB },
        Io::Zero { offset: 3 * MIB + 512, length: 512 },
        Io::Discard { offset: 4 * MIB, length: MIB },
        Io::Map(data.slice(0..4096)),
        Io::Meta(Box::new(meta.clone())),
        Io::Flush,
        Io::Read { offset: 0, length: 512 },
        Io::Read { offset: MIB, length: 65_536 },
        Io::Read { offset: 8 * MIB, length: 4 << 20 },
    ] {
        storage.push(Token(1), io);
        storage.submit();
        let mut done = Vec::new();
        storage.drain(&mut done);
        while storage.pending() > 0 {
            let mut fds = [PollFd::new(storage.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut fds, PollTimeout::from(20_000_u16)), Ok(1));
            storage.drain(&mut done);
        }
        let [done] = done.try_into().unwrap();
        done.result.unwrap();
    }
}
