//! prefork-interp(1) where a server runs already: finds it, has it make the call, and ends as the
//! script did. A call lasts little longer than this program takes to start, so it starts without a
//! C library: what is here are some fifteen system calls, no allocation, and no panic.
//!
//! Whatever else there may be to do - a server to start, an error to explain, a number of system
//! calls too high to count - is done by prefork-spawn, which this program becomes and which does it
//! all from the beginning. So nothing here has to be complete; it only must not be wrong.
//!
//! On other systems this is prefork-spawn under another name.

#![cfg_attr(quick, no_std)]
#![no_main]

// For what it says about panics, none of which is ever reached; nothing of it is called.
#[cfg(quick)]
extern crate std;

#[cfg(quick)]
mod call;
#[cfg(quick)]
mod find;
#[cfg(quick)]
mod sys;

/// The program's beginning, once its words are found.
#[cfg(quick)]
fn begin(start: sys::Start) -> ! {
    match call::call(&start) {
        Some(end) => call::end(end, &start),
        None => call::become_spawn(&start),
    }
}

#[cfg(not(quick))]
prefork::client_main!();
