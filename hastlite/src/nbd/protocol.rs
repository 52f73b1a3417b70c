//! The numbers of the NBD protocol, and its integers (all big-endian) read and written.
//!
//! Source: "The NBD protocol", doc/proto.md of the NetworkBlockDevice project; names are its names
//! without the prefix. What the numbers mean for us is decided elsewhere.

use crate::wire::errno::Errno;

/// "NBDMAGIC": how the server begins.
pub const INIT_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// "IHAVEOPT": before every option, and in the server's greeting.
pub const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
/// Before every answer to an option.
pub const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
pub const REQUEST_MAGIC: u32 = 0x2560_9513;
pub const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
pub const CHUNK_MAGIC: u32 = 0x668e_33ef;

/// Bytes of an option without its data.
pub const OPTION_HEADER: usize = 16;
/// Bytes of a request without its data.
pub const REQUEST_HEADER: usize = 28;
/// Bytes of zeroes behind the answer to EXPORT_NAME, unless both sides do without.
pub const EXPORT_NAME_ZEROES: usize = 124;
/// The longest string there may be: names, queries, messages.
pub const LONGEST_STRING: usize = 4096;

/// Handshake flags of the server; the client's have the same bits.
pub mod handshake_flag {
    pub const FIXED_NEWSTYLE: u16 = 1 << 0;
    pub const NO_ZEROES: u16 = 1 << 1;
}

pub mod transmission_flag {
    pub const HAS_FLAGS: u16 = 1 << 0;
    pub const SEND_FLUSH: u16 = 1 << 2;
    pub const SEND_FUA: u16 = 1 << 3;
    pub const SEND_TRIM: u16 = 1 << 5;
    pub const SEND_WRITE_ZEROES: u16 = 1 << 6;
    pub const SEND_DF: u16 = 1 << 7;
    pub const CAN_MULTI_CONN: u16 = 1 << 8;
    pub const SEND_CACHE: u16 = 1 << 10;
    pub const SEND_FAST_ZERO: u16 = 1 << 11;
}

pub mod option {
    pub const EXPORT_NAME: u32 = 1;
    pub const ABORT: u32 = 2;
    pub const LIST: u32 = 3;
    pub const STARTTLS: u32 = 5;
    pub const INFO: u32 = 6;
    pub const GO: u32 = 7;
    pub const STRUCTURED_REPLY: u32 = 8;
    pub const LIST_META_CONTEXT: u32 = 9;
    pub const SET_META_CONTEXT: u32 = 10;
}

/// Kinds of answers to an option.
pub mod rep {
    pub const ACK: u32 = 1;
    pub const SERVER: u32 = 2;
    pub const INFO: u32 = 3;
    pub const META_CONTEXT: u32 = 4;
    pub const ERR_UNSUP: u32 = (1 << 31) + 1;
    pub const ERR_POLICY: u32 = (1 << 31) + 2;
    pub const ERR_INVALID: u32 = (1 << 31) + 3;
    pub const ERR_UNKNOWN: u32 = (1 << 31) + 6;
    pub const ERR_SHUTDOWN: u32 = (1 << 31) + 7;
    pub const ERR_TOO_BIG: u32 = (1 << 31) + 9;
}

/// What can be told of an export.
pub mod info {
    pub const EXPORT: u16 = 0;
    pub const NAME: u16 = 1;
    pub const DESCRIPTION: u16 = 2;
    pub const BLOCK_SIZE: u16 = 3;
}

pub mod command {
    pub const READ: u16 = 0;
    pub const WRITE: u16 = 1;
    pub const DISC: u16 = 2;
    pub const FLUSH: u16 = 3;
    pub const TRIM: u16 = 4;
    pub const CACHE: u16 = 5;
    pub const WRITE_ZEROES: u16 = 6;
    pub const BLOCK_STATUS: u16 = 7;
}

pub mod command_flag {
    pub const FUA: u16 = 1 << 0;
    pub const NO_HOLE: u16 = 1 << 1;
    pub const DF: u16 = 1 << 2;
    pub const REQ_ONE: u16 = 1 << 3;
    pub const FAST_ZERO: u16 = 1 << 4;
}

/// Kinds of chunks of a structured reply.
pub mod chunk {
    /// The flag of the last chunk of a reply.
    pub const DONE: u16 = 1 << 0;

    pub const NONE: u16 = 0;
    pub const OFFSET_DATA: u16 = 1;
    pub const BLOCK_STATUS: u16 = 5;
    pub const ERROR: u16 = (1 << 15) + 1;
}

/// NBD's own error numbers: whatever the numbers of the system are.
pub mod error {
    pub const EPERM: u32 = 1;
    pub const EIO: u32 = 5;
    pub const ENOMEM: u32 = 12;
    pub const EINVAL: u32 = 22;
    pub const ENOSPC: u32 = 28;
    pub const EOVERFLOW: u32 = 75;
    pub const ENOTSUP: u32 = 95;
    pub const ESHUTDOWN: u32 = 108;
}

/// NBD's number for an error of ours. "Not supported" and "too large" are not among them: the
/// protocol has them for special cases only.
pub fn error_number(errno: Errno) -> u32 {
    match errno.0 {
        libc::EPERM | libc::EACCES | libc::EROFS => error::EPERM,
        libc::ENOMEM => error::ENOMEM,
        libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS => error::EINVAL,
        libc::ENOSPC | libc::EDQUOT | libc::EFBIG => error::ENOSPC,
        libc::ESHUTDOWN => error::ESHUTDOWN,
        _ => error::EIO,
    }
}

/// Reads integers and strings off the front of what a client has sent; `None` where it ends early.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A string behind its length in 32 bits; longer ones than the protocol knows are not there.
    pub fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        if length > LONGEST_STRING {
            return None;
        }
        let (string, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_nbds_numbers() {
        for (local, number) in [
            (libc::EPERM, 1),
            (libc::EROFS, 1),
            (libc::EIO, 5),
            (libc::ENOMEM, 12),
            (libc::EINVAL, 22),
            (libc::ENOSPC, 28),
            (libc::EDQUOT, 28),
            (libc::EFBIG, 28),
            (libc::ESHUTDOWN, 108),
            (libc::ETIMEDOUT, 5),
            (libc::ENXIO, 5),
            (0, 5),
            (-1, 5),
        ] {
            assert_eq!(error_number(Errno(local)), number, "{local}");
        }
    }

    #[test]
    fn a_string_ends_with_what_there_is() {
        let mut reader = Reader(&[0, 0, 0, 2, b'a', b'b', 0, 0, 0, 9, b'c']);
        assert_eq!(reader.string(), Some(&b"ab"[..]));
        assert_eq!(reader.string(), None);
        let mut long = vec![0, 0, 0x10, 1];
        long.resize(8000, b'x');
        assert_eq!(Reader(&long).string(), None);
        assert_eq!(Reader(&[0xff; 4]).string(), None);
    }
}
