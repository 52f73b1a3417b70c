//! Who besides us sees signals and processes, on Linux: a tracefs instance, audit, and the tracker
//! that knows who belongs to the command.

use std::os::fd::{AsFd, BorrowedFd};

use supervise::Moment;
use supervise::attribution::{Audit, Confidence, Reason, Seen, Target, Trace};
use supervise::track::{Backend, Changed, Event, Heard, ProcId, Tracker, Waiter};

use crate::command::args::Options;

/// How often, at most, signals and what the tracker says are read by turns before the loop goes on.
const ROUNDS: usize = 64;

/// All of them; each may be missing.
#[derive(Default)]
pub struct Witnesses {
    trace: Option<Trace>,
    audit: Option<Audit>,
    tracker: Option<Tracker>,
    /// It traces if ptrace is a witness, and waits for children in any case.
    waiter: Waiter,
    ptrace: bool,
    /// What it has heard besides.
    heard: Heard,
}

/// What they have seen since they were asked.
#[derive(Default)]
pub struct News {
    /// Signals.
    pub seen: Vec<Seen>,
    /// That some may be missing.
    pub lost: Vec<Moment>,
    /// What descendants have done.
    pub events: Vec<Event>,
}

impl Witnesses {
    /// Calls those that the options name. Without a name it is the best that can be had without
    /// changing anything for others: tracefs, for root.
    ///
    /// # Errors
    /// One that was named cannot be had.
    pub fn open(options: &Options) -> Result<Witnesses, String> {
        let who = options.who;
        let missing = |what: &str, error: supervise::Error| format!("{what}: {error}");
        let mut all = Witnesses::default();
        if who.trace {
            all.trace = Some(Trace::open().map_err(|error| missing("--trace", error))?);
        } else if who.auto && nix::unistd::geteuid().is_root() {
            match Trace::open() {
                Ok(trace) => all.trace = Some(trace),
                Err(error) => log::debug!("without tracefs: {error}"),
            }
        }
        if who.audit {
            all.audit = Some(Audit::open().map_err(|error| missing("--audit", error))?);
        }
        all.ptrace = who.ptrace;
        // ptrace follows descendants as it is.
        if options.track && !who.ptrace {
            let tracker = Tracker::open(Backend::Connector);
            all.tracker = Some(tracker.map_err(|error| missing("--track", error))?);
        }
        if let (Some(trace), Some(_)) = (&mut all.trace, &all.tracker) {
            trace.follow_users();
        }
        Ok(all)
    }

    /// Whether SIGKILL is seen, too.
    pub fn see_all(&self) -> bool {
        self.trace.is_some() || self.audit.is_some()
    }

    /// Whether there is one who may tell of a signal some time after it has had its effect.
    pub fn are_late(&self) -> bool {
        self.audit.is_some()
    }

    /// What is to be polled for input.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let trace = self.trace.as_ref().map(|trace| trace.as_fd());
        let audit = self.audit.as_ref().map(|audit| audit.as_fd());
        let tracker = self.tracker.as_ref().map(|tracker| tracker.as_fd());
        trace.into_iter().chain(audit).chain(tracker).chain(self.waiter.wakes())
    }

    /// Follows a command that is held.
    ///
    /// # Errors
    /// That cannot be done.
    pub fn watch(&mut self, pid: i32) -> Result<Option<ProcId>, String> {
        if self.ptrace {
            return self.waiter.trace(pid).map(Some).map_err(|error| error.to_string());
        }
        let tracker = self.tracker.as_mut().map(|tracker| tracker.watch(pid)).transpose();
        tracker.map_err(|error| error.to_string())
    }

    /// What has become of children. Nobody else waits for them.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn wait(&mut self) -> Result<Vec<Changed>, String> {
        self.waiter.read(&mut self.heard).map_err(|error| error.to_string())?;
        Ok(std::mem::take(&mut self.heard.changes))
    }

    /// Reads what they have to say of `ours` and of descendants.
    pub fn read(&mut self, ours: &[i32]) -> News {
        let mut news = News {
            seen: std::mem::take(&mut self.heard.seen),
            events: std::mem::take(&mut self.heard.events),
            ..News::default()
        };
        // Signals that came while the tracker was read wait for what it says next.
        for _ in 0..ROUNDS {
            let until = Moment::now();
            self.hear_tracker(&mut news.events);
            if !self.read_trace(ours, until, &mut news) {
                break;
            }
        }
        if let Some(audit) = &mut self.audit {
            let mut seen = Vec::new();
            if let Err(error) = audit.read(&mut seen) {
                log::error!("{error}");
            }
            for seen in seen {
                if seen.confidence == Confidence::Unknown(Reason::Overrun) {
                    news.lost.push(seen.at);
                } else if self.is_wanted(ours, &news.events, seen.target) {
                    news.seen.push(seen);
                }
            }
        }
        news
    }

    /// What descendants have done; and, of all processes, whose they have become.
    fn hear_tracker(&mut self, events: &mut Vec<Event>) {
        let Some(tracker) = &mut self.tracker else { return };
        let trace = &mut self.trace;
        let before = events.len();
        let result = tracker.read_all(events, &mut |note| {
            if let Some(trace) = trace {
                trace.hear(note);
            }
        });
        let gap = |event: &Event| matches!(event, Event::Gap { .. });
        if let Some(trace) = &mut self.trace
            && events.iter().skip(before).any(gap)
        {
            trace.follow_users();
        }
        if let Err(error) = result {
            log::error!("{error}: descendants are followed no more");
            self.tracker = None;
        }
    }

    /// Signals that tracefs has recorded until a moment, or all if nothing else is to be heard
    /// with them. Whether there are more.
    fn read_trace(&mut self, ours: &[i32], until: Moment, news: &mut News) -> bool {
        let Some(mut trace) = self.trace.take() else { return false };
        let mut seen = Vec::new();
        let mut wanted = |target| self.is_wanted(ours, &news.events, target);
        let more = match self.tracker {
            Some(_) => trace.read_until(until, &mut wanted, &mut seen),
            None => trace.read_if(&mut wanted, &mut seen).map(|()| false),
        };
        news.seen.append(&mut seen);
        let lost = trace.losses();
        news.lost.extend(lost.iter().filter(|lost| lost.signals).map(|lost| lost.at));
        self.trace = Some(trace);
        more.unwrap_or_else(|error| {
            log::error!("{error}");
            false
        })
    }

    /// Whether this is the command, what it has made, or one of those that has just ended.
    fn is_wanted(&self, ours: &[i32], events: &[Event], target: Target) -> bool {
        ours.contains(&target.pid)
            || events.iter().filter_map(ended).any(|pid| pid == target.pid)
            || self.waiter.member(target.pid).is_some()
            || self.tracker.as_ref().is_some_and(|tracker| tracker.member(target.pid).is_some())
    }
}

fn ended(event: &Event) -> Option<i32> {
    match event {
        Event::Exit { id, .. } => Some(id.pid),
        _ => None,
    }
}
