//! Hooks: programs of the administrator's that are run when something happens, outside the path of
//! what happened.
//!
//! ```text
//!  parent (root) ──── Scripts, Client ────▶ hook runner (an account, no more) ── fork, exec ──▶ hook
//!    │ starts it, and again if it dies        │  32 at a time, 60 s each            own session;
//!    │                                        │  one after the other of one key     stdout, stderr
//!    └─ server, worker ──── Event ───────────▶│◀─────────────────────────────────── into the log
//!       never waits: Teller                 ends with the parent's channel, and all of them with it
//! ```
//!
//! One small process, the runner, does it for a daemon. It has no rights but those of its account,
//! runs a bounded number of hooks for a bounded time each, reads what they write into the log, and
//! can neither be waited for nor fill up: who tells it of an event never blocks. A hook that hangs is
//! ended with all of its process group; one that floods is read and not logged; what cannot be told
//! is dropped, and counted in the log.
//!
//! A hook whose first line is `#!/usr/bin/prefork-interp -U,perl` waits warm behind its socket, as
//! prefork-interp(1) has it: the runner makes the run directory of its account for that.

pub mod msg;
pub mod queue;
pub mod runner;
mod teller;

use std::path::PathBuf;

use supervise::Program;
use supervise::attendant::Role;

pub use msg::{Event, FromParent};
pub use runner::run;
pub use teller::Teller;

/// The runner as its parent keeps it: `title` is that of a process that calls [`run`].
pub fn role(title: &'static str, scripts: Vec<PathBuf>) -> Role<FromParent> {
    Role {
        program: Program::Myself,
        title,
        setup: FromParent::Scripts(scripts),
        client: FromParent::Client,
    }
}
