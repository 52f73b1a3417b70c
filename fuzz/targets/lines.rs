//! What a supervised command writes to its standard error, cut into lines: in whatever pieces it
//! comes, the lines are the same, none is longer than it may be, and none has an end in it.
//!
//! Input: the first byte says how long the pieces are; the rest is the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use supervise::lines::{LONGEST, Lines};

fuzz_target!(|input: &[u8]| {
    let Some((&size, text)) = input.split_first() else { return };
    let whole = cut([text].into_iter());
    assert_eq!(cut(text.chunks(usize::from(size) + 1)), whole);
    for (priority, line) in whole {
        assert!(priority < 8 && !line.is_empty() && line.len() <= LONGEST);
        assert!(!line.contains(&b'\n'));
    }
});

fn cut<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<(u8, Vec<u8>)> {
    let (mut lines, mut seen) = (Lines::default(), Vec::new());
    for piece in pieces {
        lines.add(piece, |priority, line| seen.push((priority, line.to_vec())));
    }
    lines.finish(|priority, line| seen.push((priority, line.to_vec())));
    seen
}
