//! The process that asks the DNS which names addresses have, for `get-lease-hostnames`.
//!
//! ```text
//!  parent ──── Begin, Client ────▶ dhcpd: resolver ──▶ 8 threads, each in getnameinfo(3)
//!    │ starts it, again if it dies   │  /etc/hosts and the DNS, no other way
//!    └─ server ──── Ask ────────────▶│  each address once at a time, 4096 wait, 60 s
//!       never waits: Asker ◀─ Named ─┘  ends with the parent's channel
//! ```
//!
//! Looking up takes as long as it takes, and packets of strangers come back: so it is a process of
//! its own, without rights, whose answers are for a later packet. It decides nothing: which names
//! are asked for and what they are good for is the engine's.

mod asker;
mod lookup;
mod msg;
mod queue;

#[cfg_attr(target_os = "linux", path = "resolver/rules_linux.rs")]
#[cfg_attr(target_os = "openbsd", path = "resolver/rules_openbsd.rs")]
#[cfg_attr(target_os = "freebsd", path = "resolver/rules_freebsd.rs")]
#[cfg_attr(target_os = "netbsd", path = "resolver/rules_netbsd.rs")]
mod rules;

pub use asker::Asker;
pub use msg::{Ask, FromParent, Named};

use crate::USER;
use crate::config::Config;
use lookup::Found;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proto::unix::{Channel, Error as ChannelError};
use queue::{AT_ONCE, Queue};
use std::collections::VecDeque;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use supervise::attendant::Role;
use supervise::confine::{Confinement, confine_reading};
use supervise::{Answer, Program, logger};

/// The title of the process.
pub const TITLE: &str = "dhcpd: resolver";

/// The stack of a thread that looks up, in bytes: the C library keeps packets there.
const STACK: usize = 512 << 10;

/// The process as its parent keeps it.
pub fn role() -> Role<FromParent> {
    Role {
        program: Program::Myself,
        title: TITLE,
        setup: FromParent::Begin,
        client: FromParent::Client,
    }
}

/// Whether a configuration has any use for it.
pub fn is_wanted(config: &Config) -> bool {
    config.subnets.iter().any(|subnet| subnet.settings.get_lease_hostnames == Some(true))
}

/// The process: gives up its rights, says so, and looks up until the parent's channel ends.
///
/// # Errors
/// Why it could not begin, or could not go on.
pub fn run() -> Result<(), String> {
    supervise::leave_signals_to_parent();
    logger::inherit("dhcpd").map_err(|e| e.to_string())?;
    let fd = supervise::inherited_channel().map_err(|e| e.to_string())?;
    let parent: Channel<Answer, FromParent> =
        Channel::from_fd(fd).map_err(|e| format!("channel to the parent: {e}"))?;
    match confined() {
        Ok(()) => {
            let resolver = Resolver::new(parent)?;
            resolver.parent.send(&Answer::Ready).map_err(|e| format!("tell the parent: {e}"))?;
            resolver.run()
        }
        Err(reason) => {
            // The parent says why, and ends.
            let _ = parent.send(&Answer::Refused(reason.clone()));
            Err(reason)
        }
    }
}

fn confined() -> Result<(), String> {
    let identity = supervise::user(USER).map_err(|e| e.to_string())?;
    let directories = lookup::prepare();
    let directories: Vec<&std::path::Path> = directories.iter().map(|path| &**path).collect();
    let rules = &rules::RULES;
    let death = Some(libc::SIGKILL);
    let confinement = Confinement { identity: &identity, parent_death: death, rules };
    confine_reading(&confinement, &directories).map_err(|e| e.to_string())
}

struct Resolver {
    parent: Channel<Answer, FromParent>,
    server: Option<Channel<Named, Ask>>,
    queue: Queue,
    jobs: Sender<Ipv4Addr>,
    results: Receiver<(Ipv4Addr, Found)>,
    wake: PipeReader,
    /// What the server has not taken yet.
    unsaid: VecDeque<Named>,
    began: Instant,
}

impl Resolver {
    fn new(parent: Channel<Answer, FromParent>) -> Result<Resolver, String> {
        let (jobs, todo) = channel::<Ipv4Addr>();
        let (done, results) = channel();
        let (wake, waker) = pipe().map_err(|e| format!("make a pipe: {e}"))?;
        let (todo, waker) = (Arc::new(Mutex::new(todo)), Arc::new(waker));
        for _ in 0..AT_ONCE {
            let (todo, done, waker) = (todo.clone(), done.clone(), waker.clone());
            std::thread::Builder::new()
                .name("lookup".to_owned())
                .stack_size(STACK)
                .spawn(move || work(&todo, &done, &waker))
                .map_err(|e| format!("start a thread: {e}"))?;
        }
        Ok(Resolver {
            parent,
            server: None,
            queue: Queue::default(),
            jobs,
            results,
            wake,
            unsaid: VecDeque::new(),
            began: Instant::now(),
        })
    }

