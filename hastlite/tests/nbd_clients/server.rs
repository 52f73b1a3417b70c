//! An NBD server for tests: sessions of ours around a disk in memory, one thread, poll(2).
//!
//! It answers what it has read at once in the reverse order, so that clients see replies out of
//! order whenever they have more than one request in flight. Nothing here is durable.

use hastlite::data::Data;
use hastlite::engine::Op;
use hastlite::nbd::{Asked, BlockStatus, DIRTY, Export, HOLE, Limits, Run, Session, ZERO};
use hastlite::wire::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

/// What is allocated, and what is dirty, is known in pieces of so many bytes.
const PIECE: usize = 64 << 10;

/// What a server has been asked for so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub connections: u32,
    pub reads: u32,
    pub writes: u32,
    pub trims: u32,
    pub zeroes: u32,
    pub flushes: u32,
    /// Of any kind, with FUA.
    pub fua: u32,
    /// Zeroes with storage behind them.
    pub provisioned: u32,
    pub status: u32,
    pub will_need: u32,
    /// The most requests in one connection at a time.
    pub deepest: usize,
    /// Why connections ended that did not end well.
    pub violations: Vec<String>,
}

/// How a server is to be.
pub struct Options {
    pub size: u64,
    pub block: u32,
    pub fast_zero: bool,
    /// Whatever touches these bytes fails.
    pub bad: Range<u64>,
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        let limits = Limits::default();
        Self { size: 64 << 20, block: 512, fast_zero: true, bad: 0..0, limits }
    }
}

/// A running server; it ends when dropped.
pub struct Server {
    directory: PathBuf,
    tcp: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts one with an export called `disk`; `name` is a directory's and nobody else's.
    pub fn start(name: &str, options: Options) -> Self {
        let directory = std::env::temp_dir().join(format!("nbd-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let socket = directory.join("socket");
        let _ = std::fs::remove_file(&socket);
        let unix = UnixListener::bind(&socket).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = listener.local_addr().unwrap();
        let (stop, stopped) = UnixStream::pair().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let export = Export::new("disk", "a test's", options.size, options.block);
        let mut state = State {
            export: Arc::new(export.with_fast_zero(options.fast_zero)),
            disk: Disk::new(options.size as usize),
            options,
            seen: Arc::clone(&seen),
        };
        let thread = std::thread::spawn(move || state.serve(&unix, &listener, &stopped).unwrap());
        Self { directory, tcp, seen, stop: Some(stop), thread: Some(thread) }
    }

    /// For a test's files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    pub fn unix_uri(&self) -> String {
        format!("nbd+unix:///disk?socket={}", self.socket().display())
    }

    pub fn tcp_uri(&self) -> String {
        format!("nbd://{}/disk", self.tcp)
    }

    /// What clients have asked for.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        let _ = std::fs::remove_dir_all(&self.directory);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the server has panicked");
        }
    }
}

struct Disk {
    bytes: Vec<u8>,
    allocated: Vec<bool>,
    dirty: Vec<bool>,
}

impl Disk {
    fn new(size: usize) -> Self {
        let pieces = size.div_ceil(PIECE);
        Self { bytes: vec![0; size], allocated: vec![false; pieces], dirty: vec![false; pieces] }
    }

    fn pieces(range: &Range<usize>) -> Range<usize> {
        range.start / PIECE..range.end.div_ceil(PIECE)
    }

    fn write(&mut self, at: usize, data: &[u8]) {
        let range = at..at + data.len();
        self.bytes[range.clone()].copy_from_slice(data);
        self.allocated[Self::pieces(&range)].fill(true);
        self.dirty[Self::pieces(&range)].fill(true);
    }

    fn zero(&mut self, range: Range<usize>, keep: bool) {
        self.bytes[range.clone()].fill(0);
        self.dirty[Self::pieces(&range)].fill(true);
        if keep {
            self.allocated[Self::pieces(&range)].fill(true);
        } else {
            let whole = range.start.div_ceil(PIECE)..range.end / PIECE;
            if whole.start < whole.end {
                self.allocated[whole].fill(false);
            }
        }
    }

    fn status(&self, range: Range<usize>) -> BlockStatus {
        let mut status = BlockStatus::default();
        let mut at = range.start;
        while at < range.end {
            let piece = at / PIECE;
            let end = (piece + 1) * PIECE;
            let length = (end - at) as u64;
            let hole = if self.allocated[piece] { 0 } else { HOLE | ZERO };
            status.allocation.push(Run { length, flags: hole });
            let dirty = if self.dirty[piece] { DIRTY } else { 0 };
            status.dirty.push(Run { length, flags: dirty });
            at = end;
        }
        status
    }
}

struct Client {
    socket: File,
    session: Session,
}

