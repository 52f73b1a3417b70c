//! When the command is ready, and who is to be told: whoever waits for us in the foreground, and
//! the service manager that has started us.

use std::ffi::OsString;
use std::io::{ErrorKind, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use supervise::daemon::{self, Readiness};

use super::notify::Notify;
use crate::command::args::{Options, Ready};

/// What the command is given so that it can say that it is ready.
pub struct Given {
    /// Variables that are not as ours.
    pub environment: Vec<(OsString, Option<OsString>)>,
    /// Variables that hold the number of the process they are meant for.
    pub pid_in: Vec<OsString>,
    /// Descriptors.
    pub descriptors: Vec<(RawFd, OwnedFd)>,
}

/// Whether the command is ready, and whom that is told.
pub struct Readying {
    how: How,
    /// Whoever has not been told yet.
    waiting: Option<Readiness>,
    manager: Option<OsString>,
    ready: bool,
    /// Variables that were meant for us, and are to be for the command.
    pid_in: Vec<OsString>,
}

enum How {
    Exec,
    Notify(Notify),
    /// The number it is to have there, and our end if it runs.
    Line(RawFd, Option<PipeReader>),
}

impl Readying {
    /// As the options say. `before` is the number we had before we went to the background.
    ///
    /// # Errors
    /// The system refuses a socket.
    pub fn new(options: &Options, waiting: Readiness, before: u32) -> Result<Readying, String> {
        let manager = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty());
        let how = match options.ready {
            Ready::Auto if manager.is_none() || !Notify::POSSIBLE => How::Exec,
            Ready::Exec => How::Exec,
            Ready::Auto | Ready::Notify => How::Notify(Notify::open()?),
            Ready::Fd(number) => How::Line(number, None),
        };
        let for_us = |name: &&str| {
            let told = std::env::var(name).ok().and_then(|value| value.parse().ok());
            told == Some(before)
        };
        let pid_in = ["LISTEN_PID", "WATCHDOG_PID"].iter().copied().filter(for_us);
        let pid_in = pid_in.map(OsString::from).collect();
        Ok(Readying { how, waiting: Some(waiting), manager, ready: false, pid_in })
    }

    /// What a command that is about to be started is to be given.
    ///
    /// # Errors
    /// The system refuses a pipe.
    pub fn give(&mut self) -> Result<Given, String> {
        self.ready = false;
        let mut given = Given {
            environment: vec![("NOTIFY_SOCKET".into(), None)],
            pid_in: self.pid_in.clone(),
            descriptors: Vec::new(),
        };
        match &mut self.how {
            How::Exec => {}
            How::Notify(notify) => {
                given.environment = vec![("NOTIFY_SOCKET".into(), Some(notify.name()))];
            }
            How::Line(number, ours) => {
                let (reader, writer): (PipeReader, PipeWriter) =
                    std::io::pipe().map_err(|error| format!("make a pipe: {error}"))?;
                super::nonblocking(&reader)?;
                *ours = Some(reader);
                given.descriptors.push((*number, writer.into()));
            }
        }
        Ok(given)
    }

    /// The command has been executed.
    pub fn executed(&mut self) {
        if matches!(self.how, How::Exec) {
            self.is_ready();
        }
    }

    /// What is to be polled for input.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.how {
            How::Exec => None,
            How::Notify(notify) => Some(notify.as_fd()),
            How::Line(_, reader) => reader.as_ref().map(|reader| reader.as_fd()),
        }
    }

    /// Reads what the command says. `us` is whose descendants may speak.
    pub fn read(&mut self, us: i32) {
        match &mut self.how {
            How::Exec => {}
            How::Notify(notify) => {
                while let Some(text) = notify.read(us) {
                    let (ready, others) = sort(&text);
                    if let Some(manager) = &self.manager
                        && !others.is_empty()
                        && let Err(error) = daemon::notify(manager, &others)
                    {
                        log::warn!("tell {}: {error}", manager.to_string_lossy());
                    }
                    if ready {
                        tell(&mut self.ready, &mut self.waiting, self.manager.as_ref());
                    }
                }
            }
            How::Line(_, reader) => {
                let mut bytes = [0; 512];
                let read = reader.as_mut().map(|reader| reader.read(&mut bytes));
                match read {
                    Some(Ok(length @ 1..)) => {
                        if bytes.iter().take(length).any(|&byte| byte == b'\n') {
                            *reader = None;
                            self.is_ready();
                        }
                    }
                    Some(Ok(0)) => {
                        log::warn!(
                            "the command has closed the descriptor without a line: not ready"
                        );
                        *reader = None;
                    }
                    Some(Err(error)) if error.kind() != ErrorKind::WouldBlock => {
                        log::error!("read whether the command is ready: {error}");
                        *reader = None;
                    }
                    Some(_) | None => {}
                }
            }
        }
    }

    /// Whether it is.
    pub fn ready(&self) -> bool {
        self.ready
    }

    fn is_ready(&mut self) {
        tell(&mut self.ready, &mut self.waiting, self.manager.as_ref());
    }
}

/// Tells whoever waits, once; and the manager each time.
fn tell(ready: &mut bool, waiting: &mut Option<Readiness>, manager: Option<&OsString>) {
    *ready = true;
    let told = match (waiting.take(), manager) {
        (Some(waiting), _) => waiting.ready(),
        (None, Some(manager)) => daemon::notify(manager, b"READY=1"),
        (None, None) => Ok(()),
    };
    match told {
        Ok(()) => log::debug!("ready"),
        Err(error) => log::error!("say that we are ready: {error}"),
    }
}

/// Whether a message says that the command is ready, and what else of it is for our manager. That
/// knows us as its service, so that the command's number and descriptors are none of its business.
fn sort(text: &[u8]) -> (bool, Vec<u8>) {
    const OURS: [&[u8]; 8] = [
        b"READY=",
        b"MAINPID=",
        b"MAINPIDFDID=",
        b"FDSTORE=",
        b"FDSTOREREMOVE=",
        b"FDNAME=",
        b"FDPOLL=",
        b"BARRIER=",
    ];
    let lines = || text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let ready = lines().any(|line| line == b"READY=1");
    let others: Vec<&[u8]> =
        lines().filter(|line| !OURS.iter().any(|ours| line.starts_with(ours))).collect();
    (ready, others.join(&b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_is_told_what_is_its_business() {
        assert_eq!(sort(b"READY=1"), (true, Vec::new()));
        assert_eq!(
            sort(b"STATUS=up\nREADY=1\nMAINPID=42\nBARRIER=1\nX_OWN=7\n"),
            (true, b"STATUS=up\nX_OWN=7".to_vec())
        );
        assert_eq!(sort(b"READY=0\nSTOPPING=1"), (false, b"STOPPING=1".to_vec()));
        assert_eq!(sort(b"\n\n"), (false, Vec::new()));
    }
}
