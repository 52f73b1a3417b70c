//! The identity of a server: a hash over all that two callers must have in common for one server to
//! serve both. It is the original's, byte for byte, so that its client and ours find each other's
//! servers.
//!
//! It is over the kernel and the host (uname), the directories `.` and `/`, the `-E` and `-G` in
//! their order, and the interpreter and the script as they were typed; it is not over what the
//! script contains, or the caller's arguments, limits or user (whose directory it is used in).
//!
//! Nothing here allocates or panics, and nothing asks the system: what it says is given.

use crate::args::{Command, Mark};
use crate::sha256::Sha256;

/// The digits of a whole identity.
pub const DIGITS: usize = 64;

/// The fewest digits that may stand for an identity.
pub const FEWEST: usize = 33;

/// Which directory: what stat(2) says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// `st_dev`.
    pub device: libc::dev_t,
    /// `st_ino`.
    pub inode: libc::ino_t,
}

/// What the system says.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The whole of uname(2)'s structure, which was zero before.
    pub system: &'a [u8],
    /// The current directory.
    pub here: Place,
    /// The root directory.
    pub root: Place,
}

/// The identity that these have; `variable` gives the value of a variable of the environment.
pub fn ident<'v>(
    around: &Surroundings<'_>,
    command: &Command<'_>,
    variable: &dyn Fn(&[u8]) -> Option<&'v [u8]>,
) -> [u8; DIGITS] {
    let mut hash = Sha256::new();
    // The version of all that follows.
    hash.update(&[1]);
    hash.update(b"u");
    hash.update(&around.system.len().to_ne_bytes());
    hash.update(b"u");
    hash.update(around.system);
    for (kind, place) in [(b".", around.here), (b"/", around.root)] {
        hash.update(kind);
        hash.update(&place.device.to_ne_bytes());
        hash.update(b"i");
        hash.update(&place.inode.to_ne_bytes());
    }
    for mark in command.marks() {
        match mark {
            Mark::Word(word) => text(&mut hash, b"G", word),
            Mark::Variable(name) => {
                text(&mut hash, b"E", name);
                match variable(name) {
                    Some(value) => text(&mut hash, b"v", value),
                    None => hash.update(&[0]),
                }
            }
        }
    }
    text(&mut hash, b"i", command.interp);
    if let Some(script) = command.script {
        text(&mut hash, b"s", script);
    }
    let mut digits = [0; DIGITS];
    for (two, byte) in digits.chunks_exact_mut(2).zip(hash.finish()) {
        for (digit, value) in two.iter_mut().zip([byte >> 4, byte & 15]) {
            *digit = if value < 10 { b'0' | value } else { (b'a' - 10).wrapping_add(value) };
        }
    }
    digits
}

fn text(hash: &mut Sha256, kind: &[u8], text: &[u8]) {
    hash.update(kind);
    hash.update(text);
    hash.update(&[0]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::Digest;

    /// The stream in the order of its description, put together by other means.
    #[test]
    fn the_stream_is_the_originals() {
        let system = [7; 390];
        let around = Surroundings {
            system: &system,
            here: Place { device: 0x0102, inode: 3 },
            root: Place { device: 0x0405, inode: 6 },
        };
        let line = ["p", "-U", "-EA", "-Gg", "-EB", "perl", "./s", "x"];
        let word = |at: usize| line.get(at).map(|word| word.as_bytes());
        let command = crate::args::parse(&word).unwrap();
        let ours = ident(&around, &command, &|name| (name == b"A").then_some(b"1"));

        let mut stream = vec![1, b'u'];
        stream.extend(390_usize.to_ne_bytes());
        stream.push(b'u');
        stream.extend(system);
        for (kind, device, inode) in [(b'.', 0x0102, 3), (b'/', 0x0405, 6)] {
            stream.push(kind);
            stream.extend(libc::dev_t::to_ne_bytes(device));
            stream.push(b'i');
            stream.extend(libc::ino_t::to_ne_bytes(inode));
        }
        stream.extend(b"EA\0v1\0Gg\0EB\0\0iperl\0s./s\0");
        let digest = sha2::Sha256::digest(&stream);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(String::from_utf8(ours.to_vec()).unwrap(), hex);
    }
}
