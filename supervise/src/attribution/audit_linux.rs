//! The witness that asks the kernel's audit: rules of our own for the system calls that send
//! signals, and the records that are written because of them. What the records say is
//! [`super::audit`]'s to read.
//!
//! Audit belongs to the whole machine, so everything here is put back. Its rules say in their key
//! which process made them and how audit was before: [`Audit::open`] first deletes those whose
//! process has died without doing so itself, and the last of us to go leaves audit as the first one
//! found it. auditd may run, come and go meanwhile; its rules are not touched.
//!
//! What it costs:
//! - Each system call of every process takes longer while there are rules: a getppid(2) of 290 ns
//!   took 430 on the machine this was made on, one of 100 took 150 on another.
//! - A kill(2) that makes a record takes some 40 microseconds, for there are four, and longer if
//!   more of them wait than may. That many are 64 unless somebody sets it; we let [`BACKLOG`] wait.
//! - Without auditd the kernel prints the records, three lines of a kill(2), into its own log: at
//!   most ten lines in five seconds (kernel.printk_ratelimit), and a line of how many it left out.
//!   With auditd they go to its file instead. While audit is on there are also the records that
//!   other programs ask for, as PAM does, and one of every change of ours: some ten at each end.
//!
//! What it does not see:
//! - processes that began before audit was on for the first time since boot (`audit=1` on the
//!   kernel's command line), nor any if there is a rule `never,task`, which is refused;
//! - what no system call of these sends: cgroup.kill, terminals, timers, the kernel;
//! - the calls of programs with the x32 numbers, on kernels that take those.

use std::fs::File;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use log::{info, warn};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvmsg, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use super::audit::wire::{self, Before, Message, Owner, Rule, Status};
use super::audit::{Assembler, Clock};
use super::{Confidence, Reason, Seen, Target, Via, Witness};
use crate::{Error, Moment, procfs};

/// How long the kernel may take to answer.
const PATIENCE: i64 = 10;

/// More than a record or a rule ever has, in bytes.
const LONGEST: usize = 1 << 14;

/// What the kernel may keep for us until we read, in bytes.
const BUFFER: usize = 16 << 20;

/// How many records are read at once, so that nobody who sends without end keeps us here.
const AT_ONCE: usize = 4096;

/// How often the kernel is asked whether it has lost records before they reached us.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How many records may wait for us. An odd number, that nobody else would choose: whoever finds it
/// knows that it is ours.
const BACKLOG: u32 = 8191;

/// How many parents of a sender are looked up.
const PARENTS: usize = 8;

/// Audit, with rules of ours in it until this is dropped.
#[derive(Debug)]
pub struct Audit {
    control: Control,
    records: OwnedFd,
    assembler: Assembler,
    owner: Owner,
    /// What of ours is in the kernel.
    rules: Vec<Vec<u8>>,
    lost: u32,
    asked: Instant,
}

impl Audit {
    /// Adds our rules, switches audit on if it is off, and sees every fatal signal that is sent
    /// from when this returns.
    ///
    /// # Errors
    /// It takes CAP_AUDIT_CONTROL and CAP_AUDIT_READ in the machine's first namespaces. The
    /// configuration may be locked until the next boot (`auditctl -e 2`), or blind by a rule
    /// `never,task`; the machine's system calls may be unknown to us. Nothing is changed then.
    pub fn open() -> Result<Audit, Error> {
        if wire::machines().is_empty() {
            return Err(Error::says("audit: the system calls of this machine are not known here"));
        }
        let control = Control::open()?;
        let records = subscribe()?;
        let pid = std::process::id().cast_signed();
        let since_boot = began(pid).ok_or_else(|| Error::says("audit: /proc does not know us"))?;
        let owner = Owner { pid, since_boot, before: Before { on: true, backlog: BACKLOG } };
        let mut audit = Audit {
            control,
            records,
            assembler: Assembler::default(),
            owner,
            rules: Vec::new(),
            lost: 0,
            asked: Instant::now(),
        };
        // The turn is over before a failure drops what there is, which takes one again.
        let armed = {
            let _turn = turn()?;
            audit.arm()
        };
        armed.map(|()| audit)
    }

