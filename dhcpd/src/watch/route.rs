//! What route(4) of the BSDs says, as far as it tells that interfaces have changed. Pure, and the
//! same code for all of them: they differ in numbers only.
//!
//! A message begins with its length (two bytes), the version of its layout and its type (a byte
//! each); nothing further is looked at.

/// The numbers of one system.
#[derive(Clone, Copy, Debug)]
pub struct Kinds {
    /// RTM_VERSION.
    pub version: u8,
    /// RTM_IFINFO, RTM_NEWADDR, RTM_DELADDR, RTM_IFANNOUNCE.
    pub changes: [u8; 4],
    /// RTM_DESYNC: more was to be said than there was room for.
    pub lost: Option<u8>,
}

/// FreeBSD's.
pub const FREEBSD: Kinds = Kinds { version: 5, changes: [14, 12, 13, 17], lost: None };
/// OpenBSD's.
pub const OPENBSD: Kinds = Kinds { version: 5, changes: [14, 12, 13, 15], lost: Some(16) };
/// NetBSD's.
pub const NETBSD: Kinds = Kinds { version: 4, changes: [20, 22, 23, 16], lost: None };

/// Whether a message, or one of several, tells of a change. What does not add up may be one.
pub fn tells_of_change(datagram: &[u8], kinds: &Kinds) -> bool {
    let mut rest = datagram;
    while !rest.is_empty() {
        let &[low, high, version, kind, ..] = rest else { return true };
        let length = usize::from(u16::from_ne_bytes([low, high]));
        if version != kinds.version || kinds.changes.contains(&kind) || kinds.lost == Some(kind) {
            return true;
        }
        match rest.get(length..) {
            Some(after) if length >= 4 => rest = after,
            _ => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kinds: &Kinds, kind: u8, length: u16) -> Vec<u8> {
        let mut bytes = Vec::from(length.to_ne_bytes());
        bytes.extend([kinds.version, kind]);
        bytes.resize(length.into(), 7);
        bytes
    }

    #[test]
    fn changes_are_heard_and_routes_are_not() {
        for kinds in [FREEBSD, OPENBSD, NETBSD] {
            let route = message(&kinds, 1, 152);
            assert!(!tells_of_change(&route, &kinds));
            assert!(!tells_of_change(&[route.clone(), route.clone()].concat(), &kinds));
            assert!(!tells_of_change(&[], &kinds));
            for kind in kinds.changes.into_iter().chain(kinds.lost) {
                let news = message(&kinds, kind, 24);
                assert!(tells_of_change(&news, &kinds), "{kind}");
                assert!(tells_of_change(&[route.clone(), news].concat(), &kinds), "{kind}");
            }
        }
    }

    #[test]
    fn what_does_not_add_up_may_be_a_change() {
        let route = message(&OPENBSD, 1, 152);
        assert!(tells_of_change(&route, &NETBSD), "another layout");
        for end in 1..route.len() {
            assert!(tells_of_change(&route[..end], &OPENBSD), "{end}");
        }
        for length in 0..4u16 {
            let mut endless = route.clone();
            endless[..2].copy_from_slice(&length.to_ne_bytes());
            assert!(tells_of_change(&endless, &OPENBSD), "{length}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_neither_panic_nor_loop(bytes: Vec<u8>, length in 0u16..40, kind: u8) {
            let _ = tells_of_change(&bytes, &OPENBSD);
            let bytes = [message(&NETBSD, kind, length.max(4)), bytes].concat();
            let _ = tells_of_change(&bytes, &NETBSD);
        }
    }
}
