//! When the lease file is rewritten, over a simulated disk and a journal without a thread.

use super::*;
use crate::crash::disk::{Faults, SimDirectory, SimFile};
use crate::engine::EngineOptions;
use crate::journal::{Room, Worker};
use std::sync::Arc;

type Simulated = Leases<SimFile, ()>;

fn record(leases: &mut Simulated, worker: &mut Worker<SimFile, Batch<()>>, now: Now) {
    let journal = b"lease\n".to_vec();
    leases.commit(&mut Actions { journal, records: 1, ..Actions::default() }, now);
    worker.turn(&mut |_| ());
}

#[test]
fn it_is_rewritten_after_more_than_a_thousand_records_or_an_hour_after_one() {
    let disk = SimDirectory::new(1, usize::MAX);
    let now = Now { wall: 1_000_000_000, mono: 0 };
    let file = disk.open().unwrap();
    let (journal, mut worker) = Journal::by_turns(file, Room::default(), 1000).unwrap();
    let mut leases = Simulated::new(journal, Arc::new(()), Limits::default(), now);
    let engine = Engine::new(Arc::new(Config::default()), vec![], EngineOptions::default());
    let rewrite = |leases: &mut Simulated, worker: &mut Worker<_, _>, now: Now| {
        assert_eq!(leases.wish(now), Some(ToParent::WantNewFile));
        leases.new_file(Ok(disk.make()), &engine, now);
        while leases.wish(now).is_none() {
            worker.turn(&mut |_| ());
            leases.hear(&engine, now, |_| ());
        }
        leases.renamed(Renamed::Yes, now);
        worker.turn(&mut |_| ());
    };
    rewrite(&mut leases, &mut worker, now);
    assert_eq!(leases.next_step(), None, "nothing has come since");

    record(&mut leases, &mut worker, now);
    assert_eq!(leases.next_step(), Some(3_600_000));
    let then = Now { mono: 3_600_000, ..now };
    rewrite(&mut leases, &mut worker, then);
    (0..1000).for_each(|_| record(&mut leases, &mut worker, then));
    assert_eq!(leases.next_step(), Some(2 * 3_600_000), "not yet");
    record(&mut leases, &mut worker, then);
    rewrite(&mut leases, &mut worker, then);
}

/// Found by the simulator of crashes: for a minute nobody would have been acknowledged.
#[test]
fn a_file_that_broke_is_replaced_soon_though_a_rewrite_has_just_failed() {
    let disk = SimDirectory::new(1, usize::MAX);
    let now = Now { wall: 1_000_000_000, mono: 0 };
    let file = disk.open().unwrap();
    let (journal, mut worker) = Journal::by_turns(file, Room::default(), 1000).unwrap();
    let mut leases = Leases::new(journal, Arc::new(()), Limits::default(), now);
    let engine = Engine::new(Arc::new(Config::default()), vec![], EngineOptions::default());
    assert_eq!(leases.wish(now), Some(ToParent::WantNewFile));
    leases.new_file(Err("no room".to_owned()), &engine, now);
    assert_eq!(leases.next_step(), Some(AGAIN), "the old file is as good as ever");

    disk.set_faults(Faults { sync: 1, ..Faults::default() });
    let journal = b"lease\n".to_vec();
    leases.commit(&mut Actions { journal, records: 1, ..Actions::default() }, now);
    worker.turn(&mut |_| panic!("it is not on disk"));
    leases.hear(&engine, now, |_| panic!("it is not on disk"));
    assert_eq!(leases.next_step(), Some(AGAIN_SOON));
    let then = Now { mono: AGAIN_SOON, ..now };
    assert_eq!(leases.wish(then), Some(ToParent::WantNewFile));
}
