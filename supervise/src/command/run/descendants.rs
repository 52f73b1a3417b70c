//! What witnesses tell: signals go to the log, and the ends of descendants are reported where a
//! signal has ended them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use supervise::track::{Event, ProcId};
use supervise::{Exit, Moment};

use super::Run;
use super::report::End;

/// How long the explanation of an end waits for a witness that is late: on a busy machine audit is.
const LATE: Duration = Duration::from_secs(2);

impl Run<'_> {
    /// Takes what witnesses have to say of us, of the command and of `others`.
    pub fn hear(&mut self, others: &[i32]) {
        let mut ours = others.to_vec();
        ours.push(self.us);
        ours.extend(self.main.as_ref().map(|main| main.id.pid));
        let mut news = self.witnesses.read(&ours);
        self.reporter.hear(&mut news);
        for event in news.events {
            self.event(event);
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Exec { id, path, .. } => {
                if let Some(path) = path.or_else(|| exe_of(id.pid)) {
                    self.programs.insert(id, path);
                }
            }
            Event::Exit { id, exit, at } => {
                let exe = self.programs.remove(&id);
                let signaled = matches!(exit, Some(Exit::Signaled { .. }));
                let main = self.main.as_ref().is_some_and(|main| main.id.pid == id.pid);
                // Of the command's own end we hear by waiting for it.
                if signaled && !main && self.ended_last != Some(id.pid) {
                    let end = End { id, exe: exe.as_deref(), main: false, exit, at };
                    self.reporter.ended(&end, self.witnesses.see_all());
                }
            }
            Event::Gap { cause, .. } => log::warn!("descendants: events were lost: {cause:?}"),
            Event::Resync { found, vanished, .. } => {
                log::info!("descendants: {found} found and {vanished} missed after the loss");
            }
            Event::Fork { .. } | Event::Session { .. } | Event::Empty { .. } => {}
        }
    }

    /// Gives a witness that is late the time to say who sent the signal.
    pub fn wait_for_witnesses(&mut self, id: ProcId, exit: Exit, at: Moment) {
        let until = Instant::now() + LATE;
        while self.witnesses.are_late() && !self.reporter.is_explained(id, exit, at) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1));
            let mut fds: Vec<PollFd<'_>> =
                self.witnesses.descriptors().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            let _ = poll(&mut fds, timeout.unwrap_or(PollTimeout::ZERO));
            self.hear(&[id.pid]);
        }
    }
}

/// What a process executes, where that can be asked.
pub fn exe_of(pid: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/exe")).ok()
}
