//! What is left of the handler's rights on the BSDs: its user, an empty root directory, and an
//! open /dev/pf, which is all that pf asks for.
//!
//! There is no pledge(2): what the handler lives on, ioctls that change tables and states, no
//! promise allows.

use supervise::confine::{Confinement, Rules, confine};
use supervise::{Error, Identity};

#[cfg(target_os = "openbsd")]
const RULES: Rules = Rules { promises: None };
#[cfg(target_os = "freebsd")]
const RULES: Rules = Rules { capability_mode: true };
#[cfg(target_os = "netbsd")]
const RULES: Rules = Rules;

/// Gives up the rest, for good.
///
/// # Errors
/// A step failed; the process must end.
pub fn give_up(identity: &Identity) -> Result<(), Error> {
    confine(&Confinement { identity, parent_death: None, rules: &RULES })
}
