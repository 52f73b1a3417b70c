//! Looks up in /proc which processes there are.

use super::snapshot::{Row, Snapshot};
use crate::{Moment, procfs};

/// All processes, and the threads of those that have more than one.
pub(super) fn look() -> Snapshot {
    let begun = Moment::now();
    let rows = procfs::numbers("").into_iter().filter_map(row).collect();
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
