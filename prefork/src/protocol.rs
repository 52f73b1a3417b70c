//! What a client and a server say to each other during one call, as bytes. Nothing here reads or
//! writes; the descriptors that travel between the bytes are the business of those who do.
//!
//! ```text
//!  server  greeting     "PFI\n", u32 length of what follows it (0)
//!  client  a zero byte
//!  client  three zero bytes, each a message of its own with one descriptor: 0, 1, 2
//!  client  u32 length, then so many bytes:
//!            NAME=value\0 ... \0            the environment, closed by an empty string
//!            INTERP\0 [SCRIPT\0] ARGUMENT\0 ...
//!  server  u32 wait status, as wait(2) gives it; then the connection ends
//! ```
//!
//! Numbers are big-endian. Whatever a client sends after that, or its end of file, means that it is
//! gone; so a client says nothing more and does not shut down its sending side.
//!
//! The functions that a client needs neither allocate nor panic: its program has no standard
//! library at work.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What a greeting begins with.
pub const MAGIC: [u8; 4] = *b"PFI\n";

/// The greeting a server sends: nothing follows it.
pub const GREETING: [u8; 8] = *b"PFI\n\0\0\0\0";

/// The most bytes that may follow a greeting, for a client to throw away. None have ever been sent.
pub const MAX_EXTRA: u32 = 64 << 10;

/// How many descriptors a client sends: its standard input, output and error.
pub const DESCRIPTORS: usize = 3;

/// The byte that stands before the descriptors, and the one that each travels with.
pub const FILLER: u8 = 0;

/// The longest request in bytes, its length aside. execve(2) takes 6 MiB of strings at the most
/// wherever it has a limit, so that no caller's own arguments and environment come near.
pub const MAX_REQUEST: u32 = 8 << 20;

/// What is wrong with bytes of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It does not begin as a greeting does.
    Magic,
    /// More than [`MAX_EXTRA`] bytes are to follow the greeting.
    Extra(u32),
    /// Longer than [`MAX_REQUEST`].
    Long(u32),
    /// No string closes the environment.
    Environment,
    /// An entry of the environment has no `=`.
    Entry,
    /// The last string has no end.
    Unfinished,
    /// Not the status of a process that has ended.
    Status(u32),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Magic => f.write_str("it does not speak this protocol"),
            Malformed::Extra(n) => write!(f, "{n} bytes after the greeting"),
            Malformed::Long(n) => {
                write!(f, "environment and arguments of {n} bytes, more than {MAX_REQUEST}")
            }
            Malformed::Environment => f.write_str("the environment has no end"),
            Malformed::Entry => f.write_str("an entry of the environment has no \"=\""),
            Malformed::Unfinished => f.write_str("the last argument has no end"),
            Malformed::Status(n) => write!(f, "{n:#x} is not the status of an ended process"),
        }
    }
}

impl std::error::Error for Malformed {}

/// How many bytes follow a greeting, for the client to throw away.
///
/// # Errors
/// It is no greeting, or too many bytes would follow.
pub fn greeting(bytes: [u8; 8]) -> Result<u32, Malformed> {
    let [m0, m1, m2, m3, l0, l1, l2, l3] = bytes;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(Malformed::Magic);
    }
    let extra = u32::from_be_bytes([l0, l1, l2, l3]);
    if extra > MAX_EXTRA { Err(Malformed::Extra(extra)) } else { Ok(extra) }
}

/// How many bytes the request has that these four announce.
///
/// # Errors
/// More than [`MAX_REQUEST`].
pub fn request_length(bytes: [u8; 4]) -> Result<usize, Malformed> {
    let length = u32::from_be_bytes(bytes);
    if length > MAX_REQUEST { Err(Malformed::Long(length)) } else { Ok(length as usize) }
}

/// The four bytes that announce a request of this length.
///
/// # Errors
/// More than [`MAX_REQUEST`].
pub fn announce(length: usize) -> Result<[u8; 4], Malformed> {
    match u32::try_from(length) {
        Ok(length) if length <= MAX_REQUEST => Ok(length.to_be_bytes()),
        Ok(length) => Err(Malformed::Long(length)),
        Err(_) => Err(Malformed::Long(u32::MAX)),
    }
}

/// What a caller wants run: its environment and the words of its command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Name and value, in the caller's order. Should a name come twice, the last one counts.
    pub environment: Vec<(OsString, OsString)>,
    /// As the client was told them: INTERP and, if there is one, SCRIPT come first.
    pub arguments: Vec<OsString>,
}

