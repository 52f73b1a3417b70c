//! What a client may send: any bytes as a DHCP message, every option of it asked for.

#![no_main]

use dhcpd::wire::message::Message;
use dhcpd::wire::options::{OptionTable, sub_option};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|packet: &[u8]| {
    let Ok(message) = Message::parse(packet) else { return };
    assert!(message.chaddr().len() <= message.chaddr_field().len());

    let mut table = OptionTable::new();
    // A table that was used before must not remember it.
    let refused = table.parse(&message).is_err();
    let mut fresh = OptionTable::new();
    assert_eq!(fresh.parse(&message).is_err(), refused);
    let _ = table.parse(&message);
    for code in 0..=u8::MAX {
        assert!(!refused || table.get(code).is_none(), "option {code} of a message refused");
        assert_eq!(table.get(code), fresh.get(code));
        let _ = table.get(code).map(|value| sub_option(value, 1));
    }
});
