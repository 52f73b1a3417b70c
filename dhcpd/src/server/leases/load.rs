//! The lease file's records on their way into the engine, at start. What a record means there is the
//! engine's business.

use crate::engine::{Engine, Now};
use crate::leasefile::{self, ProblemKind};
use std::io::Read;

/// The most problems of a lease file that are logged one by one.
const MAX_PROBLEMS: usize = 20;

/// Reads the lease file into the engine. What cannot be read is said, and never stops the start.
pub(crate) fn load(
    engine: &mut Engine,
    file: impl Read,
    name: &str,
    now: Now,
) -> Result<(), String> {
    let (mut records, mut problems) = (0u64, 0usize);
    for record in leasefile::read_from(file) {
        match record {
            Ok(record) => {
                records += 1;
                engine.load(record, now);
            }
            // Half of the leases is worse than no service: they would be given out again.
            Err(problem) if problem.kind == ProblemKind::Unreadable => {
                return Err(format!("{name}:{problem}"));
            }
            Err(problem) => {
                problems += 1;
                if problems <= MAX_PROBLEMS {
                    log::warn!("{name}:{problem}");
                }
            }
        }
    }
    if problems > MAX_PROBLEMS {
        log::warn!("{name}: {} more problems", problems - MAX_PROBLEMS);
    }
    log::info!("{name}: {} leases from {records} records", engine.len());
    Ok(())
}
