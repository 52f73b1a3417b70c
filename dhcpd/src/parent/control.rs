//! The socket that dhcpctl(8) connects to: made by who may, and used by who has the leases.

use crate::args::Control;
use crate::ctl::SOCKET;
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};
use proto::unix::{Error, Listener};
use std::os::fd::AsRawFd;
use std::path::Path;

/// Root, and the group of the server's account: who may ask for what, the server decides.
const MODE: u32 = 0o660;

/// Makes it. That of a dhcpd which has died is replaced, and that of one which lives an error, as
/// is anything else about a socket that was named; without the usual one there is service all the
/// same.
pub fn open(wanted: &Control, group: u32) -> Result<Option<Listener>, String> {
    match wanted {
        Control::None => Ok(None),
        Control::At(path) => bind(path, group).map(Some).map_err(|e| e.to_string()),
        Control::Usual => usual(Path::new(SOCKET), group),
    }
}

fn usual(path: &Path, group: u32) -> Result<Option<Listener>, String> {
    let made = match bind(path, group) {
        // One that ended just now has left its socket behind.
        Err(error) if is_taken(&error) && !answers(path) => bind(path, group),
        made => made,
    };
    match made {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if is_taken(&error) && answers(path) => Err(format!(
            "{error}: another dhcpd runs; -s names another socket for this one, or none"
        )),
        Err(error) if is_taken(&error) => {
            log::warn!("{}: not a dhcpd's socket; dhcpctl cannot reach us", path.display());
            Ok(None)
        }
        Err(error) => {
            log::warn!("{error}: dhcpctl cannot reach us");
            Ok(None)
        }
    }
}

fn bind(path: &Path, group: u32) -> Result<Listener, Error> {
    let listener = Listener::bind(path, MODE)?;
    listener.set_group(group)?;
    Ok(listener)
}

fn is_taken(error: &Error) -> bool {
    let Error::Path { source, .. } = error else { return false };
    source.raw_os_error() == Some(Errno::EADDRINUSE as i32)
}

/// Whether a daemon listens there: anything may be found at a path.
fn answers(path: &Path) -> bool {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket::socket(AddressFamily::Unix, SockType::SeqPacket, flags, None);
    let (Ok(probe), Ok(address)) = (probe, UnixAddr::new(path)) else { return false };
    // The other one is a daemon too that is too busy to accept.
    matches!(socket::connect(probe.as_raw_fd(), &address), Ok(()) | Err(Errno::EAGAIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::getegid;
    use std::fs;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn only_a_socket_that_answers_is_another_dhcpd_s() {
        let folder = std::env::temp_dir().join(format!("dhcpd-control-{}", std::process::id()));
        fs::create_dir(&folder).expect("a directory");
        let path = folder.join("dhcpd.sock");
        let open = || usual(&path, getegid().as_raw());

        fs::create_dir(&path).expect("a directory in its place");
        assert!(open().expect("service all the same").is_none());
        assert!(path.is_dir(), "left alone");
        fs::remove_dir(&path).expect("remove");
        fs::write(&path, "text").expect("a file in its place");
        assert!(open().expect("service all the same").is_none());
        assert_eq!(fs::read(&path).expect("left alone"), b"text");
        fs::remove_file(&path).expect("remove");
        let other = UnixDatagram::bind(&path).expect("a socket of another kind");
        assert!(open().expect("service all the same").is_none());
        drop(other);

        // One that was left behind is replaced.
        let first = open().expect("service").expect("a socket");
        let why = open().expect_err("another dhcpd");
        assert!(why.contains("another dhcpd runs"), "{why}");
        drop(first);
        assert!(open().expect("service").is_some());
        fs::remove_dir_all(&folder).expect("remove");
    }
}
