//! Datagrams of audit's, each behind its length in two bytes: records are put together, rules and
//! answers are read. What is told has a sender and a signal, and nothing is told more often than
//! the kernel has named a target.

#![no_main]

use libfuzzer_sys::fuzz_target;
use supervise::Moment;
use supervise::attribution::audit::wire::{self, Message};
use supervise::attribution::audit::{Assembler, Clock};
use supervise::attribution::{Confidence, Witness};

fuzz_target!(|bytes: &[u8]| {
    let clock = Clock { moment: Moment(1 << 40), wall: 1_795_297_100_906_000_000 };
    let (mut assembler, mut seen) = (Assembler::default(), Vec::new());
    let (mut rest, mut records) = (bytes, 0);
    while let Some((length, more)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(*length)).min(more.len());
        let (datagram, more) = more.split_at(length);
        rest = more;
        for message in wire::messages(datagram) {
            assert!(message.body.len() <= datagram.len());
            let _ = (message.error(), wire::status(message.body));
            if let Some(rule) = wire::rule(message.body)
                && let Some(owner) = rule.owner
            {
                let made = wire::rules(&wire::machines()[0], &owner);
                let again = made.iter().map(|bytes| wire::rule(bytes).and_then(|it| it.owner));
                assert!(again.into_iter().all(|again| again == Some(owner)));
            }
        }
        if let Some(Message { kind, body, .. }) = Message::record(datagram) {
            records += 1;
            assembler.record(kind, body, clock, &mut seen);
        }
    }
    assembler.finish(clock, &mut seen);
    assert!(seen.len() <= records);
    for seen in seen {
        assert!(seen.signal > 0 && seen.at <= clock.moment && seen.sender.is_some());
        assert_eq!((seen.confidence, seen.witness), (Confidence::Certain, Witness::Audit));
        let _ = seen.to_string();
    }
});
