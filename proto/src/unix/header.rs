//! The eight bytes every record begins with, as pure functions. Whether a descriptor really came is
//! the channel's business.
//!
//! | offset | bytes | what, big-endian |
//! |---|---|---|
//! | 0 | 2 | kind, as [`super::Message::encode`] returned it |
//! | 2 | 2 | flags: bit 0 = a descriptor goes with this message; the others must be 0 |
//! | 4 | 4 | length of the payload in bytes, at most [`MAX_PAYLOAD`] |
//!
//! The record's own length and control data say the last two again. They are said here because a
//! kernel may drop a descriptor without a word (the BSDs do where the receiver gave no control
//! buffer), and then the message must not pass for one that never had any.

use super::Error;

/// Bytes of the header.
pub const HEADER: usize = 8;
/// Bytes of the longest message, header included.
pub const MAX_MESSAGE: usize = 65536;
/// Bytes of the longest payload.
pub const MAX_PAYLOAD: usize = MAX_MESSAGE - HEADER;

const FLAG_FD: u16 = 1;

/// What a record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which message it is.
    pub kind: u16,
    /// Whether its sender put a descriptor beside it.
    pub fd: bool,
}

impl Header {
    /// The header before a payload of `length` bytes, which the caller has checked against the
    /// limit.
    pub(super) fn to_bytes(self, length: u32) -> [u8; HEADER] {
        let [k0, k1] = self.kind.to_be_bytes();
        let [f0, f1] = if self.fd { FLAG_FD } else { 0 }.to_be_bytes();
        let [l0, l1, l2, l3] = length.to_be_bytes();
        [k0, k1, f0, f1, l0, l1, l2, l3]
    }
}

/// Splits a whole record into its header and its payload. Never panics, whatever the bytes.
///
/// # Errors
/// [`Error::Malformed`] where the record is shorter than a header, sets a flag nobody knows, or
/// has a payload of another length than it says.
pub fn parse_header(record: &[u8]) -> Result<(Header, &[u8]), Error> {
    let Some((head, payload)) = record.split_first_chunk::<HEADER>() else {
        return Err(Error::Malformed("shorter than a header"));
    };
    let [k0, k1, f0, f1, l0, l1, l2, l3] = *head;
    let flags = u16::from_be_bytes([f0, f1]);
    if flags & !FLAG_FD != 0 {
        return Err(Error::Malformed("unknown flags"));
    }
    if usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])) != Ok(payload.len()) {
        return Err(Error::Malformed("its length is not the length it says"));
    }
    Ok((Header { kind: u16::from_be_bytes([k0, k1]), fd: flags & FLAG_FD != 0 }, payload))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_limit_is_64_kib_with_the_header() {
        assert_eq!(HEADER + MAX_PAYLOAD, 65536);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            kind: u16, fd: bool, payload in prop::collection::vec(any::<u8>(), 0..600)
        ) {
            let header = Header { kind, fd };
            let head = header.to_bytes(u32::try_from(payload.len()).unwrap());
            let record = [&head[..], &payload].concat();
            let (got, rest) = parse_header(&record).unwrap();
            prop_assert_eq!(got, header);
            prop_assert_eq!(rest, &payload[..]);
            // One byte more or less is another length than it says.
            prop_assert!(parse_header(&[&record[..], b"x"].concat()).is_err());
            prop_assert!(parse_header(record.get(..record.len() - 1).unwrap()).is_err());
        }

        #[test]
        fn whatever_parses_is_written_the_same(
            mut record in prop::collection::vec(any::<u8>(), 0..40), likely: bool
        ) {
            if likely && record.len() >= HEADER {
                // As random bytes hardly ever are.
                let length = u8::try_from(record.len() - HEADER).unwrap();
                record[2..HEADER].copy_from_slice(&[0, length & 1, 0, 0, 0, length]);
            }
            match parse_header(&record) {
                Ok((header, payload)) => {
                    let head = header.to_bytes(u32::try_from(payload.len()).unwrap());
                    prop_assert_eq!([&head[..], payload].concat(), record);
                }
                Err(e) => {
                    prop_assert!(matches!(e, Error::Malformed(_)));
                    prop_assert!(!likely || record.len() < HEADER);
                }
            }
        }
    }
}
