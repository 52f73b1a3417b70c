//! What the server may still do on FreeBSD.

use supervise::confine::Rules;

/// What its user may, in an empty root directory. Capability mode would forbid sendto(2) with an
/// address, which is how replies are routed.
pub const RULES: Rules = Rules { capability_mode: false };
