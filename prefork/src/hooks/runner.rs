//! The process that runs hooks: an account's rights, a channel to its parent, and one from each
//! process that tells of events. Ends with the parent's channel, and everything it runs with it.

mod job;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proto::unix::{Channel, Error as ChannelError};
use supervise::launch::Inherited;
use supervise::{Answer, Identity, confine, logger};

use super::msg::{Event, FromParent, ToClient};
use super::queue::{Action, Limits, Queue, Ticket};
use job::Job;

/// What is kept within bounds.
const LIMITS: Limits = Limits { at_once: 32, waiting: 4096, time: 60_000, grace: 5_000 };

/// How long the hooks that run may go on when the parent is gone.
const LAST: Duration = Duration::from_millis(500);

/// Events that are taken from one client before the others have their turn.
const TURN: usize = 64;

/// The process: becomes `account`, says so, and runs hooks until the parent's channel ends.
///
/// # Errors
/// Why it could not begin, or could not go on.
pub fn run(account: &str, tag: &str) -> Result<(), String> {
    // First: it is a thread's mask that a command is to get.
    let inherited = Inherited::take().map_err(|e| e.to_string())?;
    supervise::leave_signals_to_parent();
    logger::inherit(tag).map_err(|e| e.to_string())?;
    let channel = supervise::inherited_channel().map_err(|e| e.to_string())?;
    let parent: Channel<Answer, FromParent> =
        Channel::from_fd(channel).map_err(|e| format!("channel to the parent: {e}"))?;
    match become_account(account) {
        Ok(identity) => {
            parent.send(&Answer::Ready).map_err(|e| format!("tell the parent: {e}"))?;
            Runner::new(parent, inherited, &identity).run()
        }
        Err(reason) => {
            // The parent says why, and ends.
            let _ = parent.send(&Answer::Refused(reason.clone()));
            Err(reason)
        }
    }
}

fn become_account(name: &str) -> Result<Identity, String> {
    let identity = supervise::user(name).map_err(|e| e.to_string())?;
    if let Err(error) = make_run_directory(&identity) {
        // Only hooks that wait behind prefork-interp(1) need it, and they say so then.
        log::warn!("a run directory for {name}: {error}");
    }
    confine::account(&identity).map_err(|e| e.to_string())?;
    std::env::set_current_dir("/").map_err(|e| format!("chdir /: {e}"))?;
    Ok(identity)
}

