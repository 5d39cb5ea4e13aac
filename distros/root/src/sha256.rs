//! SHA-256 digests (FIPS 180-4) as 64 lower-case hexadecimal digits.

use sha2::{Digest as _, Sha256};
use std::io::{self, Read};

/// Returns the digest of bytes.
pub fn of_bytes(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Returns the digest of everything that a reader has left.
///
/// # Errors
///
/// Fails if it cannot be read to its end.
pub fn of_reader(reader: &mut dyn Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(reader, &mut hash)?;
    Ok(format!("{:x}", hash.finalize()))
}

/// Returns the digest of parts, each after its length: the same bytes with another split give another digest.
pub fn of_parts<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    format!("{:x}", hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_bytes_and_of_a_reader_are_those_of_the_standard() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((of_bytes(b"abc"), of_reader(&mut &b"abc"[..]).unwrap()), (abc.to_owned(), abc.to_owned()));
    }

    #[test]
    fn another_split_of_the_same_bytes_is_another_digest() {
        assert_ne!(of_parts([&b"ab"[..], b"c"]), of_parts([&b"a"[..], b"bc"]));
        assert_eq!(of_parts([&b"a"[..]]), of_bytes(b"\x01\0\0\0\0\0\0\0a"));
    }
}
