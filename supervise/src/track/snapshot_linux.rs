//! Looks up in /proc which processes there are.

use std::collections::HashMap;

use super::snapshot::{Row, Snapshot};
use crate::{Moment, procfs};

/// How often the parents of orphans are looked up.
const MOST_PASSES: usize = 4;

/// All processes, and the threads of those that have more than one.
pub(super) fn look() -> Snapshot {
    let begun = Moment::now();
    let mut rows: Vec<Row> = procfs::numbers("").into_iter().filter_map(row).collect();
    for _ in 0..MOST_PASSES {
        let starts: HashMap<i32, Moment> = rows.iter().map(|row| (row.pid, row.start)).collect();
        // Those whose parent ended before it was looked at have another one by now. A number that
        // a younger process has is not the parent's any more.
        let mut again = false;
        let older = |row: &Row| starts.get(&row.parent).is_some_and(|&start| start <= row.start);
        for row in rows.iter_mut().filter(|row| row.parent > 0 && !older(row)) {
            if let Some(stat) = procfs::stat(row.pid).filter(|stat| stat.start == row.start) {
                again |= row.parent != stat.parent;
                row.parent = stat.parent;
            }
        }
        if !again {
            break;
        }
    }
    let us = std::process::id().cast_signed();
    Snapshot { begun, rows, adopter: adopts().then_some(us) }
}

fn row(pid: i32) -> Option<Row> {
    let stat = procfs::stat(pid)?;
    let mut others = Vec::new();
    if stat.threads > 1 {
        others = procfs::numbers(&format!("{pid}/task"));
        others.retain(|&tid| tid != pid);
    }
    Some(Row { pid, parent: stat.parent, start: stat.start, ended: stat.ended(), others })
}

/// Whether orphans among our descendants become our children.
fn adopts() -> bool {
    let mut adopts: libc::c_int = 0;
    // SAFETY: PR_GET_CHILD_SUBREAPER writes one int, to which the pointer is good.
    let result = unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut adopts) };
    std::process::id() == 1 || result == 0 && adopts != 0
}
