//! hastlite's parent: it has the rights, and no input but its own files and hastctl(8).
//!
//! It opens disks, listens, connects, starts the other processes and hands everything to them; it
//! answers hastctl and runs hooks. It never reads what the other node sends.

mod control;
mod dial;
mod hooks;
mod names;
mod resource;
mod volume;
mod worker;

use crate::conf;
use crate::config::{Config, this_node};
use crate::engine::{Conn, Happening, Role};
use crate::msg::{Arrival, FromListener, TCP, ToListener, ToWorker};
use control::Control;
pub use hooks::HOOKS;
use hooks::Hooks;
use names::Names;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proto::unix::{Channel, Error as ChannelError};
use resource::{Managed, News};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use supervise::daemon::Readiness;
use supervise::{Child, Program, Signals};

/// Title of the process that hears strangers out.
pub const LISTENER: &str = "hastlite: listener";

/// How long each child may take to end without its channel, and again after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(5);

/// The name of a role, in hooks, logs and hastctl.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Init => "init",
        Role::Primary => "primary",
        Role::Secondary => "secondary",
    }
}

/// The listener, while there are addresses to listen at.
struct Listener {
    child: Child,
    channel: Channel<ToListener, FromListener>,
}

/// A connection that a worker waits for.
struct Dialing {
    resource: String,
    /// Of the worker: the next one has not asked.
    pid: Option<i32>,
    conn: Conn,
}

/// How often it is looked whether a name has been found.
const LOOK: Duration = Duration::from_millis(50);

/// Everything that goes on.
struct Parent {
    path: PathBuf,
    signals: Signals,
    config: Config,
    listener: Listener,
    control: Control,
    hooks: Hooks,
    names: Names,
    /// Connections that workers wait for while a name is looked up.
    dialing: Vec<Dialing>,
    resources: BTreeMap<String, Managed>,
    /// Resources that are in no hast.conf any more, until their workers have ended.
    leaving: Vec<Managed>,
    quit: bool,
}

/// Starts, serves until told to stop, stops. The error is why hastlite ends.
///
/// `readiness` comes from the process that is to be the parent for good: nothing forks after it.
pub fn run(path: &Path, config: Config, readiness: Readiness) -> Result<(), String> {
    // The children need it: said before anything is opened.
    supervise::user(crate::USER).map_err(text)?;
    let signals = Signals::open(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP]).map_err(text)?;
    let control = Control::bind(&config.control)?;
    let listener = Listener::start(&config)?;
    let mut hooks = Hooks::default();
    hooks.configure(&config)?;
    let resources = config
        .resources
        .iter()
        .map(|resource| (resource.name.clone(), Managed::new(resource.clone())))
        .collect();
    let mut parent = Parent {
        path: path.to_owned(),
        signals,
        config,
        listener,
        control,
        hooks,
        names: Names::default(),
        dialing: Vec::new(),
        resources,
        leaving: Vec::new(),
        quit: false,
    };
    parent.foresee();
    let result = readiness
        .ready()
        .map_err(|e| format!("say that service has begun: {e}"))
        .and_then(|()| parent.serve());
    parent.stop();
    result
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Listener {
    /// Starts it, and returns once it accepts connections.
    fn start(config: &Config) -> Result<Self, String> {
        let mut sockets = Vec::new();
        for listen in &config.listen {
            match dial::listen_at(&listen.address, conf::address::PORT) {
                Ok(more) => sockets.extend(more),
                Err(why) if listen.required => return Err(why),
                Err(why) => log::info!("{why}"),
            }
        }
        let (child, channel) = supervise::start(Program::Myself, LISTENER, &[]).map_err(text)?;
        let channel = Channel::from_fd(channel).map_err(text)?;
        let listener = Listener { child, channel };
        for socket in sockets {
            listener.tell(&ToListener::Listen(socket))?;
        }
        listener.tell(&ToListener::Start)?;
        match listener.channel.recv() {
            Ok(FromListener::Ready) => Ok(listener),
            Ok(other) => Err(format!("{LISTENER} said {other:?} before it was ready")),
            Err(error) => Err(format!("{LISTENER}: {error}")),
        }
    }

    fn tell(&self, message: &ToListener) -> Result<(), String> {
        self.channel.send(message).map_err(|e| format!("tell {LISTENER}: {e}"))
    }
}

impl Parent {
    fn serve(&mut self) -> Result<(), String> {
        while !self.quit {
            log::logger().flush();
            self.wait()?;
            let now = Instant::now();
            self.hear_signals()?;
            self.hear_listener()?;
            self.turn_resources(now);
            self.hear_control(now);
            self.hooks.turn(now)?;
        }
        Ok(())
    }

