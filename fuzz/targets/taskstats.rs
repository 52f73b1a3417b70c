//! Any datagram of the taskstats socket, and then the auditor with whatever could be read from it,
//! beside a story: nothing that is said of nobody known is a contradiction.
//!
//! Input: datagrams of 600 bytes, the last one of any length.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use supervise::Moment;
use supervise::track::auditor::{Auditor, State};
use supervise::track::taskstats::{Said, decode};
use supervise::track::{Event, Parent, ProcId};

const FAMILY: u16 = 31;

fuzz_target!(|bytes: &[u8]| {
    let mut alone = Auditor::new(Moment(1), Duration::from_nanos(50));
    let mut auditor = Auditor::new(Moment(1), Duration::from_nanos(50));
    let (mut now, mut said, mut events) = (10, Vec::new(), Vec::new());
    for datagram in bytes.chunks(600) {
        now += 10;
        said.clear();
        decode(datagram, FAMILY, &mut said);
        for said in &said {
            let Said::Record(record) = said else { continue };
            let (since, at) = (Moment(now - 10), Moment(now));
            alone.record(*record, since, at);
            auditor.record(*record, since, at);
            // Sometimes the story has it as well, and sometimes otherwise.
            let id = ProcId { pid: record.pid, start: Moment(now - 9) };
            let parent = Parent::Unknown;
            auditor.story(&Event::Fork { id, parent, found: false, at: id.start }, at);
            if record.elapsed.subsec_micros() % 3 != 0 {
                auditor.story(&Event::Exit { id, exit: record.exit, at }, at);
            }
        }
        for auditor in [&mut alone, &mut auditor] {
            auditor.settle(Moment(now), Moment(now), &mut |_| State::Gone, &mut events);
        }
    }
    events.clear();
    for later in 1..5 {
        let now = Moment(now + later * 1000);
        alone.settle(now, now, &mut |_| State::Gone, &mut events);
        assert!(events.is_empty(), "of a stranger: {events:?}");
    }
    events.clear();
    for later in 1..5 {
        let now = Moment(now + later * 1000);
        auditor.settle(now, now, &mut |_| State::Gone, &mut events);
    }
    assert!(!auditor.waits(), "waiting has an end");
});
