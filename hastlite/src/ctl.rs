//! hastctl(8): what it asks the daemon, and what it does to components itself.

pub mod message;
