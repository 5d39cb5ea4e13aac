//! The beginning of a disk or partition: the kind of filesystem, and the names by which an fstab may refer to it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Number of bytes up to the end of btrfs's superblock.
const BEGINNING: u64 = (64 << 10) + 4096;

/// Data of a superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Superblock {
    pub(super) content: DiskContent,
    pub(super) label: String,
    pub(super) uuid: String,
}

/// Kinds of content of a disk or partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DiskContent {
    Ext4,
    Xfs,
    Btrfs,
    Vfat,
    Lvm,
    Luks,
    Swap,
    Partitions,
    Unknown,
}

impl DiskContent {
    /// Returns the kernel's name of a filesystem; for anything else a description for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            DiskContent::Ext4 => "ext4",
            DiskContent::Xfs => "xfs",
            DiskContent::Btrfs => "btrfs",
            DiskContent::Vfat => "vfat",
            DiskContent::Lvm => "lvm",
            DiskContent::Luks => "luks",
            DiskContent::Swap => "swap",
            DiskContent::Partitions => "partitions or a boot sector",
            DiskContent::Unknown => "unknown",
        }
    }
}

/// Reads the superblock of a device.
pub(super) fn read(device: &Path) -> io::Result<Superblock> {
    let mut bytes = Vec::new();
    File::open(device)?.take(BEGINNING).read_to_end(&mut bytes)?;
    Ok(of(&bytes))
}

/// Parses a superblock, with offsets from the kernel's `fs/ext4/ext4.h`, `fs/xfs/libxfs/xfs_format.h` and
/// `fs/btrfs/accessors.h`.
fn of(bytes: &[u8]) -> Superblock {
    let matches_at = |from: usize, expected: &[u8]| bytes.get(from..from + expected.len()) == Some(expected);
    let named = |content, label: usize, length: usize, uuid: usize| Superblock {
        content,
        label: text(bytes.get(label..label + length).unwrap_or_default()),
        uuid: dashed(bytes.get(uuid..uuid + 16).unwrap_or_default()),
    };
    let unnamed = |content| Superblock { content, label: String::new(), uuid: String::new() };
    match () {
        () if matches_at(0x438, &[0x53, 0xef]) => named(DiskContent::Ext4, 0x478, 16, 0x468),
        () if matches_at(0, b"XFSB") => named(DiskContent::Xfs, 108, 12, 32),
        () if matches_at(0x1_0040, b"_BHRfS_M") => named(DiskContent::Btrfs, 0x1_012b, 256, 0x1_0020),
        () if matches_at(82, b"FAT32") || matches_at(54, b"FAT1") => unnamed(DiskContent::Vfat),
        () if matches_at(0x218, b"LVM2 001") => unnamed(DiskContent::Lvm),
        () if matches_at(0, b"LUKS\xba\xbe") => unnamed(DiskContent::Luks),
        () if matches_at(0xff6, b"SWAPSPACE2") => unnamed(DiskContent::Swap),
        // A boot sector ends like this, with partitions in it or without.
        () if matches_at(510, &[0x55, 0xaa]) => unnamed(DiskContent::Partitions),
        () => unnamed(DiskContent::Unknown),
    }
}

/// Returns a label up to its terminator, for people: invalid UTF-8 is replaced.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn dashed(bytes: &[u8]) -> String {
    let digit = |(n, byte): (usize, &u8)| format!("{}{byte:02x}", if [4, 6, 8, 10].contains(&n) { "-" } else { "" });
    bytes.iter().enumerate().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(parts: &[(usize, &[u8])]) -> Superblock {
        let mut bytes = vec![0; usize::try_from(BEGINNING).unwrap()];
        for (from, part) in parts {
            bytes[*from..*from + part.len()].copy_from_slice(part);
        }
        of(&bytes)
    }

    #[test]
    fn filesystems_are_recognised_with_label_and_uuid() {
        let uuid: Vec<u8> = (0..16).collect();
        let dashed = "00010203-0405-0607-0809-0a0b0c0d0e0f";
        for (content, parts) in [
            (DiskContent::Ext4, [(0x438, &[0x53, 0xef][..]), (0x468, &uuid), (0x478, b"a label")]),
            (DiskContent::Xfs, [(0, b"XFSB"), (32, &uuid), (108, b"a label")]),
            (DiskContent::Btrfs, [(0x1_0040, b"_BHRfS_M"), (0x1_0020, &uuid), (0x1_012b, b"a label")]),
        ] {
            let expected = Superblock { content, label: "a label".to_owned(), uuid: dashed.to_owned() };
            assert_eq!(with(&parts), expected);
        }
        assert_eq!(with(&[(82, b"FAT32   ")]).content, DiskContent::Vfat);
        assert_eq!(with(&[(510, &[0x55, 0xaa])]).content, DiskContent::Partitions);
        assert_eq!(of(&[]).content, DiskContent::Unknown);
    }
}
