//! What the server may still do on OpenBSD: pledge(2).

use supervise::confine::Rules;

/// Memory and the files it holds, sockets it was given, and descriptors that its parent sends.
pub const RULES: Rules = Rules { promises: Some(c"stdio inet recvfd") };