    /// Puts the rules in. Whatever goes wrong, what is in is known.
    fn arm(&mut self) -> Result<(), Error> {
        let status = self.control.status()?;
        if status.enabled == wire::LOCKED {
            return Err(Error::says("audit: its configuration is locked until the next boot"));
        }
        let (rules, found) = self.control.sweep()?;
        if rules.iter().any(|rule| rule.blinds) {
            let why = "audit: a rule never,task keeps it from seeing any process";
            return Err(Error::says(why));
        }
        // Whoever was first knew how it was.
        let now = Before { on: status.enabled != 0, backlog: status.backlog };
        self.owner.before = found.unwrap_or(now);
        self.lost = status.lost;
        for rule in wire::machines().iter().flat_map(|machine| wire::rules(machine, &self.owner)) {
            let what = "audit: add a rule";
            // Kept first: one too many is deleted in vain, one too few would stay.
            self.rules.push(rule.clone());
            match self.control.ask(wire::ADD_RULE, &rule, Until::Answer) {
                Ok(_) => {}
                Err(Errno::EEXIST) => {
                    self.rules.pop();
                    return Err(Error::says("audit: this process has rules there already"));
                }
                Err(errno) => return Err(said(what, errno)),
            }
        }
        if status.backlog != 0 && status.backlog < BACKLOG {
            self.control.set("let more records wait", &wire::backlog(BACKLOG))?;
        }
        if status.enabled == 0 {
            self.control.set("switch it on", &wire::switch(true))?;
        }
        Ok(())
    }

    /// What was seen since, without waiting. If something was lost, that is in its place: one
    /// whose confidence is [`Reason::Overrun`], with no signal, target or sender.
    ///
    /// # Errors
    /// The socket cannot be read, which it has no reason to.
    pub fn read(&mut self, seen: &mut Vec<Seen>) -> Result<(), Error> {
        let before = seen.len();
        let mut buffer = vec![0; LONGEST];
        for _ in 0..AT_ONCE {
            match receive(&self.records, &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(Some(bytes)) => {
                    if let Some(Message { kind, body, .. }) = Message::record(bytes) {
                        self.assembler.record(kind, body, clock(), seen);
                    }
                }
                Ok(None) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(Errno::ENOBUFS) => {
                    self.assembler.finish(clock(), seen);
                    seen.push(overrun());
                }
                Err(errno) => return Err(Error::system("audit: read records", errno)),
            }
        }
        if self.asked.elapsed() >= ASK_AGAIN {
            self.asked = Instant::now();
            let lost = self.control.status()?.lost;
            if lost != self.lost {
                self.lost = lost;
                seen.push(overrun());
            }
        }
        seen.iter_mut().skip(before).for_each(complete);
        Ok(())
    }
}

impl AsFd for Audit {
    /// Readable when something was seen.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.records.as_fd()
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        // A child has a copy of this, but not of the rules.
        if self.owner.pid != std::process::id().cast_signed() {
            return;
        }
        if let Err(error) = self.disarm() {
            warn!("audit: not all of our rules are deleted, the next start will do it: {error}");
        }
    }
}

impl Audit {
    fn disarm(&mut self) -> Result<(), Error> {
        let _turn = turn()?;
        let mut failed = None;
        for rule in self.rules.drain(..) {
            match self.control.ask(wire::DELETE_RULE, &rule, Until::Answer) {
                Ok(_) | Err(Errno::ENOENT) => {}
                Err(errno) => failed = Some(said("audit: delete a rule", errno)),
            }
        }
        failed.map_or(Ok(()), Err)?;
        let (rules, _) = self.control.sweep()?;
        if rules.iter().any(|rule| rule.owner.is_some()) {
            return Ok(());
        }
        let (status, before) = (self.control.status()?, self.owner.before);
        if status.backlog == BACKLOG && before.backlog != BACKLOG {
            self.control.set("let fewer records wait", &wire::backlog(before.backlog))?;
        }
        // If auditd has come meanwhile, audit is on because it wants it on. The kernel only learns
        // of its death when it next has something to say to it.
        let daemon = i32::try_from(status.daemon).ok().filter(|&pid| pid != 0);
        if !before.on && status.enabled == 1 && daemon.and_then(began).is_none() {
            self.control.set("switch it off", &wire::switch(false))?;
        }
        Ok(())
    }
}

