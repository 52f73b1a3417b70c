//! The server's side, for programs in Rust: what is slow to start is started once, and each call
//! runs in a copy of it. This is the library that such a program uses; finding the server, or
//! starting it, is the work of the command `prefork-interp`, ours or the one of Debian's
//! chiark-utils-bin.
//!
//! # A program
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use prefork::{Options, serve};
//!
//! fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
//!     // Once: whatever takes its time, in one thread.
//!     let zones = std::fs::read_to_string("/usr/share/zoneinfo/tzdata.zi")?;
//!     let options = Options {
//!         autoreload_extra: vec!["/usr/share/zoneinfo/tzdata.zi".into()],
//!         ..Options::default()
//!     };
//!     // For each call: a process of its own, with the caller's 0, 1 and 2, environment and words.
//!     Ok(serve(&options, |call| {
//!         let known = |word: &str| zones.lines().any(|line| line.split(' ').any(|w| w == word));
//!         let wanted = call.args().first().and_then(|word| word.to_str());
//!         ExitCode::from(if wanted.is_some_and(known) { 0 } else { 1 })
//!     })?)
//! }
//! ```
//!
//! It is called by `prefork-interp -U zones all Europe/Rome`, where `zones` is the program and
//! `all` the word that it gets where another interpreter would get its script ([`Call::script`]);
//! or by a file that is executable and begins with `#!/usr/bin/prefork-interp -U,zones`, which then
//! is the script. Started without `prefork-interp` the program runs once, alone, in the same way.
//! There is a longer one in `prefork/examples`.
//!
//! What all calls share was there before [`serve`]: memory, descriptors that the program has opened
//! itself (close-on-exec, as Rust's library opens them; those without the flag have come from the
//! first caller and are closed), working directory, umask, limits, user and groups. Random numbers
//! drawn before are the same in every call. A call's own are standard input, output and error,
//! environment and words; `std::env::args` still tells how the server was started.
//!
//! # Who there is
//!
//! Drawn for a server that runs two calls. An arrow leads from a parent to its child; `S` leads a
//! session, `G` a process group. `tests/server/processes.rs` compares this with /proc.
//!
//! ```text
//!   whoever calls ──▶ client A          whoever calls ──▶ client B
//!                       │ 3 CALL                            │ 3 CALL
//!                       ╎ socketpair                        ╎ connection
//!                       ╎                                   ╎
//!   init ─▶ watcher S   ╎     init ─▶ server S G            ╎
//!            0 ALIVE ◀──╎─────────────── ALIVE              ╎
//!          1 2 TEXT  ───╎──────────────▶ TEXT               ╎
//!            the socket's path           LISTEN             ╎
//!                       ╎        ┌────── pidfd A            ╎
//!                       ╎        │       pidfd B ───┐       ╎
//!                       ╎        ▼                  ▼       ╎
//!                     CALL  monitor A  G        monitor B  G  CALL
//!                               │ pidfd             │ pidfd
//!                               ▼                   ▼
//!                           executor A          executor B
//!                           0 1 2 of A          0 1 2 of B
//! ```
//!
//! | process  | parent  | session | group   | 0, 1, 2          | others                              |
//! |----------|---------|---------|---------|------------------|-------------------------------------|
//! | client   | caller  | caller  | caller  | its own          | CALL                                |
//! | watcher  | init    | itself  | itself  | ALIVE, TEXT twice| what it watches the path with       |
//! | server   | init    | itself  | itself  | /dev/null        | LISTEN, ALIVE, TEXT, a pidfd a call |
//! | monitor  | server  | server  | itself  | /dev/null        | CALL, the executor's pidfd          |
//! | executor | monitor | server  | monitor | the client's     | none but the program's own          |
//!
//! ALIVE is a pipe that nobody writes to: it ends with the server, and the watcher with it. TEXT
//! brings what the watcher has to complain of, and ends with the watcher: when the socket is
//! removed or replaced, that is what ends the server. (On the BSDs a kqueue stands for a pidfd.)
//!
//! # What happens
//!
//! ```text
//!  client                                       program
//!    │ no server answers: takes the lock,
//!    │ listens, starts a watcher
//!    ├── fork, exec ─────────────────────────▶ setup
//!    │   PREFORK_INTERP names LISTEN,             │ gets ready
//!    │   CALL, ALIVE, TEXT                        │ serve()
//!    │                                            ├── fork ───────────────▶ server
//!    │ reaps it  ◀───────────────────────────── exits 0                       │ setsid, /dev/null
//!    │ gives up the lock                                                      │
//!    │                                                                        │
//!    │ (the next client begins here, with connect ──────────────────────────▶ │ changed? ends;
//!    │  and nothing of the above)                                             │ accepts; a stranger
//!    │                                                                        │ is turned away
//!    │ ◀──────────────────────────────── greeting ────────────────────────────┤
//!    │                                                       monitor ◀── fork ┤
//!    │                                                          │ setpgid     │ waits for the next,
//!    ├── 0, 1, 2, environment, words ─────────────────────────▶ │             │ for ends of monitors
//!    │                                        executor ◀── fork ┤             │ and for TEXT
//!    │                                           │ the closure  │             ▼
//!    │                                           │              │ waits for the end of the
//!    │                                           │              │ process, and for CALL
//!    │                                           ▼              │
//!    │                                        exits, execs, ──▶ │ reaps it
//!    │                                        is killed         │ SIGINT to what is left of
//!    │ ◀──────────────────────── wait status ───────────────────┤ the group
//!    ▼                                                          ▼
//!  exits with it, or dies of the same signal
//!
//!
//!  client                                     executor       monitor
//!    │                                           │              │
//!    ▼ is killed: CALL ends ──────────────────── │ ───────────▶ │ leaves the group
//!                                                │ ◀─ SIGINT ── ┤
//!                                                │ ◀─ SIGTERM ─ ┤ after Options::grace
//!                                                ▼ ◀─ SIGKILL ─ ┤ after as much again
//!                                                               ▼
//! ```
//!
//! Signals are for the whole group of the call, as long as anybody is in it; who has left it for a
//! session of his own is let go. A server that ends lets the calls go on that it has begun.
//!
//! # What differs from the Perl module
//!
//! The exit status is that of the process, which is waited for itself; the module waits for a
//! descriptor that the script may close earlier, and kills it then. So an executor may `exec`
//! another program, or close all descriptors. Nothing that the first caller had open, ignored or
//! blocked is passed on to later calls. A caller has a limited time to say what it wants, callers
//! of other users are turned away, and a hang-up ends in SIGKILL. A server with calls running is
//! not idle. Words are told apart by [`Call`], which has those that the module leaves in `@ARGV`
//! as [`Call::argv`]. Errors of the first call, too, go to syslog.

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

use crate::{Error, signals};
use accepting::Server;

/// Runs `body` once for each call of this program, in a process of its own; only there does this
/// return, with what `body` has returned. Started by `prefork-interp`, the program becomes a
/// server here; in any other way it runs `body` once, as if it were called.
///
/// What is running now is copied for each call, so there may be no other thread; call it early in
/// `main`, and return from `main` what it returns. A panic in `body` ends that call alone.
///
/// # Errors
/// `PREFORK_INTERP` is there but does not name what it should; the process has more than one
/// thread (on the BSDs that is taken on trust); or the system has no room for another process.
/// Nothing has been served then, and the caller is told so by an exit code that is not 0 if `main`
/// returns the error.
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
    signals::forget_caller()?;
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
