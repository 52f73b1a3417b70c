//! The rest of a record on FreeBSD 15, where a seqpacket socket is a stream with marks: when the
//! queue is nearly full, a send may take only the beginning (and with it the descriptor), and a
//! receive may find only the beginning. What follows is sent and taken here, so that a full queue
//! looks the same everywhere. Not for records that are whole, which is nearly all.
//!
//! The other end has a second for its half. Whatever goes wrong, the channel is shut down: its ends
//! no longer agree on where a record begins.
//!
//! Source: FreeBSD 15 unix(4), send(2) on `MSG_EOR`. Tested on Linux over a stream.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, shutdown};

use super::raw::{self, Received};
use super::{Error, HEADER, MAX_MESSAGE};

const PATIENCE: Duration = Duration::from_secs(1);

/// After a send that took `sent` bytes of `head` and `body`: sends the others.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    head: &[u8],
    body: &[u8],
    sent: usize,
) -> Result<(), Error> {
    or_shut_down(socket, send_all(socket, head, body, sent, Instant::now() + PATIENCE))
}

fn send_all(
    socket: BorrowedFd<'_>,
    head: &[u8],
    body: &[u8],
    mut sent: usize,
    deadline: Instant,
) -> Result<(), Error> {
    while sent < head.len() + body.len() {
        let head_left = head.get(sent..).unwrap_or_default();
        let body_left = body.get(sent.saturating_sub(head.len())..).unwrap_or_default();
        match raw::send(socket, head_left, body_left, None, libc::MSG_DONTWAIT) {
            Ok(more) => sent += more,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                wait(socket, PollFlags::POLLOUT, deadline)?;
            }
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Err(Error::Closed),
            Err(e) => return Err(Error::io("sendmsg", e)),
        }
    }
    Ok(())
}

/// After a receive into `buffer` that found no end of its record: takes what the header says is
/// missing.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    received: &mut Received,
) -> Result<(), Error> {
    if received.ended || received.length == 0 {
        return Ok(());
    }
    let result = receive_all(socket, buffer, &mut received.length, Instant::now() + PATIENCE);
    or_shut_down(socket, result)
}

fn receive_all(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    length: &mut usize,
    deadline: Instant,
) -> Result<(), Error> {
    loop {
        let wanted = length_of_record(buffer.get(..*length).unwrap_or_default())?;
        let missing = match buffer.get_mut(*length..wanted) {
            Some([]) => return Ok(()),
            Some(missing) => missing,
            // More came than the header says.
            None => return Err(Error::Malformed("its length is not the length it says")),
        };
        match raw::receive(socket, missing, false, libc::MSG_DONTWAIT) {
            Ok(more) if more.length == 0 => return Err(Error::Closed),
            Ok(more) => *length += more.length,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                wait(socket, PollFlags::POLLIN, deadline)?;
            }
            Err(e) => return Err(Error::io("recvmsg", e)),
        }
    }
}

/// The length of the record that begins so, or of a header while even that is not all there.
fn length_of_record(beginning: &[u8]) -> Result<usize, Error> {
    let Some([_, _, _, _, length @ ..]) = beginning.first_chunk::<HEADER>() else {
        return Ok(HEADER);
    };
    usize::try_from(u32::from_be_bytes(*length))
        .ok()
        .and_then(|length| length.checked_add(HEADER))
        .filter(|length| *length <= MAX_MESSAGE)
        .ok_or(Error::Truncated)
}

fn wait(socket: BorrowedFd<'_>, events: PollFlags, deadline: Instant) -> Result<(), Error> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Error::io("wait for the rest of a message", io::ErrorKind::TimedOut));
    }
    let ms = u16::try_from(left.as_millis().saturating_add(1)).unwrap_or(u16::MAX);
    match poll(&mut [PollFd::new(socket, events)], PollTimeout::from(ms)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(e) => Err(Error::io("poll", e)),
    }
}

fn or_shut_down<T>(socket: BorrowedFd<'_>, result: Result<T, Error>) -> Result<T, Error> {
    if result.is_err() {
        // Fails only where the other end is gone already.
        let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
    }
    result
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;
    use crate::unix::header::Header;

    fn header(length: usize) -> [u8; HEADER] {
        Header { kind: 7, fd: false }.to_bytes(u32::try_from(length).unwrap())
    }

    fn begun(length: usize) -> Received {
        Received {
            length,
            ended: false,
            truncated: false,
            control_truncated: false,
            fd: None,
            more_fds: 0,
        }
    }

    #[test]
    fn a_record_cut_anywhere_is_put_together_again_and_the_next_one_left_alone() {
        let record = [&header(5)[..], b"hello"].concat();
        for cut in 1..record.len() {
            let (mut a, mut b) = UnixStream::pair().unwrap();
            a.write_all(record.get(cut..).unwrap()).unwrap();
            a.write_all(b"next").unwrap();
            let mut buffer = vec![0; MAX_MESSAGE];
            buffer[..cut].copy_from_slice(&record[..cut]);
            let mut received = begun(cut);
            receive(b.as_fd(), &mut buffer, &mut received).unwrap();
            assert_eq!(buffer[..received.length], record);
            drop(a);
            let mut next = Vec::new();
            b.read_to_end(&mut next).unwrap();
            assert_eq!(next, b"next");
        }
    }

    #[test]
    fn what_was_not_taken_is_sent_and_nothing_twice() {
        let record = [&header(5)[..], b"hello"].concat();
        for sent in 0..=record.len() {
            let (a, mut b) = UnixStream::pair().unwrap();
            send(a.as_fd(), &record[..HEADER], &record[HEADER..], sent).unwrap();
            drop(a);
            let mut rest = Vec::new();
            b.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, record[sent..]);
        }
    }

    #[test]
    fn a_record_too_large_for_the_queue_is_sent_whole() {
        let (a, mut b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        let body = vec![3; MAX_MESSAGE - HEADER];
        let head = header(body.len());
        let filler = vec![9; 1 << 20];
        let filled = (&a).write(&filler).unwrap();
        let reader = thread::spawn(move || {
            let mut all = vec![0; filled + MAX_MESSAGE];
            b.read_exact(&mut all).unwrap();
            all
        });
        send(a.as_fd(), &head, &body, 0).unwrap();
        let all = reader.join().unwrap();
        assert_eq!(all[filled..][..HEADER], head);
        assert!(all[filled + HEADER..] == body);
    }

    #[test]
    fn the_other_end_has_a_second_and_then_the_channel_is_over() {
        let (a, mut b) = UnixStream::pair().unwrap();
        let mut buffer = vec![0; MAX_MESSAGE];
        buffer[..HEADER].copy_from_slice(&header(5));
        let result = receive(a.as_fd(), &mut buffer, &mut begun(HEADER));
        assert!(
            matches!(result, Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::TimedOut)
        );
        assert_eq!(b.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_length_over_the_limit_and_an_early_end_are_errors() {
        for (said, more, expected) in [
            (MAX_MESSAGE, true, "receive: a message over the limit"),
            (5, false, "channel closed by its other end"),
        ] {
            let (a, b) = UnixStream::pair().unwrap();
            let mut buffer = vec![0; MAX_MESSAGE];
            buffer[..HEADER].copy_from_slice(&header(said));
            let _b = more.then_some(b);
            let result = receive(a.as_fd(), &mut buffer, &mut begun(HEADER));
            assert_eq!(result.unwrap_err().to_string(), expected);
        }
    }
}
