//! What fuzzing starts from: messages of real clients as they passed on a wire of ours.
//!
//! They are kept in `fuzz/seeds/TARGET/`. A test that captures checks that they are there;
//! `tools/fuzz seeds` runs the same tests and has them written anew.

use crate::frame::{Datagram, Tap};
use crate::hostile;
use crate::wire::{DECLINE, DISCOVER, INFORM, RELEASE, REQUEST};
use std::path::PathBuf;
use std::time::Duration;

/// Where seeds are written to, if they are.
const VARIABLE: &str = "TANDEM_SEEDS";

/// Keeps a seed, or sees that there is one of this name.
///
/// # Panics
/// If it cannot be written, or there is none.
pub fn keep(target: &str, name: &str, bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    for secret in ["kernel/osrelease", "kernel/hostname"] {
        let secret = std::fs::read(format!("/proc/sys/{secret}")).unwrap_or_default();
        mask(&mut bytes, secret.trim_ascii());
    }
    let kept = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds")).join(target);
    match std::env::var_os(VARIABLE) {
        Some(folder) => {
            let folder = PathBuf::from(folder).join(target);
            std::fs::create_dir_all(&folder).expect("make a folder for seeds");
            std::fs::write(folder.join(name), bytes).expect("write a seed");
        }
        None => assert!(
            kept.join(name).is_file(),
            "fuzz/seeds/{target}/{name} is missing: tools/fuzz seeds"
        ),
    }
}

/// Which kernel a machine runs, and its name where that is more than a few letters, is nobody's
/// business: clients say such things.
fn mask(bytes: &mut [u8], secret: &[u8]) {
    if secret.len() > 4 {
        let found = bytes.windows(secret.len()).position(|window| window == secret);
        if let Some(at) = found {
            bytes[at..at + secret.len()].fill(b'x');
        }
    }
}

/// Everything that has passed so far.
pub fn passed(tap: &Tap) -> Vec<Datagram> {
    std::iter::from_fn(|| tap.next(Duration::from_millis(1))).collect()
}

/// What a client's message is, in a word; `None` if it is none.
pub fn kind(message: &[u8]) -> Option<&'static str> {
    let options = hostile::options_of(message).filter(|_| message[0] == 1)?;
    let has_address = message[12..16] != [0; 4];
    Some(match *options.get(&53)?.first()? {
        DISCOVER => "discover",
        REQUEST if options.contains_key(&54) => "selecting",
        REQUEST if has_address => "renewing",
        REQUEST => "reboot",
        DECLINE => "decline",
        RELEASE => "release",
        INFORM => "inform",
        _ => return None,
    })
}

/// A server's answer as the fuzz target `options` is told what to write: room, flags, and each
/// option as its code, how many times eight bytes, and these.
pub fn as_options(answer: &[u8]) -> Vec<u8> {
    let mut seed = vec![4, 0, 0];
    for (code, value) in hostile::options_of(answer).unwrap_or_default() {
        let eights = value.len().div_ceil(8);
        seed.extend([code, u8::try_from(eights).expect("at most 255 bytes")]);
        seed.extend(&value);
        seed.resize(seed.len() + eights * 8 - value.len(), 0);
    }
    seed
}
