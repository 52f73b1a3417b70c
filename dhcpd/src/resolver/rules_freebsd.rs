//! What the resolver may still do on FreeBSD.

use supervise::confine::Rules;

/// What its user may. Capability mode would forbid it to open resolv.conf(5), and to ask the DNS.
pub const RULES: Rules = Rules { capability_mode: false };
