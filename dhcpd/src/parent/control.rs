//! The socket that dhcpctl(8) connects to: made by who may, and used by who has the leases.

use crate::args::Control;
use crate::ctl::SOCKET;
use nix::errno::Errno;
use proto::unix::{Error, Listener};
use std::path::Path;

/// Root, and the group of the server's account: who may ask for what, the server decides.
const MODE: u32 = 0o660;

/// Makes it. That of a dhcpd which has died is replaced, and that of one which lives an error, as
/// is anything else about a socket that was named; without the usual one there is service all the
/// same.
pub fn open(wanted: &Control, group: u32) -> Result<Option<Listener>, String> {
    let made = match wanted {
        Control::None => return Ok(None),
        Control::At(path) => return bind(path, group).map(Some).map_err(|e| e.to_string()),
        Control::Usual => bind(Path::new(SOCKET), group),
    };
    match made {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if is_in_use(&error) => Err(format!(
            "{error}: another dhcpd runs; -s names another socket for this one, or none"
        )),
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

fn is_in_use(error: &Error) -> bool {
    let Error::Path { source, .. } = error else { return false };
    source.raw_os_error() == Some(Errno::EADDRINUSE as i32)
}
