//! What is said over the control socket of a supervised command: one request, one reply. Who may
//! ask is decided by the socket's mode; what is done about it, by supervise(8).

#[cfg_attr(target_os = "linux", path = "control/listening_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "control/listening_bsd.rs")]
mod listening;

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use proto::unix::{Error, Message, Reader, Writer, cut, no_fd};
use serde::Serialize;

pub use listening::Listening;

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// How the command is.
    Status,
    /// Send the command this signal.
    Signal(i32),
    /// End the command and start it again; the reply comes when it has been started.
    Restart,
    /// End the command, and do not start it again. The reply comes at once, and the connection
    /// stays until the supervisor has ended.
    Stop,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was done, or is being done.
    Done,
    /// It was not, and why.
    Refused(String),
    /// How the command is.
    Status(Status),
}

/// How a supervised command is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The name it was given.
    pub name: String,
    /// `running`, `waiting` (to be started again) or `ending`.
    pub state: String,
    /// The process that supervises it.
    pub supervisor: i32,
    /// Its own process, if it has one now.
    pub pid: Option<i32>,
    /// When that was started: seconds since 1970.
    pub since: u64,
    /// How often it was started again.
    pub restarts: u64,
    /// The processes of its tree, as far as they are known.
    pub members: Vec<i32>,
    /// Whether it has said, or is taken, to be ready.
    pub ready: bool,
    /// How it ended the last time, in words.
    pub last_end: Option<String>,
    /// Its words, as a line.
    pub command: String,
}

/// So many members at most are listed.
const MOST_MEMBERS: usize = 4000;

/// A text is not longer.
const LONGEST: usize = 2000;

impl Message for Request {
    const CARRIES_FD: bool = false;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        let mut writer = Writer::new(payload);
        match self {
            Request::Status => 1,
            Request::Signal(number) => {
                writer.u32(number.cast_unsigned());
                2
            }
            Request::Restart => 3,
            Request::Stop => 4,
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Request, Error> {
        no_fd(fd)?;
        let mut reader = Reader::new(payload);
        let request = match kind {
            1 => Request::Status,
            2 => Request::Signal(reader.u32()?.cast_signed()),
            3 => Request::Restart,
            4 => Request::Stop,
            kind => return Err(Error::UnknownKind(kind)),
        };
        reader.finish()?;
        Ok(request)
    }
}

impl Message for Reply {
    const CARRIES_FD: bool = false;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        let mut writer = Writer::new(payload);
        match self {
            Reply::Done => 1,
            Reply::Refused(why) => {
                writer.str(short(why));
                2
            }
            Reply::Status(status) => {
                status.encode(&mut writer);
                3
            }
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Reply, Error> {
        no_fd(fd)?;
        let mut reader = Reader::new(payload);
        let reply = match kind {
            1 => Reply::Done,
            2 => Reply::Refused(reader.str()?.to_owned()),
            3 => Reply::Status(Status::decode(&mut reader)?),
            kind => return Err(Error::UnknownKind(kind)),
        };
        reader.finish()?;
        Ok(reply)
    }
}

impl Status {
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.str(short(&self.name)).str(short(&self.state)).u32(self.supervisor.cast_unsigned());
        writer.u32(self.pid.unwrap_or(0).cast_unsigned()).u64(self.since).u64(self.restarts);
        writer.bool(self.ready).bool(self.last_end.is_some());
        writer.str(short(self.last_end.as_deref().unwrap_or_default()));
        writer.str(short(&self.command));
        for member in self.members.iter().take(MOST_MEMBERS) {
            writer.u32(member.cast_unsigned());
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Status, Error> {
        let mut status = Status {
            name: reader.str()?.to_owned(),
            state: reader.str()?.to_owned(),
            supervisor: reader.u32()?.cast_signed(),
            pid: Some(reader.u32()?.cast_signed()).filter(|pid| *pid != 0),
            since: reader.u64()?,
            restarts: reader.u64()?,
            ready: reader.bool()?,
            ..Status::default()
        };
        let ended = reader.bool()?;
        status.last_end = Some(reader.str()?.to_owned()).filter(|_| ended);
        status.command = reader.str()?.to_owned();
        while !reader.is_empty() {
            status.members.push(reader.u32()?.cast_signed());
        }
        Ok(status)
    }
}

/// As much of a text as a message has room for.
fn short(text: &str) -> &str {
    cut(text, LONGEST)
}

/// Where the control socket of this name is; the lock of the same name lies beside it.
///
/// `/run/supervise` is root's, any other user's is in the directory that `XDG_RUNTIME_DIR` names.
///
/// # Errors
/// The name is not one, or the user has no such directory.
pub fn path_of(name: &str) -> Result<PathBuf, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@:+-".contains(&byte);
    if name.is_empty()
        || name.len() > 64
        || name.starts_with('.')
        || name.ends_with(".lock")
        || !name.bytes().all(plain)
    {
        return Err(format!(
            "{name:?} is no name: 1 to 64 letters, digits or ._@:+- that do not begin with a dot \
             or end in .lock"
        ));
    }
    let folder = if nix::unistd::geteuid().is_root() {
        PathBuf::from(if cfg!(target_os = "linux") { "/run" } else { "/var/run" })
    } else {
        match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
            Some(folder) if folder.is_absolute() => folder,
            _ => return Err("XDG_RUNTIME_DIR is not set: no place for a control socket".to_owned()),
        }
    };
    Ok(folder.join("supervise").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again<M: Message>(message: &M) -> Result<M, Error> {
        let mut payload = Vec::new();
        let kind = message.encode(&mut payload);
        M::decode(kind, &payload, None)
    }

    #[test]
    fn what_is_said_is_heard() {
        for request in [Request::Status, Request::Signal(64), Request::Restart, Request::Stop] {
            assert_eq!(again(&request).expect("a request"), request);
        }
        let status = Status {
            name: "web".into(),
            state: "running".into(),
            supervisor: 40,
            pid: Some(42),
            since: 1_700_000_000,
            restarts: 3,
            members: vec![42, 43],
            ready: true,
            last_end: Some("killed by SIGTERM".into()),
            command: "sleep 1".into(),
        };
        for reply in [Reply::Done, Reply::Refused("why".into()), Reply::Status(status.clone())] {
            assert_eq!(again(&reply).expect("a reply"), reply);
        }
        let none = Status { pid: None, last_end: None, members: vec![], ..status };
        assert_eq!(again(&Reply::Status(none.clone())).expect("one"), Reply::Status(none));
    }

    #[test]
    fn what_is_not_a_message_is_refused() {
        assert!(Request::decode(9, &[], None).is_err());
        assert!(Request::decode(1, b"x", None).is_err());
        assert!(Request::decode(2, b"x", None).is_err());
        assert!(Reply::decode(3, &[0; 11], None).is_err());
        let long = Reply::Refused("é".repeat(5000));
        let Reply::Refused(text) = again(&long).expect("cut") else { panic!() };
        assert_eq!(text.len(), LONGEST);
    }

    #[test]
    fn a_name_stays_in_its_folder() {
        for bad in ["", ".", "..", "a/b", "a\0", "a b", ".hidden", "x.lock", "é", &"x".repeat(65)]
        {
            assert!(path_of(bad).is_err(), "{bad}");
        }
        if nix::unistd::geteuid().is_root() && cfg!(target_os = "linux") {
            assert_eq!(path_of("web@1"), Ok("/run/supervise/web@1".into()));
        }
    }
}
