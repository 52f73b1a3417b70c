//! A secondary node: what FreeBSD's parent process does (section 2.3), and what a test may ask
//! of the whole.
//!
//! The parent reads hellos one after the other and hands a good pair of connections to a
//! `session`, the worker. As there, a new C1 replaces whatever there is.
//!
//! Messages are counted from 0 for [`Cut`]s. Received on C1: the hello, then requests and
//! keepalives; received on C2: the token. Sent on C1: the token, then sizes, counters and the map;
//! sent on C2: replies.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::data::{Checksum, Compression};
use super::frame::{Connection, Cut, Cuts, Link};
use super::nv::List;
use super::session::{self, Answer, Outbox};
use super::{
    Broken, Faults, KEEPALIVE, MAXPHYS_LARGE, Role, SharedDisk, TIMEOUT, TOKEN, abort, lock,
    unguessable,
};

/// Decides what becomes of each reply, in the order they are ready.
pub type Judge = Box<dyn FnMut(&Answer) -> Fate + Send>;

/// What becomes of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is sent.
    Send,
    /// It is sent with this error, and without data.
    Fail(i16),
    /// It is kept until [`Secondary::release`].
    Withhold,
    /// It is sent so much later; others overtake it.
    Delay(Duration),
    /// So many bytes of it are sent, then C2 is closed.
    Cut(usize),
}

/// An answer to a hello or to step 2 that is none.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The text, on C1.
    pub errmsg: String,
    /// With `wait`.
    pub wait: bool,
    /// Only after C2 and the counters have come.
    pub late: bool,
}

/// What step 2 answers in place of the truth.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "the fields' own names, section 2.2")]
pub struct Claim {
    pub datasize: Option<i64>,
    pub extentsize: Option<i32>,
    pub localcnt: Option<u64>,
    pub remotecnt: Option<u64>,
    pub virgin: Option<bool>,
    pub syncsrc: Option<u8>,
    pub map: Option<Vec<u8>>,
}

/// How the node is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its one resource.
    pub resource: String,
    /// The highest version it speaks: 2, or 1 as FreeBSD up to 9.
    pub version: u8,
    /// Name the version in the first answer; those of version 1 do not (B6).
    pub names_version: bool,
    /// The address in `remote`; none: anybody may.
    pub remote: Option<IpAddr>,
    /// Addresses of `remote` of other resources: they may connect, but not to this resource.
    pub others: Vec<IpAddr>,
    /// The size of its buffers.
    pub maxphys: usize,
    /// For what it sends.
    pub checksum: Checksum,
    /// For what it sends.
    pub compression: Compression,
    /// For a hello.
    pub hello: Duration,
    /// For the next request or keepalive.
    pub idle: Duration,
    /// For a reply.
    pub timeout: Duration,
    /// Whether data cut short is used with what was in the buffer before (B1).
    pub goes_on_after_cut: bool,
}

impl Config {
    /// As FreeBSD's from 13 on without more in hast.conf.
    pub fn new(resource: &str) -> Config {
        Config {
            resource: resource.to_string(),
            version: 2,
            names_version: true,
            remote: None,
            others: Vec::new(),
            maxphys: MAXPHYS_LARGE,
            checksum: Checksum::None,
            compression: Compression::Hole,
            hello: TIMEOUT,
            idle: 2 * KEEPALIVE,
            timeout: TIMEOUT,
            goes_on_after_cut: true,
        }
    }

    /// As FreeBSD 9's.
    pub fn version1(resource: &str) -> Config {
        Config {
            version: 1,
            names_version: false,
            maxphys: super::MAXPHYS_SMALL,
            ..Config::new(resource)
        }
    }
}

/// A request that came, valid or not.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields' own names, section 3")]
pub struct Request {
    pub cmd: u8,
    pub seq: u64,
    pub offset: u64,
    pub length: u64,
    pub memsync: bool,
    /// All that was in it.
    pub list: List,
    /// Its data ended early, and old bytes took their place (B1).
    pub stale: bool,
}

/// What has happened so far.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// A worker has answered step 2, and runs.
    pub connected: bool,
    /// How many have.
    pub sessions: usize,
    /// Requests of all sessions, without keepalives.
    pub requests: Vec<Request>,
    /// Those.
    pub keepalives: usize,
    /// Replies sent.
    pub answered: usize,
    /// Replies withheld now.
    pub withheld: usize,
    /// Texts of refusals.
    pub refusals: Vec<String>,
    /// Why hellos came to nothing and sessions ended.
    pub ends: Vec<String>,
    /// The version negotiated last.
    pub version: u8,
    /// What the last step 2 answered.
    pub syncsrc: u8,
    /// The whole process has died.
    pub dead: bool,
}

