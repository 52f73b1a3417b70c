//! Error numbers: this system's own inside the daemon, FreeBSD's on the wire.
//!
//! Source: FreeBSD intro(2); the local numbers are libc's. 1 to 34 are the same on all systems, but
//! for 11 and 35. What has no counterpart becomes EIO.

use std::fmt;

/// An error number of the system we run on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

/// "The block is not what it was": only FreeBSD has a number for it.
#[cfg(target_os = "freebsd")]
const EINTEGRITY: i32 = 97;
#[cfg(not(target_os = "freebsd"))]
const EINTEGRITY: i32 = libc::EBADMSG;

/// FreeBSD's numbers that differ somewhere, and ours.
const DIFFERENT: [(i16, i32); 17] = [
    (11, libc::EDEADLK),
    (35, libc::EAGAIN),
    (45, libc::EOPNOTSUPP),
    (53, libc::ECONNABORTED),
    (54, libc::ECONNRESET),
    (55, libc::ENOBUFS),
    (57, libc::ENOTCONN),
    (60, libc::ETIMEDOUT),
    (61, libc::ECONNREFUSED),
    (64, libc::EHOSTDOWN),
    (65, libc::EHOSTUNREACH),
    (69, libc::EDQUOT),
    (70, libc::ESTALE),
    (78, libc::ENOSYS),
    (84, libc::EOVERFLOW),
    (85, libc::ECANCELED),
    (97, EINTEGRITY),
];

impl Errno {
    /// "Input/output error": also whatever the other system cannot say.
    pub const EIO: Errno = Errno(libc::EIO);
    /// "Invalid argument": a request that makes no sense.
    pub const EINVAL: Errno = Errno(libc::EINVAL);

    /// FreeBSD's number for it.
    pub fn to_wire(self) -> i16 {
        if let Some((wire, _)) = DIFFERENT.iter().find(|(_, local)| *local == self.0) {
            return *wire;
        }
        match i16::try_from(self.0) {
            Ok(same @ 1..=34) => same,
            _ => libc::EIO as i16,
        }
    }

    /// What FreeBSD's number means here.
    pub fn from_wire(wire: i16) -> Errno {
        if let Some((_, local)) = DIFFERENT.iter().find(|(number, _)| *number == wire) {
            return Errno(*local);
        }
        match wire {
            1..=34 => Errno(i32::from(wire)),
            _ => Errno::EIO,
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl std::error::Error for Errno {}

impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Errno {
        error.raw_os_error().map_or(Errno::EIO, Errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_numbers_of_freebsd_and_linux() {
        // FreeBSD, Linux: as both systems' errno.h have them.
        for (wire, local) in [
            (5, 5),
            (6, 6),
            (11, 35),
            (12, 12),
            (16, 16),
            (22, 22),
            (25, 25),
            (28, 28),
            (30, 30),
            (35, 11),
            (45, 95),
            (53, 103),
            (54, 104),
            (55, 105),
            (57, 107),
            (60, 110),
            (61, 111),
            (69, 122),
            (78, 38),
            (84, 75),
            (85, 125),
            (97, 74),
        ] {
            assert_eq!(Errno::from_wire(wire), Errno(local), "FreeBSD's {wire}");
            assert_eq!(Errno(local).to_wire(), wire, "Linux's {local}");
        }
    }

    #[test]
    fn what_has_no_counterpart_is_an_io_error() {
        for wire in [i16::MIN, -1, 0, 73, 98, 4000, i16::MAX] {
            assert_eq!(Errno::from_wire(wire), Errno::EIO, "{wire}");
        }
        for local in [i32::MIN, -5, 0, 4000, 65_541, i32::MAX] {
            assert_eq!(Errno(local).to_wire(), 5, "{local}");
        }
    }

    #[test]
    fn every_number_comes_back_or_is_an_io_error() {
        for wire in 1..=i16::MAX {
            let local = Errno::from_wire(wire);
            assert!(local.to_wire() == wire || local == Errno::EIO, "{wire}");
        }
    }
}
