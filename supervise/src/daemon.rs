//! Leaving the terminal, and telling whoever started us when service has begun.
//!
//! Two conventions are served at once: a daemon(3)-like start whose first process exits 0 only when
//! the daemon really serves (and 1 when it died first), and sd_notify(3)'s `READY=1`. Neither uses
//! a PID file.

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{ForkResult, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};
use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::process::exit;

use crate::handle;

/// Who waits to hear that service has begun.
#[derive(Debug)]
pub struct Readiness {
    /// The process that started us and waits for one byte.
    launcher: Option<io::PipeWriter>,
    /// `NOTIFY_SOCKET`, where a service manager set one.
    notify: Option<std::ffi::OsString>,
}

/// Closes what we inherited besides standard input, output and error: a daemon must not hold
/// somebody's pipe or lock for as long as it lives.
///
/// Call it first of all: nothing of our own is open yet.
pub fn close_inherited() -> io::Result<()> {
    handle::close_from(3).map_err(io::Error::from_raw_os_error)
}

/// Stays in the foreground.
pub fn foreground() -> Readiness {
    Readiness { launcher: None, notify: env::var_os("NOTIFY_SOCKET") }
}

/// Goes to the background: returns in a new session, in a process whose parent waits in here for
/// [`Readiness::ready`] and then exits 0, or exits 1 once we are gone without it.
///
/// Call it before any thread is started and before any child is: they belong to the process that
/// returns.
pub fn background() -> io::Result<Readiness> {
    let (mut reader, writer) = io::pipe()?;
    // SAFETY: documented above: the process has one thread, so the child may go on as usual.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => {
            drop(writer);
            let mut byte = [0];
            exit(match reader.read(&mut byte) {
                Ok(1) => 0,
                _ => 1,
            })
        }
        ForkResult::Child => {
            drop(reader);
            setsid()?;
            chdir("/")?;
            Ok(Readiness { launcher: Some(writer), notify: env::var_os("NOTIFY_SOCKET") })
        }
    }
}

/// Whom to tell that the configuration is being read again: a service manager that set
/// `NOTIFY_SOCKET`, if any (sd_notify(3); what `Type=notify-reload` asks for). One that does not
/// listen costs a second, not the service.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    socket: Option<std::ffi::OsString>,
}

impl Notifier {
    /// It is being read.
    ///
    /// # Errors
    /// There is nobody to hear it.
    pub fn reloading(&self) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let time = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
        let micros = time.tv_sec() * 1_000_000 + time.tv_nsec() / 1000;
        notify_within(socket, 1, format!("RELOADING=1\nMONOTONIC_USEC={micros}").as_bytes())
    }

    /// Done, or given up; `status` says which, in one line.
    ///
    /// # Errors
    /// There is nobody to hear it.
    pub fn reloaded(&self, status: &str) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        notify_within(socket, 1, format!("READY=1\nSTATUS={status}").as_bytes())
    }
}

impl Readiness {
    /// The same service manager, for later.
    pub fn notifier(&self) -> Notifier {
        Notifier { socket: self.notify.clone() }
    }

    /// Says that service has begun; in the background, lets go of the terminal too.
    pub fn ready(self) -> io::Result<()> {
        if let Some(path) = &self.notify {
            notify(path, b"READY=1")?;
        }
        if let Some(mut launcher) = self.launcher {
            let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
            detach(&null)?;
            launcher.write_all(&[0])?;
        }
        Ok(())
    }
}

fn detach(null: &File) -> io::Result<()> {
    dup2_stdin(null)?;
    dup2_stdout(null)?;
    dup2_stderr(null)?;
    Ok(())
}

/// Tells a service manager `text`: one datagram of sd_notify(3) to what its `NOTIFY_SOCKET` names. A
/// name that begins with `@` is in the abstract namespace.
///
/// # Errors
/// There is nobody to hear it.
pub fn notify(path: &std::ffi::OsStr, text: &[u8]) -> io::Result<()> {
    notify_within(path, 0, text)
}

/// The same, within so many seconds; 0 is as long as it takes.
fn notify_within(path: &std::ffi::OsStr, seconds: libc::time_t, text: &[u8]) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let address = match path.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => UnixAddr::new_abstract(name)?,
        _ => UnixAddr::new(path)?,
    };
    let fd = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::SendTimeout, &TimeVal::new(seconds, 0))?;
    sendto(fd.as_raw_fd(), text, &address, MsgFlags::empty())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_service_manager_that_does_not_listen_is_not_waited_for() {
        let path = env::temp_dir().join(format!("notifier-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("bind");
        let notifier = Notifier { socket: Some(path.clone().into_os_string()) };
        let mut told = 0;
        let error = loop {
            match notifier.reloaded("again") {
                Ok(()) => told += 1,
                Err(error) => break error,
            }
            assert!(told < 100_000, "its queue has no end");
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let mut text = [0; 64];
        let length = socket.recv(&mut text).expect("what was told first");
        assert_eq!(&text[..length], b"READY=1\nSTATUS=again");
        std::fs::remove_file(&path).expect("remove the socket");
        assert!(Notifier::default().reloading().is_ok(), "there may be none");
    }
}
