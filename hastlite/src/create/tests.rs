//! New components, read back; used, changed and torn ones.

use super::*;
use crate::layout::Arrangement;
use crate::metadata::{Block, Body, SIZE};
use crate::storage::testing::{Loop, Scratch, Tmpfs, open};
use crate::storage::{LoadError, dump, load};

const MIB: u64 = 1 << 20;

fn wish(arrangement: Arrangement) -> Options {
    Options { wish: Wish { arrangement, ..Wish::default() }, ..Options::default() }
}

fn read(component: &Component, offset: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    component.read(&mut bytes, offset).unwrap();
    bytes
}

#[test]
fn created_and_loaded() {
    let file = Scratch::new(1 << 30);
    let disks = [Loop::new(64 * MIB, 512), Loop::new(64 * MIB, 4096)];
    for path in [file.path(), disks[0].path(), disks[1].path()] {
        for arrangement in [Arrangement::Aligned, Arrangement::FreeBsd] {
            let component = open(path);
            // What was there before does not matter.
            component.write(&[0xff; 3 << 20], 0).unwrap();
            let made = create(&component, "shared", &wish(arrangement)).unwrap();
            let loaded = load(&component, "shared").unwrap();
            assert_eq!((&loaded.meta, loaded.note), (&made, None));
            assert_eq!(dump(&component), Ok(made.clone()));
            assert_eq!(loaded.map, vec![0; 4096]);
            assert_eq!(loaded.layout.records.is_some(), arrangement == Arrangement::Aligned);
            let other = LoadError::Other { found: "shared".to_owned() };
            assert_eq!(load(&component, "other").unwrap_err(), other);
            // The data is as it was.
            assert!(read(&component, made.offset, MIB).iter().all(|byte| *byte == 0xff));
        }
    }
}

/// The example of a gibibyte: 4608 and 1 073 737 216, and FreeBSD finds its list at 0, and a map.
#[test]
fn as_freebsd_would_have_made_it() {
    let file = Scratch::new(1 << 30);
    let component = open(file.path());
    let meta = create(&component, "shared", &wish(Arrangement::FreeBsd)).unwrap();
    assert_eq!((meta.offset, meta.datasize), (4608, 1_073_737_216));
    assert_eq!((meta.extentsize, meta.keepdirty), (2_097_152, 64));
    assert_eq!((meta.resuid, meta.localcnt, meta.remotecnt), (0, 0, 0));
    assert_eq!(read(&component, 4096, 512), [0; 512]);
}

#[test]
fn options() {
    let file = Scratch::new(64 * MIB);
    let component = open(file.path());
    component.write(&vec![0xff; 64 << 20], 0).unwrap();
    let options = Options {
        wish: Wish { extentsize: 65_536, mediasize: Some(32 * MIB), ..Wish::default() },
        keepdirty: 3,
        zero: true,
    };
    let meta = create(&component, "r", &options).unwrap();
    assert_eq!((meta.extentsize, meta.keepdirty, meta.datasize), (65_536, 3, 31 * MIB));
    assert!(read(&component, MIB, 31 * MIB).iter().all(|byte| *byte == 0));
    assert_eq!(read(&component, 32 * MIB, 1), [0xff]);
}

#[test]
fn what_cannot_be_leaves_the_component_alone() {
    let file = Scratch::new(8 * MIB);
    let component = open(file.path());
    let made = create(&component, "shared", &Options::default()).unwrap();
    let wrong = |wish| Options { wish, ..Options::default() };
    for options in [
        wrong(Wish { extentsize: 3_000_000, ..Wish::default() }),
        wrong(Wish { extentsize: 256, ..Wish::default() }),
        wrong(Wish { mediasize: Some(8 * MIB + 1), ..Wish::default() }),
        wrong(Wish { mediasize: Some(MIB), ..Wish::default() }),
        wrong(Wish { datasize: Some(8 * MIB), ..Wish::default() }),
        wrong(Wish { datasize: Some(1000), ..Wish::default() }),
    ] {
        assert!(create(&component, "shared", &options).is_err(), "{options:?}");
    }
    for name in ["", "a\0b", &"x".repeat(255)] {
        assert!(create(&component, name, &Options::default()).is_err(), "{name:?}");
    }
    assert_eq!(dump(&component), Ok(made));
}

#[test]
fn no_room_leaves_nothing_to_be_used() {
    let memory = Tmpfs::new(64 << 10);
    let path = memory.file(512 * MIB);
    let component = open(&path);
    let fine = Options { wish: Wish { extentsize: 512, ..Wish::default() }, ..Options::default() };
    create(&component, "shared", &Options::default()).unwrap();
    component.write(&[1; 16 << 10], 8 * MIB).unwrap();
    // A hundred kilobytes of map do not fit.
    let error = create(&component, "shared", &fine).unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    assert!(load(&component, "shared").is_err());
}

