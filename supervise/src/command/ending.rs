//! Our own end, which tells whoever waits for us how the command has ended.

use std::process::ExitCode;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};

use super::args::Style;
use supervise::Exit;

/// Ends as the command did: by the same signal, or with the same code. `Style::Code`, and process
/// 1 in any case, whom no signal of its own ends, make 128 + N of signal N.
pub fn like(exit: Exit, style: Style) -> ExitCode {
    match exit {
        Exit::Exited(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Exit::Signaled { signal, .. } => {
            log::logger().flush();
            if style == Style::Signal {
                die_of(signal);
            }
            ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX))
        }
    }
}

/// Raises a signal on ourselves as if nothing had been done about it. Returns if that does not
/// end us.
fn die_of(number: i32) {
    let Ok(signal) = Signal::try_from(number) else {
        return die_of_real_time(number);
    };
    // The core worth having is the command's own.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_dumpable(false);
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action is no code of ours.
    let _ = unsafe { sigaction(signal, &default) };
    let _ = raise(signal);
    // Raised while it was blocked, it waits for this.
    let set = SigSet::from(signal);
    let _ = set.thread_unblock();
}

/// The same for one that has no name here. Nobody has changed what it does.
fn die_of_real_time(number: i32) {
    // SAFETY: a number; at worst nothing is sent.
    unsafe { libc::raise(number) };
}
