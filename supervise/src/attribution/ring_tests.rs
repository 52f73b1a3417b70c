//! Pages that a kernel (6.18, x86-64) wrote, and pages that none would.

use proptest::prelude::*;

use super::*;

const HEADER: &str = include_str!("../../tests/vectors/ring/header_page");
const SIGNAL: &str = include_str!("../../tests/vectors/ring/signal_generate");
const EXEC: &str = include_str!("../../tests/vectors/ring/sched_process_exec");
/// A shell that has started sleep and kills it, then itself.
const KILL: &[u8] = include_bytes!("../../tests/vectors/ring/kill.page");
/// The first page that was read after 672 events had been overwritten.
const LOST: &[u8] = include_bytes!("../../tests/vectors/ring/lost.page");

fn layout() -> Layout {
    Layout::parse(HEADER).expect("a layout")
}

fn events<'a>(page: &Page<'a>) -> Vec<Event<'a>> {
    page.events().collect::<Result<_, _>>().expect("sound")
}

#[test]
fn a_kernels_page() {
    let page = layout().page(KILL).expect("a page");
    assert_eq!((page.start, page.missed), (36_623_443_691_926, None));
    let events = events(&page);
    assert_eq!(events.len(), 17);
    assert_eq!(events[0].at, page.start);
    assert_eq!(events[16].at, 36_623_528_263_842);
    assert!(events.is_sorted_by_key(|event| event.at));

    let signal = Format::parse(SIGNAL).expect("a format");
    let number = |event: &Event<'_>, name| signal.field(name).expect(name).number(event.bytes);
    let of_signals: Vec<_> =
        events.iter().filter(|event| number(event, "common_type") == Some(261)).collect();
    assert_eq!(signal.id, 261);
    assert_eq!(of_signals.len(), 5);
    let told = ["sig", "code", "pid", "group", "result", "common_pid"]
        .map(|name| number(of_signals[0], name).expect(name));
    assert_eq!(told, [15, 0, 26_629, 1, 0, 26_630]);
    assert_eq!(signal.field("comm").expect("comm").text(of_signals[0].bytes), Some(&b"sleep"[..]));

    let exec = Format::parse(EXEC).expect("a format");
    let path = exec.field("filename").expect("filename");
    let executed: Vec<_> = events
        .iter()
        .filter(|event| number(event, "common_type") == Some(365))
        .map(|event| path.text(event.bytes).expect("a path"))
        .collect();
    assert_eq!(executed, [&b"/bin/sh"[..], b"/bin/sleep", b"/bin/kill"]);
}

#[test]
fn a_loss_is_counted() {
    let page = layout().page(LOST).expect("a page");
    assert_eq!(page.missed, Some(Missed { count: Some(672) }));
    assert!(events(&page).len() > 50);
    // As of a page that has no room behind its data.
    let mut bytes = LOST.to_vec();
    bytes[11] &= !0x40;
    let page = layout().page(&bytes).expect("a page");
    assert_eq!(page.missed, Some(Missed { count: None }));
}

/// A page with these events' words, which begins at 1,000.
fn page(words: &[u32]) -> Vec<u8> {
    let mut bytes = 1_000u64.to_ne_bytes().to_vec();
    bytes.extend((words.len() as u64 * 4).to_ne_bytes());
    bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    bytes
}

/// The header of an event.
fn header(kind: u32, delta: u32) -> u32 {
    if cfg!(target_endian = "little") { kind | delta << 5 } else { kind << 27 | delta }
}

fn read(words: &[u32]) -> Vec<Result<(u64, usize), Damaged>> {
    let bytes = page(words);
    let page = layout().page(&bytes).expect("a page");
    page.events().map(|event| event.map(|event| (event.at, event.bytes.len()))).collect()
}

