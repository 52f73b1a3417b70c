//! Changes while dhcpd serves: of the configuration, after SIGHUP or for dhcpctl(8), and of the
//! interfaces.
//!
//! A new configuration is read whole and checked first; if anything is wrong with it, nothing
//! changes. The server is told all of a change and puts it into effect at once; until it has said
//! that it did, no other change is begun.

use super::interfaces::{Listening, Plan};
use super::{Parent, SERVER};
use crate::args::Args;
use crate::conf::{self, SystemSources};
use crate::config::Config;
use crate::msg::{CHUNK, ToServer};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Instant;
use supervise::daemon::Notifier;

/// What is wanted, what is being done, and what has to be known for it.
pub struct Reload {
    /// The configuration's name.
    name: String,
    /// What that is relative to.
    base: PathBuf,
    /// As the server has it.
    config: Config,
    listening: Listening,
    notifier: Notifier,
    /// The configuration is to be read again.
    wanted: bool,
    /// How many of those who want that wait for an answer.
    asked: usize,
    /// What the server has been told and has not confirmed.
    under_way: Option<UnderWay>,
}

struct UnderWay {
    plan: Plan,
    /// The new configuration, and for how many an answer is to be given.
    config: Option<(Config, usize)>,
}

impl Reload {
    /// Nothing is wanted yet. `base` is the working directory when dhcpd was started.
    pub fn new(
        args: &Args,
        base: PathBuf,
        config: Config,
        listening: Listening,
        notifier: Notifier,
    ) -> Reload {
        let name = args.config.display().to_string();
        let (wanted, asked, under_way) = (false, 0, None);
        Reload { name, base, config, listening, notifier, wanted, asked, under_way }
    }

    /// Takes the interfaces that are served at first, and says so; returns the messages for the server.
    pub(super) fn begin(&mut self, first: Plan) -> Vec<ToServer> {
        self.listening.adopt(first)
    }

    /// The configuration as the server has it.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// A signal asks for it.
    pub(super) fn want(&mut self, signal: &impl std::fmt::Display) {
        log::info!("{signal}: reading {} again", self.name);
        self.wanted = true;
    }

    /// Somebody asks for it through the server, and waits for what comes of it.
    pub(super) fn want_for(&mut self, who: &str) {
        log::info!("{who} asked for it: reading {} again", self.name);
        self.wanted = true;
        self.asked += 1;
    }

    /// When something is to be done even if nothing happens.
    pub(super) fn due(&self) -> Option<Instant> {
        self.listening.due().filter(|_| self.under_way.is_none())
    }

    /// Reads the configuration. The error is in lines, one or more for each thing that is wrong.
    fn read(&self) -> Result<(Config, Vec<u8>), String> {
        let mut sources = SystemSources::within(&self.base);
        match conf::load(&self.name, &mut sources) {
            Ok((config, notes)) => {
                for note in &notes {
                    note.render().lines().for_each(|line| log::warn!("{line}"));
                }
                Ok((config, sources.into_recorded().encode()))
            }
            Err(wrong) => {
                let wrong: Vec<String> = wrong.iter().map(|error| error.render()).collect();
                Err(wrong.join("\n"))
            }
        }
    }

    /// Tells the service manager. That there is none to hear it does not matter.
    fn notify(&self, result: Option<&Result<(), String>>) {
        let told = match result {
            None => self.notifier.reloading(),
            Some(Ok(())) => self.notifier.reloaded("Configuration read again."),
            Some(Err(_)) => self.notifier.reloaded("The old configuration stays: see the log."),
        };
        if let Err(error) = told {
            log::debug!("tell the service manager: {error}");
        }
    }
}

/// Readable when the interfaces have changed.
impl AsFd for Reload {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listening.as_fd()
    }
}

impl Parent {
    /// Begins what is wanted or due, unless something is under way.
    pub(super) fn see_to_changes(&mut self) -> Result<(), String> {
        let now = Instant::now();
        self.reload.listening.hear(now)?;
        if !self.server.ready || self.reload.under_way.is_some() || self.quit {
            return Ok(());
        }
        if std::mem::take(&mut self.reload.wanted) {
            self.reload(now)
        } else if self.reload.due().is_some_and(|due| due <= now) {
            self.follow(now)
        } else {
            Ok(())
        }
    }

    /// Reads the configuration again, and gives it to the server if nothing is wrong with it.
    fn reload(&mut self, now: Instant) -> Result<(), String> {
        let asked = std::mem::take(&mut self.reload.asked);
        self.reload.notify(None);
        let read = self.reload.read().and_then(|(config, sources)| {
            // A new configuration may have a subnet for another interface.
            self.reload.listening.looking(now);
            let plan = self.reload.listening.plan(&config)?;
            Ok((config, sources, plan))
        });
        match read {
            Ok((config, sources, plan)) => {
                self.tell_sources(&sources)?;
                self.begin(UnderWay { plan, config: Some((config, asked)) })
            }
            Err(wrong) => self.reloaded(asked, Err(wrong)),
        }
    }

    /// Looks at the interfaces again.
    fn follow(&mut self, now: Instant) -> Result<(), String> {
        self.reload.listening.looking(now);
        let plan = match self.reload.listening.plan(&self.reload.config) {
            Ok(plan) => plan,
            Err(error) => {
                log::error!("{error}");
                self.reload.listening.look_again();
                return Ok(());
            }
        };
        if plan.messages.is_empty() {
            self.reload.listening.adopt(plan);
            return Ok(());
        }
        self.begin(UnderWay { plan, config: None })
    }

    /// Tells the server of a change.
    fn begin(&mut self, mut change: UnderWay) -> Result<(), String> {
        for message in std::mem::take(&mut change.plan.messages) {
            self.tell(&message)?;
        }
        self.tell(&ToServer::Apply)?;
        self.reload.under_way = Some(change);
        Ok(())
    }

    /// The server has done it, or why it has not.
    pub(super) fn applied(&mut self, result: Result<(), String>) -> Result<(), String> {
        let Some(UnderWay { plan, config }) = self.reload.under_way.take() else {
            return Err(format!("{SERVER} has applied what it was not told"));
        };
        let asked = config.as_ref().map(|(_, asked)| *asked);
        match &result {
            Ok(()) => {
                self.reload.listening.adopt(plan);
                if let Some((config, _)) = config {
                    self.reload.config = config;
                    self.want_names();
                }
            }
            Err(why) => log::error!("{SERVER}: {why}"),
        }
        match asked {
            Some(asked) => self.reloaded(asked, result),
            None => Ok(()),
        }
    }

    /// Says what came of reading the configuration again, and answers those who asked.
    fn reloaded(&mut self, asked: usize, result: Result<(), String>) -> Result<(), String> {
        match &result {
            Ok(()) => log::info!("{}: read again, and in effect", self.reload.name),
            Err(wrong) => {
                wrong.lines().for_each(|line| log::error!("{line}"));
                log::error!("Configuration file errors encountered: the old configuration stays");
            }
        }
        self.reload.notify(Some(&result));
        for _ in 0..asked {
            self.tell(&ToServer::Reloaded(result.clone()))?;
        }
        Ok(())
    }

    /// Tells the server a configuration.
    pub(super) fn tell_sources(&self, sources: &[u8]) -> Result<(), String> {
        let mut parts = sources.chunks(CHUNK).peekable();
        if parts.peek().is_none() {
            return self.tell(&ToServer::Sources { bytes: Vec::new(), last: true });
        }
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            self.tell(&ToServer::Sources { bytes: part.to_vec(), last })?;
        }
        Ok(())
    }
}
