//! The socket to netfilter: one request out, its answers in.
//!
//! The kernel works while we send: when `send` returns, every answer is in our queue, and each
//! read of a list makes the kernel queue the next part. So nothing here ever waits.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvmsg, send,
    setsockopt, socket, sockopt,
};

use crate::nft::Batch;
use crate::nlmsg::{DUMP_INTERRUPTED, Malformed, Meaning, Message, Messages, Request};

/// Bytes that one transaction may have: netlink takes none in pieces. Four million addresses.
const SEND_BUFFER: usize = 128 << 20;
/// Bytes of answers that may wait; each counts as a kilobyte or more.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Bytes of one answer; the kernel cuts lists to this or less.
const DATAGRAM: usize = 64 << 10;

/// Why a request was not carried out.
#[derive(Debug)]
pub enum Failure {
    /// The kernel says why not.
    Refused {
        /// A number of errno(3).
        errno: i32,
        /// What it has to add.
        text: String,
    },
    /// A list changed while it was told.
    Interrupted,
    /// Answers were lost, or never came.
    Lost,
    /// The answer cannot be understood.
    Malformed,
    /// A system call failed.
    Io {
        /// Which.
        op: &'static str,
        /// How.
        source: io::Error,
    },
}

impl Failure {
    /// Whether the kernel said just this.
    pub fn is(&self, wanted: i32) -> bool {
        matches!(self, Failure::Refused { errno, .. } if *errno == wanted)
    }

    /// Whether it was too long for the buffer.
    pub fn is_for_size(&self) -> bool {
        matches!(self, Failure::Io { source, .. } if source.raw_os_error() == Some(libc::EMSGSIZE))
    }

    /// Whether it is for want of a right, whoever says so.
    pub fn is_for_rights(&self) -> bool {
        let errno = match self {
            Failure::Refused { errno, .. } => Some(*errno),
            Failure::Io { source, .. } => source.raw_os_error(),
            Failure::Interrupted | Failure::Lost | Failure::Malformed => None,
        };
        matches!(errno, Some(libc::EPERM | libc::EACCES))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused { errno, text } => {
                write!(f, "{}", Errno::from_raw(*errno).desc())?;
                if text.is_empty() { Ok(()) } else { write!(f, " ({text})") }
            }
            Failure::Interrupted => f.write_str("the list changed while it was read"),
            Failure::Lost => f.write_str("the kernel's answer was lost"),
            Failure::Malformed => Malformed.fmt(f),
            Failure::Io { op, source } => {
                write!(f, "{op}: {}", Errno::from_raw(source.raw_os_error().unwrap_or(0)).desc())
            }
        }
    }
}

impl From<Malformed> for Failure {
    fn from(_: Malformed) -> Self {
        Failure::Malformed
    }
}