struct Worker {
    sockets: [TcpStream; 2],
    thread: JoinHandle<()>,
}

pub(super) struct State {
    pub status: Status,
    pub claim: Claim,
    pub refuse: Option<Refusal>,
    pub outbox: Option<Arc<Outbox>>,
    role: Role,
    token: [u8; TOKEN],
    pending: Option<Link>,
    worker: Option<Worker>,
}

pub(super) struct Shared {
    pub config: Config,
    pub disk: SharedDisk,
    pub faults: Faults,
    pub state: Mutex<State>,
    pub changed: Condvar,
    pub judge: Mutex<Option<Judge>>,
    cuts: Cuts,
}

impl Shared {
    pub fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.changed.notify_all();
    }

    pub fn ended(&self, what: &str, broken: &Broken) {
        self.faults.record(broken);
        self.update(|state| state.status.ends.push(format!("{what}: {broken}")));
    }
}

/// A running node. Dropping it stops it and fails the test if there are faults.
pub struct Secondary {
    shared: Arc<Shared>,
    address: SocketAddr,
    wake: UnixStream,
    parent: Option<JoinHandle<()>>,
}

impl Secondary {
    /// Starts a node in role secondary over that disk.
    pub fn start(listener: TcpListener, config: Config, disk: SharedDisk) -> Secondary {
        let (wake, woken) = UnixStream::pair().expect("socketpair");
        let address = listener.local_addr().expect("address of the listener");
        let shared = Arc::new(Shared {
            config,
            disk,
            faults: Faults::default(),
            state: Mutex::new(State {
                status: Status { version: 1, ..Status::default() },
                claim: Claim::default(),
                refuse: None,
                outbox: None,
                role: Role::Secondary,
                token: [0; TOKEN],
                pending: None,
                worker: None,
            }),
            changed: Condvar::new(),
            judge: Mutex::new(None),
            cuts: Cuts::default(),
        });
        let own = shared.clone();
        let parent = Some(std::thread::spawn(move || serve(&own, &listener, &woken)));
        Secondary { shared, address, wake, parent }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it works on.
    pub fn disk(&self) -> &SharedDisk {
        &self.shared.disk
    }

    /// What the other side did wrong.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// What has happened.
    pub fn status(&self) -> Status {
        lock(&self.shared.state).status.clone()
    }

    /// Waits until that holds.
    ///
    /// # Panics
    /// If it does not in time; `what` is said then.
    pub fn wait(&self, what: &str, limit: Duration, holds: impl Fn(&Status) -> bool) -> Status {
        let deadline = Instant::now() + limit;
        let mut state = lock(&self.shared.state);
        while !holds(&state.status) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let status = &state.status;
                panic!(
                    "waited {limit:?} for: {what}; connected {}, {} requests, {} answered, ends {:?}",
                    status.connected,
                    status.requests.len(),
                    status.answered,
                    status.ends
                );
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.status.clone()
    }

    /// Changes its role; a worker there is ends.
    pub fn set_role(&self, role: Role) {
        self.shared.update(|state| state.role = role);
        end_worker(&self.shared);
    }

    /// Refuses every hello from now on, or no longer.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.shared.update(|state| state.refuse = refusal);
    }

    /// Lies in step 2 from now on.
    pub fn claim(&self, claim: Claim) {
        self.shared.update(|state| state.claim = claim);
    }

    /// Decides about each reply from now on.
    pub fn judge(&self, judge: impl FnMut(&Answer) -> Fate + Send + 'static) {
        *lock(&self.shared.judge) = Some(Box::new(judge));
    }

    /// Sends every reply from now on.
    pub fn judge_no_more(&self) {
        *lock(&self.shared.judge) = None;
    }

    /// Sends the replies withheld, in the order `arrange` leaves them in; those it takes out are
    /// never sent.
    pub fn release(&self, arrange: impl FnOnce(&mut Vec<Answer>)) {
        let outbox = lock(&self.shared.state).outbox.clone();
        if let Some(outbox) = outbox {
            outbox.release(arrange);
            self.shared.update(|state| state.status.withheld = 0);
        }
    }

    /// Orders a cut.
    pub fn cut(&self, cut: Cut) {
        lock(&self.shared.cuts).push(cut);
    }

    /// Ends the worker, as a kill of its process does, and waits for its end.
    pub fn drop_connection(&self) {
        end_worker(&self.shared);
    }

    fn stop(&mut self) {
        let _ = self.wake.shutdown(std::net::Shutdown::Both);
        if let Some(parent) = self.parent.take() {
            let _ = parent.join();
        }
    }
}

impl Drop for Secondary {
    fn drop(&mut self) {
        self.stop();
        self.shared.faults.check("secondary");
    }
}

