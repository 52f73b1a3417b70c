//! The numbers of FreeBSD's own reckoning, by hand, and that nothing ever overlaps.

use super::*;
use proptest::prelude::*;

const GIB: u64 = 1 << 30;

fn freebsd() -> Wish {
    Wish { arrangement: Arrangement::FreeBsd, ..Wish::default() }
}

fn medium(size: u64, sector: u32) -> Medium {
    Medium { size, sector }
}

#[test]
fn a_gibibyte_as_freebsd_lays_it_out() {
    let small = Layout::plan(medium(GIB, 512), &freebsd()).unwrap();
    let numbers = (small.map_size, small.offset, small.datasize, small.records);
    assert_eq!(numbers, (512, 4608, 1_073_737_216, None));
    let large = Layout::plan(medium(GIB, 4096), &freebsd()).unwrap();
    let numbers = (large.map_size, large.offset, large.datasize, large.records);
    assert_eq!(numbers, (4096, 8192, 1_073_733_632, None));
}

#[test]
fn a_gibibyte_as_we_do() {
    for sector in [512, 4096] {
        let ours = Layout::plan(medium(GIB, sector), &Wish::default()).unwrap();
        assert_eq!((ours.offset, ours.datasize), (1 << 20, GIB - (1 << 20)));
        assert_eq!((ours.map_size, ours.records), (4096, Some((1 << 20) - 8192)));
    }
}

#[test]
fn nodes_that_differ_agree_on_a_datasize() {
    let datasize = 1_073_737_216;
    let wish = Wish { datasize: Some(datasize), ..Wish::default() };
    let ours = Layout::plan(medium(2 * GIB, 512), &wish).unwrap();
    assert_eq!(ours.datasize, datasize);
    let refused = Layout::plan(medium(GIB, 512), &wish).unwrap_err();
    assert_eq!(refused, LayoutError::BeyondMedium { end: datasize + (1 << 20), medium: GIB });
    let odd = Wish { datasize: Some(datasize + 1), ..Wish::default() };
    let refused = Layout::plan(medium(2 * GIB, 512), &odd).unwrap_err();
    assert!(matches!(refused, LayoutError::NotWhole { what: "datasize", .. }), "{refused}");
}

#[test]
fn less_of_the_medium() {
    let wish = Wish { mediasize: Some(GIB), ..freebsd() };
    let layout = Layout::plan(medium(16 * GIB, 512), &wish).unwrap();
    assert_eq!((layout.offset, layout.datasize), (4608, 1_073_737_216));
    let wish = Wish { mediasize: Some(GIB + 1), ..freebsd() };
    assert!(Layout::plan(medium(GIB, 512), &wish).is_err());
}

fn metadata(layout: &Layout, extentsize: u32) -> Metadata {
    Metadata {
        resource: "r".to_owned(),
        datasize: layout.datasize,
        extentsize,
        keepdirty: 64,
        offset: layout.offset,
        resuid: 0,
        localcnt: 0,
        remotecnt: 0,
        prevrole: crate::engine::Role::Init,
        consistency: crate::engine::Consistency::Consistent,
    }
}

/// The map's size comes from `offset`: a medium that is longer than `create -m` said, across a step
/// of 8 GiB, leads FreeBSD to a map of 1024 bytes, half of which is data.
#[test]
fn b2_a_longer_medium_does_not_make_the_map_reach_into_the_data() {
    let wish = Wish { mediasize: Some(8 * GIB), ..freebsd() };
    let made = Layout::plan(medium(9 * GIB, 512), &wish).unwrap();
    assert_eq!((made.map_size, made.offset), (512, 4608));
    for size in [8 * GIB, 9 * GIB, 100 * GIB] {
        let found = Layout::of(&metadata(&made, EXTENT_SIZE), medium(size, 512)).unwrap();
        assert_eq!(found.map_size, 512);
    }
}

/// What FreeBSD zeroes on a medium is before our records, though `-m` named less.
#[test]
fn b2_freebsd_cannot_reach_our_records() {
    for size in [9 * GIB, 900 * GIB, 15_000 * GIB, 90_000 * GIB] {
        let wish = Wish { mediasize: Some(8 * GIB), ..Wish::default() };
        let made = Layout::plan(medium(size, 512), &wish).unwrap();
        let its_map = map_size(size - 4096, EXTENT_SIZE, 4096);
        assert!(4096 + its_map <= made.records.unwrap(), "{size}");
        let found = Layout::of(&metadata(&made, EXTENT_SIZE), medium(size, 512)).unwrap();
        assert_eq!(found, made);
    }
}