/// The socket.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    seq: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens it. Large buffers want the machine's CAP_NET_ADMIN now; every request wants the
    /// namespace's.
    pub fn open() -> Result<Self, Failure> {
        let io = |op| move |e: Errno| Failure::Io { op, source: e.into() };
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkNetFilter,
        )
        .map_err(io("socket"))?;
        setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER)
            .or_else(|e| allowed(e, setsockopt(&socket, sockopt::SndBuf, &SEND_BUFFER)))
            .map_err(io("setsockopt SO_SNDBUFFORCE"))?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .or_else(|e| allowed(e, setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)))
            .map_err(io("setsockopt SO_RCVBUFFORCE"))?;
        // Errors quote only the header of what failed, and say more than a number.
        for option in [libc::NETLINK_CAP_ACK, libc::NETLINK_EXT_ACK] {
            turn_on(&socket, option).map_err(io("setsockopt SOL_NETLINK"))?;
        }
        Ok(Netlink { socket, seq: 0, buffer: vec![0; DATAGRAM] })
    }

    /// Gives it smaller buffers than any system grants to everybody.
    #[cfg(test)]
    pub fn shrink(&self) {
        setsockopt(&self.socket, sockopt::SndBuf, &(50 << 10)).unwrap();
        setsockopt(&self.socket, sockopt::RcvBuf, &(50 << 10)).unwrap();
    }

    /// A number for a request.
    pub fn number(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }

    /// Sends and hands every answer to `each`.
    pub fn exchange(
        &mut self,
        request: &Request,
        mut each: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> Result<(), Failure> {
        let io = |op| move |e: Errno| Failure::Io { op, source: e.into() };
        let raw = self.socket.as_raw_fd();
        loop {
            match send(raw, request.bytes(), MsgFlags::empty()) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(e) => return Err(io("send")(e)),
            }
        }
        // The first thing wrong is told, but the queue is always emptied.
        let mut result = Ok(());
        loop {
            let mut parts = [io::IoSliceMut::new(&mut self.buffer)];
            let (length, cut, sender) =
                match recvmsg::<NetlinkAddr>(raw, &mut parts, None, MsgFlags::MSG_DONTWAIT) {
                    Ok(r) => (r.bytes, r.flags.contains(MsgFlags::MSG_TRUNC), r.address),
                    Err(Errno::EAGAIN) => return result,
                    Err(Errno::EINTR) => continue,
                    Err(Errno::ENOBUFS) => {
                        result = result.and(Err(Failure::Lost));
                        continue;
                    }
                    Err(e) => return result.and(Err(io("recvmsg")(e))),
                };
            if sender.is_none_or(|address| address.pid() != 0) {
                continue; // not from the kernel
            }
            if cut {
                result = result.and(Err(Failure::Malformed));
                continue;
            }
            for message in Messages::new(self.buffer.get(..length).unwrap_or(&[])) {
                let answer = message.and_then(|message| each(&message));
                result = result.and(answer.map_err(Failure::from));
            }
        }
    }

    /// Sends one transaction: what `fill` puts into it. With nothing in it, nothing is sent.
    ///
    /// # Errors
    /// The first thing that was wrong with it; the kernel has then done nothing of it.
    pub fn transact(&mut self, fill: impl FnOnce(&mut Batch)) -> Result<(), Failure> {
        let first = self.number();
        let mut batch = Batch::new(first);
        fill(&mut batch);
        let mut unanswered = batch.changes();
        if unanswered == 0 {
            return Ok(());
        }
        let (request, last) = batch.end();
        self.seq = last;
        let mut verdict = Ok(());
        self.exchange(&request, |message| {
            if message.seq.wrapping_sub(first) <= last.wrapping_sub(first) {
                match message.meaning()? {
                    Meaning::Data => {}
                    Meaning::Done => unanswered = unanswered.saturating_sub(1),
                    Meaning::Failed { .. } if verdict.is_err() => {}
                    Meaning::Failed { errno, text } => verdict = Err(refused(errno, text)),
                }
            }
            Ok(())
        })?;
        verdict.and(if unanswered == 0 { Ok(()) } else { Err(Failure::Lost) })
    }

    /// Sends one question that has one answer, or `None` where the kernel says only yes.
    pub fn ask<T>(
        &mut self,
        write: impl FnOnce(&mut Request, u32),
        parse: impl Fn(&Message<'_>) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Failure> {
        let mut request = Request::default();
        let seq = self.number();
        write(&mut request, seq);
        let mut answer = None;
        let mut verdict = Err(Failure::Lost);
        self.exchange(&request, |message| {
            if message.seq == seq {
                match message.meaning()? {
                    Meaning::Data => {
                        answer = Some(parse(message)?);
                        verdict = Ok(());
                    }
                    Meaning::Done => verdict = Ok(()),
                    Meaning::Failed { errno, text } => verdict = Err(refused(errno, text)),
                }
            }
            Ok(())
        })?;
        verdict.map(|()| answer)
    }

    /// Asks for a list and hands every part to `each`.
    pub fn list(
        &mut self,
        write: impl FnOnce(&mut Request, u32),
        mut each: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> Result<(), Failure> {
        let mut request = Request::default();
        let seq = self.number();
        write(&mut request, seq);
        let mut interrupted = false;
        let mut verdict = Err(Failure::Lost);
        self.exchange(&request, |message| {
            if message.seq == seq {
                interrupted |= message.flags & DUMP_INTERRUPTED != 0;
                match message.meaning()? {
                    Meaning::Data => each(message)?,
                    Meaning::Done => verdict = Ok(()),
                    Meaning::Failed { errno: libc::EINTR, .. } => interrupted = true,
                    Meaning::Failed { errno, text } => verdict = Err(refused(errno, text)),
                }
            }
            Ok(())
        })?;
        if interrupted { Err(Failure::Interrupted) } else { verdict }
    }
}

/// What becomes of a buffer that may not be forced. In a user namespace no capability suffices, and
/// the machine's net.core.wmem_max and rmem_max hold: enough for thousands of addresses in one transaction.
fn allowed(error: Errno, asked: Result<(), Errno>) -> Result<(), Errno> {
    if error == Errno::EPERM { asked } else { Err(error) }
}

/// An error of the kernel as a failure.
pub fn refused(errno: i32, text: Option<&str>) -> Failure {
    Failure::Refused { errno, text: text.unwrap_or_default().to_owned() }
}

fn turn_on(socket: &OwnedFd, option: libc::c_int) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    // SAFETY: the pointer and the length are those of a c_int that lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// The test runs itself again where root is nobody's but a user namespace's.
    #[test]
    fn it_opens_in_a_user_namespace_too() {
        if std::env::var_os("INSIDE").is_some() {
            return drop(Netlink::open().unwrap());
        }
        let inside = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "netlink::tests::it_opens_in_a_user_namespace_too"])
            .env("INSIDE", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&inside.stdout);
        assert!(inside.status.success() && said.contains("1 passed"), "{said}");
    }
}
