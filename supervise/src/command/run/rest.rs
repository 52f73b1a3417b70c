//! What the command has left behind: it gets a moment to end by itself, and is killed then.

use std::rc::Rc;
use std::time::{Duration, Instant};

use supervise::{Exit, Moment};

use super::{Run, text};

/// For whoever reads the last lines of a pipe from the command, and is about to end with it.
const MOMENT: Duration = Duration::from_millis(200);

/// How long killing may take, where there is nothing but looking for them again and again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The time after the command's end.
pub struct Rest {
    exit: Exit,
    since: Moment,
    until: Instant,
}

impl Rest {
    /// The command, which ran since `since`, has just ended.
    pub fn new(exit: Exit, since: Moment) -> Rest {
        Rest { exit, since, until: Instant::now() + MOMENT }
    }

    /// When what is left is killed.
    pub fn until(&self) -> Instant {
        self.until
    }
}

impl Run<'_> {
    /// Goes on once nothing is left.
    pub fn settle(&mut self) -> Result<(), String> {
        let Some(rest) = &self.rest else { return Ok(()) };
        let (exit, since) = (rest.exit, rest.since);
        if !self.options.keep_rest {
            match self.container.is_empty() {
                Ok(true) => {}
                Ok(false) if Instant::now() < rest.until => return Ok(()),
                Ok(false) => self.kill_rest()?,
                Err(error) => log::debug!("{error}"),
            }
        }
        self.rest = None;
        self.what_next(exit, since);
        Ok(())
    }

    fn kill_rest(&mut self) -> Result<(), String> {
        let members = self.container.members();
        let names: Vec<String> =
            members.iter().take(10).map(|(pid, name)| format!("{pid} ({name})")).collect();
        let more = if members.len() > names.len() { ", ..." } else { "" };
        log::warn!(
            "{} has left processes behind, which are killed: {}{more}",
            self.reporter.unit(),
            names.join(", ")
        );
        log::logger().flush();
        for (pid, _) in &members {
            self.reporter.sent(libc::SIGKILL, *pid);
        }
        let container = Rc::clone(&self.container);
        let mut failed = None;
        let left = container.kill_all(Instant::now() + PATIENCE, &mut || {
            if let Err(error) = self.reap() {
                failed = Some(error);
            }
        });
        let left = left.map_err(text)?;
        if !left.is_empty() {
            log::error!("{left}");
        }
        failed.map_or(Ok(()), Err)
    }
}
