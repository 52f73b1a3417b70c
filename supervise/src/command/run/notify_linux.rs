//! The socket that the command speaks to by sd_notify(3): in the abstract namespace, so that it is
//! there whatever root directory and user the command takes. Who speaks is the kernel's word.

use std::ffi::OsString;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials,
    bind, getsockname, recvmsg, setsockopt, socket, sockopt,
};
use supervise::Sender;

/// A longer message is cut, as systemd does it.
const LONGEST: usize = 4096;

/// Where messages come in.
pub struct Notify {
    socket: OwnedFd,
    name: OsString,
}

impl Notify {
    /// Whether this system has it.
    pub const POSSIBLE: bool = true;

    /// Opens it under a name that the kernel chooses.
    ///
    /// # Errors
    /// The system refuses.
    pub fn open() -> Result<Notify, String> {
        let tried = |errno: Errno| format!("make a socket for sd_notify: {errno}");
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None).map_err(tried)?;
        setsockopt(&socket, sockopt::PassCred, &true).map_err(tried)?;
        bind(socket.as_raw_fd(), &UnixAddr::new_unnamed()).map_err(tried)?;
        let address: UnixAddr = getsockname(socket.as_raw_fd()).map_err(tried)?;
        let mut name = vec![b'@'];
        name.extend_from_slice(address.as_abstract().ok_or(Errno::EADDRNOTAVAIL).map_err(tried)?);
        Ok(Notify { socket, name: OsString::from_vec(name) })
    }

    /// For `NOTIFY_SOCKET`.
    pub fn name(&self) -> OsString {
        self.name.clone()
    }

    /// The next message of a descendant of `us`.
    pub fn read(&self, us: i32) -> Option<Vec<u8>> {
        loop {
            let mut bytes = vec![0; LONGEST];
            let mut slices = [IoSliceMut::new(&mut bytes)];
            // There is no room for descriptors: the kernel closes them, which is what a barrier of
            // sd_notify_barrier(3) waits for.
            let mut space = nix::cmsg_space!(UnixCredentials);
            let fd = self.socket.as_raw_fd();
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
            let (length, by) = match recvmsg::<()>(fd, &mut slices, Some(&mut space), flags) {
                Ok(message) => (message.bytes, who(&message)),
                Err(Errno::EINTR) => continue,
                Err(_) => return None,
            };
            let Some(by) = by.filter(|by| may_speak(by, us)) else {
                log::warn!("a stranger's message to the command's NOTIFY_SOCKET is dropped");
                continue;
            };
            log::debug!("pid {} speaks by sd_notify", by.pid());
            bytes.truncate(length);
            return Some(bytes);
        }
    }
}

fn who(message: &nix::sys::socket::RecvMsg<'_, '_, ()>) -> Option<UnixCredentials> {
    message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::ScmCredentials(by) => Some(by),
        _ => None,
    })
}

/// A descendant may. Of one that has ended already only the user is known, who must be ours or
/// root.
fn may_speak(by: &UnixCredentials, us: i32) -> bool {
    let sender = Sender::look_up(by.pid());
    match sender.parents.is_empty() {
        false => sender.parents.iter().any(|(pid, _)| *pid == us),
        // As process 1 we are left out of that line, and everybody else is our descendant.
        true => us == 1 || by.uid() == 0 || by.uid() == nix::unistd::geteuid().as_raw(),
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