fn end_worker(shared: &Shared) {
    let (worker, pending) = {
        let mut state = lock(&shared.state);
        (state.worker.take(), state.pending.take())
    };
    drop(pending);
    if let Some(worker) = worker {
        for socket in &worker.sockets {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        let _ = worker.thread.join();
    }
}

/// The parent: until it is told to stop, or dies.
fn serve(shared: &Arc<Shared>, listener: &TcpListener, woken: &UnixStream) {
    loop {
        let mut fds = [
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(woken.as_fd(), PollFlags::POLLIN),
        ];
        // Nothing to do until somebody comes: the test has the deadline.
        if poll(&mut fds, PollTimeout::NONE).is_err() {
            continue;
        }
        if fds[1].any().unwrap_or(true) {
            break;
        }
        let Ok((stream, from)) = listener.accept() else { continue };
        match hello(shared, stream, from.ip()) {
            Ok(()) => {}
            Err(broken) => {
                shared.ended("hello", &broken);
                if matches!(broken, Broken::Abort(_)) {
                    shared.update(|state| state.status.dead = true);
                    break;
                }
            }
        }
    }
    end_worker(shared);
}

fn hello(shared: &Arc<Shared>, stream: TcpStream, from: IpAddr) -> Result<(), Broken> {
    let config = &shared.config;
    let own = config.remote.is_none_or(|remote| remote == from);
    if !own && !config.others.contains(&from) {
        return Err(Broken::Link(format!("{from} is nobody's remote")));
    }
    // Which of the two it is shows only when it has been read; for cuts a guess is enough.
    let guess = match lock(&shared.state).pending {
        None => Connection::C1,
        Some(_) => Connection::C2,
    };
    let mut link = Link::new(stream, guess, config.version, shared.cuts.clone());
    link.goes_on_after_cut = config.goes_on_after_cut;
    let list = link.receive(config.hello)?;
    let resource = list.text("resource")?.ok_or("no resource".to_string())?;
    let token = match list.array("token")? {
        None => None,
        Some(token) => Some(
            <[u8; TOKEN]>::try_from(token).map_err(|_| format!("a token of {}", token.len()))?,
        ),
    };
    link.connection = if token.is_none() { Connection::C1 } else { Connection::C2 };
    let (role, refusal) = {
        let state = lock(&shared.state);
        (state.role, state.refuse.clone().filter(|refusal| !refusal.late))
    };
    let errmsg = if resource != config.resource {
        "Resource not configured.".to_string()
    } else if !own {
        "No access to the resource.".to_string()
    } else if role != Role::Secondary {
        format!("Remote node acts as {} for the resource and not as secondary.", role.name())
    } else if let Some(refusal) = &refusal {
        refusal.errmsg.clone()
    } else if token.is_some_and(|token| token != lock(&shared.state).token) {
        "Token doesn't match.".to_string()
    } else if token.is_some() {
        return second(shared, link, list);
    } else {
        return first(shared, link, &list);
    };
    let mut answer = List::new();
    answer.put_text("errmsg", &errmsg);
    if role == Role::Primary || refusal.is_some_and(|refusal| refusal.wait) {
        answer.put_uint8("wait", 1);
    }
    shared.update(|state| state.status.refusals.push(errmsg));
    // Not tied to a resource: FreeBSD has its highest version here.
    link.send(config.version, &answer, &[], config.hello)
}

/// A good C1.
fn first(shared: &Arc<Shared>, mut link: Link, list: &List) -> Result<(), Broken> {
    end_worker(shared);
    let config = &shared.config;
    let theirs = match list.uint8("version")? {
        0 => 1,
        theirs => theirs,
    };
    let version = config.version.min(theirs);
    let token = unguessable();
    shared.update(|state| {
        state.status.version = version;
        state.token = token;
    });
    let mut answer = List::new();
    if config.names_version {
        answer.put_uint8("version", version);
    }
    answer.put_array("token", &token);
    // The C2 may come at once: it waits until this thread accepts again.
    let sent = link.send(version, &answer, &[], config.hello);
    shared.update(|state| match sent {
        Ok(()) => state.pending = Some(link),
        // FreeBSD keeps it, and dies of a C2 that has it (B4). Of that the primary is innocent.
        Err(_) => state.token = unguessable(),
    });
    sent
}

/// A C2 with the right token.
fn second(shared: &Arc<Shared>, c2: Link, list: List) -> Result<(), Broken> {
    let Some(c1) = lock(&shared.state).pending.take() else {
        return Err(abort("B4", "a C2 with the token of no C1 that waits".to_string()));
    };
    let sockets = [c1.handle()?, c2.handle()?];
    let own = shared.clone();
    let thread = std::thread::spawn(move || session::run(&own, c1, c2, &list));
    shared.update(|state| state.worker = Some(Worker { sockets, thread }));
    Ok(())
}
