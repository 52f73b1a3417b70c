//! The tier-2 witness: a tracefs instance of our own in which the kernel records every signal that
//! can end a process, where it is sent and by whom, SIGKILL and cgroup.kill too.
//!
//! There are two instances. In one are the signals: whoever waits is woken at the first. In the
//! other one is what the census must be told, which is much more and wakes nobody before it is half
//! full: a machine that does nothing but start processes costs us a read every few thousand.
//!
//! It needs root, and to be in the first pid namespace, by whose numbers tracefs goes. A CPU that is
//! brought up after it was opened is not watched.

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::census::Census;
use super::look_linux::{better_path, look, same_program, snapshot};
use super::ring::Layout;
use super::tracefs_linux::{Instance, Tracefs, read_page};
use super::tracepoint::{self, Formats, Generated, Record, Runner, Unfit};
use super::{Confidence, Reason, Seen, Target, Witness};
use crate::sender_source::identify;
use crate::track::connector::{Note, What};
use crate::{Error, Moment, Sender, procfs};

/// How large the buffers are that the kernel keeps for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// KiB a CPU for signals; one takes 52 bytes.
    pub signals: u32,
    /// KiB a CPU for what processes do; one that begins, executes and ends takes 210 bytes.
    pub processes: u32,
}

impl Default for Buffers {
    fn default() -> Buffers {
        Buffers { signals: 256, processes: 1024 }
    }
}

/// That signals may be missing: we were too slow for the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The last moment before which nothing was lost.
    pub since: Moment,
    /// The first moment after which nothing was lost.
    pub at: Moment,
    /// How many events; `None` if the kernel does not say.
    pub events: Option<u64>,
    /// Whether they were signals; if not, a few senders may not be known.
    pub signals: bool,
}

/// The witness. What it has made in the kernel is removed when it is dropped.
#[derive(Debug)]
pub struct Trace {
    epoll: Epoll,
    signals: Source,
    processes: Source,
    layout: Layout,
    formats: Formats,
    census: Census,
    /// When the census was last looked up.
    looked: Moment,
    /// What was sent before is not told.
    opened: Moment,
    /// Read, but perhaps not everything that was before it; in order of time.
    waiting: Vec<(Moment, Item)>,
    losses: Vec<Lost>,
    page: Vec<u8>,
}

#[derive(Debug)]
enum Item {
    /// Something was lost here, up to this moment.
    Lost(Moment),
    Record(Record),
    Users {
        tid: i32,
        real: u32,
        effective: u32,
    },
}

/// One instance. The fields are dropped in this order: it cannot be removed while it is read.
#[derive(Debug)]
struct Source {
    streams: Vec<Stream>,
    instance: Instance,
}

/// The pages of one CPU.
#[derive(Debug)]
struct Stream {
    pages: File,
    /// Until when everything has been read.
    read: Moment,
}

impl Trace {
    /// Begins to watch all signals of the machine.
    ///
    /// # Errors
    /// If there is no tracefs or we may not use it, or in a pid namespace other than the first.
    pub fn open() -> Result<Trace, Error> {
        Trace::with(Buffers::default())
    }

    /// The same with buffers of another size.
    ///
    /// # Errors
    /// Those of [`Trace::open`].
    pub fn with(buffers: Buffers) -> Result<Trace, Error> {
        first_namespace()?;
        let tracefs = Tracefs::open()?;
        tracefs.clean();
        let header = tracefs.read("events/header_page")?;
        let layout = Layout::parse(&header)
            .ok_or_else(|| Error::says("events/header_page of tracefs: not what is expected"))?;
        let format = |event: &'static str| tracefs.read(&format!("events/{event}/format"));
        let formats = Formats::parse(format)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(|errno| Error::system("epoll_create", errno))?;
        let processes = Source::make(&tracefs, &epoll, buffers.processes, "50")?;
        let signals = Source::make(&tracefs, &epoll, buffers.signals, "0")?;
        let filter = format!("events/{}/filter", tracepoint::SIGNAL);
        signals.instance.set(&filter, &tracepoint::filter())?;
        for event in [tracepoint::TASK, tracepoint::RENAME, tracepoint::EXEC, tracepoint::EXIT] {
            processes.instance.set(&format!("events/{event}/enable"), "1")?;
        }
        signals.instance.set(&format!("events/{}/enable", tracepoint::SIGNAL), "1")?;
        let mut trace = Trace {
            epoll,
            signals,
            processes,
            layout,
            formats,
            census: Census::new(false),
            looked: Moment::now(),
            opened: Moment(0),
            waiting: Vec::new(),
            losses: Vec::new(),
            page: vec![0; 65536],
        };
        for found in snapshot() {
            trace.census.found(found.0, found.1);
        }
        trace.opened = Moment::now();
        Ok(trace)
    }

    /// What was sent since, to anybody; never waits.
    ///
    /// # Errors
    /// If the kernel's buffer cannot be read, or is not what it should be.
    pub fn read(&mut self, seen: &mut Vec<Seen>) -> Result<(), Error> {
        self.read_if(&mut |_| true, seen)
    }

