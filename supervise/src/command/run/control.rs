//! The control socket: who asks, and what is answered. What is done about it is the loop's.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use proto::unix::{Connection, Error, Listener, Peer};
use supervise::control::{Reply, Request, path_of};

/// So many may be connected at a time; others wait.
const MOST: usize = 16;

/// Where requests come in.
pub struct Control {
    // Dropped first, so that the path is gone before the lock is.
    listener: Listener,
    clients: Vec<Client>,
    _lock: Flock<File>,
}

/// Somebody who is connected.
type Client = Connection<Reply, Request>;

/// Somebody who waits for a reply.
pub struct Asker {
    client: Client,
}

impl Control {
    /// Opens the socket of this name. The lock, which is held for as long as we live, makes sure
    /// that there is one supervisor of a name, and that nobody removes a socket that is in use.
    ///
    /// # Errors
    /// The name is in use, or the system refuses.
    pub fn open(name: &str) -> Result<Control, String> {
        let path = path_of(name)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        ours(folder)?;
        let mut lock = path.clone();
        lock.set_file_name(format!("{name}.lock"));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&lock)
            .map_err(|error| format!("open {}: {error}", lock.display()))?;
        let lock =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(
                |(_, errno)| match errno {
                    Errno::EWOULDBLOCK => {
                        format!("{name} is supervised already: supervise status {name}")
                    }
                    errno => format!("lock {}: {errno}", lock.display()),
                },
            )?;
        let listener = Listener::bind(&path, 0o600).map_err(|error| error.to_string())?;
        Ok(Control { listener, clients: Vec::new(), _lock: lock })
    }

    /// What is to be polled for input.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let more = (self.clients.len() < MOST).then(|| self.listener.as_fd());
        more.into_iter().chain(self.clients.iter().map(|client| client.channel.as_fd()))
    }

    /// The requests that have come, and who asks.
    pub fn read(&mut self) -> Vec<(Request, Peer, Asker)> {
        while self.clients.len() < MOST {
            match self.listener.accept() {
                Ok(Some(client)) => self.clients.push(client),
                Ok(None) => break,
                Err(error) => {
                    log::error!("{error}");
                    break;
                }
            }
        }
        let mut asked = Vec::new();
        for client in std::mem::take(&mut self.clients) {
            match client.channel.try_recv() {
                Ok(None) => self.clients.push(client),
                Ok(Some(request)) => asked.push((request, client.peer, Asker { client })),
                Err(Error::Closed) => {}
                Err(error) => log::warn!("a request of {}: {error}", client.peer),
            }
        }
        asked
    }
}

impl Asker {
    /// Answers, and hangs up.
    pub fn reply(self, reply: &Reply) {
        // Whoever does not wait for it does not need it.
        let _ = self.client.channel.try_send(reply);
    }

    /// Answers, and stays connected, so that our end is seen.
    pub fn keep(self, reply: &Reply) -> Asker {
        let _ = self.client.channel.try_send(reply);
        self
    }
}

/// Makes the folder, or sees to it that nobody but us can have put anything into it.
fn ours(folder: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    match DirBuilder::new().mode(0o755).create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let found = std::fs::symlink_metadata(folder).map_err(failed)?;
    let us = nix::unistd::geteuid().as_raw();
    if !found.is_dir() || found.uid() != us || found.mode() & 0o022 != 0 {
        return Err(format!("{}: not a folder that only we may write to", folder.display()));
    }
    Ok(())
}