/// Where prefork-interp(1) keeps the sockets of this user, whom nobody logs in as.
fn make_run_directory(identity: &Identity) -> std::io::Result<()> {
    let below = Path::new("/var/run/user");
    if !below.exists() {
        std::fs::DirBuilder::new().mode(0o755).create(below)?;
    }
    let own = below.join(identity.uid.to_string());
    match std::fs::DirBuilder::new().mode(0o700).create(&own) {
        Ok(()) => chown(&own, Some(identity.uid), Some(identity.gid)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

struct Runner {
    parent: Channel<Answer, FromParent>,
    clients: Vec<Channel<ToClient, Event>>,
    scripts: Vec<PathBuf>,
    queue: Queue<Event>,
    jobs: BTreeMap<Ticket, Job>,
    inherited: Inherited,
    environment: Vec<(&'static str, String)>,
    began: Instant,
}

impl Runner {
    fn new(
        parent: Channel<Answer, FromParent>,
        inherited: Inherited,
        identity: &Identity,
    ) -> Runner {
        let home = identity.home.as_deref().unwrap_or(Path::new("/"));
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let environment = vec![("PATH", path.to_owned()), ("HOME", home.display().to_string())];
        Runner {
            parent,
            clients: Vec::new(),
            scripts: Vec::new(),
            queue: Queue::new(LIMITS),
            jobs: BTreeMap::new(),
            inherited,
            environment,
            began: Instant::now(),
        }
    }

    fn run(mut self) -> Result<(), String> {
        let mut open = true;
        while open {
            self.wait()?;
            let mut actions = Vec::new();
            self.hear_clients(&mut actions);
            // After them: what an event names was said before the event was.
            open = self.hear_parent()?;
            self.look_after_jobs(&mut actions);
            self.queue.tick(self.now(), &mut actions);
            self.act(actions);
            log::logger().flush();
        }
        self.end();
        Ok(())
    }

    /// Milliseconds since we began.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn wait(&self) -> Result<(), String> {
        let readable = PollFlags::POLLIN;
        let mut fds = vec![PollFd::new(self.parent.as_fd(), readable)];
        fds.extend(self.clients.iter().map(|client| PollFd::new(client.as_fd(), readable)));
        for job in self.jobs.values() {
            fds.extend(job.descriptors().map(|fd| PollFd::new(fd, readable)));
        }
        let now = self.now();
        let timeout = match self.queue.due(now) {
            None => PollTimeout::NONE,
            Some(due) => PollTimeout::try_from(due.saturating_sub(now)).unwrap_or(PollTimeout::MAX),
        };
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(format!("poll: {errno}")),
        }
    }

    /// Whether the parent is still there.
    fn hear_parent(&mut self) -> Result<bool, String> {
        loop {
            match self.parent.try_recv() {
                Ok(None) => return Ok(true),
                Ok(Some(FromParent::Scripts(scripts))) => self.scripts = scripts,
                Ok(Some(FromParent::Client(fd))) => self.add_client(fd)?,
                Err(ChannelError::Closed) => return Ok(false),
                Err(error) => return Err(format!("channel to the parent: {error}")),
            }
        }
    }

    fn add_client(&mut self, fd: OwnedFd) -> Result<(), String> {
        let client = Channel::from_fd(fd).map_err(|e| format!("channel of a client: {e}"))?;
        self.clients.push(client);
        Ok(())
    }

    fn hear_clients(&mut self, actions: &mut Vec<Action<Event>>) {
        let now = self.now();
        let Runner { clients, queue, .. } = self;
        clients.retain(|client| {
            for _ in 0..TURN {
                match client.try_recv() {
                    Ok(Some(event)) => queue.push(event.key.clone(), event, now, actions),
                    Ok(None) => break,
                    Err(ChannelError::Closed) => return false,
                    Err(error) => {
                        log::error!("an event that makes no sense: {error}");
                        return false;
                    }
                }
            }
            true
        });
    }

    fn look_after_jobs(&mut self, actions: &mut Vec<Action<Event>>) {
        let mut ended = Vec::new();
        for (ticket, job) in &mut self.jobs {
            job.read();
            if job.has_ended() {
                ended.push(*ticket);
            }
        }
        for ticket in ended {
            self.jobs.remove(&ticket);
            self.queue.ended(ticket, self.now(), actions);
        }
    }

    fn act(&mut self, actions: Vec<Action<Event>>) {
        let mut actions = std::collections::VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Start(ticket, event) => {
                    if !self.start(ticket, &event) {
                        let mut more = Vec::new();
                        self.queue.ended(ticket, self.now(), &mut more);
                        actions.extend(more);
                    }
                }
                Action::Terminate(ticket) => {
                    if let Some(job) = self.jobs.get(&ticket) {
                        let seconds = LIMITS.time / 1000;
                        log::warn!("{job} has been running for {seconds} s; sending SIGTERM");
                        job.signal(libc::SIGTERM);
                    }
                }
                Action::Kill(ticket) => {
                    if let Some(job) = self.jobs.get(&ticket) {
                        log::warn!("{job} still runs; sending SIGKILL");
                        job.signal(libc::SIGKILL);
                    }
                }
                Action::Dropped(count) => {
                    log::error!("{count} events had no hook run: too many are waiting");
                }
            }
        }
    }

    /// Whether it runs.
    fn start(&mut self, ticket: Ticket, event: &Event) -> bool {
        let Some(script) = self.scripts.get(usize::from(event.script)) else {
            log::error!("an event for hook number {}, and there is none", event.script);
            return false;
        };
        match Job::start(script, event, &self.environment, &self.inherited) {
            Ok(job) => {
                self.jobs.insert(ticket, job);
                true
            }
            Err(error) => {
                log::error!("hook {}: {error}", name(script, event));
                false
            }
        }
    }

    /// The parent is gone: nothing stays.
    fn end(mut self) {
        let (_, waiting) = self.queue.lengths();
        if waiting > 0 {
            log::warn!("{waiting} hooks that waited are not run any more");
        }
        for signal in [libc::SIGTERM, libc::SIGKILL] {
            let until = Instant::now() + LAST;
            for job in self.jobs.values() {
                job.signal(signal);
            }
            while !self.jobs.is_empty() && Instant::now() < until {
                let mut fds: Vec<PollFd<'_>> = Vec::new();
                for job in self.jobs.values() {
                    fds.extend(job.descriptors().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
                }
                let left = until.saturating_duration_since(Instant::now()).as_millis() + 1;
                let _ = poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO));
                self.look_after_jobs(&mut Vec::new());
            }
        }
        log::logger().flush();
    }
}

/// What people call a run of a hook: its program and its first words.
fn name(script: &Path, event: &Event) -> String {
    let mut name = script.display().to_string();
    for word in event.arguments.iter().take(4) {
        name.push(' ');
        name.push_str(&printable(word));
    }
    name
}

/// What a log can take.
fn printable(bytes: &[u8]) -> String {
    let text = OsStr::from_bytes(bytes).to_string_lossy();
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
