//! One request off a call's socket: descriptors, environment and arguments, each byte bounded and
//! all of it within a time. What the bytes mean is the business of [`crate::protocol`].

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};

use super::block::Block;
use crate::Error;
use crate::protocol::{DESCRIPTORS, FILLER, request_length};

/// So much is read while the length is not known: most requests are shorter.
const PIECE: usize = 4 << 10;

/// And so much at the most when it is.
const MOST: usize = 1 << 20;

/// What comes before the length of a request: a byte, and one with each descriptor.
const FILLERS: usize = 1 + DESCRIPTORS;

/// Where the request proper begins, after its length.
const START: usize = FILLERS + 4;

/// Reads a request, whose descriptors are the caller's 0, 1 and 2; `None` if the caller has gone
/// away before it was complete.
///
/// # Errors
/// It is none, or not complete within `patience`.
pub(super) fn request(
    call: &OwnedFd,
    patience: Duration,
) -> Result<Option<([OwnedFd; DESCRIPTORS], Block)>, Error> {
    let mut until = None;
    let mut partial = Partial::default();
    loop {
        match partial.receive(call) {
            Ok(0) | Err(Errno::ECONNRESET) => return Ok(None),
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(Errno::EAGAIN) => {
                let until = *until.get_or_insert_with(|| Instant::now().checked_add(patience));
                wait(call, until)?;
                continue;
            }
            Err(errno) => return Err(Error::system("read a request", errno)),
        }
        if partial.missing()? == Some(0) {
            return partial.finish().map(Some);
        }
    }
}

/// What has come of a request so far.
#[derive(Debug, Default)]
struct Partial {
    bytes: Vec<u8>,
    streams: Vec<OwnedFd>,
}

impl Partial {
    /// How many bytes are still to come, if that is known.
    fn missing(&self) -> Result<Option<usize>, Error> {
        let mut fillers = self.bytes.iter().take(FILLERS);
        if self.streams.len() > DESCRIPTORS || fillers.any(|byte| *byte != FILLER) {
            return Err(Error::says("a request does not begin as one"));
        }
        let Some(&announced) = self.bytes.get(FILLERS..).and_then(|rest| rest.first_chunk()) else {
            return Ok(None);
        };
        let total = START + request_length(announced).map_err(unacceptable)?;
        let missing = total.checked_sub(self.bytes.len());
        missing.map(Some).ok_or_else(|| Error::says("a request is longer than it says"))
    }

    fn finish(mut self) -> Result<([OwnedFd; DESCRIPTORS], Block), Error> {
        let streams = <[OwnedFd; DESCRIPTORS]>::try_from(self.streams)
            .map_err(|some| Error::says(format!("a request with {} descriptors", some.len())))?;
        self.bytes.drain(..START.min(self.bytes.len()));
        Ok((streams, Block::parse(self.bytes).map_err(unacceptable)?))
    }

    /// Reads what is there, but not beyond the end of the request once that is known; the number of
    /// bytes.
    fn receive(&mut self, call: &OwnedFd) -> Result<usize, Errno> {
        let from = self.bytes.len();
        // One more than is missing, so that a request that is too long is seen.
        let want = self.missing().ok().flatten().map_or(PIECE, |missing| missing.min(MOST) + 1);
        self.bytes.resize(from + want, 0);
        let piece = self.bytes.get_mut(from..).unwrap_or_default();
        let count = receive(call, piece, &mut self.streams);
        self.bytes.truncate(from + count.unwrap_or(0));
        count
    }
}

fn unacceptable(what: crate::protocol::Malformed) -> Error {
    Error::says(format!("a request: {what}"))
}

