//! One run of a hook: its process, and what it writes, which goes to the log, a few lines of it.

use std::fmt;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use supervise::Exit;
use supervise::launch::{Command, Inherited, Running};

use super::super::msg::Event;
use super::{name, printable};

/// The most of its output that is logged: lines, and bytes of a line. The rest is read, so that it
/// can go on, and thrown away.
const LINES: usize = 50;
const WIDTH: usize = 400;

/// How much is read at a time, at most: one that floods must not keep the others waiting.
const CHUNK: usize = 64 * 1024;

pub(super) struct Job {
    name: String,
    running: Running,
    /// `None` once nobody writes any more.
    output: Option<std::io::PipeReader>,
    line: Vec<u8>,
    logged: usize,
    exit: Option<Exit>,
}

impl Job {
    pub(super) fn start(
        script: &Path,
        event: &Event,
        environment: &[(&'static str, String)],
        inherited: &Inherited,
    ) -> Result<Job, String> {
        let null = std::fs::File::open("/dev/null").map_err(|e| format!("open /dev/null: {e}"))?;
        let (reader, writer) = std::io::pipe().map_err(|e| format!("pipe: {e}"))?;
        let again = writer.try_clone().map_err(|e| format!("dup: {e}"))?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(|e| format!("O_NONBLOCK: {e}"))?;
        let mut words = vec![script.as_os_str().to_owned()];
        words.extend(event.arguments.iter().cloned().map(OsStringExt::from_vec));
        // Ours has what concerns us: where to log to.
        let mut variables: Vec<_> = std::env::vars_os().map(|(name, _)| (name, None)).collect();
        variables.extend(environment.iter().map(|(n, value)| ((*n).into(), Some(value.into()))));
        let told = event.environment.iter().cloned();
        variables
            .extend(told.map(|(n, v)| (OsStringExt::from_vec(n), Some(OsStringExt::from_vec(v)))));
        let descriptors: Vec<(i32, OwnedFd)> =
            vec![(0, null.into()), (1, writer.into()), (2, again.into())];
        let command = Command {
            words,
            environment: variables,
            descriptors,
            session: true,
            ..Command::default()
        };
        let held = command.hold(inherited).map_err(|e| e.to_string())?;
        let running = held.go().map_err(|e| e.to_string())?;
        Ok(Job {
            name: name(script, event),
            running,
            output: Some(reader),
            line: Vec::new(),
            logged: 0,
            exit: None,
        })
    }

    /// What to wait for: its end and its output.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let output = self.output.as_ref().map(AsFd::as_fd);
        std::iter::once(self.running.as_fd()).chain(output)
    }

    /// Sends a signal to it and to what it has started.
    pub(super) fn signal(&self, signal: i32) {
        if let Err(error) = self.running.kill_group(signal) {
            log::error!("hook {}: {error}", self.name);
        }
    }

    /// Logs what it has written.
    pub(super) fn read(&mut self) {
        let mut bytes = [0; 4096];
        let mut left = CHUNK;
        while left > 0
            && let Some(output) = &mut self.output
        {
            match output.read(&mut bytes) {
                Ok(0) => self.output = None,
                Ok(length) => {
                    left = left.saturating_sub(length);
                    self.take(bytes.get(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => self.output = None,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.logged > LINES {
            return;
        }
        for &byte in bytes {
            if byte == b'\n' {
                self.tell();
            } else if self.line.len() < WIDTH {
                self.line.push(byte);
            }
        }
    }

    fn tell(&mut self) {
        let line = std::mem::take(&mut self.line);
        match self.logged {
            ..LINES => log::info!("hook {}: {}", self.name, printable(&line)),
            LINES => log::warn!("hook {}: more output, which is not logged", self.name),
            _ => return,
        }
        self.logged += 1;
    }

    /// Whether it has ended; its last words are logged then, and how it ended if that was badly.
    /// What it has left running in its process group is killed.
    pub(super) fn has_ended(&mut self) -> bool {
        // A zombie's number is still its own, and with it that of its group: so first the group.
        let readable = nix::poll::PollFlags::POLLIN;
        let mut fds = [nix::poll::PollFd::new(self.running.as_fd(), readable)];
        if !matches!(nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO), Ok(1..)) {
            return false;
        }
        self.signal(libc::SIGKILL);
        match self.running.try_reap() {
            Ok(None) => return false,
            Ok(exit) => self.exit = exit,
            Err(error) => log::error!("hook {}: {error}", self.name),
        }
        self.read();
        if !self.line.is_empty() {
            self.tell();
        }
        match self.exit {
            Some(exit) if exit.success() => log::debug!("{self} {exit}"),
            Some(exit) => log::error!("{self} {exit}"),
            None => {}
        }
        true
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hook {} (pid {})", self.name, self.running.pid())
    }
}
