//! Every message that the resolver hears or says, one type a direction.
//!
//! The order: the resolver says [`supervise::Answer::Ready`], or why not (and ends). The parent says
//! [`FromParent::Begin`] and [`FromParent::Client`]. The server says [`Ask`], and hears a [`Named`]
//! for each address that the DNS has spoken about; of others it hears nothing.

use proto::unix::{Error, Message, Reader, Writer, no_fd};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest name there is (RFC 1035 section 2.3.4), in bytes.
const LONGEST_NAME: usize = 253;

/// The most addresses in one message.
pub const MOST: usize = 256;

/// What the parent says.
#[derive(Debug)]
pub enum FromParent {
    /// There is nothing to set up.
    Begin,
    /// The channel of the server.
    Client(OwnedFd),
}

/// What the server says: the addresses whose names it wants to know, at most [`MOST`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask(pub Vec<Ipv4Addr>);

/// What the resolver says to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Which address.
    pub address: Ipv4Addr,
    /// Its name; `None`: the DNS says that it has none.
    pub name: Option<Vec<u8>>,
}

/// Whether these bytes may be a host's name. Whoever owns a reverse zone can say anything: what
/// goes into the lease file, to clients and to hooks is letters, digits, `-`, `_` and dots.
pub fn is_name(bytes: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    (1..=LONGEST_NAME).contains(&bytes.len())
        && bytes.iter().all(plain)
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
}

impl Message for FromParent {
    const CARRIES_FD: bool = true;

    fn encode(&self, _: &mut Vec<u8>) -> u16 {
        match self {
            FromParent::Begin => 1,
            FromParent::Client(_) => 2,
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            FromParent::Client(fd) => Some(fd.as_fd()),
            FromParent::Begin => None,
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        Reader::new(payload).finish()?;
        match kind {
            1 => no_fd(fd).map(|()| FromParent::Begin),
            2 => fd.map(FromParent::Client).ok_or(Error::MissingFd),
            other => Err(Error::UnknownKind(other)),
        }
    }
}

impl Message for Ask {
    const CARRIES_FD: bool = false;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        let mut out = Writer::new(payload);
        for address in self.0.iter().take(MOST) {
            out.ipv4(*address);
        }
        1
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        no_fd(fd)?;
        if kind != 1 {
            return Err(Error::UnknownKind(kind));
        }
        let mut input = Reader::new(payload);
        let mut addresses = Vec::new();
        while !input.is_empty() {
            addresses.push(input.ipv4()?);
            if addresses.len() > MOST {
                return Err(Error::Malformed("too many addresses"));
            }
        }
        Ok(Ask(addresses))
    }
}

impl Message for Named {
    const CARRIES_FD: bool = false;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        let mut out = Writer::new(payload);
        out.ipv4(self.address).put(self.name.as_deref().unwrap_or_default());
        1
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        no_fd(fd)?;
        if kind != 1 {
            return Err(Error::UnknownKind(kind));
        }
        let mut input = Reader::new(payload);
        let address = input.ipv4()?;
        let name = Some(input.rest().to_vec()).filter(|name| !name.is_empty());
        if name.as_deref().is_some_and(|name| !is_name(name)) {
            return Err(Error::Malformed("what is no host's name"));
        }
        Ok(Named { address, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn again<M: Message>(message: &M) -> Result<M, Error> {
        let mut payload = Vec::new();
        let kind = message.encode(&mut payload);
        M::decode(kind, &payload, None)
    }

    #[test]
    fn what_is_said_is_heard() {
        let ask = Ask((0..MOST as u32).map(Ipv4Addr::from).collect());
        assert_eq!(again(&ask).unwrap(), ask);
        let address = Ipv4Addr::new(192, 0, 2, 7);
        for name in [Some(b"a.example".to_vec()), None] {
            let named = Named { address, name };
            assert_eq!(again(&named).unwrap(), named);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let address = Ipv4Addr::LOCALHOST;
        for bad in [&b"-x"[..], b".x", b"a b", b"a\n", b"a\0", b"\xff", b"a\"b", &[b'a'; 254]] {
            assert!(again(&Named { address, name: Some(bad.to_vec()) }).is_err(), "{bad:?}");
        }
        assert!(again(&Named { address, name: Some(vec![b'a'; 253]) }).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_panics(kind in 0u16..4, payload in prop::collection::vec(any::<u8>(), 0..1100)) {
            let _ = FromParent::decode(kind, &payload, None);
            let _ = Ask::decode(kind, &payload, None);
            if let Ok(named) = Named::decode(kind, &payload, None) {
                prop_assert!(named.name.is_none_or(|name| is_name(&name)));
            }
        }
    }
}
