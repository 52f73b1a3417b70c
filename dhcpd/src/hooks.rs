//! What a hook is told of a lease (`dhcpd -E`): one argument, and variables. Pure.
//!
//! A host name comes from the client, and scripts are careless with what they quote: only names that
//! are names (letters, digits, `-`, `_` and dots) are passed on.

use crate::engine::{Happening, LeaseEvent};
use prefork::hooks::Event;
use std::fmt::Write;

/// The title of the process that runs hooks.
pub const TITLE: &str = "dhcpd: hooks";

/// The longest name that there is; RFC 1035, section 2.3.4.
const LONGEST_NAME: usize = 255;

/// The event as the runner takes it; there is one program, number 0.
pub fn event(event: &LeaseEvent) -> Event {
    let lease = &event.lease;
    let address = lease.address.to_string().into_bytes();
    let mut variables = vec![("LEASE_ADDRESS", address.clone())];
    let mut set = |name, value: String| variables.push((name, value.into_bytes()));
    set("LEASE_STARTS", lease.starts.to_string());
    set("LEASE_ENDS", lease.ends.to_string());
    if let Some(hardware) = &lease.hardware {
        set("LEASE_HARDWARE_TYPE", hardware.htype.to_string());
        set("LEASE_HARDWARE", hex(&hardware.addr));
    }
    if let Some(id) = &lease.client_id {
        set("LEASE_CLIENT_ID", hex(id));
    }
    let names = [("LEASE_HOST_NAME", &lease.client_hostname), ("LEASE_DNS_NAME", &lease.hostname)];
    for (variable, name) in names {
        if let Some(name) = name.as_deref().filter(|name| is_name(name)) {
            set(variable, String::from_utf8_lossy(name).into_owned());
        }
    }
    Event {
        script: 0,
        key: address.clone(),
        arguments: vec![word(event.happening).into(), address],
        environment: variables.into_iter().map(|(name, value)| (name.into(), value)).collect(),
    }
}

/// The first argument.
fn word(happening: Happening) -> &'static str {
    match happening {
        Happening::Commit => "commit",
        Happening::Release => "release",
        Happening::Expiry => "expiry",
        Happening::Abandon => "abandon",
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        let colon = if text.is_empty() { "" } else { ":" };
        // Writing to a string does not fail.
        let _ = write!(text, "{colon}{byte:02x}");
    }
    text
}

fn is_name(bytes: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    // A leading dash would be an option of whatever it is passed to, a dot a hidden file.
    (1..=LONGEST_NAME).contains(&bytes.len())
        && bytes.iter().all(plain)
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Hardware;
    use crate::lease::LeaseRecord;
    use std::net::Ipv4Addr;

    fn told(name: &[u8]) -> Event {
        let mut lease = LeaseRecord::new(Ipv4Addr::new(192, 0, 2, 7));
        (lease.starts, lease.ends) = (1000, 4600);
        lease.hardware = Some(Hardware { htype: 1, addr: vec![2, 0, 0, 0, 0, 0xaf] });
        lease.client_id = Some(vec![1, 2]);
        lease.client_hostname = Some(name.to_vec());
        event(&LeaseEvent { happening: Happening::Commit, lease })
    }

    #[test]
    fn what_a_script_gets() {
        let event = told(b"printer");
        assert_eq!(event.arguments, [b"commit".to_vec(), b"192.0.2.7".to_vec()]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let lines: Vec<String> = event
            .environment
            .iter()
            .map(|(name, value)| format!("{}={}", text(name), text(value)))
            .collect();
        assert_eq!(
            lines,
            [
                "LEASE_ADDRESS=192.0.2.7",
                "LEASE_STARTS=1000",
                "LEASE_ENDS=4600",
                "LEASE_HARDWARE_TYPE=1",
                "LEASE_HARDWARE=02:00:00:00:00:af",
                "LEASE_CLIENT_ID=01:02",
                "LEASE_HOST_NAME=printer",
            ]
        );
    }

    #[test]
    fn what_is_no_name_is_left_out() {
        let long = [b'a'; 256];
        let has_name =
            |event: Event| event.environment.iter().any(|(n, _)| n == b"LEASE_HOST_NAME");
        for bad in [&b""[..], b"-rf", b".ssh", b"a b", b"$(reboot)", b"a\nb", b"\xff", &long] {
            assert!(!has_name(told(bad)), "{bad:?}");
        }
        for good in [&b"a"[..], b"host-1.example", b"under_score"] {
            assert!(has_name(told(good)), "{good:?}");
        }
    }
}
