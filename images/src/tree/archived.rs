//! Entries of a tree in a tar archive, with owners, modes, hard links and extended attributes.

use super::attributes;
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Size limit of a tree's archived files including holes, in bytes: the same as for unpacking an archive.
pub(crate) const BYTES: u64 = 64 << 30;

/// State of writing a tree into an archive.
pub(crate) struct Entries {
    /// Files with hard links, by device and inode.
    seen: HashMap<(u64, u64), PathBuf>,
    /// Remaining bytes.
    remaining: u64,
    /// Selects the attributes that are kept.
    is_taken: fn(&[u8]) -> bool,
}

impl Entries {
    /// Returns the initial state.
    pub(crate) fn new(bytes: u64, is_taken: fn(&[u8]) -> bool) -> Entries {
        Entries { seen: HashMap::new(), remaining: bytes, is_taken }
    }

    /// Adds a file, a directory without its content, or a link.
    pub(crate) fn append(
        &mut self,
        builder: &mut tar::Builder<impl Write>,
        from: &Path,
        path: &Path,
        meta: &Metadata,
    ) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_metadata(meta);
        if meta.is_symlink() {
            header.set_size(0);
            return builder.append_link(&mut header, path, std::fs::read_link(from)?);
        }
        if meta.is_file() && meta.nlink() > 1 {
            if let Some(first) = self.seen.get(&(meta.dev(), meta.ino())) {
                header.set_entry_type(tar::EntryType::Link);
                header.set_size(0);
                return builder.append_link(&mut header, path, first);
            }
            self.seen.insert((meta.dev(), meta.ino()), path.to_owned());
        }
        let records = self.records(from)?;
        builder.append_pax_extensions(records.iter().map(|(name, value)| (name.as_str(), value.as_slice())))?;
        if meta.is_dir() {
            header.set_size(0);
            return builder.append_data(&mut header, path, io::empty());
        }
        let too_large = || io::Error::other(format!("with {} the tree is too large for a release", path.display()));
        self.remaining = self.remaining.checked_sub(meta.len()).ok_or_else(too_large)?;
        builder.append_data(&mut header, path, File::open(from)?)
    }

    /// Returns extended attributes as PAX records (`SCHILY.xattr.*`).
    fn records(&self, path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
        let selected = attributes::of(path)?.into_iter().filter(|(name, _)| (self.is_taken)(name));
        Ok(selected.map(|(name, value)| (format!("SCHILY.xattr.{}", String::from_utf8_lossy(&name)), value)).collect())
    }
}
