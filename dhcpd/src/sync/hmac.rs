//! HMAC (RFC 2104) over a hash function with blocks of 64 bytes: SHA-1 and SHA-256.

use sha2::digest::{Digest, Output};

const BLOCK: usize = 64;

/// The HMAC of the parts, one after the other.
pub fn hmac<D: Digest>(key: &[u8], parts: &[&[u8]]) -> Output<D> {
    let mut block = [0; BLOCK];
    if key.len() > BLOCK {
        let short = D::digest(key);
        block.iter_mut().zip(short).for_each(|(to, from)| *to = from);
    } else {
        block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    }
    let mut inner = D::new_with_prefix(block.map(|byte| byte ^ 0x36));
    parts.iter().for_each(|part| inner.update(part));
    let mut outer = D::new_with_prefix(block.map(|byte| byte ^ 0x5c));
    outer.update(inner.finalize());
    outer.finalize()
}

/// Whether both are equal, in a time that does not tell where they differ.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 2202 and RFC 4231: cases 2 and 6.
    #[test]
    fn the_rfcs_own_cases() {
        let sha1 = hmac::<sha1::Sha1>(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex(&sha1), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        let sha2 = hmac::<sha2::Sha256>(b"Jefe", &[b"what do ya want for nothing?"]);
        assert_eq!(hex(&sha2), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(
            hex(&hmac::<sha1::Sha1>(&[0xaa; 80], &[long])),
            "aa4ae5e15272d00e95705637ce8a3b55ed402112"
        );
        assert_eq!(
            hex(&hmac::<sha2::Sha256>(&[0xaa; 131], &[long])),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn equal_is_equal() {
        assert!(same(b"abc", b"abc") && same(b"", b""));
        assert!(!same(b"abc", b"abd") && !same(b"abc", b"ab"));
    }
}
