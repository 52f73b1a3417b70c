//! SHA-256 (FIPS 180-4) for identities, which are names and protect nothing.
//!
//! It is not the crate `sha2`, because that asks the processor what it can do, and where a
//! hypervisor answers, each question costs more than the hash of all that a client has to hash.
//! The tests compare the two.

const BLOCK: usize = 64;

/// The fractions of the cube roots of the first 64 primes.
#[rustfmt::skip]
const ROUNDS: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// The fractions of the square roots of the first 8 primes.
#[rustfmt::skip]
const START: [u32; 8] = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

/// A hash on its way.
#[derive(Clone, Debug)]
pub(crate) struct Sha256 {
    state: [u32; 8],
    block: [u8; BLOCK],
    filled: usize,
    /// In bytes.
    length: u64,
}

impl Sha256 {
    pub(crate) fn new() -> Sha256 {
        Sha256 { state: START, block: [0; BLOCK], filled: 0, length: 0 }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.length = self.length.wrapping_add(bytes.len() as u64);
        for byte in bytes {
            self.push(*byte);
        }
    }

    pub(crate) fn finish(mut self) -> [u8; 32] {
        let bits = self.length.wrapping_mul(8).to_be_bytes();
        self.push(0x80);
        while self.filled != BLOCK - bits.len() {
            self.push(0);
        }
        for byte in bits {
            self.push(byte);
        }
        let mut digest = [0; 32];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.state) {
            for (to, from) in bytes.iter_mut().zip(word.to_be_bytes()) {
                *to = from;
            }
        }
        digest
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.block.get_mut(self.filled) {
            *place = byte;
        }
        self.filled = self.filled.wrapping_add(1);
        if self.filled >= BLOCK {
            self.filled = 0;
            compress(&mut self.state, &self.block);
        }
    }
}

fn compress(state: &mut [u32; 8], block: &[u8; BLOCK]) {
    // The schedule, of which only the last 16 words are ever looked at.
    let mut w = [0; 16];
    for (word, bytes) in w.iter_mut().zip(block.chunks_exact(4)) {
        if let Some(bytes) = bytes.first_chunk() {
            *word = u32::from_be_bytes(*bytes);
        }
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (round, constant) in ROUNDS.iter().enumerate() {
        let word = |back: usize| w[round.wrapping_sub(back) & 15];
        let mut now = word(16);
        if round >= 16 {
            let (x, y) = (word(15), word(2));
            let s0 = x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
            let s1 = y.rotate_right(17) ^ y.rotate_right(19) ^ (y >> 10);
            now = now.wrapping_add(s0).wrapping_add(word(7)).wrapping_add(s1);
            w[round & 15] = now;
        }
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = (e & f) ^ (!e & g);
        let t1 = h.wrapping_add(s1).wrapping_add(choice).wrapping_add(*constant).wrapping_add(now);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let majority = (a & b) ^ (a & c) ^ (b & c);
        (h, g, f, e) = (g, f, e, d.wrapping_add(t1));
        (d, c, b, a) = (c, b, a, t1.wrapping_add(s0.wrapping_add(majority)));
    }
    for (old, new) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *old = old.wrapping_add(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::Digest;

    proptest! {
        #[test]
        fn it_is_the_same_as_anyone_elses(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..5)) {
            let mut ours = Sha256::new();
            pieces.iter().for_each(|piece| ours.update(piece));
            prop_assert_eq!(ours.finish().to_vec(), sha2::Sha256::digest(pieces.concat()).to_vec());
        }
    }

    #[test]
    fn every_length_of_padding() {
        for length in 0..200 {
            let bytes = vec![b'x'; length];
            let mut ours = Sha256::new();
            ours.update(&bytes);
            assert_eq!(ours.finish()[..], sha2::Sha256::digest(&bytes)[..], "{length}");
        }
    }
}