    /// The same of those signals only whose target is wanted: of the others the senders are not
    /// looked up.
    ///
    /// # Errors
    /// Those of [`Trace::read`].
    pub fn read_if(
        &mut self,
        wanted: &mut dyn FnMut(Target) -> bool,
        seen: &mut Vec<Seen>,
    ) -> Result<(), Error> {
        /// After how many rounds nothing is held back: they come faster than they are read.
        const ROUNDS: usize = 64;
        for _ in 1..ROUNDS {
            if !self.read_until(Moment::now(), wanted, seen)? {
                return Ok(());
            }
        }
        self.read_until(Moment(u64::MAX), wanted, seen).map(|_| ())
    }

    /// The same up to a moment that is past, and whether signals wait that are later. This is for
    /// who tells us of other things, by [`Trace::hear`], and has done so up to that moment: it
    /// takes the time, hears, and reads until then; and does so again while there are more.
    ///
    /// # Errors
    /// Those of [`Trace::read`].
    pub fn read_until(
        &mut self,
        until: Moment,
        wanted: &mut dyn FnMut(Target) -> bool,
        seen: &mut Vec<Seen>,
    ) -> Result<bool, Error> {
        // What is older than this is there now, on every CPU. Signals come first: what made their
        // senders what they are was recorded before, and so is read.
        let began = Moment::now();
        let mut damaged = None;
        for (source, signals) in [(&mut self.signals, true), (&mut self.processes, false)] {
            let mut reading = Reading {
                layout: &self.layout,
                formats: &self.formats,
                waiting: &mut self.waiting,
                losses: &mut self.losses,
                signals,
                began,
            };
            for stream in &mut source.streams {
                damaged = reading.stream(stream, &mut self.page).err().or(damaged);
            }
        }
        self.waiting.sort_by_key(|(at, _)| *at);
        let ready = self.waiting.partition_point(|(at, _)| *at < until);
        let later = self.waiting.split_off(ready);
        for (at, item) in std::mem::replace(&mut self.waiting, later) {
            self.happened(at, item, wanted, seen);
        }
        let signal = |item: &(Moment, Item)| matches!(item.1, Item::Record(Record::Signal(_)));
        match damaged {
            Some(error) => Err(error),
            None => Ok(self.waiting.iter().any(signal)),
        }
    }

    /// From now on, user ids are told of senders that are gone, too. Every change of any process's
    /// must be told by [`Trace::hear`] then, from before this is called; and if one was lost, this
    /// must be called again.
    pub fn follow_users(&mut self) {
        self.looked = Moment::now();
        self.census.renew(true, snapshot());
    }

    /// Takes what the process connector says of a process, in any order.
    pub fn hear(&mut self, note: &Note) {
        if let What::User { tid, real, effective, .. } = note.what {
            self.waiting.push((note.at, Item::Users { tid, real, effective }));
        }
    }

    /// What was lost since this was last asked.
    pub fn losses(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.losses)
    }

    fn happened(
        &mut self,
        at: Moment,
        item: Item,
        wanted: &mut dyn FnMut(Target) -> bool,
        seen: &mut Vec<Seen>,
    ) {
        match item {
            Item::Lost(until) if until < self.looked => {}
            Item::Lost(_) => {
                self.looked = Moment::now();
                self.census.renew(self.census.follows_users(), snapshot());
            }
            Item::Users { tid, real, effective } => self.census.users(at, tid, real, effective),
            Item::Record(Record::Task { by, tid, name, kind }) => {
                self.census.task(at, by, tid, &name, kind);
            }
            Item::Record(Record::Rename { tid, name }) => self.census.rename(at, tid, &name),
            Item::Record(Record::Exec { pid, by, path }) => {
                let better = better_path(pid, at, &path);
                self.census.exec(at, pid, by, path);
                if let Some(path) = better {
                    self.census.path(at, pid, path);
                }
            }
            Item::Record(Record::Exit { tid }) => self.census.exit(at, tid),
            Item::Record(Record::Signal(_)) if at < self.opened => {}
            Item::Record(Record::Signal(signal)) => {
                let target = self.process_of(signal.target, at);
                let pid = target.unwrap_or(signal.target);
                let target = Target { pid, tid: signal.target };
                if wanted(target) {
                    seen.push(self.testify(at, signal, target));
                }
            }
        }
    }

    fn testify(&mut self, at: Moment, signal: Generated, target: Target) -> Seen {
        let by = self.process_of(signal.by, at);
        let (via, sent) = signal.via(Runner {
            same_process: by == Some(target.pid),
            kernel: self.census.is_kernel(by.unwrap_or(signal.by)),
            ending: self.census.is_ending(signal.by),
        });
        Seen {
            at,
            signal: signal.signal,
            via,
            target,
            sender: sent.then(|| self.sender(by.unwrap_or(signal.by), at)),
            confidence: match sent {
                true => Confidence::Certain,
                false => Confidence::Unknown(Reason::Kernel),
            },
            witness: Witness::Trace,
        }
    }

    fn sender(&self, pid: i32, at: Moment) -> Sender {
        let Some(known) = self.census.known(pid, at) else { return Sender::of(pid) };
        let now = identify(pid);
        if !known.is_still(&now, at) {
            return known.sender(None, false);
        }
        let same = same_program(known.exe.as_deref(), &now);
        known.sender(Some(now), same)
    }

    /// The process that a thread is of: the census knows, or did not hear of it and /proc does.
    fn process_of(&mut self, tid: i32, at: Moment) -> Option<i32> {
        if let Some(pid) = self.census.process_of(tid) {
            return Some(pid);
        }
        let now = Moment::now();
        let pid = procfs::process_of(tid)?;
        let began = procfs::stat(tid)?.start;
        // A later one of that number says nothing of the one that is meant.
        if began > at {
            return None;
        }
        self.census.found(now, look(pid)?);
        Some(pid)
    }
}