    fn run(mut self) -> Result<(), String> {
        loop {
            self.wait()?;
            if !self.hear_parent()? {
                return Ok(());
            }
            self.hear_results()?;
            self.hear_server();
            self.begin_lookups()?;
            self.answer();
            log::logger().flush();
        }
    }

    /// Milliseconds since we began.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn wait(&self) -> Result<(), String> {
        let readable = PollFlags::POLLIN;
        let mut fds = vec![
            PollFd::new(self.parent.as_fd(), readable),
            PollFd::new(self.wake.as_fd(), readable),
        ];
        if let Some(server) = &self.server {
            let mut events = readable;
            events.set(PollFlags::POLLOUT, !self.unsaid.is_empty());
            fds.push(PollFd::new(server.as_fd(), events));
        }
        let timeout = match self.queue.due() {
            None => PollTimeout::NONE,
            Some(due) => {
                PollTimeout::try_from(due.saturating_sub(self.now())).unwrap_or(PollTimeout::MAX)
            }
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
                Ok(Some(FromParent::Begin)) => {}
                Ok(Some(FromParent::Client(fd))) => self.connect(fd)?,
                Err(ChannelError::Closed) => return Ok(false),
                Err(error) => return Err(format!("channel to the parent: {error}")),
            }
        }
    }

    fn connect(&mut self, fd: OwnedFd) -> Result<(), String> {
        let server = Channel::from_fd(fd).map_err(|e| format!("channel to the server: {e}"))?;
        self.server = Some(server);
        Ok(())
    }

    fn hear_server(&mut self) {
        let now = self.now();
        let Some(server) = &self.server else { return };
        loop {
            match server.try_recv() {
                Ok(Some(Ask(addresses))) => {
                    addresses.into_iter().for_each(|address| self.queue.push(address, now));
                }
                Ok(None) => return,
                Err(error) => {
                    if !matches!(error, ChannelError::Closed) {
                        log::error!("channel to the server: {error}");
                    }
                    self.server = None;
                    return;
                }
            }
        }
    }

    fn begin_lookups(&mut self) -> Result<(), String> {
        let now = self.now();
        while let Some(address) = self.queue.next(now) {
            // The threads end with us, and not before.
            self.jobs.send(address).map_err(|e| format!("give a thread {address}: {e}"))?;
        }
        if let Some(dropped) = self.queue.dropped(now) {
            log::warn!("{dropped} addresses were not looked up: the DNS is too slow");
        }
        match self.queue.is_stuck(now) {
            true => Err(format!("{AT_ONCE} lookups have not ended for a minute")),
            false => Ok(()),
        }
    }

    fn hear_results(&mut self) -> Result<(), String> {
        let mut fds = [PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::ZERO).unwrap_or(0) > 0 {
            let mut bytes = [0; 64];
            self.wake.read(&mut bytes).map_err(|e| format!("read from the threads: {e}"))?;
        }
        for (address, found) in self.results.try_iter() {
            self.queue.done(address);
            match found {
                Found::Name(name) => {
                    self.unsaid.push_back(Named { address, name: Some(name) });
                }
                Found::NoName => self.unsaid.push_back(Named { address, name: None }),
                Found::Failed(why) => log::debug!("look up {address}: {why}"),
            }
        }
        Ok(())
    }

    fn answer(&mut self) {
        while let (Some(server), Some(named)) = (&self.server, self.unsaid.front()) {
            match server.try_send(named) {
                Ok(true) => drop(self.unsaid.pop_front()),
                Ok(false) => break,
                Err(_) => self.server = None,
            }
        }
        // It asks again for what it did not hear.
        self.unsaid.truncate(queue::WAITING);
    }
}

/// A thread: one lookup after the other.
fn work(
    todo: &Mutex<Receiver<Ipv4Addr>>,
    done: &Sender<(Ipv4Addr, Found)>,
    mut waker: &PipeWriter,
) {
    loop {
        let next = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(address) = next else { return };
        let found = lookup::name_of(address);
        if done.send((address, found)).is_err() || waker.write_all(&[0]).is_err() {
            return;
        }
    }
}