struct State {
    export: Arc<Export>,
    disk: Disk,
    options: Options,
    seen: Arc<Mutex<Seen>>,
}

impl State {
    fn serve(
        &mut self,
        unix: &UnixListener,
        tcp: &TcpListener,
        stop: &UnixStream,
    ) -> io::Result<()> {
        unix.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        let mut clients: Vec<Client> = Vec::new();
        loop {
            let mut fds = vec![
                PollFd::new(stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(unix.as_fd(), PollFlags::POLLIN),
                PollFd::new(tcp.as_fd(), PollFlags::POLLIN),
            ];
            for client in &mut clients {
                let mut wanted = PollFlags::empty();
                wanted.set(PollFlags::POLLIN, client.session.wants_bytes());
                wanted.set(PollFlags::POLLOUT, client.session.unsent() > 0);
                fds.push(PollFd::new(client.socket.as_fd(), wanted));
            }
            match poll(&mut fds, PollTimeout::NONE) {
                Err(nix::errno::Errno::EINTR) => continue,
                result => result?,
            };
            let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
            drop(fds);
            if ready[0] {
                return Ok(());
            }
            let mut ready = ready[3..].iter();
            clients.retain_mut(|client| {
                !ready.next().copied().unwrap_or(false) || self.client(client)
            });
            if let Ok((socket, _)) = unix.accept() {
                clients.push(self.welcome(socket.into())?);
            }
            if let Ok((socket, _)) = tcp.accept() {
                socket.set_nodelay(true)?;
                clients.push(self.welcome(socket.into())?);
            }
        }
    }

    fn welcome(&mut self, socket: OwnedFd) -> io::Result<Client> {
        let mut seen = self.seen.lock().unwrap();
        seen.connections += 1;
        let number = seen.connections;
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        let session = Session::new(number, Arc::clone(&self.export), self.options.limits);
        Ok(Client { socket: File::from(OwnedFd::from(socket)), session })
    }

    /// Reads, answers and writes; `false` at the connection's end.
    fn client(&mut self, client: &mut Client) -> bool {
        if client.session.wants_bytes() {
            let mut spaces = client.session.spaces().map(IoSliceMut::new);
            match client.socket.read_vectored(&mut spaces) {
                Ok(0) => return false,
                Ok(bytes) => client.session.filled(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        loop {
            let mut batch = Vec::new();
            loop {
                match client.session.next() {
                    Ok(Some(asked)) => batch.push(asked),
                    Ok(None) => break,
                    Err(violation) => {
                        self.seen.lock().unwrap().violations.push(violation.to_string());
                        return false;
                    }
                }
            }
            {
                let mut seen = self.seen.lock().unwrap();
                seen.deepest = seen.deepest.max(client.session.in_flight().0);
            }
            while let Some(asked) = batch.pop() {
                self.answer(&mut client.session, asked);
            }
            if client.session.unsent() == 0 {
                break;
            }
            let mut slices = [IoSlice::new(&[]); 64];
            let used = client.session.gather(&mut slices);
            match client.socket.write_vectored(&slices[..used]) {
                Ok(bytes) => client.session.sent(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        !client.session.is_done()
    }

    fn answer(&mut self, session: &mut Session, asked: Asked) {
        let mut seen = self.seen.lock().unwrap();
        let bad = |offset: u64, length: u64| {
            offset < self.options.bad.end && offset + length > self.options.bad.start
        };
        match asked {
            Asked::WillNeed { .. } => seen.will_need += 1,
            Asked::Status { tag, offset, length, .. } => {
                seen.status += 1;
                let range = offset as usize..(offset + length) as usize;
                assert!(session.answer_status(tag, Ok(self.disk.status(range))));
            }
            Asked::Io { request, provision } => {
                let (at, length) = (request.offset as usize, request.length as usize);
                seen.fua += u32::from(request.fua);
                let mut answer = None;
                match request.op {
                    Op::Read => {
                        seen.reads += 1;
                        answer = Some(Data::from(self.disk.bytes[at..at + length].to_vec()));
                    }
                    Op::Write => {
                        seen.writes += 1;
                        self.disk.write(at, &request.data.unwrap());
                    }
                    Op::Zero => {
                        seen.zeroes += 1;
                        seen.provisioned += u32::from(provision);
                        self.disk.zero(at..at + length, provision);
                    }
                    Op::Trim => {
                        seen.trims += 1;
                        self.disk.zero(at..at + length, false);
                    }
                    Op::Flush => seen.flushes += 1,
                }
                let failed = bad(request.offset, request.length) && request.op != Op::Flush;
                let result = if failed { Err(Errno::EIO) } else { Ok(answer) };
                assert!(session.answer(request.tag, result));
            }
        }
    }
}
