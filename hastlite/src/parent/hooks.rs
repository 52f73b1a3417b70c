//! The administrator's programs (`exec` in hast.conf), as the parent has them run: by a process that
//! does nothing else, and that is never waited for.

use crate::config::Config;
use nix::poll::{PollFd, PollFlags};
use prefork::hooks::{Event, FromParent, Teller, role};
use proto::unix::Channel;
use std::path::PathBuf;
use std::time::Instant;
use supervise::{Answer, Attendant, Child};

/// Title of the process that runs hooks.
pub const HOOKS: &str = "hastlite: hooks";

/// The runner, if any resource has a hook, and what it is told.
#[derive(Default)]
pub struct Hooks {
    scripts: Vec<PathBuf>,
    runner: Option<Attendant<FromParent>>,
    teller: Teller,
}

impl Hooks {
    /// Takes the programs of a configuration. Those of an earlier one keep their numbers, by which
    /// events that are on their way mean them.
    pub fn configure(&mut self, config: &Config) -> Result<(), String> {
        let before = self.scripts.len();
        for exec in config.resources.iter().filter_map(|resource| resource.exec.as_ref()) {
            if !self.scripts.contains(exec) {
                self.scripts.push(exec.clone());
            }
        }
        if self.scripts.len() == before {
            return Ok(());
        }
        match &mut self.runner {
            Some(runner) => runner.tell(FromParent::Scripts(self.scripts.clone())),
            None => {
                let role = role(HOOKS, self.scripts.clone());
                self.runner = Some(Attendant::start(role).map_err(|e| e.to_string())?);
            }
        }
        Ok(())
    }

    /// Has one run, after all those of the same resource before it.
    pub fn run(&mut self, exec: Option<&PathBuf>, name: &str, arguments: &[&str]) {
        let Some(exec) = exec else { return };
        let Some(script) = self.scripts.iter().position(|known| known == exec) else {
            log::error!("[{name}] {}: not among the hooks of this configuration", exec.display());
            return;
        };
        self.teller.tell(Event {
            script: u16::try_from(script).unwrap_or(u16::MAX),
            key: name.into(),
            arguments: arguments.iter().map(|word| word.as_bytes().to_vec()).collect(),
            environment: Vec::new(),
        });
    }

    /// What to wait for.
    pub fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let blocked = self.teller.blocked().map(|fd| PollFd::new(fd, PollFlags::POLLOUT));
        self.runner.iter().flat_map(Attendant::poll_fds).chain(blocked)
    }

    /// When [`Hooks::turn`] is due.
    pub fn due(&self) -> Option<Instant> {
        self.runner.as_ref().and_then(Attendant::due)
    }

    /// Sees to the runner, and tells it what waits.
    pub fn turn(&mut self, now: Instant) -> Result<(), String> {
        if let Some(runner) = &mut self.runner
            && let Some((channel, _)) = runner.see_to(now)?
        {
            self.teller.connect(channel).map_err(|e| format!("channel to {HOOKS}: {e}"))?;
        }
        self.teller.flush();
        Ok(())
    }

    /// The runner and its channel, for the ordered end.
    pub fn into_parts(self) -> (Option<Channel<FromParent, Answer>>, Option<Child>) {
        self.runner.map(Attendant::into_parts).unwrap_or_default()
    }
}
