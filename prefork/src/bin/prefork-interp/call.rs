//! The call itself: connect, send, wait, end as the script did.

use core::mem::MaybeUninit;
use core::ptr;

use prefork::args::{self, Command, Wanted};
use prefork::protocol::{self, DESCRIPTORS, FILLER, Status};

use crate::find;
use crate::sys::{self, Start};

/// How long a server may take to greet us before prefork-spawn has a look at it, in milliseconds.
const GREETING: usize = 10_000;

/// How long a server may leave unread what we send it, in seconds.
const SEND: libc::time_t = 30;

/// How many separate pieces of memory a request may be in: the kernel puts all strings of a program
/// one after the other, so that there are few unless the environment has been cut.
const PIECES: usize = 64;

/// What a program says that ends without a script's status.
const UNUSUAL: u8 = 127;

/// How a call ends.
pub enum End {
    /// As the server says.
    Status(Status),
    /// The server says nothing more.
    Lost,
    /// What it says is no status.
    Malformed,
}

/// Makes the call, if there is a server for it.
pub fn call(start: &Start) -> Option<End> {
    let command = args::parse(&|at| start.word(at)).ok()?;
    if command.wanted != Wanted::Call {
        return None;
    }
    let path = find::socket(start, &command)?;
    let server = connect(&path)?;
    greeted(server)?;
    send(server, start, &command)?;
    Some(wait(server))
}

