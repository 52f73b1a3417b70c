//! How many connections a second go from one process to another: a name and a descriptor each, one
//! message after the other, through a [`Channel`]. Prints the number; what it is beside the bare
//! system calls is for `bench/pair` to say.
//!
//!   migrate [MESSAGES]

use std::env;
use std::error::Error;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Instant;

use proto::unix::{self, Channel, Message, Reader, Writer, no_fd};

/// Bytes that may wait to be taken. The system gives what it allows.
const ROOM: usize = 1 << 20;

/// As long as an IPv4 address and a port beside a name.
const NAME: &str = "tcp conn-0001 192.0.2.1:40000";

/// A connection that moves.
struct Migration {
    name: String,
    socket: OwnedFd,
}

/// Nobody answers.
enum Nothing {}

impl Message for Migration {
    const CARRIES_FD: bool = true;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        Writer::new(payload).str(&self.name);
        1
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, unix::Error> {
        if kind != 1 {
            return Err(unix::Error::UnknownKind(kind));
        }
        let socket = fd.ok_or(unix::Error::MissingFd)?;
        let mut reader = Reader::new(payload);
        let name = reader.str()?.to_owned();
        reader.finish()?;
        Ok(Migration { name, socket })
    }
}

impl Message for Nothing {
    const CARRIES_FD: bool = false;

    fn encode(&self, _payload: &mut Vec<u8>) -> u16 {
        match *self {}
    }

    fn decode(kind: u16, _payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, unix::Error> {
        no_fd(fd)?;
        Err(unix::Error::UnknownKind(kind))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    match arguments.next().as_deref() {
        Some("take") => take(arguments.next().ok_or("how many?")?.parse()?),
        Some(messages) => give(messages.parse()?),
        None => give(400_000),
    }
}

/// Sends the same descriptor over and over: what is measured is the way, not where it comes from.
fn give(messages: u64) -> Result<(), Box<dyn Error>> {
    let (ours, theirs) = unix::pair()?;
    let channel: Channel<Migration, Nothing> = Channel::from_fd(ours)?;
    channel.set_send_buffer(ROOM)?;
    let (pipe, _other) = io::pipe()?;
    let migration = Migration { name: NAME.to_owned(), socket: pipe.into() };
    let mut taker = Command::new(env::current_exe()?)
        .args(["take", &messages.to_string()])
        .stdin(Stdio::from(theirs))
        .spawn()?;
    // The command is gone, and with it our copy of the taker's end: its death would be noticed.
    let begin = Instant::now();
    for _ in 0..messages {
        channel.send(&migration)?;
    }
    drop(channel);
    let result = taker.wait()?;
    let took = begin.elapsed();
    if !result.success() {
        return Err(format!("the other process: {result}").into());
    }
    println!("{:.0}", messages as f64 / took.as_secs_f64());
    Ok(())
}

/// Takes and closes all that come until the other end is closed.
fn take(messages: u64) -> Result<(), Box<dyn Error>> {
    let channel: Channel<Nothing, Migration> =
        Channel::from_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
    let mut taken = 0;
    loop {
        match channel.recv() {
            Ok(Migration { name, socket }) if name == NAME => {
                drop(socket);
                taken += 1;
            }
            Ok(Migration { name, .. }) => return Err(format!("{name:?} came").into()),
            Err(unix::Error::Closed) if taken == messages => return Ok(()),
            Err(unix::Error::Closed) => return Err(format!("only {taken} came").into()),
            Err(error) => return Err(error.into()),
        }
    }
}
