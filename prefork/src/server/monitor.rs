//! The process that watches over one call: it reads the request, starts the executor, and waits
//! for the executor's end or the caller's, whichever is first. It leads the process group of both.

use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{MsgFlags, send};

use super::call::Call;
use super::decide::HangUp;
use super::executor::Caller;
use super::options::Options;
use super::process::{self, Forked, Held};
use super::receive::{self, timeout};
use super::report::report;
use crate::Error;

/// How often a group is looked at whose leader's child is dead: the kernel does not tell when the
/// last of it goes.
const LOOK: Duration = Duration::from_millis(50);

/// Serves one call, in a process made for it. Only the executor comes back from here.
pub(super) fn monitor(call: OwnedFd, options: &Options) -> Call {
    match start(call, options) {
        Ok(call) => call,
        Err(error) => {
            report(options.log_facility, &error.to_string());
            process::end(0)
        }
    }
}

fn start(call: OwnedFd, options: &Options) -> Result<Call, Error> {
    // SAFETY: numbers.
    if unsafe { libc::setpgid(0, 0) } < 0 {
        return Err(Error::last("setpgid"));
    }
    let Some((streams, block)) = receive::request(&call, options.request_timeout)? else {
        process::end(0);
    };
    let caller = Caller::new(streams, block);
    match process::fork()? {
        Forked::Child => {
            drop(call);
            caller.replace_us()
        }
        Forked::Parent(executor) => {
            drop(caller);
            watch(&call, &executor, options)?;
            process::end(0)
        }
    }
}

/// Waits for the end of the executor, brings it about if the caller goes away, and tells how it
/// ended.
fn watch(call: &OwnedFd, executor: &Held, options: &Options) -> Result<(), Error> {
    let mut status = None;
    while status.is_none() {
        let gone = wait(Some(call), executor, None)?;
        status = process::reap(executor)?;
        if gone && status.is_none() {
            status = hang_up(executor, options)?;
            break;
        }
    }
    let group = leave_group();
    if status.is_some() {
        // What the program has left running is told that it is over, as a caller's end would.
        process::signal_group(group, libc::SIGINT);
    }
    let Some(status) = status else {
        return Err(Error::says(format!("process {} does not die", executor.pid())));
    };
    // A caller that does not want to know any more is no error.
    let bytes = status.to_be_bytes();
    let _ = send(call.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
    Ok(())
}

/// Ends the whole group, the harder the longer it takes. The executor's wait status, or `None` if
/// not even SIGKILL has helped.
fn hang_up(executor: &Held, options: &Options) -> Result<Option<c_int>, Error> {
    let group = leave_group();
    let begun = Instant::now();
    let mut steps = HangUp::new(options.grace);
    let mut status = None;
    loop {
        if let Some(signal) = steps.signal(begun.elapsed()) {
            process::signal_group(group, signal);
            // Who is stopped would not hear of it.
            process::signal_group(group, libc::SIGCONT);
        }
        if status.is_none() {
            status = process::reap(executor)?;
        }
        if status.is_some() && (steps.killed() || !process::group_exists(group)) {
            return Ok(status);
        }
        if steps.over() {
            return Ok(status);
        }
        let left = steps.due().saturating_sub(begun.elapsed());
        match status {
            None => _ = wait(None, executor, Some(left))?,
            Some(_) => _ = poll(&mut [], timeout(Some(left.min(LOOK)))),
        }
    }
}

/// Waits until the executor has ended, the caller has gone away (or says what it may not) or the
/// time is over; whether it was the caller.
fn wait(call: Option<&OwnedFd>, executor: &Held, left: Option<Duration>) -> Result<bool, Error> {
    let ended = PollFd::new(executor.as_fd(), PollFlags::POLLIN);
    let answer = match call {
        Some(call) => {
            let mut fds = [ended, PollFd::new(call.as_fd(), PollFlags::POLLIN)];
            let answer = poll(&mut fds, timeout(left));
            answer.map(|_| fds.get(1).is_some_and(|fd| fd.any().unwrap_or(true)))
        }
        None => poll(&mut [ended], timeout(left)).map(|_| false),
    };
    match answer {
        Ok(gone) => Ok(gone),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(Error::system("poll", errno)),
    }
}

/// Leaves the group of the call for the server's, so that a signal to the call's is not for us.
/// Where the server is gone and its group with it, we stay and ignore what can be. The number of
/// the call's group.
fn leave_group() -> i32 {
    // SAFETY: numbers only.
    unsafe {
        if libc::setpgid(0, libc::getsid(0)) < 0 {
            process::ignore(libc::SIGINT);
            process::ignore(libc::SIGTERM);
        }
        libc::getpid()
    }
}
