//! An empty XFS of the smallest size that kernels accept, version 5 with checksums and no other feature.
//!
//! The source is the XFS Algorithms & Data Structures book and fs/xfs/libxfs/xfs_format.h: one allocation group with
//! its four headers, three trees of one block each, reserved blocks, one chunk of inodes, a log of zeros, and free
//! space.

use super::{crc32c, put};

/// The size of the filesystem; all bytes after [`image`] are zeros.
pub(super) const BYTES: u64 = BLOCKS as u64 * BLOCK as u64;

const BLOCK: usize = 4096;
const SECTOR: usize = 512;
const INODE: usize = 512;
const BLOCKS: u32 = 8192;
/// Block numbers: the trees of free space by place and by size, the tree of inodes, the reserve, the inodes.
const BY_PLACE: u32 = 1;
const BY_SIZE: u32 = 2;
const INODES: u32 = 3;
const RESERVE: [u32; 4] = [4, 5, 6, 7];
const CHUNK: u32 = 8;
const LOG: u32 = 16;
const LOG_BLOCKS: u32 = 2560;
const FREE: u32 = LOG + LOG_BLOCKS;
const FREE_BLOCKS: u32 = BLOCKS - FREE;
/// The number of inodes in a chunk, and the number of the first one, the root directory. The next two belong to the
/// realtime device, which does not exist.
const CHUNK_INODES: u32 = 64;
const ROOT: u32 = CHUNK * (BLOCK / INODE) as u32;
const USED_INODES: u32 = 3;
/// No block, or no inode.
const NONE: u32 = u32::MAX;
const UUID: [u8; 16] = *b"kata-qualify-xfs";

/// Builds the beginning of the filesystem, up to its log.
pub(super) fn image() -> Vec<u8> {
    let mut image = vec![0; LOG as usize * BLOCK];
    let headers = [superblock(), free_space(), inode_group(), reserve()];
    for (sector, header) in headers.into_iter().enumerate() {
        put(&mut image, sector * SECTOR, &header);
    }
    let free = [FREE.to_be_bytes(), FREE_BLOCKS.to_be_bytes()].concat();
    put(&mut image, BY_PLACE as usize * BLOCK, &tree(b"AB3B", BY_PLACE, &free));
    put(&mut image, BY_SIZE as usize * BLOCK, &tree(b"AB3C", BY_SIZE, &free));
    let unused = (!0_u64 << USED_INODES).to_be_bytes();
    let chunk = [&ROOT.to_be_bytes()[..], &(CHUNK_INODES - USED_INODES).to_be_bytes(), &unused].concat();
    put(&mut image, INODES as usize * BLOCK, &tree(b"IAB3", INODES, &chunk));
    for number in 0..CHUNK_INODES {
        put(&mut image, CHUNK as usize * BLOCK + number as usize * INODE, &inode(number));
    }
    image
}

/// Returns a `struct xfs_dsb`.
fn superblock() -> Vec<u8> {
    /// Version 5, with 32-bit link counts, aligned inodes, log version 2, extent flags, directories version 2, more
    /// bits.
    const VERSION: u16 = 5 | 0x20 | 0x80 | 0x400 | 0x1000 | 0x2000 | 0x8000;
    /// Lazy counters, attributes version 2, 32-bit project numbers, checksums.
    const FEATURES: u32 = 0x02 | 0x08 | 0x80 | 0x100;
    let mut block = vec![0; SECTOR];
    let none = u64::MAX.to_be_bytes();
    put(&mut block, 0, b"XFSB");
    put(&mut block, 4, &(BLOCK as u32).to_be_bytes());
    put(&mut block, 8, &u64::from(BLOCKS).to_be_bytes());
    put(&mut block, 32, &UUID);
    put(&mut block, 48, &u64::from(LOG).to_be_bytes());
    for (place, number) in [(56, ROOT), (64, ROOT + 1), (72, ROOT + 2)] {
        put(&mut block, place, &u64::from(number).to_be_bytes());
    }
    // The realtime extent's size, the group's size, the number of groups, the bitmap's size, the log's size.
    for (place, value) in [(80, 1), (84, BLOCKS), (88, 1), (92, 0), (96, LOG_BLOCKS)] {
        put(&mut block, place, &value.to_be_bytes());
    }
    for (place, value) in [(100, VERSION), (102, SECTOR as u16), (104, INODE as u16), (106, (BLOCK / INODE) as u16)] {
        put(&mut block, place, &value.to_be_bytes());
    }
    // Powers of 2: the sizes of a block, a sector and an inode, the inodes of a block, the blocks of the group. Then
    // the share of inodes.
    put(&mut block, 120, &[12, 9, 9, 3, 13, 0, 0, 25]);
    put(&mut block, 128, &u64::from(CHUNK_INODES).to_be_bytes());
    put(&mut block, 136, &u64::from(CHUNK_INODES - USED_INODES).to_be_bytes());
    put(&mut block, 144, &u64::from(FREE_BLOCKS + RESERVE.len() as u32).to_be_bytes());
    put(&mut block, 160, &none);
    put(&mut block, 168, &none);
    // The alignment of inodes, in blocks.
    put(&mut block, 180, &4_u32.to_be_bytes());
    // The log's stripe, in bytes: none.
    put(&mut block, 196, &1_u32.to_be_bytes());
    put(&mut block, 200, &FEATURES.to_be_bytes());
    put(&mut block, 204, &FEATURES.to_be_bytes());
    // Incompatible features: the types of files in directories.
    put(&mut block, 216, &1_u32.to_be_bytes());
    put(&mut block, 232, &none);
    sealed(block, 224)
}

