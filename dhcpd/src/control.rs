//! Control messages (cmsg(3)) as bytes: found in what recvmsg gave, put together for sendmsg.
//!
//! Only layout; what a message of some level and type means is the caller's business.

use nix::sys::socket::cmsg_space;
use std::mem::offset_of;

/// Room for the control messages of one datagram, in bytes: more than any caller asks for.
pub(crate) const ROOM: usize = 128;

/// Where a message's data starts, and what it is rounded up to.
const DATA: usize = cmsg_space::<()>();
const ALIGN: usize = cmsg_space::<u8>() - DATA;
/// The length comes first, as wide as the place of the next field says.
const LEVEL: usize = offset_of!(libc::cmsghdr, cmsg_level);
const TYPE: usize = offset_of!(libc::cmsghdr, cmsg_type);

/// The data of the first message of this level and type.
pub(crate) fn find(control: &[u8], level: libc::c_int, kind: libc::c_int) -> Option<&[u8]> {
    let mut rest = control;
    loop {
        let header = rest.get(..DATA)?;
        let len = read_len(&header[..LEVEL]);
        let data = rest.get(DATA..len)?;
        if int(&header[LEVEL..])? == level && int(&header[TYPE..])? == kind {
            return Some(data);
        }
        rest = rest.get(len.next_multiple_of(ALIGN)..)?;
    }
}

/// Writes one message at the start of `out` and returns its length; 0 if it does not fit.
pub(crate) fn put(out: &mut [u8], level: libc::c_int, kind: libc::c_int, data: &[u8]) -> usize {
    let len = DATA + data.len();
    let space = len.next_multiple_of(ALIGN);
    let Some(out) = out.get_mut(..space) else { return 0 };
    out.fill(0);
    write_len(&mut out[..LEVEL], len);
    out[LEVEL..LEVEL + 4].copy_from_slice(&level.to_ne_bytes());
    out[TYPE..TYPE + 4].copy_from_slice(&kind.to_ne_bytes());
    out[DATA..len].copy_from_slice(data);
    space
}

/// The C int at the start of some bytes.
pub(crate) fn int(bytes: &[u8]) -> Option<libc::c_int> {
    bytes.first_chunk().map(|bytes| libc::c_int::from_ne_bytes(*bytes))
}

/// `cmsg_len` is a size_t on Linux and 32 bits wide on the BSDs.
fn read_len(field: &[u8]) -> usize {
    match field.first_chunk() {
        Some(bytes) => usize::from_ne_bytes(*bytes),
        None => field.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes) as usize),
    }
}

fn write_len(field: &mut [u8], len: usize) {
    match field.first_chunk_mut() {
        Some(bytes) => *bytes = len.to_ne_bytes(),
        None => {
            if let Some(bytes) = field.first_chunk_mut() {
                *bytes = (len as u32).to_ne_bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_are_found_behind_others() {
        let mut control = [0; ROOM];
        let first = put(&mut control, 1, 2, b"abc");
        let second = put(&mut control[first..], 3, 4, &7i32.to_ne_bytes());
        let control = &control[..first + second];
        assert_eq!(find(control, 1, 2), Some(&b"abc"[..]));
        assert_eq!(find(control, 3, 4).and_then(int), Some(7));
        assert_eq!(find(control, 1, 4), None);
        assert_eq!(find(&control[..first + 3], 3, 4), None);
        assert_eq!(put(&mut [0; 8], 1, 2, b"abc"), 0);
    }

    proptest! {
        #[test]
        fn random_bytes_neither_panic_nor_loop(
            mut control in prop::collection::vec(any::<u8>(), 0..200),
            len in 0u8..64,
        ) {
            if control.len() > 8 {
                control[..8].copy_from_slice(&[len, 0, 0, 0, 0, 0, 0, 0]);
            }
            let _ = find(&control, 1, 2);
        }
    }
}
