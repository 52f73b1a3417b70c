//! The block by hand, both kinds of copies round, and torn at every byte.

use super::*;
use crate::layout::EXTENT_SIZE;
use proptest::prelude::*;

/// A resource as it was before and after a change: counters and role differ, and their lengths.
fn metadata(localcnt: u64, prevrole: Role, offset: u64) -> Metadata {
    Metadata {
        resource: "shared".to_owned(),
        datasize: 1_073_737_216 - 1_048_576,
        extentsize: EXTENT_SIZE,
        keepdirty: 64,
        offset,
        resuid: 0x0123_4567_89ab_cdef,
        localcnt,
        remotecnt: 7,
        prevrole,
        consistency: Consistency::Inconsistent,
    }
}

const ALIGNED: u64 = 1 << 20;

fn foreign(meta: &Metadata) -> Vec<u8> {
    let mut out = Vec::new();
    put_fields(&mut out, meta).unwrap();
    out.resize(SIZE, 0);
    out
}

fn record(meta: &Metadata, sequence: u64, base: u64) -> Vec<u8> {
    Record { meta: meta.clone(), sequence, base }.encode().unwrap()
}

/// The bytes of FreeBSD's block, from the specification and by hand.
#[test]
fn a_block_of_freebsd() {
    let entry = |kind: u8, name: &str, value: &[u8]| {
        let mut out = vec![kind, name.len() as u8 + 1];
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        out.extend_from_slice(name.as_bytes());
        out.resize(6 + (name.len() + 1).next_multiple_of(8), 0);
        out.extend_from_slice(value);
        out.resize(6 + (out.len() - 6).next_multiple_of(8), 0);
        out
    };
    let mut block = [
        entry(0x11, "resource", b"test\0"),
        entry(8, "datasize", &[0, 0xee, 0xff, 0x3f, 0, 0, 0, 0]),
        entry(6, "extentsize", &[0, 0, 0x20, 0]),
        entry(6, "keepdirty", &[64, 0, 0, 0]),
        entry(8, "offset", &[0, 0x12, 0, 0, 0, 0, 0, 0]),
        entry(8, "resuid", &[8, 7, 6, 5, 4, 3, 2, 1]),
        entry(8, "localcnt", &[1, 0, 0, 0, 0, 0, 0, 0]),
        entry(8, "remotecnt", &[0, 1, 0, 0, 0, 0, 0, 0]),
        entry(0x11, "prevrole", b"primary\0"),
    ]
    .concat();
    block.resize(SIZE, 0);
    let meta = Metadata {
        resource: "test".to_owned(),
        datasize: 1_073_737_216,
        extentsize: 2_097_152,
        keepdirty: 64,
        offset: 4608,
        resuid: 0x0102_0304_0506_0708,
        localcnt: 1,
        remotecnt: 256,
        prevrole: Role::Primary,
        consistency: Consistency::Consistent,
    };
    let read = Block::read(&block);
    assert_eq!(read.body, Ok(Body::Foreign(meta.clone())));
    assert_eq!((read.records, read.marked), (None, false));
    assert_eq!(foreign(&meta), block);
    // Ours says the same to FreeBSD's reader, which takes names in any order and ignores others.
    let ours = Block::encode(&meta, 5).unwrap();
    assert_eq!(ours.len(), SIZE);
    assert_eq!(fields(Nv::decode(&ours).unwrap()), Ok(meta.clone()));
    assert_eq!(Block::read(&ours).body, Ok(Body::Ours(meta.clone(), 5)));
    assert_eq!(ours[MARK_AT..], [0; 32], "no room, no mark");
    // The list fits a sector of 512 bytes: a device that does not tear those does not tear this.
    assert!(ours[512..].iter().all(|byte| *byte == 0));
}

const MARK_AT: usize = SIZE - 32;

/// Hazard A5: one field less, or of another type, and FreeBSD refuses the block. So do we.
#[test]
fn a5_all_nine_fields_are_there() {
    let meta = metadata(3, Role::Secondary, ALIGNED);
    for encoded in [foreign(&meta), Block::encode(&meta, 1).unwrap()] {
        let entries = nv::Entries::of(&encoded).map(Result::unwrap);
        let nine: Vec<_> = entries.filter(|e| !e.name.starts_with(b"hl_")).collect();
        assert_eq!(nine.len(), 9);
        for left_out in 0..9 {
            let mut out = Vec::new();
            for (index, entry) in nine.iter().enumerate() {
                match entry.kind {
                    _ if index == left_out => {}
                    nv::Kind::String => {
                        let name = str::from_utf8(entry.name).unwrap();
                        nv::put_string(&mut out, name, entry.string().unwrap()).unwrap();
                    }
                    nv::Kind::Uint32 => {
                        let value = nv::Value::Uint32(entry.u32().unwrap());
                        nv::put(&mut out, entry.name, &value).unwrap();
                    }
                    _ => {
                        let value = nv::Value::Uint64(entry.u64().unwrap());
                        nv::put(&mut out, entry.name, &value).unwrap();
                    }
                }
            }
            let nv = Nv::decode(&out).unwrap();
            assert!(matches!(fields(nv), Err(MetadataError::Missing(_))), "{left_out}");
            nv::put(&mut out, nine[left_out].name, &nv::Value::Int16(1)).unwrap();
            let nv = Nv::decode(&out).unwrap();
            let wrong = Err(MetadataError::Nv(NvError::WrongKind {
                name: String::from_utf8(nine[left_out].name.to_vec()).unwrap(),
                wanted: nine[left_out].kind,
                found: nv::Kind::Int16,
            }));
            assert_eq!(fields(nv), wrong, "{left_out}");
        }
    }
}

