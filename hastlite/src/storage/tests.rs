//! The executor on files and loop devices: what it does against a model of it, and what it says
//! when a medium fails. Root is needed.

use super::testing::{Loop, Scratch, Tmpfs, open};
use super::*;
use crate::create::{self, create};
use crate::engine::{Consistency, Metadata, Role};
use crate::layout::{Arrangement, Wish};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::path::Path;

const MIB: u64 = 1 << 20;

/// Everything by the threads.
const THREADS: Options = Options { threads: 3, read_at_once: 0, write_at_once: 0, metaflush: true };

fn made(component: &Component, arrangement: Arrangement) -> Metadata {
    let wish = Wish { arrangement, extentsize: 65_536, ..Wish::default() };
    create(component, "shared", &create::Options { wish, ..create::Options::default() }).unwrap()
}

fn start(path: &Path, options: Options) -> Storage {
    let component = open(path);
    let Loaded { layout, book, .. } = load(&component, "shared").unwrap();
    Storage::start(component, layout, book, options).unwrap()
}

/// Waits until all is done, and sorts it.
fn wait(storage: &mut Storage) -> Vec<Completion> {
    let mut all = Vec::new();
    storage.submit();
    storage.drain(&mut all);
    while storage.pending() > 0 {
        let mut fds = [PollFd::new(storage.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(20_000_u16)), Ok(1), "nothing in 20 s");
        storage.drain(&mut all);
    }
    let mut fds = [PollFd::new(storage.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::ZERO), Ok(0), "readable, and nothing to read");
    all.sort_by_key(|done| done.token);
    all
}

fn one(storage: &mut Storage, io: Io) -> Result<Option<Data>, Errno> {
    storage.push(Token(7), io);
    let [Completion { token: Token(7), result }] = &wait(storage)[..] else { panic!() };
    result.clone()
}

