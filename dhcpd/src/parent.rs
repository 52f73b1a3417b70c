//! dhcpd's parent: it has the rights, and no input but its own files.
//!
//! It opens sockets and the lease file, starts the children and hands everything to the
//! server; then it waits for signals, for what the server asks of it, and for a child to end. It
//! never reads a packet.

mod interfaces;
mod names;
mod reload;

pub use interfaces::{Listening, Plan};
pub use reload::Reload;
mod control;

use crate::USER;
use crate::args::Args;
use crate::hooks;
use crate::icmp;
use crate::leasefile::store::Store;
use crate::msg::{Process, Start, ToParent, ToServer};
use crate::resolver;
use crate::socket::Queues;
use crate::sync::open::Opened;
use crate::udp::{self, Accept};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proto::unix::{Channel, Error as ChannelError, Listener as ControlSocket};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use supervise::daemon::Readiness;
use supervise::{Attendant, Child, Program, Signals, logger};

/// Title of the process that answers packets.
pub const SERVER: &str = "dhcpd: server";

/// How long the server may take to load its leases.
const SERVER_START: Duration = Duration::from_secs(300);

/// How long each child may take to end without its channel, and again after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(5);

/// The server, and what it says.
struct Server {
    child: Child,
    channel: Channel<ToServer, ToParent>,
    ready: bool,
}

/// The parent once everything is open.
struct Parent {
    signals: Signals,
    store: Store,
    /// Where dhcpctl(8) connects, as long as we are there; the server accepts.
    control: Option<ControlSocket>,
    server: Server,
    helper: Option<Attendant<pfhelper::FromParent>>,
    hooks: Option<Attendant<prefork::hooks::FromParent>>,
    reload: Reload,
    resolver: Option<Attendant<resolver::FromParent>>,
    quit: bool,
}

/// What is served and with which configuration.
pub struct Service<'a> {
    /// The command line.
    pub args: &'a Args,
    /// The configuration as the server will read it again.
    pub sources: &'a [u8],
    /// The interfaces that are to be served.
    pub first: Plan,
    /// What keeps both up to date.
    pub reload: Reload,
    /// What `-Y` and `-y` ask for.
    pub sync: Option<Opened>,
}

