//! What the activemap must never forget.

use super::*;

const EXTENT: u32 = 1 << 16;

fn map(extents: u64, keepdirty: u32) -> ActiveMap {
    ActiveMap::new(extents * u64::from(EXTENT), EXTENT, keepdirty, &[0; 512])
}

fn update(map: &mut ActiveMap) -> Vec<u8> {
    let (bytes, _) = map.begin_update();
    map.end_update(true);
    bytes.to_vec()
}

#[test]
fn sizes_by_section_5_1() {
    // 1 GiB, 2 MiB extents, sectors of 512 and of 4096 bytes.
    assert_eq!(map_size((1 << 30) - 4096, 2 << 20, 512), 512);
    assert_eq!(map_size((1 << 30) - 4096, 2 << 20, 4096), 4096);
    assert_eq!(extents(1_073_737_216, 2 << 20), 512);
    // 512 bytes of map are 4096 extents: 8 GiB of 2 MiB ones.
    assert_eq!(map_size(8 << 30, 2 << 20, 512), 512);
    assert_eq!(map_size((8 << 30) + 512, 2 << 20, 512), 1024);
}

#[test]
fn a_write_waits_until_its_bit_is_on_disk_and_only_then() {
    let mut m = map(100, 4);
    assert_eq!(m.begin_write(3..5, 0), Some(1));
    let (bytes, generation) = m.begin_update();
    assert_eq!((bytes[0], generation), (0b1_1000, 1));
    // The same extent while the update is under way: the same update. Another: the next.
    assert_eq!(m.begin_write(3..4, 0), Some(1));
    assert_eq!(m.begin_write(9..10, 0), Some(2));
    assert_eq!(m.end_update(true), 1);
    assert_eq!(m.begin_write(3..5, 0), None);
    assert!(m.update_due());
}

#[test]
fn a_bit_that_an_update_is_taking_off_is_not_relied_on() {
    let mut m = map(100, 0);
    m.begin_write(3..4, 0);
    update(&mut m);
    m.end_write(3..4);
    m.begin_flush();
    m.end_flush(true);
    assert_eq!(m.clean(COOL * 10, false), 1);
    m.begin_update();
    assert_eq!(m.begin_write(3..4, COOL * 10), Some(3), "the update under way clears it");
    m.end_update(false);
    assert!(m.update_due());
    assert_eq!(m.begin_write(3..4, COOL * 10), Some(3));
}

#[test]
fn an_extent_stays_until_both_have_flushed_after_its_last_write() {
    let mut m = map(100, 0);
    let late = COOL * 10;
    m.begin_write(3..4, 0);
    assert_eq!(m.clean(late, true), 0);
    m.end_write(3..4);
    assert_eq!(m.clean(late, true), 0, "finished, but in a cache");
    m.begin_flush();
    m.begin_write(3..4, 0);
    m.end_write(3..4);
    m.end_flush(true);
    assert_eq!(m.clean(late, true), 0, "written again after the flush began");
    m.begin_flush();
    m.end_flush(false);
    assert_eq!(m.clean(late, true), 0, "one of the two did not flush");
    m.begin_flush();
    m.end_flush(true);
    assert_eq!(m.clean(0, false), 0, "still warm");
    assert_eq!(m.clean(late, false), 1);
}

#[test]
fn the_most_recently_written_stay() {
    let mut m = map(100, 2);
    for extent in [10usize, 30, 20, 40] {
        let now = extent as u64 * 1000;
        m.begin_write(extent..extent + 1, now);
        m.end_write(extent..extent + 1);
    }
    m.begin_flush();
    m.end_flush(true);
    assert_eq!(m.clean(1_000_000, false), 2);
    assert_eq!(m.wanted().iter().collect::<Vec<_>>(), [30, 40]);
}

#[test]
fn h1_what_was_under_way_or_unflushed_when_the_link_went_is_to_be_synchronised() {
    let mut m = map(100, 4);
    m.begin_write(1..2, 0);
    m.begin_write(2..3, 0);
    m.end_write(2..3);
    m.begin_flush();
    m.begin_write(3..4, 0);
    m.end_write(3..4);
    m.link_lost(false);
    assert_eq!(m.to_peer().iter().collect::<Vec<_>>(), [1, 2, 3]);
    // The flush that was under way ends, and takes nothing off.
    m.end_flush(true);
    assert_eq!(m.to_peer().count(), 3);
}

#[test]
fn h18_a_remote_map_leaves_writes_under_way_alone() {
    let mut m = map(100, 4);
    m.begin_write(1..2, 0);
    m.begin_write(1..2, 0);
    m.merge(&[0xff; 512], SyncSource::Primary);
    assert_eq!((m.pending(1), m.to_peer().count()), (2, 100));
    m.end_write(1..2);
    m.end_write(1..2);
    assert_eq!(m.pending(1), 0);
}

#[test]
fn synchronised_extents_stay_marked_until_flushed_on_both() {
    let mut m = map(10, 0);
    m.merge(&[0b110], SyncSource::Secondary);
    assert_eq!(m.next_sync(0), Some((1, SyncSource::Secondary)));
    m.synced(1);
    assert_eq!(m.next_sync(0), Some((2, SyncSource::Secondary)));
    m.synced(2);
    assert_eq!(m.clean(COOL * 10, true), 0);
    m.begin_flush();
    m.end_flush(true);
    // The map was shorter than ours: what it did not tell of counts as dirty.
    assert_eq!(m.from_peer().count(), 2);
    assert_eq!(m.clean(COOL * 10, true), 2);
}

#[test]
fn a_sequential_writer_finds_extents_marked_ahead() {
    let mut m = map(1000, 64);
    let mut waits = 0;
    for extent in 0..200 {
        waits += usize::from(m.begin_write(extent..extent + 1, 0).is_some());
        if m.update_due() {
            update(&mut m);
        }
        m.end_write(extent..extent + 1);
    }
    assert!(waits <= 3, "{waits} waits");
    assert!(m.wanted().count() <= 200 + AHEAD);
}

#[test]
fn a_flush_is_of_use_once_an_extent_is_left_alone() {
    let mut m = map(100, 0);
    assert!(!m.unflushed_and_cool(COOL * 10));
    for second in 0..20 {
        let now = 60_000 + second * 1000;
        m.begin_write(3..4, now);
        assert!(!m.unflushed_and_cool(now + COOL), "one is under way");
        m.end_write(3..4);
        assert!(!m.unflushed_and_cool(now + COOL - 1000));
    }
    // The others' does not make it wait.
    let last = 79_000;
    m.begin_write(4..5, last + COOL);
    m.end_write(4..5);
    assert!(m.unflushed_and_cool(last + COOL));
    m.begin_flush();
    assert!(m.unflushed_and_cool(last + COOL));
    m.end_flush(true);
    assert!(!m.unflushed_and_cool(last + COOL));
}
