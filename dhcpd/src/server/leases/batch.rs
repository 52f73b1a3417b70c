//! What waits for the disk, and what is asked about it. When it has waited enough is not its matter.

use crate::engine::Actions;
use crate::journal::Seq;
use std::sync::Arc;

/// What a record's hooks and its news for other servers may take beside the replies, in bytes.
pub(crate) const RECORD: usize = 512;

/// What waits for the disk: a batch with acknowledgements, hooks, or news for other servers.
pub struct Batch<W> {
    /// All but the records.
    pub actions: Actions,
    /// The ways out that its replies are meant for.
    pub wires: Arc<W>,
}

/// What has waited, each time with the ways out of those that follow one another and share them.
pub(super) fn by_way_out<W>(
    waited: &[(Seq, Batch<W>)],
) -> impl Iterator<Item = (&W, impl Iterator<Item = &Actions> + Clone)> {
    let shared = waited.chunk_by(|(_, a), (_, b)| Arc::ptr_eq(&a.wires, &b.wires));
    shared.filter_map(|batches| {
        let (_, first) = batches.first()?;
        Some((&*first.wires, batches.iter().map(|(_, batch)| &batch.actions)))
    })
}

/// Whether a batch has replies that wait for the disk.
pub(super) fn has_acknowledgements(actions: &Actions) -> bool {
    actions.replies.iter().any(|reply| reply.durable)
}

/// Whether hooks are to hear of a batch when it is on disk.
pub(super) fn is_heard_of(actions: &Actions) -> bool {
    actions.hooks.as_ref().is_some_and(|hooks| !hooks.is_empty())
}

/// Whether other servers are to hear of a batch.
pub(super) fn is_told(actions: &Actions) -> bool {
    actions.sync.as_ref().is_some_and(|sync| !sync.is_empty())
}

/// What a batch takes while it waits, in bytes. The replies that did not have to wait are in it too.
pub(super) fn size(batch: &Actions) -> usize {
    batch.arena.len() + batch.records * RECORD
}

/// How many replies of a batch wait for the disk.
pub(super) fn durable(batch: &Actions) -> u64 {
    batch.replies.iter().filter(|reply| reply.durable).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_batch_leaves_by_its_own_ways_out_and_those_that_share_them_together() {
        let (before, after) = (Arc::new("lan"), Arc::new("dmz"));
        let batch = |records, wires: &Arc<&'static str>| {
            let actions = Actions { records, ..Actions::default() };
            (records as Seq, Batch { actions, wires: Arc::clone(wires) })
        };
        let waited = [batch(1, &before), batch(2, &before), batch(3, &after), batch(4, &before)];
        let left: Vec<(&str, Vec<usize>)> = by_way_out(&waited)
            .map(|(wires, actions)| (*wires, actions.map(|actions| actions.records).collect()))
            .collect();
        assert_eq!(left, [("lan", vec![1, 2]), ("dmz", vec![3]), ("lan", vec![4])]);
    }
}
