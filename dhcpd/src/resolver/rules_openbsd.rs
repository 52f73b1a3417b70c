//! What the resolver may still do on OpenBSD: pledge(2).

use supervise::confine::Rules;

/// Memory and what it holds, the DNS with the files that belong to it, and descriptors that its
/// parent sends.
pub const RULES: Rules = Rules { promises: Some(c"stdio dns recvfd") };