#[test]
fn kinds_of_events() {
    // A short one, a long one of five bytes, and one after 2^27 of time and more.
    let words = [header(1, 5), 0, header(0, 5), 9, 0, 0, header(30, 1), 2, header(2, 1), 0, 0];
    let far = 1_010 + (2 << 27) + 2;
    assert_eq!(read(&words), [Ok((1_005, 4)), Ok((1_010, 8)), Ok((far, 8))]);
    // A moment in full; one taken back, of two words; and the rest is empty.
    let words = [header(31, 77), 1, header(29, 3), 8, 0, header(1, 1), 0, header(29, 0), 1, 2];
    assert_eq!(read(&words), [Ok(((1 << 27) + 77 + 4, 4))]);
    assert_eq!(read(&[]), []);
}

#[test]
fn a_moment_after_the_59th_bit_turned() {
    let start = (3 << 59) - 10;
    let mut bytes = page(&[header(31, 5), 0, header(1, 0), 0]);
    bytes[..8].copy_from_slice(&u64::to_ne_bytes(start));
    let page = layout().page(&bytes).expect("a page");
    assert_eq!(events(&page)[0].at, (3 << 59) + 5);
}

#[test]
fn damage_ends_a_page() {
    for words in [
        &[header(28, 1), 0][..],
        &[header(0, 1)],
        &[header(0, 1), 3],
        &[header(0, 1), 64, 0],
        &[header(0, 1), u32::MAX],
        &[header(29, 1)],
        &[header(29, 1), 2],
        &[header(30, 1)],
        &[header(31, 1)],
    ] {
        let events = read(words);
        assert!(matches!(events[..], [Err(_)]), "{words:?}: {events:?}");
    }
    let layout = layout();
    assert!(layout.page(&[]).is_err());
    assert!(layout.page(&KILL[..15]).is_err());
    assert!(layout.page(&KILL[..300]).is_err());
}

#[test]
fn fields_are_where_their_format_says() {
    let text = "name: x\nID: 7\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:s16 below;\toffset:2;\tsize:2;\tsigned:1;\n\
        \tfield:__rel_loc char[] behind;\toffset:4;\tsize:4;\tsigned:0;\n\
        \tfield:__data_loc char[] there;\toffset:8;\tsize:4;\tsigned:0;\n\
        \tfield:u8 odd[3];\toffset:12;\tsize:3;\tsigned:0;\n";
    let format = Format::parse(text).expect("a format");
    let mut event = vec![7, 0, 0xfe, 0xff];
    event.extend(0x0003_0008u32.to_ne_bytes());
    event.extend(0x0002_0012u32.to_ne_bytes());
    event.extend(b"abc.xy\0z");
    let field = |name| format.field(name).expect(name);
    assert_eq!(format.id, 7);
    assert_eq!(field("below").number(&event), Some(-2));
    assert_eq!(field("behind").text(&event), Some(&b"xy"[..]));
    assert_eq!(field("there").text(&event), Some(&b""[..]));
    assert_eq!(field("odd").text(&event), Some(&b"abc"[..]));
    assert_eq!(field("odd").number(&event), None);
    assert_eq!(field("there").text(&event[..18]), None);
    assert!(format.field("none").is_none());
    for bad in ["", "ID: 7", "ID: x\n\tfield:int a;\toffset:0;\tsize:4;", "field:int;offset:0"] {
        assert_eq!(Format::parse(bad), None, "{bad}");
    }
    assert_eq!(Layout::parse(text), None);
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..600), length in 0u16..600) {
        let mut bytes = bytes;
        if let Some(place) = bytes.get_mut(8..16) {
            place.copy_from_slice(&u64::from(length).to_ne_bytes());
        }
        let signal = Format::parse(SIGNAL).expect("a format");
        let exec = Format::parse(EXEC).expect("a format");
        if let Ok(page) = layout().page(&bytes) {
            for event in page.events().map_while(Result::ok) {
                for field in signal.fields().iter().chain(exec.fields()) {
                    field.number(event.bytes);
                    field.text(event.bytes);
                }
            }
        }
    }

    #[test]
    fn any_text_is_read(text in "[a-z:; _\\[\\]\t\n0-9]{0,200}") {
        Layout::parse(&text);
        Format::parse(&text);
    }
}
