//! The way to syslogd where it is a datagram socket: Linux, FreeBSD, NetBSD.
//!
//! The socket is one for the parent and its children: when the parent connects it again, after
//! syslogd was restarted, that holds for the children too, who could not find it from where they
//! are confined. Nor does anything tell the parent that its children found nobody; so it connects
//! again from time to time, whether or not it has something to say itself.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::{Error, SYSLOG_FD};

#[cfg(target_os = "linux")]
const PATH: &str = "/dev/log";
#[cfg(not(target_os = "linux"))]
const PATH: &str = "/var/run/log";

/// How often a missing syslogd is looked for.
const AGAIN: Duration = Duration::from_secs(1);

/// How often the way is looked for when all seems well: so long may the lines of a child wait after
/// syslogd was started anew.
const LOOK: Duration = Duration::from_secs(5);

/// Lines a system call.
const BATCH: usize = 64;

/// A socket that leads to syslogd, now or later.
pub(crate) struct Transport {
    fd: OwnedFd,
    /// Whether we can see the path, or must wait for the parent to connect.
    finder: bool,
    connected: bool,
    tried: Option<Instant>,
    path: &'static str,
}

impl Transport {
    /// Opens the way for this process and its children.
    pub(crate) fn open() -> Result<Transport, Error> {
        Transport::open_at(PATH)
    }

    pub(crate) fn open_at(path: &'static str) -> Result<Transport, Error> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)
            .map_err(|errno| Error::system("make a socket for syslog", errno))?;
        let mut transport = Transport { fd, finder: true, connected: false, tried: None, path };
        transport.find();
        Ok(transport)
    }

    /// Takes the way that the parent has opened.
    pub(crate) fn inherit() -> Result<Transport, Error> {
        // SAFETY: asks about a number; -1 if nothing is open there.
        if unsafe { libc::fcntl(SYSLOG_FD, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
            return Err(Error::last("the socket for syslog, descriptor 4"));
        }
        // SAFETY: it is open, `start` put it there for us, and the logger is installed only once.
        let fd = unsafe { OwnedFd::from_raw_fd(SYSLOG_FD) };
        Ok(Transport { fd, finder: false, connected: true, tried: None, path: PATH })
    }

    /// A copy for a child.
    pub(crate) fn descriptor(&self) -> Result<Option<OwnedFd>, Error> {
        let copy = self.fd.try_clone();
        copy.map(Some).map_err(|source| Error::system("copy the socket for syslog", source))
    }

    /// Sends the lines of `bytes`, each ending at one of `ends`, until syslogd takes no more;
    /// returns how many it took.
    pub(crate) fn send(&mut self, bytes: &[u8], ends: &[usize]) -> usize {
        if self.due().is_some_and(|due| due <= Instant::now()) {
            // Where it cannot be found the one we have may still be good.
            let good = self.connected;
            self.connected = self.find() || good;
        }
        if !self.connected && !self.find() {
            return 0;
        }
        let mut done = 0;
        while done < ends.len() {
            let rest = ends.get(done..).unwrap_or_default();
            let start = done.checked_sub(1).and_then(|i| ends.get(i)).copied().unwrap_or(0);
            match send_some(self.fd.as_fd(), bytes, start, rest) {
                Ok(sent) => done += sent,
                Err(Errno::EINTR) => {}
                // One that can never be sent must not stop those behind it.
                Err(Errno::EMSGSIZE) => done += 1,
                Err(Errno::EAGAIN | Errno::ENOBUFS) => return done,
                Err(_) => {
                    self.connected = !self.finder;
                    if !self.finder || !self.find() {
                        return done;
                    }
                }
            }
        }
        done
    }

    /// When [`Transport::send`] should be called even with nothing to send.
    pub(crate) fn due(&self) -> Option<Instant> {
        let pause = if self.connected { LOOK } else { AGAIN };
        self.tried.filter(|_| self.finder)?.checked_add(pause)
    }

    /// Waits until syslogd takes a line again.
    pub(crate) fn wait(&self, patience: Duration) {
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
        let _ = nix::poll::poll(&mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLOUT)], timeout);
    }

    fn find(&mut self) -> bool {
        if !self.finder || self.tried.is_some_and(|tried| tried.elapsed() < AGAIN) {
            return false;
        }
        self.tried = Some(Instant::now());
        self.connected = UnixAddr::new(self.path)
            .is_ok_and(|address| connect(self.fd.as_raw_fd(), &address).is_ok());
        self.connected
    }
}

