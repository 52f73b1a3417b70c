//! What a worker may still do on NetBSD.

use supervise::confine::Rules;

/// What its user may, in an empty root directory.
pub const RULES: Rules = Rules;