/// Returns a `struct xfs_agf`.
fn free_space() -> Vec<u8> {
    let last = RESERVE.len() as u32 - 1;
    let mut block = vec![0; SECTOR];
    put(&mut block, 0, b"XAGF");
    let numbers = [
        (4, 1),
        (12, BLOCKS),
        (16, BY_PLACE),
        (20, BY_SIZE),
        // The trees' heights.
        (28, 1),
        (32, 1),
        // The reserve's first and last index, and the number of its blocks.
        (44, last),
        (48, last + 1),
        (52, FREE_BLOCKS),
        (56, FREE_BLOCKS),
    ];
    for (place, value) in numbers {
        put(&mut block, place, &u32::to_be_bytes(value));
    }
    put(&mut block, 64, &UUID);
    sealed(block, 216)
}

/// Returns a `struct xfs_agi`.
fn inode_group() -> Vec<u8> {
    let mut block = vec![0; SECTOR];
    put(&mut block, 0, b"XAGI");
    let numbers = [
        (4, 1),
        (12, BLOCKS),
        (16, CHUNK_INODES),
        (20, INODES),
        (24, 1),
        (28, CHUNK_INODES - USED_INODES),
        (32, ROOT),
        (36, NONE),
    ];
    for (place, value) in numbers {
        put(&mut block, place, &u32::to_be_bytes(value));
    }
    // The list heads of inodes that are open but have no name.
    block[40..40 + 256].fill(0xff);
    put(&mut block, 296, &UUID);
    sealed(block, 312)
}

/// Returns a `struct xfs_agfl`: blocks by which the trees can grow.
fn reserve() -> Vec<u8> {
    let mut block = vec![0xff; SECTOR];
    block[..36].fill(0);
    put(&mut block, 0, b"XAFL");
    put(&mut block, 8, &UUID);
    for (at, number) in RESERVE.into_iter().enumerate() {
        put(&mut block, 36 + 4 * at, &number.to_be_bytes());
    }
    sealed(block, 32)
}

/// Returns a tree of one block with one record (`struct xfs_btree_block`).
fn tree(magic: &[u8; 4], number: u32, record: &[u8]) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    put(&mut block, 0, magic);
    // A leaf with one record and no neighbours.
    put(&mut block, 6, &1_u16.to_be_bytes());
    put(&mut block, 8, &NONE.to_be_bytes());
    put(&mut block, 12, &NONE.to_be_bytes());
    put(&mut block, 16, &u64::from(number * (BLOCK / SECTOR) as u32).to_be_bytes());
    put(&mut block, 32, &UUID);
    put(&mut block, 56, record);
    sealed(block, 52)
}

/// Returns a `struct xfs_dinode`: the root directory, two empty files, or an unused inode.
fn inode(number: u32) -> Vec<u8> {
    const LOCAL: u8 = 1;
    const EXTENTS: u8 = 2;
    let (mode, format, links): (u16, u8, u32) = match number {
        0 => (0o40_755, LOCAL, 2),
        1..USED_INODES => (0o100_000, EXTENTS, 1),
        _ => (0, 0, 0),
    };
    let mut block = vec![0; INODE];
    put(&mut block, 0, b"IN");
    put(&mut block, 2, &mode.to_be_bytes());
    put(&mut block, 4, &[3, format]);
    put(&mut block, 16, &links.to_be_bytes());
    if number < USED_INODES {
        // The inode has no attributes; if it had, they would be in extents.
        put(&mut block, 83, &[EXTENTS]);
    }
    if number == 0 {
        // A directory inside its inode: no names, and the parent directory, which is the directory itself.
        let names = [&[0, 0][..], &ROOT.to_be_bytes()].concat();
        put(&mut block, 56, &(names.len() as u64).to_be_bytes());
        put(&mut block, 176, &names);
    }
    put(&mut block, 96, &NONE.to_be_bytes());
    put(&mut block, 152, &u64::from(ROOT + number).to_be_bytes());
    put(&mut block, 160, &UUID);
    sealed(block, 100)
}

/// Sets a block's checksum, which is little-endian and counts as zeros itself.
fn sealed(mut block: Vec<u8>, place: usize) -> Vec<u8> {
    block[place..place + 4].fill(0);
    let sum = crc32c::of(&block);
    put(&mut block, place, &sum.to_le_bytes());
    block
}