    /// Blocks until something of ours has news, or is due.
    fn wait(&self) -> Result<(), String> {
        let now = Instant::now();
        let all = || self.resources.values().chain(&self.leaving);
        let dues = all().filter_map(Managed::due);
        let due = dues
            .chain(self.hooks.due())
            .chain(self.control.due())
            .chain(supervise::logger::due())
            .chain((!self.dialing.is_empty()).then(|| now + LOOK))
            .min();
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.channel.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(self.control.poll_fds());
        fds.extend(self.hooks.poll_fds());
        fds.extend(all().flat_map(Managed::poll_fds));
        let timeout = match due {
            None => PollTimeout::NONE,
            Some(due) => {
                let left = due.saturating_duration_since(now);
                // Rounded up: waking early would turn the loop for nothing.
                let left = left.as_millis() + u128::from(!left.is_zero());
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(format!("poll: {error}")),
        }
    }

    fn hear_signals(&mut self) -> Result<(), String> {
        while let Some(signal) = self.signals.read().map_err(text)? {
            match signal.number {
                libc::SIGTERM | libc::SIGINT => {
                    log::info!("{signal}: ending");
                    self.quit = true;
                }
                libc::SIGHUP => {
                    log::info!("{signal}: reading {} again", self.path.display());
                    self.reload();
                }
                _ => log::info!("{signal}: ignored"),
            }
        }
        Ok(())
    }

    /// Connections that have introduced themselves. Without its listener a node could never be
    /// connected to again: it ends.
    fn hear_listener(&mut self) -> Result<(), String> {
        loop {
            match self.listener.channel.try_recv() {
                Ok(None) => return Ok(()),
                Ok(Some(FromListener::Ready)) => {}
                Ok(Some(FromListener::Arrival(arrival))) => self.arrive(arrival)?,
                Err(ChannelError::Closed) => {
                    let ended = self.listener.child.wait_until(Instant::now() + PATIENCE);
                    return Err(match ended.map_err(text)? {
                        Some(exit) => format!("{LISTENER} {exit}"),
                        None => format!("{LISTENER} closed its channel"),
                    });
                }
                Err(error) => return Err(format!("{LISTENER}: {error}")),
            }
        }
    }

    /// What section 2.3 of the protocol's description has a listening node check before the
    /// resource's own worker is bothered.
    fn arrive(&mut self, arrival: Arrival) -> Result<(), String> {
        if arrival.protocol != TCP {
            return Err(format!("{LISTENER} brought a connection of {:?}", arrival.protocol));
        }
        let Arrival { peer, ref resource, .. } = arrival;
        let Parent { names, resources, .. } = self;
        let mut of_peer = |managed: &Managed| {
            let remote = managed.config.remote.as_ref();
            remote.is_some_and(|remote| dial::is_peer(remote, peer, names))
        };
        if !resources.values().any(&mut of_peer) {
            log::warn!("{peer}: is the other node of no resource");
            return Ok(());
        }
        let refusal = match resources.get(resource) {
            None => "Resource not configured.".to_owned(),
            Some(managed) if !of_peer(managed) => "No access to the resource.".to_owned(),
            Some(managed) if managed.role() != Role::Secondary => format!(
                "Remote node acts as {} for the resource and not as secondary.",
                role_name(managed.role())
            ),
            Some(managed) => {
                if !managed.arrive(arrival) {
                    log::info!("[{}] {peer} came before the worker was ready", managed.config.name);
                }
                return Ok(());
            }
        };
        log::warn!("{peer}: {resource}: {refusal}");
        dial::refuse(arrival.socket, refusal);
        Ok(())
    }

    fn turn_resources(&mut self, now: Instant) {
        let mut news = Vec::new();
        for (name, managed) in &mut self.resources {
            let asked = managed.role();
            managed.turn(now, &mut news);
            // What was asked for cannot be had.
            if managed.role() != asked {
                tell_role(&mut self.hooks, managed, asked);
            }
            for item in news.drain(..) {
                match item {
                    News::Connect(conn) => {
                        let (resource, pid) = (name.clone(), managed.worker());
                        self.dialing.retain(|old| (&old.resource, old.conn) != (&resource, conn));
                        self.dialing.push(Dialing { resource, pid, conn });
                    }
                    News::Happening(happening) => {
                        let exec = managed.config.exec.as_ref();
                        self.hooks.run(exec, name, &[hook_name(&happening), name]);
                    }
                    News::Role(outcome) => self.control.role_done(name, &outcome),
                    News::Report(report) => self.control.report_done(name, &report),
                }
            }
        }
        let Parent { dialing, names, resources, .. } = self;
        dialing.retain(|Dialing { resource, pid, conn }| {
            let managed = resources.get(resource).filter(|managed| managed.worker() == *pid);
            managed.is_some_and(|managed| !managed.connect(*conn, names))
        });
        self.leaving.retain_mut(|managed| {
            managed.turn(now, &mut news);
            news.clear();
            !managed.is_idle()
        });
    }

    /// Has the names of other nodes looked up.
    fn foresee(&mut self) {
        let remotes = self.resources.values().filter_map(|managed| managed.config.remote.as_ref());
        remotes.for_each(|remote| dial::foresee(remote, &mut self.names));
    }

    /// Changes a resource's role, and tells the hooks.
    fn change(&mut self, name: &str, role: Role, force: bool, now: Instant) {
        let Some(managed) = self.resources.get_mut(name) else { return };
        let old = managed.role();
        if managed.has(role) {
            self.control.role_done(name, &Ok(()));
            return;
        }
        if managed.is_starting(role, force) {
            return;
        }
        self.control.superseded(name, Some(role));
        let mut news = Vec::new();
        managed.change(role, force, now, &mut news);
        // What cannot be had is not tried.
        if managed.role() != old {
            tell_role(&mut self.hooks, managed, old);
        }
        for item in news {
            if let News::Role(outcome) = item {
                self.control.role_done(name, &outcome);
            }
        }
    }

    /// SIGHUP: the new hast.conf is read whole first, and on any fault the old one stays.
    fn reload(&mut self) {
        let loaded = this_node::this_node()
            .map_err(|e| format!("who this node is: {e}"))
            .and_then(|node| conf::load(&self.path, &node).map_err(text));
        let config = match loaded {
            Ok((config, notes)) => {
                notes.iter().for_each(|note| log::warn!("{note}"));
                config
            }
            Err(why) => {
                why.lines().for_each(|line| log::error!("{line}"));
                log::error!("{} stays as it was", self.path.display());
                return;
            }
        };
        if config.listen != self.config.listen || config.control != self.config.control {
            log::warn!("listen and control are as they were until hastlite is started again");
        }
        if let Err(why) = self.hooks.configure(&config) {
            log::error!("{why}; {} stays as it was", self.path.display());
            return;
        }
        let now = Instant::now();
        let mut news = Vec::new();
        let mut old = std::mem::take(&mut self.resources);
        for resource in &config.resources {
            let managed = match old.remove(&resource.name) {
                Some(mut managed) => {
                    managed.reconfigure(resource.clone(), now, &mut news);
                    managed
                }
                None => Managed::new(resource.clone()),
            };
            self.resources.insert(resource.name.clone(), managed);
        }
        for (name, mut managed) in old {
            log::info!("[{name}] is in no configuration any more");
            self.control.superseded(&name, None);
            managed.change(Role::Init, false, now, &mut news);
            self.leaving.push(managed);
        }
        self.config = config;
        self.foresee();
    }

    /// Ends the children in order: workers first, told so, that what they have is stored.
    fn stop(self) {
        let Parent { listener, resources, leaving, hooks, .. } = self;
        let parts = resources.into_values().chain(leaving).filter_map(Managed::into_parts);
        let (channels, mut children): (Vec<_>, Vec<_>) = parts.unzip();
        for channel in &channels {
            let _ = channel.try_send(&ToWorker::Stop);
        }
        // Each says that it has stopped, or is at its end anyway.
        let until = Instant::now() + PATIENCE;
        for child in &mut children {
            let _ = child.wait_until(until);
        }
        children.push(listener.child);
        let (events, runner) = hooks.into_parts();
        children.extend(runner);
        supervise::stop((listener.channel, channels, events), children, PATIENCE);
        log::logger().flush();
    }
}

/// A resource's role has changed.
fn tell_role(hooks: &mut Hooks, managed: &Managed, old: Role) {
    let (name, old, new) = (&managed.config.name, role_name(old), role_name(managed.role()));
    log::info!("[{name}] role changes from {old} to {new}");
    hooks.run(managed.config.exec.as_ref(), name, &["role", name, old, new]);
}

fn hook_name(happening: &Happening) -> &'static str {
    match happening {
        Happening::Connect => "connect",
        Happening::Disconnect(_) => "disconnect",
        Happening::SyncStart => "syncstart",
        Happening::SyncDone => "syncdone",
        Happening::SyncIntr => "syncintr",
        Happening::SplitBrain => "split-brain",
    }
}
