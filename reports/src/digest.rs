//! Short digests that show whether two runs rest on the same data.

use model::sha256;

/// Returns the first 48 bits of the SHA-256 of a text.
pub fn short(text: &str) -> String {
    let mut digits = sha256::of_bytes(text.as_bytes());
    digits.truncate(12);
    digits
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_short_digest_is_the_beginning_of_the_sha256() {
        assert_eq!(short(""), "e3b0c44298fc");
        assert_ne!(short("a"), short("b"));
    }
}
