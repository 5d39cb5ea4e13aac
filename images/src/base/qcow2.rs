//! The header and tables of a qcow2 file, checked before QEMU opens it.
//!
//! The file is untrusted: a file that references further files would make QEMU read them from this machine, and a
//! truncated file would read as zeros beyond its end.
//! QEMU's `docs/interop/qcow2.txt` describes the format.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 4] = b"QFI\xfb";
/// Length of the header of version 3, which includes the part that every version has.
const HEADER: usize = 104;
/// Cluster sizes that QEMU accepts, as logarithms: 512 bytes to 2 MiB.
const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;
/// Largest accepted disk, in bytes; a vendor's has some GiB.
const SIZE: u64 = 1 << 40;
/// Largest first-level table that QEMU accepts, in bytes.
const TABLE: u64 = 32 << 20;
/// Mask of a cluster's offset in a table entry: bits 9 to 55.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Flag of a compressed cluster.
const COMPRESSED: u64 = 1 << 62;

const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
const EXTENDED: u64 = 1 << 4;
/// Dirty, corrupt, external data file, compression type, extended entries.
const KNOWN: u64 = 0b1_1111;

/// Reasons why a file is not accepted as a cloud image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Qcow2Error {
    /// The file has another format, or none.
    #[error(
        "{path} is not a qcow2 image, it begins with {begins}: expected a vendor's qcow2 image; convert a raw image \
         with `qemu-img convert -O qcow2`"
    )]
    Other {
        /// The file.
        path: PathBuf,
        /// First bytes of the file.
        begins: String,
    },
    /// The file is a qcow2 image that is not accepted.
    #[error("{path} is a qcow2 image that {what}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// Reason for the refusal, and the remedy if one is known.
        what: Qcow2Flaw,
    },
    /// The file cannot be read.
    #[error("reading {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Reasons to refuse a qcow2 image, phrased to continue "a qcow2 image that".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Qcow2Flaw {
    /// The file is shorter than its header.
    #[error("ends in the middle of its header: download it again")]
    ShortHeader,
    /// Another version of the format.
    #[error("has version {0}: expected 2 or 3")]
    Version(u32),
    /// A part of its data is in another file.
    #[error(
        "has a backing file, which would be read from this machine: expected an image without one (`qemu-img convert \
         -O qcow2` makes it)"
    )]
    BackingFile,
    /// Its data is encrypted, and unreadable without the key.
    #[error("is encrypted: expected an unencrypted image")]
    Encrypted,
    /// Its data is in another file.
    #[error(
        "has an external data file, which would be read from this machine: expected an image without one (`qemu-img \
         convert -O qcow2` makes it)"
    )]
    DataFile,
    /// The program that wrote the file marked it as corrupt.
    #[error("is marked as corrupt: download it again")]
    Corrupt,
    /// Unknown features, as the header's bits.
    #[error("uses unknown features ({0:#x}): `qemu-img convert -O qcow2` makes an image without them")]
    Features(u64),
    /// A cluster size that QEMU does not accept, as its logarithm.
    #[error("has clusters of 2^{0} bytes: expected 2^9 to 2^21")]
    ClusterBits(u32),
    /// A disk size of zero, or above the limit.
    #[error("is a disk of {0} bytes: expected more than 0 and at most {max}", max = SIZE)]
    Size(u64),
    /// A first-level table of more bytes than QEMU accepts.
    #[error("has a first table of {0} bytes: expected at most {max}", max = TABLE)]
    FirstTable(u64),
    /// The file ends before data that its tables point to.
    #[error("is truncated: it ends at byte {length}, but its tables point to {from}: download it again")]
    CutShort {
        /// Length of the file.
        length: u64,
        /// Offset that a table contains.
        from: u64,
    },
    /// A table is longer than the address space of this machine.
    #[error(transparent)]
    Memory(#[from] std::num::TryFromIntError),
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Opens an image for reading, after checking by its header and tables that it is complete, unencrypted and needs no
/// other file.
///
/// # Errors
/// [`Qcow2Error`] names the file, the expectation and the remedy.
pub fn open(path: &Path) -> Result<File, Qcow2Error> {
    let failed = |source| Qcow2Error::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut header = Vec::new();
    (&file).take(HEADER as u64).read_to_end(&mut header).map_err(failed)?;
    if !header.starts_with(MAGIC) {
        return Err(Qcow2Error::Other { path: path.to_owned(), begins: begins(&header) });
    }
    let length = file.metadata().map_err(failed)?.len();
    let checked = Header::read(&header).and_then(|header| header.check_complete(&file, length));
    checked.map_err(|what| Qcow2Error::Refused { path: path.to_owned(), what })?;
    Ok(file)
}

/// Returns the beginning of an empty qcow2 of version 3, for a disk of so many bytes; its backing file, if any, is
/// named to QEMU only.
pub fn empty(bytes: u64) -> Vec<u8> {
    const CLUSTER: u64 = 1 << 16;
    // A table of the second level has 8192 entries of one cluster each.
    let first_level = bytes.div_ceil(CLUSTER * (CLUSTER / 8)).max(1);
    let first_level_clusters = (first_level * 8).div_ceil(CLUSTER);
    // The header, the refcount table, one refcount block, the first-level table.
    let clusters = 3 + first_level_clusters;
    let mut file = vec![0; usize::try_from(clusters * CLUSTER).unwrap_or(0)];
    let mut put = |at: usize, value: &[u8]| file[at..at + value.len()].copy_from_slice(value);
    put(0, MAGIC);
    put(4, &3_u32.to_be_bytes());
    put(20, &16_u32.to_be_bytes());
    put(24, &bytes.to_be_bytes());
    put(36, &u32::try_from(first_level).unwrap_or(u32::MAX).to_be_bytes());
    put(40, &(3 * CLUSTER).to_be_bytes());
    put(48, &CLUSTER.to_be_bytes());
    put(56, &1_u32.to_be_bytes());
    // Refcounts of 16 bits, a header of 104 bytes.
    put(96, &4_u32.to_be_bytes());
    put(100, &(HEADER as u32).to_be_bytes());
    put(CLUSTER as usize, &(2 * CLUSTER).to_be_bytes());
    for cluster in 0..clusters as usize {
        put(2 * CLUSTER as usize + 2 * cluster, &1_u16.to_be_bytes());
    }
    file
}

/// Returns the first bytes for people: as text if they are printable, or else in hexadecimal digits.
fn begins(bytes: &[u8]) -> String {
    let first = bytes.get(..8).unwrap_or(bytes);
    match first {
        [] => "nothing".to_owned(),
        text if text.iter().all(u8::is_ascii_graphic) => format!("`{}`", String::from_utf8_lossy(text)),
        other => model::hex::hex(other),
    }
}

/// Fields of the header by which the tables are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    cluster: u64,
    tables: u64,
    table: u64,
    entry: u64,
    /// Number of entries of the first-level table that the disk's size needs; QEMU reads no others.
    needed: u64,
}

