//! CRC-32C (Castagnoli), the checksum of XFS's blocks.

/// Returns the CRC-32C of some bytes.
pub(super) fn of(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 })
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn crc32c_of_the_check_string_matches_its_definition() {
        assert_eq!(super::of(b"123456789"), 0xe306_9283);
    }
}
