//! How synchronisation is to be done, on its way to the server.

use crate::sync::{Keys, Options};
use proto::unix::{Error, Reader, Writer};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Appends it.
pub(super) fn encode(options: &Options, out: &mut Writer<'_>) {
    out.bool(options.listens).bool(options.keys.is_some());
    if let Some(Keys { openbsd, own }) = &options.keys {
        out.put(openbsd).put(own);
    }
    out.u64(options.epoch).u16(options.targets.len() as u16);
    for target in &options.targets {
        out.ipv4(*target.ip()).u16(target.port());
    }
    for address in &options.own_addresses {
        out.ipv4(*address);
    }
}

/// Reads it.
pub(super) fn decode(input: &mut Reader<'_>) -> Result<Options, Error> {
    let listens = input.bool()?;
    let mut keys = None;
    if input.bool()? {
        let (mut openbsd, mut own) = ([0; 40], [0; 32]);
        openbsd.copy_from_slice(input.take(40)?);
        own.copy_from_slice(input.take(32)?);
        keys = Some(Keys { openbsd, own });
    }
    let epoch = input.u64()?;
    let mut targets = Vec::new();
    for _ in 0..input.u16()? {
        targets.push(SocketAddrV4::new(input.ipv4()?, input.u16()?));
    }
    let mut own_addresses: Vec<Ipv4Addr> = Vec::new();
    while !input.is_empty() {
        own_addresses.push(input.ipv4()?);
    }
    Ok(Options { targets, listens, keys, own_addresses, epoch })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msg::ToServer;
    use proto::unix::Message;

    #[test]
    fn what_the_parent_says_of_it_survives_the_channel() {
        let keys = Some(Keys { openbsd: [7; 40], own: [9; 32] });
        let full = Options {
            targets: vec![SocketAddrV4::new([224, 0, 1, 240].into(), 8067)],
            listens: true,
            keys,
            own_addresses: vec![[192, 0, 2, 1].into(), [198, 51, 100, 1].into()],
            epoch: 0,
        };
        for options in [full, Options::default()] {
            let null = || std::fs::File::open("/dev/null").unwrap().into();
            let mut payload = Vec::new();
            let kind = ToServer::Sync(options.clone(), null()).encode(&mut payload);
            match ToServer::decode(kind, &payload, Some(null())).unwrap() {
                ToServer::Sync(back, _) => assert_eq!(back, options),
                other => panic!("{other:?}"),
            }
        }
    }
}