/// Until when the answers to a request are waited for.
#[derive(Clone, Copy, PartialEq)]
enum Until {
    /// Whether it was done.
    Answer,
    /// That, and a message of the request's kind.
    Message,
    /// That, and the end of a list.
    Done,
}

/// The socket on which audit is asked and told things.
#[derive(Debug)]
struct Control {
    socket: OwnedFd,
    sequence: u32,
}

impl Control {
    fn open() -> Result<Control, Error> {
        let socket = netlink()?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(PATIENCE, 0))
            .map_err(|errno| Error::system("audit: setsockopt", errno))?;
        Ok(Control { socket, sequence: 0 })
    }

    /// Asks, and returns the messages of the answer.
    fn ask(&mut self, kind: u16, body: &[u8], until: Until) -> Result<Vec<Vec<u8>>, Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = wire::request(kind, self.sequence, body);
        let kernel = NetlinkAddr::new(0, 0);
        sendto(self.socket.as_raw_fd(), &request, &kernel, MsgFlags::empty())?;
        let (mut bodies, mut answered) = (Vec::new(), false);
        let mut complete = until == Until::Answer;
        let mut buffer = vec![0; LONGEST];
        // The kernel answers a question from a thread of its own: in any order.
        while !(answered && complete) {
            let received = match receive(&self.socket, &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return Err(Errno::ETIMEDOUT),
                received => received?,
            };
            let all = wire::messages(received.unwrap_or_default());
            for message in all.filter(|message| message.sequence == self.sequence) {
                match message.error() {
                    Some(0) => answered = true,
                    Some(error) => return Err(Errno::from_raw(error)),
                    None if message.kind == wire::DONE => complete = true,
                    None if message.kind == kind => {
                        bodies.push(message.body.to_vec());
                        complete |= until == Until::Message;
                    }
                    None => {}
                }
            }
        }
        Ok(bodies)
    }

    fn status(&mut self) -> Result<Status, Error> {
        let what = "audit: ask how it stands";
        let bodies = self.ask(wire::GET, &[], Until::Message).map_err(|e| said(what, e))?;
        let status = bodies.first().and_then(|body| wire::status(body));
        status.ok_or_else(|| Error::says(format!("{what}: an answer that makes no sense")))
    }

    fn set(&mut self, what: &str, status: &[u8]) -> Result<(), Error> {
        let done = self.ask(wire::SET, status, Until::Answer);
        done.map(|_| ()).map_err(|errno| said(&format!("audit: {what}"), errno))
    }

    /// Deletes the rules of those of us who have died. Returns the rules that are left, and, if
    /// there were any of ours, how audit was before them.
    fn sweep(&mut self) -> Result<(Vec<Rule>, Option<Before>), Error> {
        let what = "audit: list the rules";
        let listed = self.ask(wire::LIST_RULES, &[], Until::Done).map_err(|e| said(what, e))?;
        let (mut left, mut before) = (Vec::new(), None);
        for bytes in listed {
            let Some(rule) = wire::rule(&bytes) else { continue };
            if let Some(owner) = rule.owner {
                before.get_or_insert(owner.before);
                if began(owner.pid) != Some(owner.since_boot) {
                    info!("audit: deleting a rule that process {} has left", owner.pid);
                    self.ask(wire::DELETE_RULE, &bytes, Until::Answer)
                        .map_err(|errno| said("audit: delete a rule", errno))?;
                    continue;
                }
            }
            left.push(rule);
        }
        Ok((left, before))
    }
}

/// When a process that has not ended began, in nanoseconds since boot.
fn began(pid: i32) -> Option<u64> {
    let stat = procfs::stat(pid).filter(|stat| !stat.ended())?;
    u64::try_from(stat.since_boot.as_nanos()).ok()
}