#[test]
fn nothing_there() {
    let read = Block::read(&[0; SIZE]);
    assert_eq!(choose(&read, [None, None]), Err(MetadataError::Empty));
    assert_eq!(choose(&Block::read(&[7; SIZE]), [None, None]).map(|f| f.sequence).ok(), None);
    assert_eq!(Block::read(&[0; 100]).body, Err(MetadataError::Size(100)));
    assert_eq!(Record::decode(&[0; SIZE]), Err(MetadataError::NoRecord));
    let long = Metadata { resource: "x".repeat(255), ..metadata(1, Role::Init, ALIGNED) };
    assert_eq!(Block::encode(&long, 1), Err(MetadataError::Name(255)));
}

/// All mixtures of two blocks: the beginning of one, the rest of the other. Cuts between bytes that
/// are the same in both are left out: they make no other mixture.
fn mixtures<'a>(old: &'a [u8], new: &'a [u8]) -> impl Iterator<Item = (usize, Vec<u8>)> + 'a {
    let cuts = (0..=SIZE).filter(move |cut| *cut == 0 || old[cut - 1] != new[cut - 1]);
    cuts.flat_map(move |cut| {
        let mix = |one: &[u8], other: &[u8]| (cut, [&one[..cut], &other[cut..]].concat());
        [mix(old, new), mix(new, old)]
    })
}

/// Hazard H14. Records are written before the block: whatever is left of the block, the new record
/// holds; and whatever is left of a record, the old one does.
#[test]
fn h14_torn_at_every_byte() {
    for (from, to) in [(Role::Init, Role::Secondary), (Role::Secondary, Role::Primary)] {
        let (old, new) = (metadata(300, from, ALIGNED), metadata(515, to, ALIGNED));
        let blocks = [Block::encode(&old, 8).unwrap(), Block::encode(&new, 9).unwrap()];
        let older = record(&metadata(1, Role::Init, ALIGNED), 7, 0);
        let records = [record(&old, 8, 0), record(&new, 9, 0)];
        for (cut, torn) in mixtures(&blocks[0], &blocks[1]) {
            let block = Block::read(&torn);
            assert_eq!(block.records, Some(ALIGNED - 8192), "{cut}");
            let found = choose(&block, [Some(&records[0]), Some(&records[1])]).unwrap();
            assert_eq!((found.meta, found.sequence, found.slot), (new.clone(), 9, 0), "{cut}");
        }
        for (cut, torn) in mixtures(&older, &records[1]) {
            let found = choose(&Block::read(&blocks[0]), [Some(&records[0]), Some(&torn)]).unwrap();
            let (meta, sequence) = if torn == records[1] { (&new, 9) } else { (&old, 8) };
            assert_eq!((&found.meta, found.sequence), (meta, sequence), "{cut}");
            // The next to be written is the other one.
            assert_eq!(found.slot, usize::from(sequence == 8), "{cut}");
        }
    }
}

/// The same where FreeBSD's block is what was there before.
#[test]
fn h14_torn_on_top_of_freebsds_block() {
    for role in [Role::Init, Role::Primary, Role::Secondary] {
        let old = metadata(300, role, ALIGNED);
        let mut there = foreign(&old);
        block::mark(&mut there, ALIGNED);
        let base = Block::read(&there).fingerprint;
        for to in [Role::Init, Role::Primary, Role::Secondary] {
            let new = metadata(515, to, ALIGNED);
            let stale = record(&metadata(1, Role::Init, ALIGNED), 8, 0);
            let fresh = record(&new, 9, base);
            for (cut, torn) in mixtures(&there, &Block::encode(&new, 9).unwrap()) {
                let block = Block::read(&torn);
                let found = choose(&block, [Some(&stale), Some(&fresh)]).unwrap();
                assert_eq!((found.meta, found.sequence), (new.clone(), 9), "{cut}");
            }
        }
    }
}

/// Putting the mark into FreeBSD's block leaves what it says, wherever it is torn.
#[test]
fn the_mark_leaves_the_list_alone() {
    let meta = metadata(300, Role::Primary, ALIGNED);
    let old = foreign(&meta);
    let mut new = old.clone();
    block::mark(&mut new, ALIGNED);
    assert!(Block::read(&new).marked && !Block::read(&old).marked);
    let bare = Metadata { consistency: Consistency::Consistent, ..meta };
    for (_, torn) in mixtures(&old, &new) {
        let read = Block::read(&torn);
        assert_eq!(read.body, Ok(Body::Foreign(bare.clone())));
        assert_eq!(read.records, Some(ALIGNED - 8192));
    }
}

