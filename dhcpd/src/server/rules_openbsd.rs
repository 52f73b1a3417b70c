//! What the server may still do on OpenBSD: pledge(2).

use supervise::confine::Rules;

/// Memory and the files it holds, sockets it was given, descriptors that its parent sends, and the
/// control socket: accept(2) there is `unix`, getpeereid(3) `stdio`.
pub const RULES: Rules = Rules { promises: Some(c"stdio inet unix recvfd") };