/// Whoever has this may change what belongs to all of us. All of us are in the machine's first
/// user namespace, for audit talks to no other, and can lock the file that stands for it.
fn turn() -> Result<Flock<File>, Error> {
    let what = "audit: take a turn with /proc/self/ns/user";
    let file = File::open("/proc/self/ns/user").map_err(|error| Error::system(what, error))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| Error::system(what, errno))
}

fn netlink() -> Result<OwnedFd, Error> {
    let protocol = SockProtocol::NetlinkAudit;
    socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
        .map_err(|errno| said("audit: open a socket", errno))
}

/// A socket to which all records come.
fn subscribe() -> Result<OwnedFd, Error> {
    let socket = netlink()?;
    // More than the limit takes a right of its own, which root has.
    let _ = setsockopt(&socket, sockopt::RcvBuf, &BUFFER);
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &BUFFER);
    match bind(socket.as_raw_fd(), &NetlinkAddr::new(0, wire::READLOG)) {
        Ok(()) => Ok(socket),
        Err(Errno::EPERM) => {
            Err(Error::system("audit: read records (CAP_AUDIT_READ)", Errno::EPERM))
        }
        Err(errno) => Err(Error::system("audit: read records", errno)),
    }
}

/// The next datagram; nothing if it is not the kernel's.
fn receive<'a>(
    socket: &OwnedFd,
    buffer: &'a mut [u8],
    flags: MsgFlags,
) -> Result<Option<&'a [u8]>, Errno> {
    let (length, whole, from) = {
        let mut parts = [IoSliceMut::new(buffer)];
        let message = recvmsg::<NetlinkAddr>(socket.as_raw_fd(), &mut parts, None, flags)?;
        let whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
        (message.bytes, whole, message.address.map(|address| address.pid()))
    };
    let bytes = buffer.get(..length).unwrap_or_default();
    Ok((whole && from == Some(0)).then_some(bytes))
}

/// What the kernel's refusal means here.
fn said(what: &str, errno: Errno) -> Error {
    match errno {
        Errno::EPERM => Error::system(format!("{what} (CAP_AUDIT_CONTROL)"), errno),
        Errno::ECONNREFUSED => {
            Error::system(format!("{what} (only in the machine's first user namespace)"), errno)
        }
        Errno::EPROTONOSUPPORT => Error::system(format!("{what} (a kernel without audit)"), errno),
        _ => Error::system(what, errno),
    }
}

fn clock() -> Clock {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Clock { moment: Moment::now(), wall: u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX) }
}

fn overrun() -> Seen {
    Seen {
        at: Moment::now(),
        signal: 0,
        via: Via::Unknown,
        target: Target { pid: 0, tid: 0 },
        sender: None,
        confidence: Confidence::Unknown(Reason::Overrun),
        witness: Witness::Audit,
    }
}

/// Adds what only /proc knows: since when a sender has been there, in which cgroup it is, what its
/// parents are called; as far as it is still the same.
fn complete(seen: &mut Seen) {
    let (at, Target { pid, tid }) = (seen.at, seen.target);
    // The number that was given is one of the sender's pid namespace, which may not be ours: then it
    // is mostly that of some process here. (Of a thread that has ended since, nobody has it.)
    let began = |pid| procfs::stat(pid).filter(|stat| stat.start <= at);
    let elsewhere = |tid| procfs::process_of(tid).is_some_and(|process| process != pid);
    if tid != pid && elsewhere(tid) && began(tid).is_some() {
        seen.target.tid = pid;
    }
    let Some(sender) = &mut seen.sender else { return };
    // Who began later has only the number of the one that was meant.
    if let Some(stat) = began(sender.pid) {
        sender.cgroup = procfs::cgroup(sender.pid);
        let same =
            procfs::stat(sender.pid).is_some_and(|again| again.since_boot == stat.since_boot);
        sender.cgroup = sender.cgroup.take().filter(|_| same);
        sender.start = Some(stat.start);
    }
    let mut next = sender.parents.first().map_or(0, |(parent, _)| *parent);
    let mut parents = Vec::new();
    while next > 1 && parents.len() < PARENTS {
        let Some(stat) = began(next) else { break };
        parents.push((next, stat.name));
        next = stat.parent;
    }
    if !parents.is_empty() {
        sender.parents = parents;
    }
}
