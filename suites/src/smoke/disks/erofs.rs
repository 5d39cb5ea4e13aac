//! An EROFS with one file, uncompressed (Documentation/filesystems/erofs.rst, fs/erofs/erofs_fs.h).

use super::put;

/// Bytes of a block.
const BLOCK: usize = 4096;
/// The offset of the superblock.
const SUPERBLOCK: usize = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;
/// The size of an inode's slot; an inode's number counts slots from the second block on.
const INODE: usize = 32;
const ROOT: u16 = 1;
const WORDS: u16 = 2;
/// The name of the file.
pub(super) const FILE: &str = "words";

/// Builds the blocks: the superblock, the inodes, the root directory, the file.
pub(super) fn image(content: &str) -> Vec<u8> {
    let blocks = 3 + content.len().div_ceil(BLOCK);
    let mut image = vec![0; blocks * BLOCK];
    let names = entries();
    put(&mut image, SUPERBLOCK, &MAGIC.to_le_bytes());
    // The block size as a power of 2, the root directory's number, and the counts and positions of inodes and blocks.
    put(&mut image, SUPERBLOCK + 12, &[12]);
    put(&mut image, SUPERBLOCK + 14, &ROOT.to_le_bytes());
    put(&mut image, SUPERBLOCK + 16, &2_u64.to_le_bytes());
    put(&mut image, SUPERBLOCK + 36, &(blocks as u32).to_le_bytes());
    put(&mut image, SUPERBLOCK + 40, &1_u32.to_le_bytes());
    put(&mut image, BLOCK + usize::from(ROOT) * INODE, &inode(0o40_755, 2, names.len(), 2, ROOT));
    put(&mut image, BLOCK + usize::from(WORDS) * INODE, &inode(0o100_644, 1, content.len(), 3, WORDS));
    put(&mut image, 2 * BLOCK, &names);
    put(&mut image, 3 * BLOCK, content.as_bytes());
    image
}

/// Returns a compact inode (`struct erofs_inode_compact`) whose content is in whole blocks.
fn inode(mode: u16, links: u16, bytes: usize, block: u32, number: u16) -> Vec<u8> {
    let mut inode = vec![0; INODE];
    put(&mut inode, 4, &mode.to_le_bytes());
    put(&mut inode, 6, &links.to_le_bytes());
    put(&mut inode, 8, &(bytes as u32).to_le_bytes());
    put(&mut inode, 16, &block.to_le_bytes());
    put(&mut inode, 20, &u32::from(number).to_le_bytes());
    inode
}

/// Returns the root directory: its entries (`struct erofs_dirent`), then their names.
fn entries() -> Vec<u8> {
    const FOLDER: u8 = 2;
    const REGULAR: u8 = 1;
    let entries = [(".", ROOT, FOLDER), ("..", ROOT, FOLDER), (FILE, WORDS, REGULAR)];
    let (mut bytes, mut names) = (Vec::new(), Vec::new());
    for (name, number, kind) in entries {
        let offset = (entries.len() * 12 + names.len()) as u16;
        bytes.extend(u64::from(number).to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        bytes.extend([kind, 0]);
        names.extend(name.as_bytes());
    }
    [bytes, names].concat()
}