/// Starts, serves until told to stop, stops. The error is why dhcpd ends.
///
/// `readiness` comes from the process that is to be the parent for good: nothing forks after it.
pub fn run(service: Service<'_>, readiness: Readiness) -> Result<(), String> {
    // The children need it: said before anything is opened.
    let account = supervise::user(USER).map_err(text)?;
    let control = control::open(&service.args.control, account.gid)?;
    let store = Store::open(&service.args.leases).map_err(text)?;
    let udp = match service.args.is_udp_only() {
        // UDP mode alone: nothing else is heard than what its own socket gets.
        true => None,
        false => Some(udp::open(Ipv4Addr::UNSPECIFIED, Accept::Unicast).map_err(text)?),
    };
    let udp_mode = match service.args.udp {
        Some(address) => Some(udp::open(address, Accept::All).map_err(text)?),
        None => None,
    };
    let icmp = icmp::open().map_err(text)?;
    let signals = Signals::open(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP]).map_err(text)?;

    let tables = &service.args.tables;
    let helper = match tables.is_empty() {
        true => None,
        false => {
            let role = pfhelper::role(tables, service.args.element_timeout);
            Some(Attendant::start(role).map_err(text)?)
        }
    };
    let hooks = match &service.args.hook {
        None => None,
        Some(hook) => {
            let role = prefork::hooks::role(hooks::TITLE, vec![hook.clone()]);
            Some(Attendant::start(role).map_err(text)?)
        }
    };
    let (child, channel) = supervise::start(Program::Myself, SERVER, &[]).map_err(text)?;
    let server = Server { child, channel: Channel::from_fd(channel).map_err(text)?, ready: false };
    let Service { args, sources, first, reload, sync } = service;
    let mut parent = Parent {
        signals,
        store,
        control,
        server,
        helper,
        hooks,
        reload,
        resolver: None,
        quit: false,
    };
    parent.want_names();

    let result = parent
        .hand_over(args, sources, first, (udp, udp_mode, icmp), sync)
        .and_then(|()| parent.until_ready())
        .and_then(|()| match parent.quit {
            // Told to end before service had begun, which then is never said.
            true => Ok(()),
            false => readiness.ready().map_err(|e| format!("say that service has begun: {e}")),
        })
        .and_then(|()| parent.serve());
    parent.stop();
    result
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Parent {
    /// Gives the server everything it will ever hold, except for helpers and lease files to come.
    fn hand_over(
        &mut self,
        args: &Args,
        sources: &[u8],
        first: Plan,
        (udp, udp_mode, icmp): (Option<Queues>, Option<Queues>, OwnedFd),
        sync: Option<Opened>,
    ) -> Result<(), String> {
        self.tell_sources(sources)?;
        // Everything has been opened by now; nobody is told that we listen if we do not.
        let interfaces = self.reload.begin(first);
        interfaces.iter().try_for_each(|interface| self.tell(interface))?;
        if let Some(udp) = udp {
            self.tell(&ToServer::Udp(udp.others))?;
            udp.discovers.map_or(Ok(()), |queue| self.tell(&ToServer::Discovers(queue)))?;
        }
        udp_mode.map_or(Ok(()), |udp| self.tell(&ToServer::UdpMode(udp.others)))?;
        self.tell(&ToServer::Icmp(icmp))?;
        if let Some(Opened { options, socket, remarks }) = sync {
            remarks.iter().for_each(|remark| log::warn!("{remark}"));
            self.tell(&ToServer::Sync(options, socket))?;
        }
        let leases = self.store.lease_file().map_err(text)?;
        self.tell(&ToServer::Leases(leases))?;
        if let Some(control) = &self.control {
            self.tell(&ToServer::Control(control.share().map_err(text)?))?;
        }
        self.tell(&ToServer::Start(Start {
            config: args.config.display().to_string(),
            leases: args.leases.display().to_string(),
            tables: args.tables.clone(),
            element_timeout: args.element_timeout,
            hooks: args.hook.is_some(),
        }))
    }

    /// Waits for the server to have its leases, and for the helpers to have what they need.
    fn until_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + SERVER_START;
        let helpers = |parent: &Parent| {
            parent.helper.as_ref().is_none_or(Attendant::has_worked)
                && parent.hooks.as_ref().is_none_or(Attendant::has_worked)
        };
        while !(self.quit || self.server.ready && helpers(self)) {
            if Instant::now() >= deadline {
                return Err(format!("{SERVER} is not ready after {SERVER_START:?}"));
            }
            self.turn(Some(deadline))?;
        }
        Ok(())
    }

    fn serve(&mut self) -> Result<(), String> {
        while !self.quit {
            self.turn(None)?;
        }
        Ok(())
    }

    /// Waits for something to happen, and sees to it.
    fn turn(&mut self, deadline: Option<Instant>) -> Result<(), String> {
        log::logger().flush();
        self.wait(deadline)?;
        while let Some(signal) = self.signals.read().map_err(text)? {
            match signal.number {
                libc::SIGTERM | libc::SIGINT => {
                    log::info!("{signal}: ending");
                    self.quit = true;
                }
                libc::SIGHUP => self.reload.want(&signal),
                _ => log::info!("{signal}: ignored"),
            }
        }
        loop {
            match self.server.channel.try_recv() {
                Ok(Some(message)) => self.heard(message)?,
                Ok(None) => break,
                // How it ended says more than that its channel closed.
                Err(ChannelError::Closed) => return Err(self.server_ended()),
                Err(error) => return Err(format!("{SERVER}: {error}")),
            }
        }
        if let Some(exit) = self.server.child.try_reap().map_err(text)? {
            return Err(format!("{SERVER} {exit}"));
        }
        self.see_to_changes()?;
        self.see_to_helpers()
    }

    /// Blocks until something of ours has news, or until `deadline`.
    fn wait(&self, deadline: Option<Instant>) -> Result<(), String> {
        let helper_due = self.helper.as_ref().and_then(Attendant::due);
        let hooks_due = self.hooks.as_ref().and_then(Attendant::due);
        let names_due = self.resolver.as_ref().and_then(Attendant::due);
        let due = [deadline, helper_due, hooks_due, names_due, self.reload.due(), logger::due()];
        let due = due.into_iter().flatten().min();
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.server.channel.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.server.child.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.reload.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(self.helper.iter().flat_map(Attendant::poll_fds));
        fds.extend(self.hooks.iter().flat_map(Attendant::poll_fds));
        fds.extend(self.resolver.iter().flat_map(Attendant::poll_fds));
        let timeout = match due {
            None => PollTimeout::NONE,
            Some(due) => {
                let left = due.saturating_duration_since(Instant::now());
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

    fn heard(&mut self, message: ToParent) -> Result<(), String> {
        match message {
            ToParent::Ready => {
                self.server.ready = true;
                Ok(())
            }
            ToParent::Refused(reason) => Err(reason),
            ToParent::WantNewFile => {
                let answer = match self.store.new_file() {
                    Ok(file) => ToServer::NewFile(file),
                    Err(error) => ToServer::NoNewFile(error.to_string()),
                };
                self.tell(&answer)
            }
            ToParent::WantRename => {
                let answer = self.store.replace();
                self.tell(&ToServer::Renamed(answer))
            }
            ToParent::WantReload { who } => {
                self.reload.want_for(&who);
                Ok(())
            }
            ToParent::Applied(result) => self.applied(result),
            ToParent::WantChildren => self.tell(&ToServer::Children(self.children())),
        }
    }

    fn see_to_helpers(&mut self) -> Result<(), String> {
        let now = Instant::now();
        if let Some(helper) = &mut self.helper
            && let Some((channel, again)) = helper.see_to(now)?
        {
            if again {
                log::info!("pf table handler is back; reconciling the tables");
            }
            self.tell(&ToServer::Helper(channel))?;
        }
        if let Some(hooks) = &mut self.hooks
            && let Some((channel, _)) = hooks.see_to(now)?
        {
            self.tell(&ToServer::Hooks(channel))?;
        }
        self.see_to_names(now)
    }

    /// The processes there are, ourselves first.
    fn children(&self) -> Vec<Process> {
        let process = |(title, pid): (&str, Option<i32>)| Process {
            title: title.to_owned(),
            pid: pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0),
        };
        let mut all = vec![
            process(("dhcpd: parent", i32::try_from(std::process::id()).ok())),
            process((SERVER, Some(self.server.child.pid()))),
        ];
        all.extend(self.helper.as_ref().map(|helper| process(helper.process())));
        all.extend(self.hooks.as_ref().map(|hooks| process(hooks.process())));
        all.extend(self.resolver.as_ref().map(|resolver| process(resolver.process())));
        all
    }

    fn tell(&self, message: &ToServer) -> Result<(), String> {
        match self.server.channel.send(message) {
            // Its end is seen at the next turn, with the reason.
            Ok(()) | Err(ChannelError::Closed) => Ok(()),
            Err(error) => Err(format!("tell {SERVER}: {error}")),
        }
    }

    /// The server closed its channel: it is ending, and says why in a moment.
    fn server_ended(&mut self) -> String {
        let mut fds = [PollFd::new(self.server.child.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::from(1000u16));
        match self.server.child.try_reap() {
            Ok(Some(exit)) => format!("{SERVER} {exit}"),
            Ok(None) => format!("{SERVER} closed its channel"),
            Err(error) => error.to_string(),
        }
    }

    /// Ends the children in order: without channels they end by themselves, the server after what
    /// it has acknowledged is on disk, and then the helper after what it was told is applied. Not
    /// both at once: the server's last words to the helper would find nobody.
    fn stop(self) {
        let Parent { server: Server { child, channel, .. }, helper, hooks, resolver, .. } = self;
        supervise::stop(channel, vec![child], PATIENCE);
        let (tables, keeper) = helper.map(Attendant::into_parts).unwrap_or_default();
        let (events, runner) = hooks.map(Attendant::into_parts).unwrap_or_default();
        let (names, asker) = resolver.map(Attendant::into_parts).unwrap_or_default();
        let children = keeper.into_iter().chain(runner).chain(asker).collect();
        supervise::stop((tables, events, names), children, PATIENCE);
        log::logger().flush();
    }
}
