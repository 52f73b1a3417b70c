//! Who holds a listening socket is not to be seen here. So a server that does not greet counts as
//! busy: a caller waits, and can be interrupted.

use std::path::Path;

/// What a server that does not greet is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "elsewhere more is known")]
pub(super) enum Look {
    /// This process is, and it is stopped or traced.
    Stopped(i32),
    /// It has calls to wait for.
    Busy,
    /// Nothing that would keep it from answering.
    Idle,
}

/// Looks for who listens at `path`.
pub(super) fn look(_path: &Path) -> Look {
    Look::Busy
}
