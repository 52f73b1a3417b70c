//! Any kevents, as a kqueue of any BSD could say them: no number is a status and a parent, and the
//! story keeps what `track` promises: each begins once, and ends at most once, after that.
//!
//! Input: a byte each for the flags, the process, `udata`, what sysctl says, and where a look at
//! the queue ends; then `data`, two bytes.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use supervise::Moment;
use supervise::track::kevent::{
    Act, Data, Decoder, NOTE_CHILD, NOTE_EXEC, NOTE_EXIT, NOTE_FORK, NOTE_TRACKERR, Note, Orphans,
    Process,
};
use supervise::track::{Event, Parent};

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = Decoder::new(Orphans::ToInit);
    let (mut live, mut known) = (BTreeSet::new(), BTreeSet::new());
    let (mut notes, mut list, mut events) = (Vec::new(), Vec::new(), Vec::new());
    decoder.watch(100, Moment(1));
    let mut now = 10;
    for record in bytes.chunks_exact(7) {
        let note = note(record);
        match note.data() {
            Data::Status(_) => assert!(note.fflags & NOTE_EXIT != 0),
            Data::Parent(_) => assert!(note.fflags & (NOTE_EXIT | NOTE_CHILD) == NOTE_CHILD),
            Data::Unused => {}
        }
        list.extend(note.looked.map(|it| Process { pid: it.pid, ..it }));
        notes.push(note);
        if record[4] & 7 != 0 {
            continue;
        }
        now += 10;
        if decoder.hear(&notes, Moment(now), &mut events).contains(&Act::Rescan) {
            decoder.settle(&list, Moment(now - 5), Moment(now + 1), &mut events);
        }
        notes.clear();
        if list.len() > 40 {
            list.clear();
        }
        for event in events.drain(..) {
            match event {
                Event::Fork { id, parent, .. } => {
                    assert!(known.insert(id), "it has begun twice");
                    live.insert(id);
                    if let Parent::Exact(parent) | Parent::Ancestor(parent) = parent {
                        assert!(parent != id && known.contains(&parent));
                    }
                }
                Event::Exec { id, .. } => assert!(live.contains(&id)),
                Event::Exit { id, .. } => assert!(live.remove(&id)),
                Event::Empty { .. } => assert!(live.is_empty()),
                Event::Gap { .. } | Event::Resync { .. } | Event::Session { .. } => {}
            }
        }
        assert!(decoder.members().eq(live.iter().copied()));
    }
});

fn note(record: &[u8]) -> Note {
    let flags = [NOTE_EXIT, NOTE_FORK, NOTE_EXEC, NOTE_TRACKERR, NOTE_CHILD];
    let set = flags.iter().enumerate().filter(|(bit, _)| record[0] >> bit & 1 != 0);
    let pid = 100 + i32::from(record[1] % 32);
    let looked =
        Process { pid, parent: 100 + i32::from(record[3] % 32), ended: record[3] & 0x40 != 0 };
    Note {
        pid,
        fflags: set.fold(0, |all, (_, flag)| all | flag),
        data: i64::from(i16::from_le_bytes([record[5], record[6]])),
        udata: u64::from(record[2]),
        looked: (record[3] & 0x80 != 0).then_some(looked),
    }
}
