//! The terminal, if we have one: who is in its foreground, and who is stopped by it.
//!
//! A key like ^C is for a whole process group. So that the command gets it once:
//! - If standard input and output are the terminal and we are in its foreground, the command gets
//!   a group of its own and the foreground, as a shell would give it. We never see the key.
//! - Otherwise (in a pipeline, say, whose other members must stay in the foreground) the command
//!   stays in our group: the key has reached it already, and is not passed on.

use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;

use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::{Pid, getpgrp, getpid, getsid, isatty, tcgetpgrp, tcsetpgrp};

/// The terminal that we may lose the foreground of.
pub struct Terminal {
    controlling: Option<File>,
    /// Whether commands get a group of their own.
    hand_over: bool,
}

impl Terminal {
    /// The one we have been started at, or none.
    pub fn open() -> Terminal {
        let controlling = OpenOptions::new().read(true).write(true).open("/dev/tty").ok();
        let (input, output) = (std::io::stdin(), std::io::stdout());
        let terminals = isatty(&input).unwrap_or(false) && isatty(&output).unwrap_or(false);
        let hand_over = controlling.is_some() && terminals && tcgetpgrp(&input) == Ok(getpgrp());
        Terminal { controlling, hand_over }
    }

    /// For a command that is to have the foreground.
    pub fn for_command(&self) -> Option<OwnedFd> {
        let ours = self.hand_over.then_some(self.controlling.as_ref()?)?;
        Some(ours.try_clone().ok()?.into())
    }

    /// Whether a key of ours reaches a command in our own group without us.
    pub fn is_shared(&self) -> bool {
        self.controlling.is_some() && !self.hand_over
    }

    /// The command has been stopped by this signal: we stop too, so that whoever waits for us
    /// (a shell) knows, unless there is nobody who could let us go on. Returns when we go on:
    /// SIGCONT has come then, and is to be read.
    pub fn stopped(&self, signal: i32, command: i32) {
        if self.controlling.is_none() || getsid(None) == Ok(getpid()) || getpid().as_raw() == 1 {
            return;
        }
        // It was in the background when it wanted the terminal, and is not any more.
        if matches!(signal, libc::SIGTTIN | libc::SIGTTOU) && self.give(command) {
            let _ = kill(Pid::from_raw(-command), Signal::SIGCONT);
            return;
        }
        log::logger().flush();
        let _ = raise(Signal::SIGSTOP);
    }

    /// We go on: so does the command, in the foreground if that has been given back to us.
    pub fn continued(&self, command: i32) {
        if self.hand_over {
            self.give(command);
            let _ = kill(Pid::from_raw(-command), Signal::SIGCONT);
        } else {
            let _ = kill(Pid::from_raw(command), Signal::SIGCONT);
        }
    }

    /// Gives the command the foreground if it is ours to give.
    fn give(&self, command: i32) -> bool {
        let Some(terminal) = self.controlling.as_ref().filter(|_| self.hand_over) else {
            return false;
        };
        tcgetpgrp(terminal) == Ok(getpgrp()) && tcsetpgrp(terminal, Pid::from_raw(command)).is_ok()
    }

    /// The command has ended: what it had of the terminal is ours again.
    pub fn take_back(&self, command: i32) {
        if let Some(terminal) = self.controlling.as_ref().filter(|_| self.hand_over)
            && tcgetpgrp(terminal) == Ok(Pid::from_raw(command))
        {
            // SIGTTOU, which the background is answered with, is blocked.
            let _ = tcsetpgrp(terminal, getpgrp());
        }
    }
}
