//! Hooks: programs of the administrator's that are run when something happens, outside the path of
//! what happened.
//!
//! One small process, the runner, does it for a daemon. It has no rights but those of its account,
//! runs a bounded number of hooks for a bounded time each, reads what they write into the log, and
//! can neither be waited for nor fill up: who tells it of an event never blocks.

pub mod queue;
