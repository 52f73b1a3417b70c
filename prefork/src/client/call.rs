//! One call: what is sent to a server that has greeted, and how we end as the script did.

use std::ffi::OsString;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::{UNUSUAL, connect, say};
use crate::Error;
use crate::protocol::{DESCRIPTORS, FILLER, Request, Status, is_passed_on};

/// Has the server make the call. The script's own time has no limit.
pub(super) fn call(
    server: &OwnedFd,
    words: &[OsString],
    patience: Duration,
) -> Result<Status, Error> {
    connect::limit(server, patience).map_err(|e| Error::system("limit the time to send", e))?;
    send(server, &[FILLER], None)?;
    for descriptor in 0..DESCRIPTORS {
        send(server, &[FILLER], Some(descriptor as i32))?;
    }
    let request = Request { environment: environment(), arguments: words.to_vec() };
    let bytes = request.encode().map_err(|e| Error::says(e.to_string()))?;
    send(server, &bytes, None)?;
    let mut status = [0; 4];
    if !connect::read(server, &mut status)? {
        return Err(Error::says("the server's monitor has ended without a word of the script"));
    }
    Status::decode(status).map_err(|e| Error::says(format!("from the server: {e}")))
}

fn send(server: &OwnedFd, mut bytes: &[u8], descriptor: Option<i32>) -> Result<(), Error> {
    let descriptors = descriptor.map(|descriptor| [descriptor]);
    let rights = descriptors.as_ref().map(|list| ControlMessage::ScmRights(list));
    while !bytes.is_empty() {
        let what = [IoSlice::new(bytes)];
        match sendmsg::<()>(
            server.as_raw_fd(),
            &what,
            rights.as_slice(),
            MsgFlags::MSG_NOSIGNAL,
            None,
        ) {
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                return Err(Error::says("the server does not read what it is sent"));
            }
            Err(e) => return Err(Error::system("send to the server", e)),
        }
    }
    Ok(())
}

/// Every entry that has a name and a value, as it is.
fn environment() -> Vec<(OsString, OsString)> {
    // What the standard library shows leaves out nothing that could be said: entries without "=".
    std::env::vars_os().collect()
}

/// What to exit with as the script (`what`) did; or the end by the same signal.
pub(super) fn end(status: Status, what: &str) -> u8 {
    match status {
        Status::Exited(code) => code,
        Status::Signaled { signal, core } => {
            if !core && is_passed_on(signal) {
                die(signal.into());
            }
            let core = if core { " (core dumped)" } else { "" };
            say(&format!("{what} was ended by {}{core}", supervise::signal_name(signal.into())));
            UNUSUAL
        }
    }
}

/// Ends by a signal. Returns only if that fails, as it does for process 1.
fn die(number: i32) {
    let Ok(name) = Signal::try_from(number) else { return };
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action is no code of ours.
    let _ = unsafe { signal::sigaction(name, &action) };
    let mut set = SigSet::empty();
    set.add(name);
    let _ = signal::sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&set), None);
    let _ = signal::raise(name);
}