/// Where there is no room for records a torn block is at least known to be torn; and devices that
/// write 512 bytes whole or not at all do not tear it.
#[test]
fn h14_a_torn_block_without_records_is_refused() {
    let (old, new) = (metadata(300, Role::Init, 4608), metadata(515, Role::Primary, 4608));
    let (old, new) = (Block::encode(&old, 8).unwrap(), Block::encode(&new, 9).unwrap());
    for (cut, torn) in mixtures(&old, &new) {
        let block = Block::read(&torn);
        assert_eq!(block.records, None);
        if torn == old || torn == new {
            assert!(block.body.is_ok(), "{cut}");
        } else {
            assert!(choose(&block, [None, None]).is_err(), "{cut}");
            assert!(!cut.is_multiple_of(512), "{cut}");
        }
    }
}

/// Any byte damaged: of one copy, and nothing is lost.
#[test]
fn one_damaged_byte_anywhere() {
    let (old, new) = (metadata(300, Role::Init, ALIGNED), metadata(515, Role::Primary, ALIGNED));
    let block = Block::encode(&new, 9).unwrap();
    let records = [record(&old, 8, 0), record(&new, 9, 0)];
    for at in 0..SIZE {
        let mut bad = block.clone();
        bad[at] ^= 0x10;
        let read = Block::read(&bad);
        assert_eq!(read.records, Some(ALIGNED - 8192), "{at}");
        assert_eq!(read.body.is_ok(), at >= MARK_AT, "{at}");
        let mut bad = records[1].clone();
        bad[at] ^= 0x10;
        assert!(Record::decode(&bad).is_err(), "{at}");
    }
    let mut bad = block.clone();
    bad[1000] ^= 0x10;
    let found = choose(&Block::read(&bad), [Some(&records[0]), Some(&records[1])]).unwrap();
    assert_eq!((found.meta, found.sequence), (new.clone(), 9));
    let mut bad = records[1].clone();
    bad[1000] ^= 0x10;
    let found = choose(&Block::read(&block), [Some(&records[0]), Some(&bad)]).unwrap();
    assert_eq!((found.meta, found.sequence, found.slot), (new, 9, 1));
    assert!(found.note.is_some());
}

#[test]
fn freebsd_has_used_it_meanwhile() {
    let ours = metadata(300, Role::Secondary, ALIGNED);
    let its =
        Metadata { consistency: Consistency::Consistent, ..metadata(301, Role::Primary, ALIGNED) };
    let records = [record(&ours, 8, 0), record(&ours, 7, 0)];
    let records = [Some(&records[0][..]), Some(&records[1][..])];
    // It drops our entries and fills up with zeroes.
    let block = Block::read(&foreign(&its));
    let found = choose(&block, records).unwrap();
    assert_eq!(found.meta, Metadata { consistency: Consistency::Inconsistent, ..its.clone() });
    assert_eq!((found.sequence, found.slot), (8, 1));
    // Another resource was created there: what the records say is of no concern.
    let other = Metadata { resuid: 99, ..its };
    let found = choose(&Block::read(&foreign(&other)), records).unwrap();
    assert_eq!(found.meta, other);
}

#[test]
fn what_lies_in_the_data_area_is_no_record() {
    // A client has written a perfect record where one might be if the data began later.
    let mut block = foreign(&metadata(3, Role::Primary, 4608));
    block[0] = 0xff;
    let read = Block::read(&block);
    assert!(read.body.is_err());
    assert_eq!(read.records, None);
    // A mark that is not whole is none.
    let mut block = vec![1; SIZE];
    block::mark(&mut block, ALIGNED);
    assert_eq!(Block::read(&block).records, Some(ALIGNED - 8192));
    block[MARK_AT + 17] ^= 1;
    assert_eq!(Block::read(&block).records, None);
}

proptest! {
    #[test]
    fn round(
        resource in "[a-zA-Z0-9_.-]{1,254}",
        numbers: [u64; 5],
        sizes: [u32; 2],
        role in 0..3_usize,
        state in 1..4_u8,
        sequence: u64,
        base: u64,
    ) {
        let meta = Metadata {
            resource,
            datasize: numbers[0],
            extentsize: sizes[0],
            keepdirty: sizes[1],
            offset: numbers[1],
            resuid: numbers[2],
            localcnt: numbers[3],
            remotecnt: numbers[4],
            prevrole: [Role::Init, Role::Primary, Role::Secondary][role],
            consistency: state_of(state).unwrap(),
        };
        let block = Block::read(&Block::encode(&meta, sequence).unwrap());
        prop_assert_eq!(block.body, Ok(Body::Ours(meta.clone(), sequence)));
        let record = Record { meta, sequence, base };
        prop_assert_eq!(Record::decode(&record.encode().unwrap()), Ok(record));
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
        let mut whole = bytes.clone();
        whole.resize(SIZE, 0);
        for bytes in [bytes, whole] {
            let block = Block::read(&bytes);
            let _ = choose(&block, [Some(&bytes), None]);
        }
    }
}