impl Header {
    /// Reads the needed fields and refuses images that QEMU must not open.
    fn read(bytes: &[u8]) -> Result<Header, Qcow2Flaw> {
        let word = |at: usize| {
            bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes).ok_or(Qcow2Flaw::ShortHeader)
        };
        let long = |at: usize| {
            bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes).ok_or(Qcow2Flaw::ShortHeader)
        };
        let version = word(4)?;
        let features = match version {
            2 => 0,
            3 => long(72)?,
            other => return Err(Qcow2Flaw::Version(other)),
        };
        let (backing, size, bits) = (long(8)?, long(24)?, word(20)?);
        if backing != 0 {
            return Err(Qcow2Flaw::BackingFile);
        }
        if word(32)? != 0 {
            return Err(Qcow2Flaw::Encrypted);
        }
        if features & DATA_FILE != 0 {
            return Err(Qcow2Flaw::DataFile);
        }
        if features & CORRUPT != 0 {
            return Err(Qcow2Flaw::Corrupt);
        }
        if features & !KNOWN != 0 {
            return Err(Qcow2Flaw::Features(features));
        }
        if !CLUSTER_BITS.contains(&bits) {
            return Err(Qcow2Flaw::ClusterBits(bits));
        }
        if size == 0 || size > SIZE {
            return Err(Qcow2Flaw::Size(size));
        }
        let tables = u64::from(word(36)?) * 8;
        if tables > TABLE {
            return Err(Qcow2Flaw::FirstTable(tables));
        }
        let entry = if features & EXTENDED != 0 { 16 } else { 8 };
        let cluster = 1 << bits;
        let needed = size.div_ceil(cluster * (cluster / entry));
        Ok(Header { cluster, tables, table: long(40)?, entry, needed })
    }

    /// Checks that all data that the tables point to is within the file.
    fn check_complete(&self, file: &File, length: u64) -> Result<(), Qcow2Flaw> {
        let within = |from: u64, bytes: u64| match from.checked_add(bytes).is_some_and(|end| end <= length) {
            true => Ok(()),
            false => Err(Qcow2Flaw::CutShort { length, from }),
        };
        let read = |from: u64, bytes: u64| {
            within(from, bytes)?;
            let mut table = vec![0; usize::try_from(bytes)?];
            file.read_exact_at(&mut table, from)?;
            Ok::<_, Qcow2Flaw>(table)
        };
        let first = read(self.table, self.tables)?;
        // A file of some KiB can have millions of entries that all point to the same large table.
        let needed = words(&first, 8).take(usize::try_from(self.needed)?);
        for table in needed.map(|word| word & OFFSET).filter(|offset| *offset != 0) {
            for word in words(&read(table, self.cluster)?, self.entry) {
                match word & COMPRESSED == 0 {
                    true if word & OFFSET == 0 => {}
                    true => within(word & OFFSET, self.cluster)?,
                    // The file may end before the end of the last sector.
                    false => within(word & self.compressed(), 1)?,
                }
            }
        }
        Ok(())
    }

    /// Returns the mask of a compressed cluster's offset: the larger the clusters, the fewer bits.
    fn compressed(&self) -> u64 {
        let bits = 62 - (self.cluster.trailing_zeros() - 8);
        (1 << bits) - 1
    }
}

