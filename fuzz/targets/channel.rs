//! What one of our processes may say to another, should it be taken over: any record, as a message
//! of every direction. What is understood is said again with the same bytes.
//!
//! Input: a whole record, header and payload.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::unix::{Message, parse_header};
use std::fs::File;
use std::os::fd::OwnedFd;

fuzz_target!(|record: &[u8]| {
    let Ok((header, payload)) = parse_header(record) else { return };
    one::<dhcpd::msg::ToServer>(header.kind, payload, header.fd);
    one::<dhcpd::msg::ToParent>(header.kind, payload, header.fd);
    one::<dhcpd::ctl::message::Request>(header.kind, payload, header.fd);
    one::<dhcpd::ctl::message::Answer>(header.kind, payload, header.fd);
    one::<pfhelper::FromParent>(header.kind, payload, header.fd);
    one::<pfhelper::ToParent>(header.kind, payload, header.fd);
    one::<pfhelper::FromServer>(header.kind, payload, header.fd);
    one::<pfhelper::ToServer>(header.kind, payload, header.fd);
    one::<supervise::control::Request>(header.kind, payload, header.fd);
    one::<supervise::control::Reply>(header.kind, payload, header.fd);
});

fn one<M: Message>(kind: u16, payload: &[u8], fd: bool) {
    let fd = fd.then(|| OwnedFd::from(File::open("/dev/null").expect("open /dev/null")));
    let Ok(message) = M::decode(kind, payload, fd) else { return };
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    assert_eq!(message.encode(&mut once), kind);
    // Texts may be cut and spellings made one; after that, nothing changes any more.
    if message.fd().is_none() {
        let again = M::decode(kind, &once, None).expect("what we said can be understood");
        again.encode(&mut twice);
        assert_eq!(once, twice);
    }
}
