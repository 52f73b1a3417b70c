//! How Linux names a table: a set of nftables, `[FAMILY/TABLE/]SET`.
//!
//! Plain text work, the same on every system; the handler asks the kernel about the rest.

use crate::InvalidTable;

/// What a bare name is a set of.
const DEFAULT_TABLE: &str = "dhcpd";

/// The longest name in bytes that nf_tables keeps (NFT_NAME_MAXLEN, 256, counts the zero).
const MAX_NAME: usize = 255;

/// A family of nftables in which an IPv4 address can be met, by its number in netlink (NFPROTO_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Family {
    /// IPv4 and IPv6 together.
    Inet = 1,
    /// IPv4.
    Ip = 2,
    /// ARP.
    Arp = 3,
    /// One device's ingress and egress.
    Netdev = 5,
    /// Bridged frames.
    Bridge = 7,
}

/// A set of nftables, fully named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Set<'a> {
    /// The family of its table.
    pub family: Family,
    /// Its table.
    pub table: &'a str,
    /// The set itself.
    pub set: &'a str,
}

/// Reads `FAMILY/TABLE/SET`, or `SET`, which means `inet/dhcpd/SET`.
///
/// # Errors
/// Says what is wrong with the text: a family that does not exist or never sees IPv4, a missing
/// part, a name that is too long or that nft itself could not write.
pub fn parse(text: &str) -> Result<Set<'_>, InvalidTable> {
    let refuse = |reason| Err(InvalidTable::new(text, reason));
    let parts: Vec<&str> = text.split('/').collect();
    let (family, table, set) = match parts[..] {
        [set] => (Family::Inet, DEFAULT_TABLE, set),
        [family, table, set] => {
            let family = match family {
                "inet" => Family::Inet,
                "ip" => Family::Ip,
                "arp" => Family::Arp,
                "netdev" => Family::Netdev,
                "bridge" => Family::Bridge,
                "ip6" => return refuse("the family ip6 never sees an IPv4 address"),
                _ => return refuse("the family is not one of inet, ip, arp, netdev, bridge"),
            };
            (family, table, set)
        }
        _ => return refuse("neither SET nor FAMILY/TABLE/SET"),
    };
    for name in [table, set] {
        if let Some(reason) = fault(name) {
            return refuse(reason);
        }
    }
    Ok(Set { family, table, set })
}

/// What keeps a name from being one that nft reads back.
fn fault(name: &str) -> Option<&'static str> {
    let first = name.chars().next();
    if first.is_none() {
        Some("the name is empty")
    } else if name.len() > MAX_NAME {
        Some("a name is longer than 255 bytes")
    } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')) {
        Some("a name has a character that is none of a-z A-Z 0-9 _ - .")
    } else if !first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_') {
        Some("a name does not begin with a letter or _")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_bare_name_is_a_set_of_inet_dhcpd() {
        let set = Set { family: Family::Inet, table: "dhcpd", set: "leased" };
        assert_eq!(parse("leased").unwrap(), set);
    }

    #[test]
    fn a_full_name_says_everything() {
        let set = Set { family: Family::Bridge, table: "lan", set: "in-use_2.x" };
        assert_eq!(parse("bridge/lan/in-use_2.x").unwrap(), set);
        for (text, family) in [("ip", Family::Ip), ("arp", Family::Arp), ("netdev", Family::Netdev)]
        {
            assert_eq!(parse(&format!("{text}/a/b")).unwrap().family, family);
        }
    }

    #[test]
    fn what_cannot_be_a_set_is_refused_with_a_reason() {
        for (text, part) in [
            ("", "empty"),
            ("a/b", "neither SET nor FAMILY/TABLE/SET"),
            ("inet/a/b/c", "neither SET nor FAMILY/TABLE/SET"),
            ("inet//b", "empty"),
            ("inet/a/", "empty"),
            ("ip6/a/b", "never sees an IPv4 address"),
            ("INET/a/b", "is not one of"),
            ("/a/b", "is not one of"),
            ("1st", "begin with a letter"),
            ("-x", "begin with a letter"),
            ("a b", "character"),
            ("a\0", "character"),
            ("a;flush", "character"),
            ("é", "character"),
        ] {
            assert!(reason(text).contains(part), "{text:?}: {}", reason(text));
        }
        assert!(reason(&"x".repeat(256)).contains("255"));
        assert!(parse(&"x".repeat(255)).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_no_accepted_name_is_odd(text in "\\PC{0,40}") {
            if let Ok(set) = parse(&text) {
                assert!(set.set.is_ascii() && !set.set.is_empty() && !set.table.is_empty());
                assert!(text.ends_with(set.set));
            }
        }
    }
}