/// Sends up to [`BATCH`] lines in one system call and returns how many went.
fn send_some(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    mut start: usize,
    ends: &[usize],
) -> Result<usize, Errno> {
    let mut slices = [IoSlice::new(&[]); BATCH];
    let mut count = 0;
    for (slice, &end) in slices.iter_mut().zip(ends) {
        *slice = IoSlice::new(bytes.get(start..end).unwrap_or_default());
        start = end;
        count += 1;
    }
    // SAFETY: an all-zero mmsghdr is a valid one: no name, no data, no control message.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    for (header, slice) in headers.iter_mut().zip(&slices) {
        // IoSlice has the layout of iovec; the kernel only reads through this pointer.
        header.msg_hdr.msg_iov = std::ptr::from_ref(slice).cast_mut().cast();
        header.msg_hdr.msg_iovlen = 1;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the first `count` headers each point at one live slice, and those at live bytes.
    let sent =
        unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count as _, flags as _) };
    usize::try_from(sent).map_err(|_| Errno::last())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// A path of its own for each test, for as long as the test program runs.
    fn path(name: &str) -> &'static str {
        let name = format!("supervise-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        Box::leak(path.to_str().expect("UTF-8").to_owned().into_boxed_str())
    }

    fn syslogd(path: &str) -> UnixDatagram {
        let socket = UnixDatagram::bind(path).expect("bind");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
        socket
    }

    fn next(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).expect("a line within ten seconds");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    fn lines(count: usize) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for n in 0..count {
            bytes.extend_from_slice(format!("line {n}").as_bytes());
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn a_line_is_a_datagram_and_none_is_lost_or_moved() {
        let path = path("whole");
        let socket = syslogd(path);
        let mut transport = Transport::open_at(path).expect("open");
        let (mut bytes, mut ends) = lines(3000);
        let mut read = 0;
        let mut rounds = 0;
        while !ends.is_empty() {
            // More than any queue holds: it must stop and not block.
            let sent = transport.send(&bytes, &ends);
            assert!(sent > 0 && sent < 3000, "{sent}");
            for _ in 0..sent {
                assert_eq!(next(&socket), format!("line {read}"));
                read += 1;
            }
            let gone = ends[sent - 1];
            bytes.drain(..gone);
            ends.drain(..sent);
            ends.iter_mut().for_each(|end| *end -= gone);
            rounds += 1;
        }
        assert!(read == 3000 && rounds > 1);
        std::fs::remove_file(path).expect("clean up");
    }

    #[test]
    fn waits_for_a_syslogd_and_finds_a_new_one_for_all() {
        let path = path("again");
        let mut parent = Transport::open_at(path).expect("open");
        let copy = parent.descriptor().expect("copy").expect("a socket");
        let mut child =
            Transport { fd: copy, finder: false, connected: true, tried: None, path: "/nowhere" };
        let (bytes, ends) = lines(2);
        let send = |transport: &mut Transport| transport.send(&bytes, &ends);
        assert_eq!((send(&mut parent), send(&mut child)), (0, 0), "there is none yet");
        for _ in 0..2 {
            let socket = syslogd(path);
            let until = Instant::now() + Duration::from_secs(10);
            while send(&mut parent) == 0 {
                assert!(Instant::now() < until, "not found again");
                std::thread::yield_now();
            }
            assert_eq!(send(&mut child), 2, "the parent has found it for the child too");
            assert_eq!([next(&socket), next(&socket)], ["line 0", "line 1"]);
            assert_eq!([next(&socket), next(&socket)], ["line 0", "line 1"]);
            std::fs::remove_file(path).expect("clean up");
            drop(socket);
            assert_eq!((send(&mut parent), send(&mut child)), (0, 0), "it is gone");
        }
    }

    #[test]
    fn a_parent_with_nothing_to_say_finds_a_new_one_for_its_children() {
        let path = path("silent");
        let socket = syslogd(path);
        let mut parent = Transport::open_at(path).expect("open");
        let copy = parent.descriptor().expect("copy").expect("a socket");
        let mut child =
            Transport { fd: copy, finder: false, connected: true, tried: None, path: "/nowhere" };
        assert_eq!(child.due(), None, "it cannot look");
        std::fs::remove_file(path).expect("remove");
        drop(socket);
        let socket = syslogd(path);
        let (bytes, ends) = lines(1);
        assert_eq!((parent.send(&[], &[]), child.send(&bytes, &ends)), (0, 0), "not yet");
        parent.tried = Instant::now().checked_sub(LOOK);
        assert!(parent.due() <= Some(Instant::now()));
        parent.send(&[], &[]);
        assert_eq!(child.send(&bytes, &ends), 1);
        assert_eq!(next(&socket), "line 0");
        assert!(parent.due() > Some(Instant::now()));
        // None to be found is no reason to let go of one that is there.
        std::fs::remove_file(path).expect("clean up");
        parent.tried = Instant::now().checked_sub(LOOK);
        assert_eq!(parent.send(&bytes, &ends), 1);
    }

    #[test]
    fn a_line_that_cannot_be_sent_does_not_stop_the_others() {
        let path = path("long");
        let socket = syslogd(path);
        let mut transport = Transport::open_at(path).expect("open");
        let mut bytes = vec![b'x'; 4 << 20];
        let ends = [bytes.len(), bytes.len() + 3];
        bytes.extend_from_slice(b"two");
        assert_eq!(transport.send(&bytes, &ends), 2);
        assert_eq!(next(&socket), "two");
        std::fs::remove_file(path).expect("clean up");
    }
}