fn write(offset: u64, length: usize, byte: u8) -> Io {
    Io::Write { offset, data: Data::from(vec![byte; length]) }
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Rounds of requests that do not overlap, of all kinds and lengths, against an array.
fn against_a_model(path: &Path, arrangement: Arrangement, sector: u64, options: Options) {
    let meta = made(&open(path), arrangement);
    let mut storage = start(path, options);
    let mut model = vec![0; meta.datasize as usize];
    one(&mut storage, Io::Zero { offset: 0, length: meta.datasize }).unwrap();
    let mut state = 5;
    for round in 0..60 {
        let mut at = random(&mut state) % 64 * sector;
        let mut expected = Vec::new();
        let mut token = 0;
        while at < meta.datasize {
            let most = if random(&mut state).is_multiple_of(8) { 600 } else { 20 };
            let length = (random(&mut state) % most + 1) * sector;
            let length = length.min(meta.datasize - at);
            let range = at as usize..(at + length) as usize;
            let io = match random(&mut state) % 8 {
                0 | 1 => {
                    expected.push((token, Some(model[range].to_vec())));
                    Io::Read { offset: at, length: length as u32 }
                }
                2 => {
                    model[range].fill(0);
                    expected.push((token, None));
                    Io::Zero { offset: at, length }
                }
                3 => {
                    expected.push((token, None));
                    // What is there afterwards is not told: it is written again.
                    storage.push(Token(token), Io::Discard { offset: at, length });
                    assert_eq!(wait(&mut storage).len(), expected.len());
                    expected.clear();
                    model[range].fill(0);
                    expected.push((token, None));
                    Io::Zero { offset: at, length }
                }
                4 => {
                    expected.push((token, None));
                    Io::Flush
                }
                _ => {
                    let mut bytes = crate::data::buffer(length as usize);
                    bytes.fill((round + at) as u8 | 1);
                    model[range].fill((round + at) as u8 | 1);
                    expected.push((token, None));
                    Io::Write { offset: at, data: Data::from(bytes).slice(0..length as usize) }
                }
            };
            storage.push(Token(token), io);
            if random(&mut state).is_multiple_of(4) {
                storage.submit();
            }
            token += 1;
            at += length + random(&mut state) % 100 * sector;
        }
        let done = wait(&mut storage);
        assert_eq!(done.len(), expected.len());
        for (done, (token, bytes)) in done.into_iter().zip(expected) {
            assert_eq!(done.token, Token(token));
            let data = done.result.unwrap();
            assert!(data.as_deref() == bytes.as_deref(), "round {round}, token {token}");
        }
    }
    drop(storage);
    let component = open(path);
    let mut bytes = vec![0; model.len()];
    component.read(&mut bytes, meta.offset).unwrap();
    assert!(bytes == model);
    assert_eq!(load(&component, "shared").unwrap().meta, meta);
}

#[test]
fn files() {
    for (arrangement, options) in [
        (Arrangement::Aligned, Options::default()),
        (Arrangement::Aligned, THREADS),
        (Arrangement::FreeBsd, Options::default()),
    ] {
        let file = Scratch::new(4 * MIB);
        against_a_model(file.path(), arrangement, 512, options);
    }
}

#[test]
fn disks() {
    for (sector, arrangement, options) in [
        (512, Arrangement::Aligned, Options::default()),
        (512, Arrangement::FreeBsd, THREADS),
        (4096, Arrangement::Aligned, THREADS),
        (4096, Arrangement::FreeBsd, Options::default()),
    ] {
        let disk = Loop::new(4 * MIB, sector);
        against_a_model(disk.path(), arrangement, sector.into(), options);
    }
}

#[test]
fn nothing_reaches_beyond_the_data_area() {
    let file = Scratch::new(4 * MIB);
    let component = open(file.path());
    let meta = made(&component, Arrangement::FreeBsd);
    let mut front = vec![0; 4608];
    component.read(&mut front, 0).unwrap();
    drop(component);
    for options in [Options::default(), THREADS] {
        let mut storage = start(file.path(), options);
        let end = meta.datasize;
        let far = u64::MAX - 4095;
        for offset in [end, end - 512, far, u64::MAX, u64::MAX - 4607] {
            for io in [
                Io::Read { offset, length: 1024 },
                write(offset, 1024, 1),
                Io::Zero { offset, length: 1024 },
                Io::Discard { offset, length: 1024 },
            ] {
                assert_eq!(one(&mut storage, io.clone()), Err(Errno::EINVAL), "{io:?}");
            }
        }
        let long = Io::Zero { offset: 1, length: u64::MAX };
        assert_eq!(one(&mut storage, long), Err(Errno::EINVAL));
        assert_eq!(one(&mut storage, Io::Read { offset: 0, length: u32::MAX }), Err(Errno::EINVAL));
        // Up to the very end is fine.
        assert_eq!(one(&mut storage, write(end - 512, 512, 1)), Ok(None));
        assert_eq!(one(&mut storage, write(0, 512, 1)), Ok(None));
    }
    let component = open(file.path());
    let mut now = vec![0; 4608];
    component.read(&mut now, 0).unwrap();
    assert_eq!(now, front);
    assert_eq!(component.medium().size, 4 * MIB);
}

#[test]
fn map_and_metadata() {
    let file = Scratch::new(4 * MIB);
    for arrangement in [Arrangement::Aligned, Arrangement::FreeBsd] {
        let mut meta = made(&open(file.path()), arrangement);
        let mut storage = start(file.path(), Options::default());
        one(&mut storage, write(0, 4096, 0xdd)).unwrap();
        for round in 1..6_u8 {
            let map = Data::from(vec![round; 4096]);
            meta.localcnt = round.into();
            meta.consistency = Consistency::Inconsistent;
            meta.prevrole = Role::Secondary;
            storage.push(Token(1), Io::Map(map));
            storage.push(Token(2), Io::Meta(Box::new(meta.clone())));
            storage.push(Token(3), Io::Flush);
            storage.set_metaflush(round % 3 != 0);
            assert!(wait(&mut storage).iter().all(|done| done.result == Ok(None)));
            let looking = Component::open_to_look(file.path()).unwrap();
            let found = load(&looking, "shared").unwrap();
            assert_eq!(found.meta, meta);
            let size = found.layout.map_size as usize;
            assert!(found.map[..size].iter().all(|byte| *byte == round));
        }
        // FreeBSD's map is shorter than what it is in memory: the data behind it is as it was.
        let read = one(&mut storage, Io::Read { offset: 0, length: 4096 }).unwrap().unwrap();
        assert!(read.iter().all(|byte| *byte == 0xdd));
        let other = Metadata { offset: meta.offset + 512, ..meta.clone() };
        assert_eq!(one(&mut storage, Io::Meta(Box::new(other))), Err(Errno::EINVAL));
        assert_eq!(one(&mut storage, Io::Flush), Ok(None));
    }
}

/// A map that was written without flushing it is not taken for one that is on stable storage.
#[test]
fn the_same_map_again() {
    let file = Scratch::new(4 * MIB);
    made(&open(file.path()), Arrangement::Aligned);
    let mut storage = start(file.path(), Options::default());
    let map = |byte| Io::Map(Data::from(vec![byte; 4096]));
    for byte in [1, 1, 2, 1] {
        assert_eq!(one(&mut storage, map(byte)), Ok(None));
        let looking = Component::open_to_look(file.path()).unwrap();
        assert_eq!(load(&looking, "shared").unwrap().map, vec![byte; 4096]);
    }
}

#[test]
fn no_room() {
    let memory = Tmpfs::new(128 << 10);
    let path = memory.file(8 * MIB);
    made(&open(&path), Arrangement::Aligned);
    for options in [Options::default(), THREADS] {
        let mut storage = start(&path, options);
        let full = Err(Errno(libc::ENOSPC));
        assert_eq!(one(&mut storage, write(0, 1 << 20, 1)), full);
        let results: Vec<_> =
            (0..64).map(|n| one(&mut storage, write(MIB + n * 4096, 4096, 1))).collect();
        assert!(results.contains(&full), "{results:?}");
        // Room is given back, and is there again.
        one(&mut storage, Io::Discard { offset: 0, length: 4 * MIB }).unwrap();
        assert_eq!(one(&mut storage, write(0, 4096, 1)), Ok(None));
        one(&mut storage, Io::Discard { offset: 0, length: 4 * MIB }).unwrap();
    }
}

#[test]
fn a_file_that_became_shorter() {
    let file = Scratch::new(8 * MIB);
    made(&open(file.path()), Arrangement::Aligned);
    let mut storage = start(file.path(), Options::default());
    let handle = std::fs::OpenOptions::new().write(true).open(file.path()).unwrap();
    handle.set_len(4 * MIB).unwrap();
    assert!(one(&mut storage, Io::Read { offset: 0, length: 4096 }).is_ok());
    let read = one(&mut storage, Io::Read { offset: 5 * MIB, length: 4096 });
    assert_eq!(read, Err(Errno::EIO));
}

/// A write that the system has taken and then cannot store: the next flush says so, and so does
/// every one after it, though the kernel tells only once.
#[test]
fn what_was_lost_once_is_not_forgotten() {
    let memory = Tmpfs::new(256 << 10);
    let disk = Loop::over(&memory.file(8 * MIB));
    made(&open(disk.path()), Arrangement::Aligned);
    for by_map in [false, true] {
        let mut storage = start(disk.path(), Options::default());
        assert_eq!(one(&mut storage, Io::Flush), Ok(None));
        assert_eq!(one(&mut storage, write(0, 1 << 20, 1)), Ok(None));
        // Whoever hears of it first: the kernel has no second word of it.
        if by_map {
            storage.push(Token(1), Io::Flush);
            storage.push(Token(2), Io::Flush);
            storage.submit();
            storage.push(Token(3), Io::Map(Data::from(vec![1; 4096])));
            let done = wait(&mut storage);
            assert!(done[..2].iter().all(|done| done.result.is_err()), "{done:?}");
        } else {
            assert_eq!(one(&mut storage, Io::Flush), Err(Errno::EIO));
        }
        for _ in 0..3 {
            assert_eq!(one(&mut storage, Io::Flush), Err(Errno::EIO));
        }
        storage.shared.component.sync().unwrap();
        assert_eq!(one(&mut storage, Io::Flush), Err(Errno::EIO));
    }
}

#[test]
fn what_was_taken_is_done_before_the_end() {
    let file = Scratch::new(64 * MIB);
    let meta = made(&open(file.path()), Arrangement::Aligned);
    let mut storage = start(file.path(), THREADS);
    for n in 0..200 {
        storage.push(Token(n), write(n * 65_536, 65_536, n as u8));
    }
    storage.push(Token(200), Io::Meta(Box::new(Metadata { localcnt: 9, ..meta.clone() })));
    assert_eq!(storage.pending(), 201);
    drop(storage);
    let component = open(file.path());
    assert_eq!(load(&component, "shared").unwrap().meta.localcnt, 9);
    for n in 0..200 {
        let mut byte = [0];
        component.read(&mut byte, meta.offset + n * 65_536 + 65_535).unwrap();
        assert_eq!(byte, [n as u8]);
    }
}
