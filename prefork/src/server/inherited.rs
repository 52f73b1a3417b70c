//! What a server is given when it is started: four descriptors, by number, in an environment
//! variable. They are checked to be what they are said to be, and nothing else of the first
//! caller's is kept.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{getsockopt, sockopt};
use nix::sys::stat::{SFlag, fstat};

use crate::Error;

/// The variable. Without it the program has been started in the ordinary way.
pub(super) const VARIABLE: &str = "PREFORK_INTERP";

/// The value of [`VARIABLE`], read: `v1,SECONDS.NANOSECONDS LISTEN,CALL,WATCHI,WATCHE`, and
/// whatever a later version may add to either word or after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbers {
    started: (i64, i64),
    fds: [RawFd; 4],
}

/// What a server is made of.
#[derive(Debug)]
pub(super) struct Inherited {
    /// When the socket was made, seconds and nanoseconds since 1970: before the program started.
    pub started: (i64, i64),
    /// Where callers connect.
    pub listen: OwnedFd,
    /// The first call, whose caller waits for us.
    pub call: OwnedFd,
    /// Never written to: once nobody has it any more, the watcher ends.
    pub alive: OwnedFd,
    /// What the watcher has to say; its end says that the socket is not ours any more.
    pub watcher: OwnedFd,
}

/// Takes what the client that started us has left for us; `None` if no client has.
///
/// # Errors
/// The variable is there but makes no sense, or the descriptors are not what it says.
pub(super) fn take() -> Result<Option<Inherited>, Error> {
    let Some(value) = std::env::var_os(VARIABLE) else { return Ok(None) };
    let numbers = parse(&value)
        .ok_or_else(|| Error::says(format!("{VARIABLE}={}: makes no sense", value.display())))?;
    let [listen, call, alive, watcher] = numbers.fds;
    // All before any is owned: what is not as it was said may be somebody else's.
    check(listen, "LISTEN", SFlag::S_IFSOCK)?;
    check(call, "CALL", SFlag::S_IFSOCK)?;
    check(alive, "WATCHI", SFlag::S_IFIFO)?;
    check(watcher, "WATCHE", SFlag::S_IFIFO)?;
    // SAFETY: all four are open, differ, and were left for us alone to own; this is done once,
    // since whoever comes back to `serve` is an executor, which has another environment.
    let own = |fd: RawFd| unsafe { OwnedFd::from_raw_fd(fd) };
    let inherited = Inherited {
        started: numbers.started,
        listen: own(listen),
        call: own(call),
        alive: own(alive),
        watcher: own(watcher),
    };
    if getsockopt(&inherited.listen, sockopt::AcceptConn) != Ok(true) {
        return Err(Error::says(format!("{VARIABLE}: descriptor {listen}: nobody can connect")));
    }
    for fd in [&inherited.listen, &inherited.watcher] {
        fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(|errno| Error::system("set O_NONBLOCK", errno))?;
    }
    close_others(&numbers.fds);
    Ok(Some(inherited))
}

fn parse(value: &OsStr) -> Option<Numbers> {
    let mut words = value.to_str()?.split(' ');
    let mut version = words.next()?.split(',');
    if version.next()? != "v1" {
        return None;
    }
    let (seconds, nanoseconds) = version.next()?.split_once('.')?;
    let started = (seconds.parse().ok()?, nanoseconds.parse().ok()?);
    let mut numbers = words.next()?.split(',');
    let mut fds = [0; 4];
    for at in 0..fds.len() {
        let fd = numbers.next()?.parse().ok().filter(|&fd: &RawFd| fd > 2)?;
        if fds.contains(&fd) {
            return None;
        }
        *fds.get_mut(at)? = fd;
    }
    Some(Numbers { started, fds })
}

/// Makes sure that a descriptor is open and of this kind, and that execve(2) will not pass it on.
fn check(fd: RawFd, role: &str, kind: SFlag) -> Result<(), Error> {
    let wrong = |errno| Error::system(format!("{VARIABLE}: {role} is descriptor {fd}"), errno);
    // SAFETY: borrowed only for the two calls, which find out whether it is open at all.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let mode = fstat(borrowed).map_err(wrong)?.st_mode;
    if SFlag::from_bits_truncate(mode) & SFlag::S_IFMT != kind {
        return Err(Error::says(format!("{VARIABLE}: {role} is descriptor {fd}: of another kind")));
    }
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(wrong)?;
    Ok(())
}

/// Closes what has come to this program through execve(2) besides 0, 1, 2 and `ours`: it was the
/// first caller's, and would be kept from being closed for as long as the server lives. What came
/// that way has no close-on-exec flag; what the program has opened for itself has (all that Rust's
/// library opens does) and stays.
fn close_others(ours: &[RawFd]) {
    for fd in open_descriptors() {
        if fd < 3 || ours.contains(&fd) {
            continue;
        }
        // SAFETY: asks about a number.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
            // SAFETY: nobody in this program has opened it, so nobody thinks that he owns it.
            unsafe { libc::close(fd) };
        }
    }
}

/// The numbers that are open, or at least all those that might be.
fn open_descriptors() -> Vec<RawFd> {
    if let Ok(folder) = std::fs::read_dir("/proc/self/fd") {
        let number = |name: OsString| name.to_str()?.parse().ok();
        return folder.flatten().filter_map(|entry| number(entry.file_name())).collect();
    }
    // SAFETY: a number.
    let most = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) };
    (3..RawFd::try_from(most).unwrap_or(65_536).min(1 << 20)).collect()
}

/// Makes 0, 1 and 2 somewhere that is nobody's.
pub(super) fn let_go_of_standard_streams() -> Result<(), Error> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.map_err(|e| Error::system("open /dev/null", e))?;
    for to in 0..3 {
        // SAFETY: both numbers are open or may be made so, and nobody owns the first three.
        if unsafe { libc::dup2(null.as_raw_fd(), to) } < 0 {
            return Err(Error::last(format!("dup2 /dev/null, {to}")));
        }
    }
    // It may itself be one of the three, if those were closed.
    if null.as_raw_fd() < 3 {
        std::mem::forget(null);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_read_and_additions_are_passed_over() {
        let expected = Numbers { started: (1700000000, 12345678), fds: [5, 9, 7, 8] };
        assert_eq!(parse("v1,1700000000.012345678 5,9,7,8".as_ref()), Some(expected));
        let later = "v1,1700000000.012345678,x=1 5,9,7,8,11 more";
        assert_eq!(parse(later.as_ref()), Some(expected));
    }

    #[test]
    fn nonsense_in_the_variable_is_found() {
        for text in [
            "",
            "v1",
            "v2,1.0 5,9,7,8",
            "v1,1.0",
            "v1,1.0 5,9,7",
            "v1,1 5,9,7,8",
            "v1,1.0 5,9,7,7",
            "v1,1.0 5,9,7,2",
            "v1,1.0 5,9,-7,8",
            "v1,1.0 5,9,x,8",
            "v1,1.0 5,9,7,99999999999999",
        ] {
            assert_eq!(parse(text.as_ref()), None, "{text:?}");
        }
    }
}
