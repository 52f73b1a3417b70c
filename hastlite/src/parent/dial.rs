//! Connections to the other node and from clients: sockets that only the parent may open. None of
//! them is read or written here.

use super::names::{Missing, Names};
use crate::conf::address::{Address, Family, Host, NBD_PORT, PORT};
use crate::config::Export;
use crate::wire::data::Codec;
use crate::wire::hello::{Handshake, Refusal};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect,
    listen, setsockopt, socket, sockopt,
};
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Who may connect to an export's socket: its owner, root.
const EXPORT_MODE: u32 = 0o600;

/// Looks an address of our own up, and waits for that; a name may stand for several.
fn resolve(address: &Address, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = match &address.host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, port)],
        Host::Name(name) => (name.as_str(), port)
            .to_socket_addrs()
            .map_err(|e| format!("look up {name}: {e}"))?
            .collect(),
    };
    fitting(address, &found, port)
}

/// The same without waiting: what is known of it now.
fn known(address: &Address, port: u16, names: &mut Names) -> Result<Vec<SocketAddr>, Missing> {
    Ok(match &address.host {
        Host::Ip(ip) => fitting(address, &[SocketAddr::new(*ip, port)], port)?,
        Host::Name(name) => fitting(address, names.get(name)?, port)?,
    })
}

/// Has the name of the other node looked up before anybody needs it.
pub fn foresee(address: &Address, names: &mut Names) {
    let _ = known(address, PORT, names);
}

fn fitting(address: &Address, found: &[SocketAddr], port: u16) -> Result<Vec<SocketAddr>, String> {
    let fits = |found: &&SocketAddr| match address.family {
        Family::Any => true,
        Family::V4 => found.is_ipv4(),
        Family::V6 => found.is_ipv6(),
    };
    let mut all: Vec<SocketAddr> = found.iter().filter(fits).copied().collect();
    all.iter_mut().for_each(|found| found.set_port(address.port.unwrap_or(port)));
    match all.is_empty() {
        true => Err(format!("{address}: no such address")),
        false => Ok(all),
    }
}

/// Whether `peer` is `address`, as far as is known now.
pub fn is_peer(address: &Address, peer: IpAddr, names: &mut Names) -> bool {
    known(address, PORT, names).is_ok_and(|all| all.iter().any(|found| found.ip() == peer))
}

fn tcp(address: &SocketAddr, what: &str) -> Result<OwnedFd, String> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    socket(family, SockType::Stream, flags, SockProtocol::Tcp)
        .map_err(|e| format!("{what} {address}: socket: {e}"))
}

/// Begins to connect. The worker that gets the connection sees whether it comes about.
pub fn dial(
    remote: &Address,
    source: Option<&Address>,
    names: &mut Names,
) -> Result<OwnedFd, Missing> {
    let source = source.map(|source| known(source, 0, names)).transpose()?;
    let mut why = String::new();
    for address in known(remote, PORT, names)? {
        match dial_one(&address, source.as_deref()) {
            Ok(socket) => return Ok(socket),
            Err(error) => why = error,
        }
    }
    Err(why.into())
}

fn dial_one(address: &SocketAddr, source: Option<&[SocketAddr]>) -> Result<OwnedFd, String> {
    let socket = tcp(address, "connect to")?;
    if let Some(source) = source {
        let from = source
            .iter()
            .find(|from| from.is_ipv4() == address.is_ipv4())
            .ok_or_else(|| format!("connect to {address}: the source is of another family"))?;
        bind(socket.as_raw_fd(), &SockaddrStorage::from(*from))
            .map_err(|e| format!("connect to {address}: bind {from}: {e}"))?;
    }
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(*address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(socket),
        Err(error) => Err(format!("connect to {address}: {error}")),
    }
}

/// Listens at every address that this one stands for.
pub fn listen_at(address: &Address, port: u16) -> Result<Vec<OwnedFd>, String> {
    resolve(address, port)?.iter().map(listen_one).collect()
}

fn listen_one(address: &SocketAddr) -> Result<OwnedFd, String> {
    let socket = tcp(address, "listen at")?;
    let failed = |what: &str, e: Errno| format!("listen at {address}: {what}: {e}");
    setsockopt(&socket, sockopt::ReuseAddr, &true).map_err(|e| failed("SO_REUSEADDR", e))?;
    if address.is_ipv6() {
        // Or IPv4 peers would come with addresses that are not in hast.conf.
        setsockopt(&socket, sockopt::Ipv6V6Only, &true).map_err(|e| failed("IPV6_V6ONLY", e))?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(*address)).map_err(|e| failed("bind", e))?;
    listen(&socket, Backlog::new(64).unwrap_or(Backlog::MAXCONN))
        .map_err(|e| failed("listen", e))?;
    Ok(socket)
}

/// Opens the place where clients of a resource connect.
pub fn export(export: &Export) -> Result<OwnedFd, String> {
    match export {
        Export::Unix(path) => export_at(path).map_err(|e| format!("{}: {e}", path.display())),
        Export::Tcp(address) => listen_at(address, NBD_PORT)?
            .into_iter()
            .next()
            .ok_or_else(|| format!("{address}: no such address")),
    }
}

/// A socket that nobody listens at is replaced; the resource is ours, by the lock on its component.
fn export_at(path: &Path) -> io::Result<OwnedFd> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::other("is there already, and is no socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(EXPORT_MODE))?;
    listener.set_nonblocking(true)?;
    Ok(listener.into())
}

/// Nobody listens there any more: clients are to see that by the name.
pub fn unexport(export: &Export) {
    if let Export::Unix(path) = export
        && fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket())
        && let Err(error) = fs::remove_file(path)
    {
        log::warn!("remove {}: {error}", path.display());
    }
}

/// Tells a connection that it is not wanted, and why, and closes it. The few bytes fit into any
/// socket that nothing was sent on yet. Never with `wait`, even if this node may be secondary
/// shortly: FreeBSD's primary would connect, and forget to synchronise (A2). Ours tries again soon
/// without being told.
pub fn refuse(socket: OwnedFd, errmsg: String) {
    let refusal = Handshake::Refusal(Refusal { errmsg, wait: false });
    let mut bytes = Vec::new();
    if refusal.encode(&Codec::default(), 1, &mut bytes).is_ok() {
        let mut stream = TcpStream::from(socket);
        let _ = stream.write(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::packet::Decoder;
    use std::io::Read;
    use std::net::TcpListener;

    #[test]
    fn a2_nobody_is_told_to_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut primary = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        refuse(socket.into(), "Remote node acts as primary".to_owned());
        let mut said = Vec::new();
        primary.read_to_end(&mut said).unwrap();
        let mut decoder = Decoder::new(0, 1024);
        assert_eq!(decoder.feed(&said), said.len());
        let packet = decoder.next().unwrap().unwrap();
        let refusal = Refusal { errmsg: "Remote node acts as primary".to_owned(), wait: false };
        assert_eq!(Handshake::from_secondary(packet, 0), Ok(Handshake::Refusal(refusal)));
    }
}
