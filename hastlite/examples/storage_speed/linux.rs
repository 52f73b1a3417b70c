//! The measurement.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot be taken is none")]

use hastlite::Data;
use hastlite::component::Component;
use hastlite::create::{self, create};
use hastlite::engine::{Io, Token};
use hastlite::storage::{Completion, Loaded, Options, Storage, load};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

const SIZE: u64 = 256 << 20;
const SECONDS: Duration = Duration::from_millis(700);

/// Microseconds that passed, in the undisturbed tenth of the time, and that processors worked, for
/// each operation.
struct Cost(f64, f64);

fn processors() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks * 10_000.0
}

fn cost(mut run: impl FnMut() -> u64) -> Cost {
    let (begin, before) = (Instant::now(), processors());
    let (mut count, mut slices) = (0, Vec::new());
    while begin.elapsed() < SECONDS {
        let (slice, mut done) = (Instant::now(), 0);
        while slice.elapsed() < Duration::from_millis(2) {
            done += run();
        }
        slices.push(slice.elapsed().as_secs_f64() * 1e6 / done as f64);
        count += done;
    }
    slices.sort_by(f64::total_cmp);
    Cost(slices[slices.len() / 10], (processors() - before) / count as f64)
}

fn random(state: &mut u64, blocks: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % blocks
}

/// Keeps `depth` requests going, each in a part of the data area of its own.
fn executor(path: &Path, options: Options, depth: u64, length: u64, reads: bool) -> Cost {
    let component = Component::open(path).unwrap();
    let Loaded { layout, book, .. } = load(&component, "speed").unwrap();
    let mut storage = Storage::start(component, layout, book, options).unwrap();
    let blocks = layout.datasize / length / depth;
    let (mut state, mut done) = (1, Vec::new());
    let mut free: Vec<u64> = (0..depth).collect();
    let cost = cost(|| {
        for lane in free.drain(..) {
            let offset = (lane * blocks + random(&mut state, blocks)) * length;
            let io = if reads {
                Io::Read { offset, length: length as u32 }
            } else {
                let data = Data::from(hastlite::data::buffer(length as usize));
                Io::Write { offset, data: data.slice(0..length as usize) }
            };
            storage.push(Token(lane), io);
        }
        storage.submit();
        storage.drain(&mut done);
        while done.is_empty() {
            let mut fds = [PollFd::new(storage.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::NONE).unwrap();
            storage.drain(&mut done);
        }
        let count = done.len() as u64;
        for Completion { token, result } in done.drain(..) {
            result.unwrap();
            free.push(token.0);
        }
        count
    });
    drop(storage);
    cost
}

pub fn main() {
    let path = std::env::temp_dir().join(format!("hastlite-speed-{}", std::process::id()));
    std::fs::File::create(&path).unwrap().set_len(SIZE).unwrap();
    {
        let component = Component::open(&path).unwrap();
        create(&component, "speed", &create::Options::default()).unwrap();
        component.write(&vec![1; (SIZE - (1 << 20)) as usize], 1 << 20).unwrap();
        component.sync().unwrap();
    }
    println!("microseconds an operation (of processors): {}", path.display());
    let base = Options::default();
    let at_once = Options { write_at_once: 4 << 20, read_at_once: 4 << 20, ..base };
    let threads = |threads| Options { threads, write_at_once: 0, read_at_once: 0, ..base };
    for length in [4096, 65_536, 1 << 20] {
        for reads in [false, true] {
            let component = Component::open(&path).unwrap();
            let (mut state, mut buffer) = (1, vec![1; length as usize]);
            let bare = cost(|| {
                let at = (1 << 20) + random(&mut state, (SIZE - (1 << 20)) / length) * length;
                if reads {
                    component.read(&mut buffer, at).unwrap();
                } else {
                    component.write(&buffer, at).unwrap();
                }
                1
            });
            drop(component);
            let what = if reads { "read" } else { "write" };
            println!("{what:5} {length:7}  bare                 {:7.2} ({:7.2})", bare.0, bare.1);
            for depth in [1, 32] {
                for (name, options) in [
                    ("at once", at_once),
                    ("default", base),
                    ("4 threads", threads(4)),
                    ("2 threads", threads(2)),
                    ("1 thread", threads(1)),
                ] {
                    let Cost(passed, worked) = executor(&path, options, depth, length, reads);
                    println!(
                        "{what:5} {length:7}  depth {depth:2} {name:10}  {passed:7.2} ({worked:7.2})"
                    );
                }
            }
        }
    }
    map(&path);
    std::fs::remove_file(&path).unwrap();
}

/// How long a client waits for a map while so much data is not on the disk yet.
fn map(path: &Path) {
    for megabytes in [0, 128] {
        let component = Component::open(path).unwrap();
        let Loaded { layout, book, meta, .. } = load(&component, "speed").unwrap();
        let mut storage = Storage::start(component, layout, book, Options::default()).unwrap();
        let wait = |storage: &mut Storage| {
            let (begin, mut done) = (Instant::now(), Vec::new());
            storage.submit();
            storage.drain(&mut done);
            while storage.pending() > 0 {
                let mut fds = [PollFd::new(storage.as_fd(), PollFlags::POLLIN)];
                poll(&mut fds, PollTimeout::NONE).unwrap();
                storage.drain(&mut done);
            }
            assert!(done.iter().all(|done| done.result.is_ok()));
            begin.elapsed().as_secs_f64() * 1e3
        };
        storage.push(Token(0), Io::Flush);
        wait(&mut storage);
        let (mut maps, mut metas) = (Vec::new(), Vec::new());
        for round in 0..21_u8 {
            for n in 0..megabytes {
                let data = Data::from(vec![round; 1 << 20]);
                storage.push(Token(n), Io::Write { offset: n << 20, data });
            }
            wait(&mut storage);
            storage.push(Token(0), Io::Map(Data::from(vec![round; 4096])));
            maps.push(wait(&mut storage));
            storage.push(Token(0), Io::Meta(Box::new(meta.clone())));
            metas.push(wait(&mut storage));
        }
        storage.push(Token(0), Io::Flush);
        let flush = wait(&mut storage);
        maps.sort_by(f64::total_cmp);
        metas.sort_by(f64::total_cmp);
        println!(
            "with {megabytes} MiB unflushed, milliseconds (median): map {:.2}, metadata {:.2}; \
             flush {flush:.2}",
            maps[10], metas[10]
        );
    }
}