impl Request {
    /// Reads the bytes that [`request_length`] told of.
    ///
    /// # Errors
    /// They are not what a client sends.
    pub fn decode(bytes: &[u8]) -> Result<Request, Malformed> {
        let mut rest = bytes;
        let mut environment = Vec::new();
        loop {
            let entry = string(&mut rest).ok_or(Malformed::Environment)?;
            if entry.is_empty() {
                break;
            }
            // Some systems have had names that begin with `=`: it is the first one after that.
            let equals = entry.iter().skip(1).position(|byte| *byte == b'=');
            let (name, value) = match equals.and_then(|at| entry.split_at_checked(at + 1)) {
                Some((name, [_, value @ ..])) => (name, value),
                _ => match entry {
                    [b'=', value @ ..] => (&[][..], value),
                    _ => return Err(Malformed::Entry),
                },
            };
            environment.push((owned(name), owned(value)));
        }
        let mut arguments = Vec::new();
        while !rest.is_empty() {
            arguments.push(owned(string(&mut rest).ok_or(Malformed::Unfinished)?));
        }
        Ok(Request { environment, arguments })
    }

    /// The bytes of the request with their length before them, as they are sent.
    ///
    /// # Errors
    /// They would be more than [`MAX_REQUEST`]. (A string with a zero byte in it cannot be said:
    /// the other side would read two. Nothing that came through execve(2) has one.)
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let mut bytes = vec![0; 4];
        for (name, value) in &self.environment {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(b'=');
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        }
        bytes.push(0);
        for argument in &self.arguments {
            bytes.extend_from_slice(argument.as_bytes());
            bytes.push(0);
        }
        let length = announce(bytes.len().saturating_sub(4))?;
        if let Some(start) = bytes.get_mut(..4) {
            start.copy_from_slice(&length);
        }
        Ok(bytes)
    }

    /// The value of a variable, the last one if there are several.
    pub fn variable(&self, name: &OsStr) -> Option<&OsStr> {
        let last = self.environment.iter().rev().find(|(known, _)| known == name);
        last.map(|(_, value)| value.as_os_str())
    }

    /// The caller's own arguments, without the `leading` words (INTERP; or INTERP and SCRIPT)
    /// before them.
    pub fn arguments_after(&self, leading: usize) -> &[OsString] {
        self.arguments.get(leading..).unwrap_or_default()
    }
}

/// Takes a string and the zero byte that ends it.
fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == 0)?;
    let (string, after) = rest.split_at_checked(end)?;
    *rest = after.get(1..)?;
    Some(string)
}

fn owned(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// How the script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It called exit with this code.
    Exited(u8),
    /// A signal ended it.
    Signaled {
        /// The signal's number, 1 to 126.
        signal: u8,
        /// Whether the kernel wrote a core file.
        core: bool,
    },
}

impl Status {
    /// What the server's four bytes say.
    ///
    /// # Errors
    /// They are not the status of a process that has ended.
    pub fn decode(bytes: [u8; 4]) -> Result<Status, Malformed> {
        let status = u32::from_be_bytes(bytes);
        let [high, low, code, end] = bytes;
        match (high, low, code, end & 0x7f) {
            (0, 0, code, 0) if end == 0 => Ok(Status::Exited(code)),
            (0, 0, 0, signal @ 1..=0x7e) => Ok(Status::Signaled { signal, core: end & 0x80 != 0 }),
            _ => Err(Malformed::Status(status)),
        }
    }

    /// The four bytes that a server sends.
    pub fn encode(self) -> [u8; 4] {
        match self {
            Status::Exited(code) => [0, 0, code, 0],
            Status::Signaled { signal, core } => {
                [0, 0, 0, (signal & 0x7f) | if core { 0x80 } else { 0 }]
            }
        }
    }

    /// What a wait status says, as wait(2) has it; `None` if it is not of an end but of a stop.
    pub fn from_wait_status(status: i32) -> Option<Status> {
        Status::decode(status.to_be_bytes()).ok()
    }
}

/// Whether a client ends by this signal itself when the script was ended by it, so that its caller
/// sees what it would have seen without it. All others, and those with a core file, become exit
/// code 127 and a message.
pub fn is_passed_on(signal: u8) -> bool {
    use libc::{SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGTERM};
    [SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGTERM].contains(&i32::from(signal))
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
