//! The command itself: its start, its end, and what follows from that.

use std::fs::OpenOptions;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use supervise::control::Reply;
use supervise::launch::{Command, Failure, Running};
use supervise::reaper::Change;
use supervise::restart::Next;
use supervise::track::{Changed, ProcId};
use supervise::{Exit, Moment, signal_name};

use super::descendants::exe_of;
use super::report::End;
use super::rest::Rest;
use super::{Over, Run};

/// A command that runs.
pub struct Main {
    /// The process.
    pub running: Running,
    /// Which it is, for ever.
    pub id: ProcId,
    /// What it executes.
    pub exe: Option<PathBuf>,
    /// When that is looked up again: what starts as a script is often soon something else.
    pub look: Option<Instant>,
}

/// So long after its start.
const LOOK: Duration = Duration::from_secs(1);

impl Main {
    /// Looks up what it executes now.
    pub fn look_again(&mut self) {
        self.look = None;
        if let Some(exe) = exe_of(self.id.pid) {
            self.exe = Some(exe);
        }
    }
}

impl Run<'_> {
    /// Starts the command. If that fails the first time, so do we.
    pub fn start(&mut self) {
        let began = Moment::now();
        match self.launch() {
            Ok(running) => {
                let pid = running.pid();
                let id = ProcId { pid, start: began };
                let exe = exe_of(pid).or_else(|| running.program());
                self.reporter.started(pid, self.restarts.total());
                if let Some(stderr) = &mut self.stderr {
                    stderr.name(self.reporter.unit(), pid);
                }
                let look = Some(Instant::now() + LOOK);
                self.main = Some(Main { running, id, exe, look });
                self.readying.executed();
                for asker in std::mem::take(&mut self.askers) {
                    asker.reply(&Reply::Done);
                }
            }
            Err(failure) => {
                log::error!("{failure}");
                let exit = Exit::Exited(failure.code().into());
                if self.last.is_none() {
                    if self.options.background {
                        // Whoever waits for us in the foreground does not read the log.
                        eprintln!("supervise: {failure}");
                    }
                    self.over = Some(Over::Code(failure.code()));
                } else {
                    self.what_next(exit, began);
                }
            }
        }
    }

    fn launch(&mut self) -> Result<Running, Failure> {
        let given = self.readying.give()?;
        let mut descriptors = given.descriptors;
        if let Some(stderr) = &self.stderr {
            descriptors.push((libc::STDERR_FILENO, stderr.give()?));
        }
        if self.options.background {
            descriptors.extend(apart(&descriptors)?);
        }
        let command = Command {
            words: self.options.words.clone(),
            environment: given.environment,
            pid_in: given.pid_in,
            descriptors,
            terminal: self.terminal.for_command(),
            ..Command::default()
        };
        let held = command.hold(&self.inherited)?;
        if let Err(error) = self.container.place(held.pid()) {
            log::warn!("{error}");
        }
        self.witnesses.watch(held.pid())?;
        let mut changes = Vec::new();
        let running =
            held.go_attended(|| changes.extend(self.witnesses.wait().unwrap_or_default()));
        // Of itself there is nothing yet: of those adopted there may be.
        self.changes.append(&mut changes);
        running
    }

    /// Everything that has happened to children: the command, and whom we have adopted.
    pub fn reap(&mut self) -> Result<(), String> {
        let mut changes = std::mem::take(&mut self.changes);
        changes.append(&mut self.witnesses.wait()?);
        for Changed { pid, change, .. } in changes {
            let main = self.main.as_ref().is_some_and(|main| main.id.pid == pid);
            match change {
                Change::Ended(exit) if main => self.ended(exit),
                Change::Ended(exit) => {
                    log::debug!("process {pid}, a descendant or adopted, {exit}")
                }
                Change::Stopped(signal) if main => {
                    log::info!(
                        "{} (pid {pid}) stopped by {}",
                        self.reporter.unit(),
                        signal_name(signal)
                    );
                    self.terminal.stopped(signal, pid);
                }
                Change::Continued if main => {
                    log::debug!("{} (pid {pid}) goes on", self.reporter.unit());
                }
                Change::Stopped(_) | Change::Continued => {}
            }
        }
        Ok(())
    }

    /// The command has ended, and has been reaped.
    fn ended(&mut self, exit: Exit) {
        let Some(main) = self.main.take() else { return };
        if let Some(stderr) = &mut self.stderr {
            stderr.drain();
        }
        self.terminal.take_back(main.id.pid);
        self.ended_last = Some(main.id.pid);
        let at = Moment::now();
        // Whatever was sent before it ended is to be known when its end is explained.
        self.hear(&[main.id.pid]);
        if matches!(exit, Exit::Signaled { .. }) {
            self.wait_for_witnesses(main.id, exit, at);
        }
        let (id, exe) = (main.id, main.exe.as_deref());
        let end = End { id, exe, main: true, exit: Some(exit), at };
        self.reporter.ended(&end, self.witnesses.see_all());
        self.last = Some(exit);
        let key = matches!(exit, Exit::Signaled { signal: libc::SIGINT | libc::SIGQUIT, .. });
        if key && main.running.has_own_group() {
            // ^C at the terminal we have given it is meant for us as well.
            self.stop(false);
        }
        self.rest = Some(Rest::new(exit, main.id.start));
    }

    /// The command, and what it had left behind, is gone.
    pub fn what_next(&mut self, exit: Exit, since: Moment) {
        match self.stop.take() {
            Some(stop) if stop.again => {
                self.restarts.asked();
                self.due = Some(Instant::now());
            }
            Some(_) => self.over = Some(Over::Like(exit)),
            None => match self.restarts.ended(Some(exit), since, Moment::now()) {
                Next::Stay => self.over = Some(Over::Like(exit)),
                Next::After(delay) => {
                    log::info!("starting {} again in {}", self.reporter.unit(), short(delay));
                    self.due = Some(Instant::now() + delay);
                }
                Next::GiveUp(limit) => {
                    log::error!(
                        "{} has been started again {limit}: giving up",
                        self.reporter.unit()
                    );
                    self.over = Some(Over::Like(exit));
                }
            },
        }
    }
}

/// For a command in the background: no input, and no terminal. Files and pipes stay, which
/// somebody has put there.
fn apart(given: &[(RawFd, OwnedFd)]) -> Result<Vec<(RawFd, OwnedFd)>, String> {
    let mut apart = Vec::new();
    for number in 0..=2 {
        // SAFETY: asks about a number.
        let terminal = unsafe { libc::isatty(number) } == 1;
        if (number == 0 || terminal) && !given.iter().any(|(to, _)| *to == number) {
            let null = OpenOptions::new().read(true).write(true).open("/dev/null");
            apart.push((number, null.map_err(|error| format!("open /dev/null: {error}"))?.into()));
        }
    }
    Ok(apart)
}

fn short(delay: Duration) -> String {
    match delay.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        millis => format!("{}.{} s", millis / 1000, millis / 100 % 10),
    }
}
