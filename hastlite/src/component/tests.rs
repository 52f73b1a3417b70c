//! Files and loop devices, as the kernel really has them. Root is needed.

use super::*;
use crate::storage::testing::{Loop, Scratch, Tmpfs, open};
use std::os::unix::fs::MetadataExt;

const MIB: u64 = 1 << 20;

fn fill(component: &Component, offset: u64, length: u64, byte: u8) {
    component.write(&vec![byte; length as usize], offset).unwrap();
}

fn all(component: &Component, offset: u64, length: u64) -> Option<u8> {
    let mut bytes = vec![0; length as usize];
    component.read(&mut bytes, offset).unwrap();
    bytes.iter().all(|byte| *byte == bytes[0]).then_some(bytes[0])
}

#[test]
fn sizes() {
    let file = Scratch::new(3 * MIB + 7);
    let component = open(file.path());
    assert_eq!(component.medium(), Medium { size: 3 * MIB + 7, sector: 512 });
    assert_eq!(component.kind(), Kind::File);
    for sector in [512, 4096] {
        let disk = Loop::new(8 * MIB, sector);
        let component = open(disk.path());
        assert_eq!(component.medium(), Medium { size: 8 * MIB, sector });
        assert_eq!(component.kind(), Kind::Device);
    }
}

#[test]
fn only_one_has_it() {
    let file = Scratch::new(MIB);
    let disk = Loop::new(MIB, 512);
    for path in [file.path(), disk.path()] {
        let first = open(path);
        let error = Component::open(path).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.source.kind(), io::ErrorKind::ResourceBusy, "{text}");
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        // Looking is allowed.
        let looking = Component::open_to_look(path).unwrap();
        assert_eq!(looking.medium(), first.medium());
        assert!(looking.write(&[0; 512], 0).is_err());
        // What is open stays what it is in the hands of another.
        let passed = Component::from_fd(first.into()).unwrap();
        assert!(Component::open(path).is_err());
        drop(passed);
        open(path);
    }
}

#[test]
fn a_disk_that_is_in_use_otherwise_is_refused() {
    let disk = Loop::new(MIB, 512);
    let claimed = OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(disk.path());
    let error = Component::open(disk.path()).unwrap_err();
    assert_eq!(error.source.raw_os_error(), Some(libc::EBUSY));
    drop(claimed);
    open(disk.path());
}

#[test]
fn neither_file_nor_disk() {
    for path in ["/", "/dev/null", "/dev/full", "/nonexistent"] {
        assert!(Component::open(Path::new(path)).is_err(), "{path}");
        assert!(Component::open_to_look(Path::new(path)).is_err(), "{path}");
    }
}

#[test]
fn what_is_written_is_read() {
    let file = Scratch::new(MIB);
    let disk = Loop::new(MIB, 512);
    for path in [file.path(), disk.path()] {
        let component = open(path);
        let bytes: Vec<u8> = (0..20_000_u32).map(|n| (n % 251) as u8).collect();
        component.write(&bytes, 1536).unwrap();
        component.write_durably(&bytes[..1024], 512).unwrap();
        component.sync().unwrap();
        let mut back = vec![0; 20_000];
        component.read(&mut back, 1536).unwrap();
        assert_eq!(back, bytes);
        assert!(component.read_at_once(&mut back[..1024], 512), "it has just been written");
        assert_eq!(back[..1024], bytes[..1024]);
        let error = component.read(&mut back, MIB - 10_000).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(!component.read_at_once(&mut back, MIB - 10_000));
    }
}

#[test]
fn zeroes_and_discards() {
    let file = Scratch::new(4 * MIB);
    let disk = Loop::new(4 * MIB, 512);
    let memory = Tmpfs::new(8 * MIB);
    let in_memory = memory.file(4 * MIB);
    for path in [file.path(), disk.path(), &in_memory] {
        let component = open(path);
        fill(&component, 0, 4 * MIB, 0xaa);
        // Ranges that are not whole pages, not whole sectors (of a file), and none at all.
        component.zero(MIB + 512, MIB).unwrap();
        component.zero(0, 0).unwrap();
        component.discard(0, 0).unwrap();
        assert_eq!(all(&component, 0, MIB + 512), Some(0xaa));
        assert_eq!(all(&component, MIB + 512, MIB), Some(0));
        assert_eq!(all(&component, 2 * MIB + 512, MIB), Some(0xaa));
        component.zero(3, 5).unwrap();
        assert_eq!(all(&component, 3, 5), Some(0));
        assert_eq!((all(&component, 0, 3), all(&component, 8, 512)), (Some(0xaa), Some(0xaa)));
        component.discard(3 * MIB, MIB / 2).unwrap();
        assert_eq!(all(&component, 2 * MIB + 512, MIB - 512), Some(0xaa));
        assert_eq!(all(&component, 3 * MIB + MIB / 2, MIB / 2), Some(0xaa));
        component.sync().unwrap();
        // The same as seen by the file under the device.
        assert_eq!(component.medium().size, 4 * MIB);
    }
    // A discard gives room back.
    let before = std::fs::metadata(&in_memory).unwrap().blocks();
    let component = open(&in_memory);
    component.discard(0, 3 * MIB).unwrap();
    assert!(std::fs::metadata(&in_memory).unwrap().blocks() < before);
}

#[test]
fn no_room() {
    let memory = Tmpfs::new(MIB);
    let component = open(&memory.file(4 * MIB));
    let error = component.write(&vec![1; 2 * MIB as usize], 0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    let error = component.write_durably(&vec![1; 2 * MIB as usize], MIB).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
}