#[test]
fn a_large_map_moves_the_data() {
    let made = Layout::plan(medium(64 << 40, 512), &Wish::default()).unwrap();
    assert_eq!((made.map_size, made.offset), (4 << 20, 8 << 20));
    let fine = Wish { extentsize: 4096, ..Wish::default() };
    assert!(Layout::plan(medium(1 << 40, 512), &fine).is_ok());
    let refused = Layout::plan(medium(4 << 40, 512), &fine).unwrap_err();
    assert!(matches!(refused, LayoutError::TooManyExtents { .. }), "{refused}");
}

#[test]
fn nonsense_is_refused() {
    let wish = |extentsize| Wish { extentsize, ..Wish::default() };
    for extentsize in [0, 3, 256, 2_097_151, 1000] {
        assert!(Layout::plan(medium(GIB, 512), &wish(extentsize)).is_err(), "{extentsize}");
    }
    for sector in [0, 520, 8192] {
        assert_eq!(
            Layout::plan(medium(GIB, sector), &Wish::default()),
            Err(LayoutError::Sector(sector))
        );
    }
    for size in [0, 511, 4096, 4608] {
        for wish in [Wish::default(), freebsd()] {
            assert!(Layout::plan(medium(size, 512), &wish).is_err(), "{size}");
        }
    }
    assert!(Layout::plan(medium(1 << 20, 512), &Wish::default()).is_err());
    assert_eq!(Layout::plan(medium(5120, 512), &freebsd()).unwrap().datasize, 512);
    let good = Layout::plan(medium(GIB, 512), &Wish::default()).unwrap();
    let of = |meta| Layout::of(&meta, medium(GIB, 512));
    let base = metadata(&good, EXTENT_SIZE);
    assert_eq!(of(base.clone()), Ok(good));
    for offset in [0, 4096, 4097, 4608 + 1, u64::MAX, u64::MAX - 511] {
        assert!(of(Metadata { offset, ..base.clone() }).is_err(), "offset {offset}");
    }
    for datasize in [0, 1, GIB, u64::MAX, u64::MAX - 511] {
        assert!(of(Metadata { datasize, ..base.clone() }).is_err(), "datasize {datasize}");
    }
    assert!(of(Metadata { extentsize: 512, offset: 4608, ..base.clone() }).is_err());
    assert!(of(Metadata { extentsize: 0, ..base }).is_err());
}

#[test]
fn only_the_data_area_can_be_reached() {
    let layout = Layout::plan(medium(GIB, 512), &Wish::default()).unwrap();
    let end = layout.datasize;
    assert_eq!(layout.place(0, end), Some(1 << 20));
    assert_eq!(layout.place(end - 512, 512), Some(GIB - 512));
    assert_eq!(layout.place(end, 0), Some(GIB));
    for (offset, length) in [(0, end + 1), (end, 1), (u64::MAX, 1), (1, u64::MAX), (end + 1, 0)] {
        assert_eq!(layout.place(offset, length), None, "{offset} {length}");
    }
}

proptest! {
    #[test]
    fn nothing_overlaps(
        size in 1_u64..1 << 46,
        sector in 9_u32..13,
        extent in 12_u32..26,
        aligned: bool,
    ) {
        let arrangement = if aligned { Arrangement::Aligned } else { Arrangement::FreeBsd };
        let wish = Wish { arrangement, extentsize: 1 << extent, ..Wish::default() };
        let medium = medium(size, 1 << sector);
        let Ok(layout) = Layout::plan(medium, &wish) else { return Ok(()) };
        prop_assert!(layout.datasize > 0 && layout.offset + layout.datasize <= size);
        prop_assert!(layout.map_size >= map_size(layout.datasize, 1 << extent, 1 << sector));
        let map_end = 4096 + layout.map_size;
        prop_assert_eq!(layout.records.is_some(), aligned);
        match layout.records {
            Some(at) => prop_assert!(map_end <= at && at + 8192 == layout.offset),
            None => prop_assert!(map_end <= layout.offset),
        }
        prop_assert_eq!(Layout::of(&metadata(&layout, 1 << extent), medium), Ok(layout));
    }
}
