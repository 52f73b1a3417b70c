//! A worker's disk: does what an engine asks for, and tells what came of it.

pub mod book;
pub mod load;
#[cfg(test)]
#[cfg(target_os = "linux")]
pub(crate) mod testing;
