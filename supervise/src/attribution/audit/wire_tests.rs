//! Bytes of rules and messages, both ways.

use proptest::prelude::*;

use super::*;

const OWNER: Owner =
    Owner { pid: 42, since_boot: 123_456_789, before: Before { on: false, backlog: 64 } };

fn word(bytes: &[u8], index: usize) -> u32 {
    u32::from_ne_bytes(*bytes[index * 4..].first_chunk().expect("a word"))
}

#[test]
fn our_rules() {
    let rules = rules(&X86_64, &OWNER);
    assert_eq!(rules.len(), 2);
    let first = &rules[0];
    assert_eq!(first.len(), 1040 + OWNER.key().len());
    assert_eq!((word(first, 0), word(first, 1), word(first, 2)), (4, 2, 15));
    // kill is 62 and tkill 200; with rt_sigqueueinfo and pidfd_send_signal that is all.
    assert_eq!((word(first, 3 + 1), word(first, 3 + 6)), (1 << 30, 1 << 8));
    assert_eq!((0..64).map(|at| word(first, 3 + at).count_ones()).sum::<u32>(), 4);
    let condition = |rule: &[u8], at: usize| {
        (word(rule, 67 + at), word(rule, 67 + 128 + at), word(rule, 67 + 64 + at))
    };
    assert_eq!(condition(first, 0), (11, 0x4000_0000, 0xc000_003e));
    assert_eq!(condition(first, 1), (104, 0x4000_0000, 1));
    assert_eq!(condition(first, 2), (201, 0x6000_0000, 1));
    assert_eq!(condition(first, 4), (201, 0x3000_0000, 17));
    // Of tgkill the signal is the third argument.
    assert_eq!(condition(&rules[1], 2), (202, 0x6000_0000, 1));
    for bytes in &rules {
        assert_eq!(rule(bytes), Some(Rule { owner: Some(OWNER), blinds: false }));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn numbers_of_this_machine() {
    let Some(machine) = machines().first() else { return };
    let known = [
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_tgkill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
        libc::SYS_pidfd_send_signal,
    ];
    let ours = machine.calls.map(|(_, number)| i64::from(number));
    assert_eq!(ours, known);
}

#[test]
fn whose_rules() {
    for owner in [OWNER, Owner { before: Before { on: true, backlog: 0 }, ..OWNER }] {
        assert_eq!(Owner::of(&owner.key()), Some(owner));
    }
    assert_eq!(OWNER.key(), "tandem-supervise:42:123456789:off:64");
    for key in [
        "",
        "kills",
        "tandem-supervise:",
        "tandem-supervise:1:2:maybe:64",
        "tandem-supervise:1:2:on",
        "tandem-supervise:1:2:on:x",
        "tandem-supervise:1:2:on:3:4",
    ] {
        assert_eq!(Owner::of(key), None, "{key}");
    }
}

#[test]
fn rules_of_others() {
    let mut bytes = encode([1].into_iter(), &[], "kills");
    assert_eq!(rule(&bytes), Some(Rule { owner: None, blinds: false }));
    bytes.truncate(bytes.len() - 1);
    assert_eq!(rule(&bytes), None);
    assert_eq!(rule(&bytes[..RULE - 1]), None);
    let mut blind = vec![0; RULE];
    blind[..4].copy_from_slice(&TASK.to_ne_bytes());
    assert_eq!(rule(&blind), Some(Rule { owner: None, blinds: true }));
    blind[8..12].copy_from_slice(&65u32.to_ne_bytes());
    assert_eq!(rule(&blind), None);
}

#[test]
fn how_it_stands() {
    let words = [0u32, 1, 1, 77, 0, 64, 5, 0, 0x7f, 0, 0];
    let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
    assert_eq!(status(&bytes), Some(Status { enabled: 1, daemon: 77, backlog: 64, lost: 5 }));
    assert_eq!(status(&bytes[..24]), None);
    assert_eq!((word(&switch(true), 0), word(&switch(true), 1)), (1, 1));
    assert_eq!((word(&switch(false), 0), word(&switch(false), 1)), (1, 0));
    assert_eq!((word(&backlog(7), 0), word(&backlog(7), 5)), (0x10, 7));
}

#[test]
fn messages_there_and_back() {
    let mut bytes = request(SET, 7, b"abc");
    bytes.resize(20, 0);
    bytes.extend(request(ERROR, 8, &(-1i32).to_ne_bytes()));
    let all: Vec<_> = messages(&bytes).collect();
    assert_eq!(all.len(), 2);
    assert_eq!(all[0], Message { kind: SET, sequence: 7, body: b"abc" });
    assert_eq!((all[0].error(), all[1].error()), (None, Some(1)));
    assert_eq!(messages(&bytes[..30]).count(), 1);
    // A length of less than a header.
    assert_eq!(messages(&[4, 0, 0, 0]).count(), 0);
    assert_eq!(messages(&[0; 64]).count(), 0);
    assert_eq!(Message::record(&[0; 15]), None);
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..1200)) {
        let total: usize = messages(&bytes).map(|message| message.body.len()).sum();
        prop_assert!(total <= bytes.len());
        let _ = (rule(&bytes), status(&bytes), Message::record(&bytes).map(|it| it.error()));
    }
}
