//! The socket of the process connector, and the thread that empties it.
//!
//! The kernel drops what does not fit into the socket's buffer, and it makes events faster than
//! anybody can think about them. So a thread does nothing but copy them into a queue in our own
//! memory, from where [`Connector::take`] has them when there is time. Having copied it rests for
//! a millisecond: to be woken for every single event would slow down the processes that make
//! them, and the buffer holds many milliseconds.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::connector::{Heard, decode, request};
use super::{Limits, Unavailable};
use crate::{Error, Moment};

/// A datagram of the connector has 76 bytes; one that does not fit is cut short and thereby lost.
const LONGEST: usize = 128;
/// How many datagrams one system call copies.
const BATCH: usize = 256;
/// How often at most a full batch is followed by another before others get their turn. The
/// greatest buffer there may be holds fewer.
const MOST_BATCHES: usize = 4096;
/// The kernel answers while the request is being sent, or not at all.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long the thread rests after it has emptied the socket, in milliseconds.
const REST: u8 = 1;

/// The multicast group, CN_IDX_PROC.
const GROUP: u32 = 1;
/// linux/netlink.h; not in libc for all targets.
const NETLINK_BROADCAST_ERROR: libc::c_int = 4;
/// Of the array that SO_MEMINFO gives (linux/sock_diag.h): SK_MEMINFO_DROPS and its length.
const DROPS: usize = 8;
const MEMINFO: usize = 9;

/// A subscription. Dropping it ends it, and the thread.
#[derive(Debug)]
pub(super) struct Connector {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    socket: OwnedFd,
    /// Its address, which the kernel has chosen.
    port: u32,
    queue: Mutex<Queue>,
    /// Readable when there is something to take.
    ready: EventFd,
    /// Readable when the thread must look at the queue: there is room again, or it is over.
    wake: EventFd,
}

#[derive(Debug)]
struct Queue {
    batch: Batch,
    limit: usize,
    over: bool,
    /// Why the socket cannot be read any more.
    failed: Option<io::Error>,
}

/// What has been copied, in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where each datagram ends in `bytes`.
    ends: Vec<usize>,
    /// The socket's count of drops each time it was read, and after how many datagrams.
    drops: Vec<(usize, u32)>,
}

/// A part of a batch.
#[derive(Debug)]
pub(super) enum Part<'a> {
    Datagram(&'a [u8]),
    Drops(u32),
}

impl Batch {
    /// What is in it, in order.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let mut drops = self.drops.iter().peekable();
        let mut place = 0;
        std::iter::from_fn(move || {
            if let Some(&(_, count)) = drops.next_if(|&&(after, _)| after <= place) {
                return Some(Part::Drops(count));
            }
            let end = *self.ends.get(place)?;
            let begin = place.checked_sub(1).and_then(|before| self.ends.get(before));
            place += 1;
            Some(Part::Datagram(self.bytes.get(begin.copied().unwrap_or(0)..end)?))
        })
    }

    fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.drops.is_empty()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.drops.clear();
    }
}

impl Connector {
    /// Subscribes, and returns when the kernel has confirmed it.
    pub(super) fn open(limits: &Limits) -> Result<Connector, Error> {
        let unavailable = |why: String| Unavailable { backend: "connector", why };
        let socket = open_socket().map_err(|error| unavailable(format!("socket: {error}")))?;
        enlarge(&socket, limits.buffer);
        // Some kernels (6.7, and those with its correction) stop telling anybody when nobody could
        // be told; but not if the socket asked to have its overrun reported to the sender.
        set(&socket, libc::SOL_NETLINK, NETLINK_BROADCAST_ERROR, 1)
            .map_err(|error| unavailable(format!("NETLINK_BROADCAST_ERROR: {error}")))?;
        let port = bind(&socket).map_err(|error| unavailable(format!("bind: {error}")))?;
        let event = || {
            EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
                .map_err(|errno| Error::system("eventfd", errno))
        };
        let queue =
            Queue { batch: Batch::default(), limit: limits.queue, over: false, failed: None };
        let shared = Arc::new(Shared {
            socket,
            port,
            queue: Mutex::new(queue),
            ready: event()?,
            wake: event()?,
        });
        let mut connector = Connector { shared: Arc::clone(&shared), thread: None };
        connector.subscribe().map_err(unavailable)?;
        let thread = std::thread::Builder::new().name("connector".to_owned());
        let thread = thread.spawn(move || shared.run());
        connector.thread = Some(thread.map_err(|e| Error::system("start a thread", e))?);
        Ok(connector)
    }

