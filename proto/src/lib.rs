//! What our own processes say to each other, and exact-size stream I/O. Nothing here knows what is
//! said: the words belong to each daemon's `msg.rs`.
//!
//! | module, transport | used for | exact-size I/O | descriptor passing |
//! |---|---|---|---|
//! | [`tcp`] | replication between hosts | yes, with deadlines | cannot be expressed |
//! | [`unix`], path socket | dhcpctl, hastctl | whole messages | refused when compiling |
//! | [`unix`], socket pair | a parent and its children | whole messages | yes, at most one a message |
//!
//! # Why there is no layer above the two
//!
//! The transports want different things: a stream is asked for so many bytes by such a time, a
//! channel is asked for the next message and whatever descriptor belongs to it. One pair of send
//! and receive functions for all of them has to say "no" at run time to half of what its signature
//! offers, and each caller must know which half. hastd had such a pair, and the bug below lived in
//! it. So the two modules share no type and no function.
//!
//! # The MSG_WAITALL story
//!
//! hastd handed a connection to its worker in two steps over one stream socket: the protocol's name
//! by `send`, then its descriptor by a `sendmsg` without any data. The worker asked for the name
//! with `MSG_WAITALL` and the longest size a name may have, so it always asked for more bytes than
//! were coming. That never hung only because FreeBSD up to 14 let an arriving control message end
//! the wait early and hand out the short name, which recv(2) allowed in a subordinate clause and
//! POSIX did not. FreeBSD 15 rewrote unix(4) and kept to POSIX: control data no longer wakes the
//! reader, the worker waited for 123 bytes that nobody would send, and its peer timed out waiting
//! for a header. (Linux also waits, and throws away the descriptor besides, because a stream there
//! carries descriptors only along with a byte.) The defect is not the flag but that one fact
//! travelled as two: `proto::unix` sends kind, payload and descriptor with exactly one `sendmsg`
//! over a socket that keeps records apart, and takes them with exactly one `recvmsg`, so there is
//! nothing to wait for and no half to be left with. `proto/tests/seed.rs` shows both sides.

pub mod tcp;
pub mod unix;