/// Returns the first eight bytes of every `every` bytes, as numbers.
fn words(table: &[u8], every: u64) -> impl Iterator<Item = u64> + '_ {
    let every = usize::try_from(every).unwrap_or(8);
    table.chunks_exact(every).filter_map(|entry| entry.first_chunk().map(|word| u64::from_be_bytes(*word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a complete image of one cluster of 64 KiB: header, first-level table, second-level table, data.
    fn sample() -> Vec<u8> {
        let cluster = 1 << 16;
        let mut image = vec![0; 4 * cluster];
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, MAGIC);
        put(4, &3_u32.to_be_bytes());
        put(20, &16_u32.to_be_bytes());
        put(24, &(cluster as u64).to_be_bytes());
        put(36, &1_u32.to_be_bytes());
        put(40, &(cluster as u64).to_be_bytes());
        put(cluster, &((1 << 63) | (2 * cluster as u64)).to_be_bytes());
        put(2 * cluster, &((1 << 63) | (3 * cluster as u64)).to_be_bytes());
        image
    }

    fn opened(bytes: &[u8]) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        std::fs::write(&path, bytes).unwrap();
        let named = |e: Qcow2Error| e.to_string().replace(&*path.to_string_lossy(), "IMAGE");
        open(&path).map(drop).map_err(named)
    }

    fn changed(at: usize, bytes: &[u8]) -> String {
        let mut image = sample();
        image[at..at + bytes.len()].copy_from_slice(bytes);
        opened(&image).unwrap_err()
    }

    #[test]
    fn self_contained_images_are_accepted() {
        assert_eq!(opened(&sample()), Ok(()));
        let mut old = sample();
        old[4..8].copy_from_slice(&2_u32.to_be_bytes());
        assert_eq!(opened(&old), Ok(()));
        // A compressed cluster whose last sector is not full.
        let mut compressed = sample();
        compressed[2 << 16..(2 << 16) + 8].copy_from_slice(&(COMPRESSED | (3 << 16)).to_be_bytes());
        compressed.truncate((3 << 16) + 100);
        assert_eq!(opened(&compressed), Ok(()));
    }

    #[test]
    fn generated_empty_images_are_valid() {
        for bytes in [512, 6 << 30, 1 << 39] {
            let file = empty(bytes);
            assert_eq!(opened(&file), Ok(()), "{bytes}");
            assert_eq!(file[24..32], bytes.to_be_bytes());
        }
    }

    #[test]
    fn images_with_external_files_or_bad_headers_are_refused() {
        assert!(changed(8, &[0, 0, 0, 0, 0, 0, 1, 0]).contains("backing file"));
        assert!(changed(72, &DATA_FILE.to_be_bytes()).contains("external data file"));
        assert!(changed(32, &2_u32.to_be_bytes()).contains("encrypted"));
        assert!(changed(72, &(1_u64 << 40).to_be_bytes()).contains("unknown features"));
        assert!(changed(72, &CORRUPT.to_be_bytes()).contains("corrupt"));
        assert!(changed(4, &4_u32.to_be_bytes()).contains("version 4"));
        assert!(changed(20, &40_u32.to_be_bytes()).contains("2^40"));
        assert!(changed(24, &u64::MAX.to_be_bytes()).contains("expected more than 0"));
        assert!(changed(36, &u32::MAX.to_be_bytes()).contains("first table"));
        assert!(changed(40, &u64::MAX.to_be_bytes()).contains("is truncated"));
    }

    #[test]
    fn tables_beyond_the_disks_size_are_not_followed() {
        let mut image = sample();
        image[36..40].copy_from_slice(&2_u32.to_be_bytes());
        let second = (1 << 16) + 8;
        image[second..second + 8].copy_from_slice(&(1_u64 << 40).to_be_bytes());
        assert_eq!(opened(&image), Ok(()));
    }

    #[test]
    fn truncated_images_are_refused() {
        let image = sample();
        for length in [50, 103, 1 << 16, (2 << 16) + 5, (3 << 16) + 9, image.len() - 1] {
            let error = opened(&image[..length]).unwrap_err();
            assert!(error.contains("is truncated") || error.contains("ends in the middle"), "{length}: {error}");
        }
    }

    #[test]
    fn the_error_for_other_formats_shows_their_first_bytes() {
        for (bytes, begins) in [
            (&b"KDMV\x01\0\0\0"[..], "4b444d5601000000"),
            (b"<html><body>", "`<html><b`"),
            (b"", "nothing"),
            (&[0; 512], "0000000000000000"),
        ] {
            let error = opened(bytes).unwrap_err();
            assert!(error.starts_with(&format!("IMAGE is not a qcow2 image, it begins with {begins}: ")), "{error}");
        }
    }
}