    /// Asks to be told, and waits for the answer. Outside the first pid and user namespace there
    /// is none: the kernel ignores the request.
    fn subscribe(&self) -> Result<(), String> {
        // A number that another listener's request would have by chance only: we hear the
        // answers to those too.
        let ask = Moment::now().0 as u32;
        self.shared.send(true, ask).map_err(|error| format!("request: {error}"))?;
        let until = Instant::now() + PATIENCE;
        let mut batch = Batch::default();
        loop {
            self.take(&mut batch).map_err(|error| error.to_string())?;
            for part in batch.parts() {
                let Part::Datagram(bytes) = part else { continue };
                for heard in decode(bytes) {
                    match heard {
                        Heard::Ack { ack, error: 0, .. } if ack == ask.wrapping_add(1) => {
                            return Ok(());
                        }
                        Heard::Ack { ack, error, .. } if ack == ask.wrapping_add(1) => {
                            let errno = Errno::from_raw(error.cast_signed());
                            return Err(format!("the kernel refused: {errno}"));
                        }
                        _ => {}
                    }
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(
                    "the kernel does not answer, as it does not outside the first pid and \
                            user namespace"
                        .to_owned(),
                );
            }
            let patience =
                PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::from(REST));
            let mut fds = [PollFd::new(self.shared.socket.as_fd(), PollFlags::POLLIN)];
            if let Err(errno) = poll(&mut fds, patience)
                && errno != Errno::EINTR
            {
                return Err(format!("poll: {errno}"));
            }
        }
    }

