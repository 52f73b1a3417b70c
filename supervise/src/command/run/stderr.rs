//! The command's standard error, which goes line by line to where we log.

use std::io::{ErrorKind, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use supervise::lines::Lines;
use supervise::logger;

/// So much is read at a time: what else is there to do must have its turn.
const PIECE: usize = 16 * 1024;

/// While nobody takes our lines, so long nothing is read: what the pipe holds is not lost then.
/// After that it is read, lest the command wait for ever, and what is too much is counted.
const PATIENCE: Duration = Duration::from_secs(1);

/// The pipe from the command, and what of a line has come.
pub struct Stderr {
    pipe: PipeReader,
    /// Kept for the command's next start: so the pipe never ends.
    theirs: PipeWriter,
    lines: Lines,
    tag: String,
    /// Since when nobody takes our lines.
    stuck: Option<Instant>,
}

impl Stderr {
    /// A pipe that has nobody at its other end yet.
    ///
    /// # Errors
    /// The system refuses.
    pub fn open() -> Result<Stderr, String> {
        let (pipe, theirs) =
            std::io::pipe().map_err(|error| format!("make a pipe for standard error: {error}"))?;
        super::nonblocking(&pipe)?;
        let lines = Lines::default();
        Ok(Stderr { pipe, theirs, lines, tag: String::new(), stuck: None })
    }

    /// The end for a command.
    ///
    /// # Errors
    /// The system refuses.
    pub fn give(&self) -> Result<OwnedFd, String> {
        let copy = self.theirs.try_clone();
        copy.map(OwnedFd::from).map_err(|error| format!("copy a pipe: {error}"))
    }

    /// Whose lines they are.
    pub fn name(&mut self, unit: &str, pid: i32) {
        self.tag = format!("{unit}[{pid}]");
    }

    /// What is to be polled for input, if anything is to be read now.
    pub fn descriptor(&mut self, now: Instant) -> Option<BorrowedFd<'_>> {
        if !logger::backlog() {
            self.stuck = None;
        } else if now - *self.stuck.get_or_insert(now) < PATIENCE {
            return None;
        }
        Some(self.pipe.as_fd())
    }

    /// Reads what there is, up to a bound. `false` if there was nothing.
    pub fn read(&mut self) -> bool {
        let mut piece = [0; PIECE];
        match self.pipe.read(&mut piece) {
            Ok(length) => {
                let piece = piece.get(..length).unwrap_or_default();
                self.lines.add(piece, |priority, text| logger::relay(priority, &self.tag, text));
                length > 0
            }
            Err(error) => {
                if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
                    log::error!("read the command's standard error: {error}");
                }
                false
            }
        }
    }

    /// The command has ended: what it has written before is read, and no more than a pipe holds,
    /// for others may still write.
    pub fn drain(&mut self) {
        const MOST: usize = 1 << 20;
        for _ in 0..MOST / PIECE {
            if !self.read() {
                break;
            }
        }
        self.lines.finish(|priority, text| logger::relay(priority, &self.tag, text));
    }
}
