//! What the resolver may still do on NetBSD.

use supervise::confine::Rules;

/// What its user may.
pub const RULES: Rules = Rules;
