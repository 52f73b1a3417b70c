//! What waits for the disk, and what is asked about it. When it has waited enough is not its matter.

use crate::engine::Actions;
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
