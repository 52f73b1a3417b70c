//! What a worker may still do on FreeBSD.

use supervise::confine::Rules;

/// Capability mode: everything it needs it was given.
pub const RULES: Rules = Rules { capability_mode: true };
