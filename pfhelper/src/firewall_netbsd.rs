//! NetBSD has no firewall that we know: its pf is gone since NetBSD 10, and nobody has written a
//! back end for npf(7) yet. It is refused at the start, with this reason.

use std::net::Ipv4Addr;

use pfhelper::{Condition, Tables};

use crate::changes::{Changes, Outcome};

/// A firewall that there is not.
#[derive(Debug)]
pub struct Firewall(std::convert::Infallible);

impl Firewall {
    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn open() -> Result<Firewall, String> {
        Err("NetBSD has no pf(4): -A, -C and -L need a system that has one".to_owned())
    }

    /// As on the other systems.
    ///
    /// # Errors
    /// Never called.
    pub fn set_up(&mut self, _: &Tables, _: Option<u32>) -> Result<(), String> {
        match self.0 {}
    }

    /// As on the other systems.
    pub fn apply(&mut self, _: &Changes) -> Outcome {
        match self.0 {}
    }

    /// As on the other systems.
    pub fn replace(&mut self, _: &[Ipv4Addr], _: &[Ipv4Addr]) -> Outcome {
        match self.0 {}
    }

    /// As on the other systems.
    pub fn watch(&mut self) -> bool {
        match self.0 {}
    }

    /// As on the other systems.
    pub fn conditions(&self) -> [Condition; 3] {
        match self.0 {}
    }
}
