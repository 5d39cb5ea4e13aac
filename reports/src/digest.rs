//! Short digests that show whether two runs rest on the same data.

use model::hex::hex;
use sha2::{Digest, Sha256};

/// Returns the first 48 bits of the SHA-256 of a text.
pub fn short(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    hex(digest.get(..6).unwrap_or(&digest))
}

/// Returns the SHA-256 of bytes, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::{sha256, short};

    #[test]
    fn a_short_digest_is_the_beginning_of_the_sha256() {
        assert_eq!(short(""), "e3b0c44298fc");
        assert_ne!(short("a"), short("b"));
        assert!(sha256(b"").starts_with(&short("")) && sha256(b"").len() == 64);
    }
}