/// Reads what is there, bytes into `piece` and descriptors to the end of `streams`.
fn receive(call: &OwnedFd, piece: &mut [u8], streams: &mut Vec<OwnedFd>) -> Result<usize, Errno> {
    let mut control = cmsg_space!([RawFd; DESCRIPTORS]);
    let mut slices = [IoSliceMut::new(piece)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(call.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
    for item in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = item {
            // SAFETY: the kernel has just made each for us, and they are taken over once.
            streams.extend(fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok(message.bytes)
}

/// Waits until there is something to read.
fn wait(call: &OwnedFd, until: Option<Instant>) -> Result<(), Error> {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    if left.is_some_and(|left| left.is_zero()) {
        return Err(Error::says("a caller has not sent its request in time"));
    }
    let mut fds = [PollFd::new(call.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, timeout(left)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(Error::system("poll", errno)),
    }
}

/// A duration for poll(2), rounded up, or its last part would be spent spinning.
pub(super) fn timeout(left: Option<Duration>) -> PollTimeout {
    let Some(left) = left else { return PollTimeout::NONE };
    let millis = left.as_nanos().div_ceil(1_000_000);
    PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Write};
    use std::os::unix::net::UnixStream;

    use nix::sys::socket::{ControlMessage, sendmsg};

    use super::*;
    use crate::protocol::Request;

    /// A caller's side of a call and the server's.
    fn pair() -> (UnixStream, OwnedFd) {
        let (caller, call) = UnixStream::pair().expect("a pair");
        (caller, call.into())
    }

    fn send_streams(caller: &UnixStream, count: usize) {
        for _ in 0..count {
            // Not the socket itself: it would be kept open for as long as it travels.
            let null = std::fs::File::open("/dev/null").expect("open");
            let fds = [null.as_raw_fd()];
            let rights = [ControlMessage::ScmRights(&fds)];
            let bytes = [IoSlice::new(&[FILLER])];
            let none = MsgFlags::empty();
            sendmsg::<UnixAddr>(caller.as_raw_fd(), &bytes, &rights, none, None).expect("send");
        }
    }

    fn sample() -> Vec<u8> {
        let environment = vec![("A".into(), "1".into())];
        let request = Request { environment, arguments: vec!["prog".into(), "".into()] };
        request.encode().expect("short enough")
    }

    fn read(call: &OwnedFd) -> Result<Option<([OwnedFd; DESCRIPTORS], Block)>, String> {
        request(call, Duration::from_secs(5)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_request_in_pieces_is_put_together() {
        let (mut caller, call) = pair();
        let sender = std::thread::spawn(move || {
            caller.write_all(&[FILLER]).expect("write");
            send_streams(&caller, 3);
            for byte in sample() {
                caller.write_all(&[byte]).expect("write");
            }
            caller
        });
        let (_, block) = read(&call).expect("good").expect("whole");
        let (environment, words) = block.leak();
        assert_eq!(words, ["prog", ""]);
        assert_eq!(environment.len(), 2, "one and the end");
        drop(sender.join().expect("join"));
    }

    #[test]
    fn a_caller_that_goes_away_is_no_error() {
        let (mut caller, call) = pair();
        caller.write_all(&[FILLER]).expect("write");
        send_streams(&caller, 2);
        drop(caller);
        assert!(read(&call).expect("no error").is_none());
    }

    #[test]
    fn one_that_says_too_little_is_not_waited_for() {
        let (mut caller, call) = pair();
        let short = request(&call, Duration::from_millis(20)).expect_err("nothing was sent");
        assert!(short.to_string().contains("in time"), "{short}");
        caller.write_all(&[FILLER]).expect("write");
        send_streams(&caller, 3);
        let sample = sample();
        caller.write_all(sample.get(..7).expect("long enough")).expect("write");
        let half = request(&call, Duration::from_millis(20)).expect_err("half was sent");
        assert!(half.to_string().contains("in time"), "{half}");
    }

    #[test]
    fn nonsense_is_refused() {
        let (mut caller, call) = pair();
        caller.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("write");
        assert!(read(&call).is_err_and(|e| e.contains("begin")));

        let (mut caller, call) = pair();
        caller.write_all(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).expect("write");
        assert!(read(&call).is_err_and(|e| e.contains("4294967295")));

        for count in [0, 2, 4] {
            let (mut caller, call) = pair();
            caller.write_all(&[FILLER]).expect("write");
            send_streams(&caller, count.min(3));
            if count == 4 {
                send_streams(&caller, 1);
            }
            caller.write_all(&[0; 3][count.min(3)..]).expect("write");
            let _ = caller.write_all(&sample());
            assert!(read(&call).is_err(), "{count} descriptors");
        }

        let (mut caller, call) = pair();
        caller.write_all(&[FILLER]).expect("write");
        send_streams(&caller, 3);
        let mut long = sample();
        long.push(0);
        caller.write_all(&long).expect("write");
        assert!(read(&call).is_err_and(|e| e.contains("longer")));
    }
}
