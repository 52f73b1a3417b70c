//! What the system says this node is called. Not what hast.conf says about it.

use super::Node;
use std::io;

#[cfg_attr(target_os = "linux", path = "ids_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "ids_bsd.rs")]
mod ids;

/// Asks the system. What it does not tell is left out.
///
/// # Errors
/// It does not even tell the node's name.
pub fn this_node() -> io::Result<Node> {
    let hostname = nix::unistd::gethostname()?.to_string_lossy().into_owned();
    Ok(Node { hostname, uuids: ids::uuids(), hostid: ids::hostid() })
}
