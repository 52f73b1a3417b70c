//! The server's side.

use std::io::Write;
use std::process::{ExitCode, Termination};

mod accepting;
mod block;
mod call;
mod decide;
mod executor;
mod inherited;
mod monitor;
mod options;
mod peer;
mod process;
mod receive;
mod reload;
mod report;

#[cfg_attr(target_os = "linux", path = "server/process_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "server/process_bsd.rs")]
mod held;

#[cfg_attr(target_os = "linux", path = "server/peer_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "server/peer_bsd.rs")]
mod peer_uid;

pub use call::Call;
pub use options::{Facility, Options};

use crate::Error;
use accepting::Server;

/// Runs `body` once for each call.
///
/// # Errors
/// `PREFORK_INTERP` is there but does not name what it should, the process has more than one
/// thread, or the system has no room for another process. Nothing has been served then, and the
/// caller is told so by an exit code that is not 0.
pub fn serve<T: Termination>(
    options: &Options,
    body: impl FnOnce(Call) -> T,
) -> Result<ExitCode, Error> {
    let call = match inherited::take()? {
        None => Call::alone(),
        Some(inherited) => start(inherited, options)?,
    };
    Ok(body(call).report())
}

/// Leaves the client's side as a server. Only executors come back from here.
fn start(inherited: inherited::Inherited, options: &Options) -> Result<Call, Error> {
    let threads = process::threads()?;
    if threads != 1 {
        return Err(Error::says(format!(
            "serve from a process that has {threads} threads, not one"
        )));
    }
    process::forget_caller_signals()?;
    // What the program has written so far would come out of each copy of it.
    let _ = std::io::stdout().flush();
    if process::fork_unheld()?.is_some() {
        // The client, our parent, has waited for this.
        process::end(0);
    }
    nix::unistd::setsid().map_err(|errno| Error::system("setsid", errno))?;
    inherited::let_go_of_standard_streams()?;
    let (server, first) = Server::new(inherited, options);
    Ok(server.run(first))
}
