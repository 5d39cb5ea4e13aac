//! Kata's guest image: one partition, which a guest finds both on an NVDIMM and on a disk.
//!
//! If the image is a disk, the guest reads the partition table in the first sector. The driver of NVDIMMs reads, at 4
//! KiB, a block that enables DAX and places the start of the data at 2 MiB; a second table for the same partition is
//! there (tools/osbuilder/image-builder/image_builder.sh@4.1.0).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

const MIB: u64 = 1 << 20;
const SECTOR: u64 = 512;
/// The image's size, a whole section of the guest's memory: smaller ones are refused.
pub(super) const BYTES: u64 = 128 * MIB;
/// The offset of an NVDIMM's data; the space before it belongs to the driver.
pub(super) const HEADER: u64 = 2 * MIB;
/// The offset of the partition.
pub(super) const PARTITION: u64 = HEADER + MIB;
/// The partition's size.
pub(super) const PARTITION_BYTES: u64 = BYTES - PARTITION - MIB;

/// Writes both tables and the driver's block into a file of [`BYTES`].
pub(super) fn write(image: &File) -> io::Result<()> {
    image.set_len(BYTES)?;
    image.write_all_at(&table(PARTITION), 0)?;
    image.write_all_at(&info_block(), 4096)?;
    image.write_all_at(&table(PARTITION - HEADER), HEADER)
}

/// Returns a partition table with a Linux partition that begins this many bytes after it.
fn table(begin: u64) -> [u8; SECTOR as usize] {
    let mut sector = [0; SECTOR as usize];
    let entry = &mut sector[446..462];
    // Dummy cylinders, heads and sectors, as for partitions beyond 8 GiB.
    entry[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]);
    entry[4] = 0x83;
    entry[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
    entry[8..12].copy_from_slice(&sectors(begin).to_le_bytes());
    entry[12..16].copy_from_slice(&sectors(PARTITION_BYTES).to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

fn sectors(bytes: u64) -> u32 {
    u32::try_from(bytes / SECTOR).unwrap_or(u32::MAX)
}

/// Returns a `struct nd_pfn_sb` of Linux, drivers/nvdimm/pfn.h, version 0.2: page descriptors are in ordinary memory,
/// data begins at [`HEADER`] and is aligned to 2 MiB.
fn info_block() -> [u8; 4096] {
    let mut block = [0; 4096];
    block[..15].copy_from_slice(b"NVDIMM_PFN_INFO");
    block[54..56].copy_from_slice(&2_u16.to_le_bytes());
    block[56..64].copy_from_slice(&HEADER.to_le_bytes());
    // PFN_MODE_RAM
    block[72..76].copy_from_slice(&1_u32.to_le_bytes());
    block[84..88].copy_from_slice(&(2 * MIB as u32).to_le_bytes());
    let sum = fletcher64(&block);
    block[4088..].copy_from_slice(&sum.to_le_bytes());
    block
}

/// Returns the checksum of the driver's blocks: two running sums over words of 32 bits.
fn fletcher64(bytes: &[u8]) -> u64 {
    let (mut low, mut high) = (0_u32, 0_u64);
    for word in bytes.chunks_exact(4) {
        low = low.wrapping_add(u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        high = high.wrapping_add(u64::from(low));
    }
    high << 32 | u64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tables_name_the_same_partition() {
        let begin = |table: &[u8]| u64::from(u32::from_le_bytes(table[454..458].try_into().unwrap())) * SECTOR;
        assert_eq!(begin(&table(PARTITION)), PARTITION);
        assert_eq!(HEADER + begin(&table(PARTITION - HEADER)), PARTITION);
        assert_eq!(&table(PARTITION)[510..], [0x55, 0xaa]);
        const { assert!(PARTITION + PARTITION_BYTES <= BYTES) };
    }

    #[test]
    fn the_drivers_block_has_the_offsets_of_the_kernels_structure() {
        let block = info_block();
        assert_eq!(&block[..16], b"NVDIMM_PFN_INFO\0");
        assert_eq!(u64::from_le_bytes(block[56..64].try_into().unwrap()), HEADER);
        let mut without = block;
        without[4088..].fill(0);
        assert_eq!(u64::from_le_bytes(block[4088..].try_into().unwrap()), fletcher64(&without));
        assert_eq!(fletcher64(&[1, 0, 0, 0, 2, 0, 0, 0]), 4 << 32 | 3);
    }
}