    /// Readable when there is something to take.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.ready.as_fd()
    }

    /// Makes [`Connector::as_fd`] readable although there may be nothing.
    pub(super) fn nudge(&self) {
        let _ = self.shared.ready.write(1);
    }

    /// Takes all that the kernel has told by now. Whatever was told before this is called is in
    /// it.
    pub(super) fn take(&self, into: &mut Batch) -> Result<(), Error> {
        into.clear();
        let mut queue = self.shared.lock();
        let _ = self.shared.ready.read();
        self.shared.copy(&mut queue, usize::MAX);
        std::mem::swap(&mut queue.batch, into);
        if into.bytes.len() >= queue.limit {
            let _ = self.shared.wake.write(1);
        }
        match queue.failed.take() {
            Some(error) => Err(Error::system("read the process connector", error)),
            None => Ok(()),
        }
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        // The kernel goes on making events for nobody if it is not told that we have stopped.
        let _ = self.shared.send(false, 0);
        self.shared.lock().over = true;
        let _ = self.shared.wake.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread.
    fn run(&self) {
        loop {
            let full = {
                let mut queue = self.lock();
                let limit = queue.limit;
                if !queue.over && queue.batch.bytes.len() < limit {
                    self.copy(&mut queue, limit);
                }
                if !queue.batch.is_empty() || queue.failed.is_some() {
                    let _ = self.ready.write(1);
                }
                if queue.over || queue.failed.is_some() {
                    return;
                }
                queue.batch.bytes.len() >= limit
            };
            // What is not copied while nobody takes it the kernel drops, and counts.
            let patience = if full { PollTimeout::NONE } else { PollTimeout::from(REST) };
            if self.wait(&self.wake, patience) {
                let _ = self.wake.read();
            } else if !full {
                self.wait_for_either();
            }
        }
    }

    /// Whether it became readable in time. (What else poll(2) could say would come again.)
    fn wait(&self, event: &EventFd, patience: PollTimeout) -> bool {
        let mut fds = [PollFd::new(event.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut fds, patience), Ok(1..))
    }

    fn wait_for_either(&self) {
        let mut fds = [
            PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.wake.as_fd(), PollFlags::POLLIN),
        ];
        let _ = poll(&mut fds, PollTimeout::NONE);
    }

    /// Copies datagrams until there are none, or `limit` bytes are waiting.
    fn copy(&self, queue: &mut Queue, limit: usize) {
        let mut buffers = [[0u8; LONGEST]; BATCH];
        let mut overrun = false;
        for _ in 0..MOST_BATCHES {
            let batch = &mut queue.batch;
            let received = receive(&self.socket, &mut buffers, |bytes| {
                batch.bytes.extend_from_slice(bytes);
                batch.ends.push(batch.bytes.len());
            });
            match received {
                Ok(BATCH) if queue.batch.bytes.len() < limit => {}
                Ok(_) | Err(Errno::EAGAIN) => break,
                // Told before what had been queued when it happened; the count is read after that.
                Err(Errno::ENOBUFS) => overrun = true,
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    queue.failed = Some(errno.into());
                    break;
                }
            }
        }
        if overrun && let Some(drops) = drops(&self.socket) {
            queue.batch.drops.push((queue.batch.ends.len(), drops));
        }
    }

    fn send(&self, listen: bool, ack: u32) -> io::Result<()> {
        let bytes = request(listen, self.port, ack);
        // SAFETY: the pointer and the length are those of `bytes`.
        let sent =
            unsafe { libc::send(self.socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn open_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: a system call on plain numbers.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_CONNECTOR) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor and only we know it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set(
    socket: &OwnedFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of an int that lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks for a receive buffer of this size; without the right to exceed the machine's limit for
/// it, it becomes what that allows.
fn enlarge(socket: &OwnedFd, bytes: usize) {
    // The kernel doubles it, for its own overhead.
    let half = libc::c_int::try_from(bytes / 2).unwrap_or(libc::c_int::MAX);
    if half > 0 && set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, half).is_err() {
        let _ = set(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, half);
    }
}

/// Joins the group; returns the address the kernel has chosen.
fn bind(socket: &OwnedFd) -> io::Result<u32> {
    // SAFETY: an all-zero sockaddr_nl is a valid one.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = GROUP;
    let mut length = size_of_val(&address) as libc::socklen_t;
    let fd = socket.as_raw_fd();
    // SAFETY: the pointer and the length are those of `address`.
    if unsafe { libc::bind(fd, (&raw const address).cast(), length) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above, and the kernel writes at most `length` bytes.
    if unsafe { libc::getsockname(fd, (&raw mut address).cast(), &raw mut length) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(address.nl_pid)
}

/// How many datagrams the socket has dropped since it was made, modulo 2^32.
fn drops(socket: &OwnedFd) -> Option<u32> {
    let mut info = [0u32; MEMINFO];
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which `info` has.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 || (length as usize) < size_of_val(&info) {
        return None;
    }
    info.get(DROPS).copied()
}

/// Receives a batch and shows each datagram that the kernel itself has sent. Returns how many were
/// received, those of others too.
fn receive(
    socket: &OwnedFd,
    buffers: &mut [[u8; LONGEST]; BATCH],
    mut each: impl FnMut(&[u8]),
) -> Result<usize, Errno> {
    // SAFETY: all-zero structures of these three types are valid: null pointers and no lengths.
    let (mut senders, mut slices, mut messages): (
        [libc::sockaddr_nl; BATCH],
        [libc::iovec; BATCH],
        [libc::mmsghdr; BATCH],
    ) = unsafe { std::mem::zeroed() };
    let parts = buffers.iter_mut().zip(&mut senders).zip(&mut slices).zip(&mut messages);
    for (((buffer, sender), slice), message) in parts {
        slice.iov_base = buffer.as_mut_ptr().cast();
        slice.iov_len = buffer.len();
        message.msg_hdr.msg_name = (&raw mut *sender).cast();
        message.msg_hdr.msg_namelen = size_of_val(sender) as libc::socklen_t;
        message.msg_hdr.msg_iov = slice;
        message.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: BATCH headers, each with one buffer and one address, all of which live until the
    // call returns; without a timeout the last pointer may be null.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            BATCH as libc::c_uint,
            libc::MSG_DONTWAIT as _,
            std::ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| Errno::last())?;
    for ((message, sender), buffer) in messages.iter().zip(&senders).zip(buffers).take(received) {
        // Whoever is root can send to us too; the kernel alone has the address 0.
        if sender.nl_pid == 0
            && let Some(bytes) = buffer.get(..message.msg_len as usize)
        {
            each(bytes);
        }
    }
    Ok(received)
}