/// Changes one after the other, each found by whoever loads next; of both kinds.
#[test]
fn metadata_written_again_and_again() {
    let file = Scratch::new(8 * MIB);
    for arrangement in [Arrangement::Aligned, Arrangement::FreeBsd] {
        let component = open(file.path());
        let mut meta = create(&component, "shared", &wish(arrangement)).unwrap();
        for round in 1..20 {
            let mut loaded = load(&component, "shared").unwrap();
            assert_eq!((&loaded.meta, loaded.note), (&meta, None), "{round}");
            meta.localcnt = round;
            meta.consistency = Consistency::Outdated;
            loaded.book.write(&component, &meta).unwrap();
            meta.remotecnt = round;
            loaded.book.write(&component, &meta).unwrap();
        }
        let shifted = Metadata { offset: meta.offset + 512, ..meta.clone() };
        assert!(load(&component, "shared").unwrap().book.write(&component, &shifted).is_err());
        assert_eq!(dump(&component), Ok(meta));
    }
}

/// Every prefix of the writes that a change makes, the last of them torn somewhere: the component
/// holds what was before or what is new, and once the change is complete only that.
#[test]
fn h14_a_change_interrupted_anywhere() {
    let file = Scratch::new(8 * MIB);
    let component = open(file.path());
    let old = create(&component, "shared", &Options::default()).unwrap();
    let new = Metadata {
        localcnt: 1,
        resuid: 77,
        prevrole: Role::Primary,
        consistency: Consistency::Outdated,
        ..old.clone()
    };
    let its = {
        // The same as FreeBSD leaves it: without our entries and without the mark.
        let mut block = Block::encode(&old, 1).unwrap();
        let list = block[90..600].to_vec();
        block.fill(0);
        block[..510].copy_from_slice(&list);
        block
    };
    assert_eq!(Block::read(&its).records, Some(MIB - 8192));
    for foreign in [false, true] {
        if foreign {
            component.write(&its, 0).unwrap();
        }
        let places = [0, MIB - 8192, MIB - 4096];
        let before = places.map(|at| read(&component, at, 4096));
        let mut loaded = load(&component, "shared").unwrap();
        loaded.book.write(&component, &new).unwrap();
        let after = places.map(|at| read(&component, at, 4096));
        let found = load(&component, "shared").unwrap();
        assert_eq!((found.meta, found.note), (new.clone(), None));
        // Record, then block; the other record only after a block of FreeBSD's.
        assert!(before[2] != after[2] && (before[1] != after[1]) == foreign);
        let mut steps = vec![(2, 0), (0, 1)];
        if foreign {
            steps.push((1, 2));
        }
        let mut there = before.clone();
        if foreign {
            crate::metadata::mark(&mut there[0], MIB);
        }
        for (place, done) in steps {
            for cut in (0..SIZE).step_by(41).chain([SIZE]) {
                for turned in [false, true] {
                    let (one, other) = if turned {
                        (&there[place], &after[place])
                    } else {
                        (&after[place], &there[place])
                    };
                    let torn = [&one[..cut], &other[cut..]].concat();
                    for (which, at) in places.iter().enumerate() {
                        let bytes = if which == place { &torn } else { &there[which] };
                        component.write(bytes, *at).unwrap();
                    }
                    let found = load(&component, "shared").unwrap().meta;
                    assert!(found == new || done == 0 && found == old, "{done} {cut} {turned}");
                }
            }
            there[place].clone_from(&after[place]);
        }
        // As it was, for the other round.
        for (bytes, at) in before.iter().zip(places) {
            component.write(bytes, at).unwrap();
        }
    }
}

/// On top of a block of FreeBSD's the mark is there before anything else: without it the new record
/// would not be found if the block were torn.
#[test]
fn h14_the_mark_comes_first() {
    let memory = Tmpfs::new(64 << 10);
    let path = memory.file(8 * MIB);
    let component = open(&path);
    let meta = create(&component, "shared", &Options::default()).unwrap();
    let mut block = Block::encode(&meta, 1).unwrap();
    block.copy_within(90..600, 0);
    block[510..].fill(0);
    component.write(&block, 0).unwrap();
    let mut loaded = load(&component, "shared").unwrap();
    // There is no room for a record any more: the block is all that can be written.
    component.discard(MIB - 8192, 8192).unwrap();
    for at in 0.. {
        if component.write(&[1; 4096], 2 * MIB + at * 4096).is_err() {
            break;
        }
    }
    let error = loaded.book.write(&component, &meta).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    let read = Block::read(&read(&component, 0, 4096));
    assert!(read.marked && matches!(read.body, Ok(Body::Foreign(found)) if found == meta));
}

#[test]
fn a_component_that_shrank_or_is_cut_short() {
    let file = Scratch::new(8 * MIB);
    let component = open(file.path());
    create(&component, "shared", &Options::default()).unwrap();
    drop(component);
    for size in [0, 100, 4096, 6000, 7 * MIB] {
        let handle = std::fs::OpenOptions::new().write(true).open(file.path()).unwrap();
        handle.set_len(size).unwrap();
        let component = open(file.path());
        assert!(load(&component, "shared").is_err(), "{size}");
        drop(component);
        let block = open(file.path());
        let _ = dump(&block);
        handle.set_len(8 * MIB).unwrap();
    }
}
