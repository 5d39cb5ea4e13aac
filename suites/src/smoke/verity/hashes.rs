//! The hash tree with which dm-verity checks a disk (Linux, Documentation/admin-guide/device-mapper/verity.rst): format
//! 1, SHA-256, no superblock, as `veritysetup format --no-superblock` writes it for Kata's image
//! (tools/osbuilder/image-builder/image_builder.sh@4.1.0).

use sha2::{Digest as _, Sha256};

/// The size of a block of data or hashes.
pub(super) const BLOCK: usize = 4096;
/// The size of a hash.
const HASH: usize = 32;

/// A disk's hashes.
pub(super) struct Hashes {
    /// The hash of the topmost block.
    pub(super) root: [u8; HASH],
    /// The bytes that are hashed before each block.
    pub(super) salt: [u8; HASH],
    /// The blocks of hashes, the topmost level first.
    pub(super) tree: Vec<u8>,
}

impl Hashes {
    /// Computes the hashes of at least two whole blocks.
    pub(super) fn of(data: &[u8]) -> Hashes {
        let salt = [0x5a; HASH];
        let mut levels = vec![level(data, &salt)];
        while levels.last().is_some_and(|level| level.len() > BLOCK) {
            let below = levels.last().map(|below| level(below, &salt));
            levels.extend(below);
        }
        let root = levels.last().map_or([0; HASH], |top| hash(top, &salt));
        Hashes { root, salt, tree: levels.into_iter().rev().flatten().collect() }
    }
}

/// Returns the hashes of these blocks, in blocks of which the last one is padded with zeros.
fn level(blocks: &[u8], salt: &[u8]) -> Vec<u8> {
    let mut hashes: Vec<u8> = blocks.chunks(BLOCK).flat_map(|block| hash(block, salt)).collect();
    hashes.resize(hashes.len().next_multiple_of(BLOCK), 0);
    hashes
}

fn hash(block: &[u8], salt: &[u8]) -> [u8; HASH] {
    Sha256::new().chain_update(salt).chain_update(block).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_changes_the_root_hash() {
        let mut data = vec![7; 200 * BLOCK];
        let hashes = Hashes::of(&data);
        assert_eq!(hashes.tree.len(), 3 * BLOCK, "a block on top of two");
        assert_eq!(hashes.root, hash(&hashes.tree[..BLOCK], &hashes.salt));
        assert_eq!(hashes.tree[..HASH], hash(&hashes.tree[BLOCK..2 * BLOCK], &hashes.salt));
        assert_eq!(hashes.tree[BLOCK..BLOCK + HASH], hash(&data[..BLOCK], &hashes.salt));
        data[150 * BLOCK + 9] ^= 1;
        assert_ne!(Hashes::of(&data).root, hashes.root);
    }
}
