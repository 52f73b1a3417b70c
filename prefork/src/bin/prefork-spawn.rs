//! prefork-spawn: all of prefork-interp(1), which becomes this where there is more to do than to make
//! a call by a server that runs already. It is not meant to be started by hand, though it may be.

#![no_main]

prefork::client_main!();
