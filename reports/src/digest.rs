//! Short digests, by which two runs see that they rest on the same.

use model::hex::hex;
use sha2::{Digest, Sha256};

/// The first 48 bits of the SHA-256 of a text.
pub fn short(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    hex(digest.get(..6).unwrap_or(&digest))
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_digest_is_short_and_of_the_whole_text() {
        assert_eq!(short(""), "e3b0c44298fc");
        assert_ne!(short("a"), short("b"));
    }
}
