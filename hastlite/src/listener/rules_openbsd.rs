//! What the listener may still do on OpenBSD.

use supervise::confine::Rules;

/// Sockets it was given, and descriptors up and down.
pub const RULES: Rules = Rules { promises: Some(c"stdio inet sendfd recvfd") };