impl From<Unfit> for Error {
    fn from(Unfit(event): Unfit) -> Error {
        Error::says(format!("events/{event}/format of tracefs: not what is expected"))
    }
}

impl AsFd for Trace {
    /// Readable when a signal was sent.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

impl Source {
    fn make(
        tracefs: &Arc<Tracefs>,
        epoll: &Epoll,
        kilobytes: u32,
        wake: &str,
    ) -> Result<Source, Error> {
        let instance = tracefs.instance()?;
        instance.set("buffer_size_kb", &kilobytes.to_string())?;
        // The clock of `Moment`.
        instance.set("trace_clock", "mono")?;
        instance.set_if_there("buffer_percent", wake);
        let mut streams = Vec::new();
        for cpu in cpus()? {
            let pages = instance.pages(cpu)?;
            epoll
                .add(&pages, EpollEvent::new(EpollFlags::EPOLLIN, 0))
                .map_err(|errno| Error::system("epoll_ctl on pages of tracefs", errno))?;
            streams.push(Stream { pages, read: Moment::now() });
        }
        Ok(Source { streams, instance })
    }
}

/// What is needed to read all pages of a source.
struct Reading<'a> {
    layout: &'a Layout,
    formats: &'a Formats,
    waiting: &'a mut Vec<(Moment, Item)>,
    losses: &'a mut Vec<Lost>,
    signals: bool,
    began: Moment,
}

impl Reading<'_> {
    /// Reads until there is nothing, or nothing from before we began.
    fn stream(&mut self, stream: &mut Stream, buffer: &mut [u8]) -> Result<(), Error> {
        loop {
            let bytes = read_page(&stream.pages, buffer)
                .map_err(|error| Error::system("read trace_pipe_raw of tracefs", error))?;
            let Some(bytes) = bytes else {
                stream.read = stream.read.max(self.began);
                return Ok(());
            };
            let damaged = |damaged| Error::says(format!("trace_pipe_raw of tracefs: {damaged}"));
            let page = self.layout.page(bytes).map_err(damaged)?;
            let start = Moment(page.start);
            if let Some(missed) = page.missed {
                let (since, signals) = (stream.read.min(start), self.signals);
                self.losses.push(Lost { since, at: start, events: missed.count, signals });
                if !signals {
                    self.waiting.push((since, Item::Lost(start)));
                }
            }
            for event in page.events() {
                let event = event.map_err(damaged)?;
                stream.read = stream.read.max(Moment(event.at));
                if let Some(record) = self.formats.decode(&event) {
                    self.waiting.push((Moment(event.at), Item::Record(record)));
                }
            }
            if start >= self.began {
                return Ok(());
            }
        }
    }
}

/// The CPUs that there are now.
fn cpus() -> Result<Vec<usize>, Error> {
    const PATH: &str = "/sys/devices/system/cpu/online";
    let text =
        fs::read_to_string(PATH).map_err(|error| Error::system(format!("read {PATH}"), error))?;
    list(text.trim()).ok_or_else(|| Error::says(format!("{PATH}: not a list: {text}")))
}

/// A list like `0-3,8`.
fn list(text: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        numbers.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    Some(numbers)
}

fn first_namespace() -> Result<(), Error> {
    /// `PROC_PID_INIT_INO`: the same on every machine, since Linux 3.8.
    const FIRST: &str = "pid:[4026531836]";
    const PATH: &str = "/proc/self/ns/pid";
    match fs::read_link(PATH) {
        Ok(link) if link.as_os_str() == FIRST => Ok(()),
        Ok(_) => Err(Error::says(
            "tracefs counts processes as the first pid namespace does, and ours is another one",
        )),
        Err(error) => Err(Error::system(format!("readlink {PATH}"), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(list("0-3,8,10-11"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(list("0"), Some(vec![0]));
        for bad in ["", "x", "1-", "-1", "0,"] {
            assert_eq!(list(bad), None, "{bad}");
        }
    }
}
