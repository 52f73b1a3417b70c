//! What a worker may still do on OpenBSD.

use supervise::confine::Rules;

/// Files and sockets it was given, and descriptors that its parent sends.
pub const RULES: Rules = Rules { promises: Some(c"stdio inet unix recvfd") };
