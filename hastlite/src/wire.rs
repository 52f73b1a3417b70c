//! What goes over the wire between two nodes, as FreeBSD's hastd speaks it: packets, nv lists, the
//! handshake, requests and replies. Pure: bytes in, values out, and back. Whether a value makes
//! sense at the moment is the engines' business.

pub mod data;
pub mod errno;
mod error;
pub mod hello;
pub mod packet;
pub mod request;
#[cfg(test)]
mod tests;

pub use error::WireError;
