//! Stories that random ones have come down to, each of which the tree told wrong once.

use super::*;

/// Steps as they are written here: two bytes each, in hexadecimal.
pub(super) fn steps_of(text: &str) -> Steps {
    let byte = |digits| u8::from_str_radix(digits, 16).expect("hexadecimal");
    text.split_whitespace().map(|step| (byte(&step[..2]), byte(&step[2..]))).collect()
}

fn loss(rounds: &[[&str; 4]]) {
    let rounds: Vec<_> = rounds.iter().map(|round| round.map(steps_of).into()).collect();
    a_loss_is_no_lie_in(&rounds);
}

/// The number of a thread that was seen is another thread's before it has been looked at.
#[test]
fn a_thread_number_used_again_during_a_look() {
    loss(&[
        [
            "705a 105e 308a 584c b003 1043 1000 58a4 9000 0044 5000 501d 7000 1047 d86c 6613 \
         1000 1009",
            "2827 5000 a8f7 586e 5605 38e7 2808 a808 5025 6000 e6af 2972 285f 1001 f82e 3000 \
         7806 1009 9622 7843 38fa 78cb",
            "",
            "a838 c068 78d6 1000 d9b5 3003 0003 d8ba",
        ],
        [
            "1000 260d c660 301f c663 3807 7621 5000 5093 c000 2670 a87c 1003 58ce 1000 b806 \
         b83c 1000",
            "589f 3d9a 5000 2000 8846 287c d000 a902 b000 5000 280e 58e1 080b c84c 1001 1000 \
         36cc b803 4928 d829 a636",
            "1000 0000 19bd 5930",
            "1000 d000 b8b8 e600 1625 f000",
        ],
        ["7000 c8ec", "0000", "", ""],
    ]);
}

/// The one who is attached to ends, and a stranger with its number has children, before all have
/// been looked at.
#[test]
fn a_parent_number_used_again_during_a_look() {
    let mut out = Vec::new();
    let mut tree = Tree::new(us(), std::iter::empty());
    tree.hold();
    for (at, what) in [
        (2_100_u64, exit(ROOT, ROOT, 0)),
        (2_500, fork(11, ROOT)),
        (2_600, fork(ROOT, 17)),
        (2_700, exit(17, 17, 0)),
        (2_900, fork(11, 17)),
    ] {
        tree.apply(Note { at: Moment(at * 1_000_000), what }, &mut out);
    }
    let row = |pid, parent, start: u64| Row {
        pid,
        parent,
        start: Moment(start * 1_000_000),
        ended: false,
        others: Vec::new(),
    };
    let rows = vec![row(11, 1, 500), row(ROOT, US, 1_000), row(17, ROOT, 2_600)];
    let seen = Snapshot { begun: Moment(2_000_000_000), rows, adopter: None };
    tree.settle(&seen, Some(ROOT), &mut out);
    assert_eq!(tree.members().count(), 0);
    let forks = out.iter().filter(|event| matches!(event, Event::Fork { .. })).count();
    assert_eq!((forks, ends(&out)), (1, vec![(ROOT, Some(Exit::Exited(0)))]));
}

/// Two processes that have had one number both end, and the second end is noted first.
#[test]
fn two_ends_of_one_number_in_the_wrong_order() {
    nothing_is_missed_in(&steps_of(
        "382f 1000 08bb 9000 1000 6000 1000 1800 d000 9000 266b 980e 1000 d6df 5000 2000 \
         3637 76e7 28a2 2000 28f2 1000 5000 385d 7000 8869 5000 d9eb 2000 a832 0d04 1000 \
         683e e9c0 ca12 a0c0 9937",
    ));
}

/// A descendant that a look has missed ends, and a member has its number before its end is noted.
#[test]
fn an_end_of_somebody_who_was_missed() {
    loss(&[
        [
            "281f e600 2000 26e0 1000 b650 3000 5000 2871 8000 9000 78bb 5000 b80e b000 \
         c653 1000 5857 291f 3d1c 5000 1000 7807 1000 0000 d84e 5000 883c 5000",
            "1000 2883 c636 9805 1000 0d00 38a2 2d00 8837 e895 381e 461e 2802 5076 1000 \
         383d 1000 0606 a66e 6912 c000 e645 8000 0000 d8f6 398f 0d02 6643 dd00 c9f7 \
         1000",
            "2000 b040",
            "0000 d000 0000 7882 0000 080a",
        ],
        [
            "5000 b604 5000 9d00 d839 200f 6005 3854 1000 c804 1000 0000 b000 c011 e8d1 \
         1012 0000 0000",
            "0000 3800",
            "",
            "",
        ],
    ]);
}

/// The same numbers are a process's and its thread's twice during one look.
#[test]
fn a_process_and_its_thread_have_the_numbers_of_two_others() {
    loss(&[
        [
            "582b 0000 6000 5000 5000 7800 3000 4800 0000 080c 487a 5800 5000 c000 5000 \
         c601 5000 1000 c901 2000 3824 3801 5000",
            "5000 381d 483d b000 9000 b807 5878 c000 3000 2000 1000 5806 b8da",
            "1848 0820 b000 c000",
            "",
        ],
        [
            "1000 0000 9000 5000 280e c831 0000 8d00 88a0 0809 2000 5000 6849 a000 7000 \
         f6e1 d6c2 2000 18a0 1000 6874 8863 7621",
            "3639 3808 e958 09dd c6dc 285a 8000 56b3 0000 6878 8830 8867",
            "b000 0000 38a9 5640 5000 b8a4",
            "2000 683e 7680 d641",
        ],
        [
            "2000 282c 3898 9000 5000 a8ee 76dd 1000 5994 5000 7848 695b 460a",
            "2000 1000 28da 8825 7000 0000 58b7 a860 1000 2000 886e 6837 1000 b8d8 c8cd \
         5000 09b5 b619 382d b000 1000 2882 b60f d906 36a1 1000 6d02 0000 8805 4d02",
            "767f 5000 5810 b802 7802",
            "e8d9 28b2 1000 9000 e802 c000 e81b a81c",
        ],
        [
            "b61d e65e 8000 5000 f805",
            "5828 a6d4 787e 1000 4605 2000 5000 69d8 681f c000 0000 6803 9000 1000 2802 \
         d808 b000 582c 1000 681d 5000 5000 581a",
            "e602 081f a600 7600",
            "c905 b07a 582a 8904 5803 e60b 1967",
        ],
    ]);
}

/// A stranger that becomes a member does not have its own end before it.
#[test]
fn a_stranger_becomes_a_member() {
    attached_in(
        &steps_of(
            "1008 7020 1012 0000 6620 9813 1000 5000 7600 0000 966c 0d0d 2000 8000 2000 \
         a000 48d8",
        ),
        &steps_of(""),
        &steps_of("1000 88f4 1000 788e 3d02 281e 2000 388f d99e a600 0600 6d02 1000 280a"),
    );
}