fn connect(path: &find::Path) -> Option<usize> {
    let kind = (libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as usize;
    // SAFETY: numbers only.
    let made = unsafe { sys::call(libc::SYS_socket, libc::AF_UNIX as usize, kind, 0, 0) };
    let server = usize::try_from(made).ok()?;
    let patience = libc::timeval { tv_sec: SEND, tv_usec: 0 };
    let (level, option) = (libc::SOL_SOCKET as usize, libc::SO_SNDTIMEO as usize);
    let (value, size) = (ptr::from_ref(&patience).addr(), size_of_val(&patience));
    let address = path.address();
    // SAFETY: a value and an address of the length that is said, which the kernel only reads.
    unsafe {
        if sys::call6(libc::SYS_setsockopt, server, level, option, value, size) < 0 {
            return None;
        }
        let to = address.as_ptr().addr();
        (sys::call(libc::SYS_connect, server, to, address.len(), 0) == 0).then_some(server)
    }
}

/// Reads the greeting. A server that ends does not greet; one that is stopped or busy does not yet.
fn greeted(server: usize) -> Option<()> {
    let seconds = libc::timespec { tv_sec: (GREETING / 1000) as libc::time_t, tv_nsec: 0 };
    let mut poll = libc::pollfd { fd: server as i32, events: libc::POLLIN, revents: 0 };
    let (list, patience) = (ptr::from_mut(&mut poll).addr(), ptr::from_ref(&seconds).addr());
    // SAFETY: a list of one and a time, both ours; the kernel writes to the first one.
    if unsafe { sys::call6(libc::SYS_ppoll, list, 1, patience, 0, 0) } != 1 {
        return None;
    }
    let mut greeting = [0; protocol::GREETING.len()];
    read(server, &mut greeting)?;
    let mut extra = protocol::greeting(greeting).ok()?;
    while extra > 0 {
        let mut byte = [0];
        read(server, &mut byte)?;
        extra = extra.wrapping_sub(1);
    }
    Some(())
}

fn read<const N: usize>(server: usize, bytes: &mut [u8; N]) -> Option<()> {
    let mut known = 0;
    while let Some(rest) = bytes.get_mut(known..)
        && !rest.is_empty()
    {
        let (to, length) = (rest.as_mut_ptr().addr(), rest.len());
        // SAFETY: the kernel fills no more than the length that is said.
        match unsafe { sys::call(libc::SYS_read, server, to, length, 0) } {
            read if read > 0 => known = known.wrapping_add(read as usize),
            error if error == -(libc::EINTR as isize) => {}
            _ => return None,
        }
    }
    Some(())
}

/// The pieces of a request in their order.
struct Pieces {
    list: [libc::iovec; PIECES],
    used: usize,
    length: usize,
}

impl Pieces {
    /// Appends `length` bytes from `from` on.
    fn push(&mut self, from: *const u8, length: usize) -> Option<()> {
        self.length = self.length.checked_add(length)?;
        if let Some(last) = self.used.checked_sub(1).and_then(|last| self.list.get_mut(last))
            && last.iov_base.addr().wrapping_add(last.iov_len) == from.addr()
        {
            last.iov_len = last.iov_len.wrapping_add(length);
            return Some(());
        }
        *self.list.get_mut(self.used)? =
            libc::iovec { iov_base: from.cast_mut().cast(), iov_len: length };
        self.used = self.used.wrapping_add(1);
        Some(())
    }

    /// Appends a string of the kernel's with the zero byte after it.
    fn string(&mut self, string: &'static [u8]) -> Option<()> {
        self.push(string.as_ptr(), string.len().checked_add(1)?)
    }
}

/// One descriptor, as a message carries it.
#[repr(C)]
struct Carried {
    header: libc::cmsghdr,
    descriptor: i32,
}

/// Sends all that a call consists of. Unless all of it is sent, the script is not run.
fn send(server: usize, start: &Start, command: &Command<'_>) -> Option<()> {
    let empty = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
    let mut pieces = Pieces { list: [empty; PIECES], used: 0, length: 0 };
    let announced = [0; 4];
    pieces.push(announced.as_ptr(), announced.len())?;
    let mut at = 0;
    while let Some(entry) = start.entry(at) {
        if entry.contains(&b'=') {
            pieces.string(entry)?;
        }
        at = at.wrapping_add(1);
    }
    let end = [0];
    pieces.push(end.as_ptr(), end.len())?;
    // The interpreter is the end of a word of the command line, if not all of it.
    pieces.push(command.interp.as_ptr(), command.interp.len().checked_add(1)?)?;
    let mut at = command.rest;
    while let Some(word) = start.word(at) {
        pieces.string(word)?;
        at = at.wrapping_add(1);
    }
    let mut announced = protocol::announce(pieces.length.checked_sub(announced.len())?).ok()?;
    pieces.list.first_mut()?.iov_base = announced.as_mut_ptr().cast();

    let mut filler = [FILLER];
    let mut one = libc::iovec { iov_base: filler.as_mut_ptr().cast(), iov_len: 1 };
    let carried = |descriptor: usize| Carried {
        header: libc::cmsghdr {
            cmsg_len: size_of::<libc::cmsghdr>() + size_of::<i32>(),
            cmsg_level: libc::SOL_SOCKET,
            cmsg_type: libc::SCM_RIGHTS,
        },
        descriptor: descriptor as i32,
    };
    let mut carried: [Carried; DESCRIPTORS] = [carried(0), carried(1), carried(2)];

    // SAFETY: a message header of zeros is one that says nothing.
    let mut messages: [libc::mmsghdr; 2 + DESCRIPTORS] =
        unsafe { MaybeUninit::zeroed().assume_init() };
    for message in &mut messages {
        message.msg_hdr.msg_iov = ptr::from_mut(&mut one);
        message.msg_hdr.msg_iovlen = 1;
    }
    for (message, carried) in messages.iter_mut().skip(1).zip(&mut carried) {
        message.msg_hdr.msg_control = ptr::from_mut(carried).cast();
        message.msg_hdr.msg_controllen = size_of::<Carried>();
    }
    let last = &mut messages.last_mut()?.msg_hdr;
    last.msg_iov = pieces.list.as_mut_ptr();
    last.msg_iovlen = pieces.used;

    let (list, count) = (messages.as_mut_ptr().addr(), messages.len());
    let flags = libc::MSG_NOSIGNAL as usize;
    // SAFETY: all that the headers point to lives until the end of this function, and is of the
    // lengths they say; the strings are the kernel's own.
    let sent = unsafe { sys::call(libc::SYS_sendmmsg, server, list, count, flags) };
    let whole = messages.last()?.msg_len as usize == pieces.length;
    (sent == count as isize && whole).then_some(())
}

fn wait(server: usize) -> End {
    let mut status = [0; 4];
    match read(server, &mut status) {
        None => End::Lost,
        Some(()) => match Status::decode(status) {
            Ok(status) => End::Status(status),
            Err(_) => End::Malformed,
        },
    }
}

/// Ends as the script did.
pub fn end(end: End, start: &Start) -> ! {
    let mut digits = [0; 20];
    let complain = |words: &[&[u8]]| say(start, words);
    match end {
        End::Status(Status::Exited(code)) => sys::exit(code),
        End::Status(Status::Signaled { signal, core }) => {
            if !core && protocol::is_passed_on(signal) {
                die(usize::from(signal));
            }
            let core: &[u8] = if core { b" (core dumped)" } else { b"" };
            let number = find::decimal(usize::from(signal), &mut digits);
            complain(&[b"the script was ended by signal ", number, core]);
        }
        End::Lost => complain(&[b"the server's monitor has ended without a word of the script"]),
        End::Malformed => complain(&[b"the server has sent what is no exit status"]),
    }
    sys::exit(UNUSUAL)
}

/// Ends by a signal, as the script did, so that a caller sees the same as without us.
fn die(signal: usize) {
    // The default action, no flags, nothing blocked; and then the one signal, to be unblocked.
    let action = [0_usize; 4];
    let set = 1_u64.wrapping_shl((signal as u32).wrapping_sub(1));
    let (unblock, size) = (libc::SIG_UNBLOCK as usize, size_of_val(&set));
    // SAFETY: the structure and the set are of the kernel's sizes and are only read.
    unsafe {
        sys::call(libc::SYS_rt_sigaction, signal, action.as_ptr().addr(), 0, size);
        sys::call(libc::SYS_rt_sigprocmask, unblock, ptr::from_ref(&set).addr(), 0, size);
        let own = sys::call(libc::SYS_getpid, 0, 0, 0, 0);
        sys::call(libc::SYS_kill, own as usize, signal, 0, 0);
    }
}

/// Says something on standard error, in one write.
fn say(start: &Start, words: &[&[u8]]) {
    let mut line = [0; 512];
    let mut length: usize = 0;
    let script: &[u8] = args::parse(&|at| start.word(at))
        .map_or(b"", |command| command.script.unwrap_or(command.interp));
    let parts = [b"prefork-interp: ", script, b": "];
    let bytes = parts.iter().chain(words).copied().flatten().chain(b"\n");
    for (to, from) in line.iter_mut().zip(bytes) {
        *to = *from;
        length = length.wrapping_add(1);
    }
    // SAFETY: the kernel reads as many bytes as there are.
    unsafe { sys::call(libc::SYS_write, 2, line.as_ptr().addr(), length, 0) };
}

/// Becomes the program that does all of it: it is beside this one, or in `../libexec`.
pub fn become_spawn(start: &Start) -> ! {
    const MAX: usize = libc::PATH_MAX as usize;
    let mut path = [0; MAX];
    let (at, own) = (libc::AT_FDCWD as usize, c"/proc/self/exe".as_ptr().addr());
    // SAFETY: a path that has an end, and the kernel fills no more than the length that is said.
    let length = unsafe { sys::call(libc::SYS_readlinkat, at, own, path.as_mut_ptr().addr(), MAX) };
    let folder = usize::try_from(length).ok().and_then(|length| {
        path.get(..length)?.iter().rposition(|byte| *byte == b'/')?.checked_add(1)
    });
    for name in [&b"prefork-spawn\0"[..], b"../libexec/prefork-spawn\0"] {
        let Some(place) = folder.and_then(|folder| path.get_mut(folder..)) else { break };
        if place.len() < name.len() {
            break;
        }
        for (to, from) in place.iter_mut().zip(name) {
            *to = *from;
        }
        let (argv, environment) = (start.argv().addr(), start.environment().addr());
        // SAFETY: a path that has an end, and the kernel's own lists.
        unsafe { sys::call(libc::SYS_execve, path.as_ptr().addr(), argv, environment, 0) };
    }
    say(
        start,
        &[b"cannot execute prefork-spawn, which starts servers: it is neither beside \
        prefork-interp nor in ../libexec, or /proc is missing"],
    );
    sys::exit(UNUSUAL)
}
