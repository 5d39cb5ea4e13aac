//! The name of a cache, with which its images and containers in Docker are labelled.
//!
//! The name is unique to one cache: its file also has its own inode number, and a file that was copied, or restored
//! from an archive, has another inode.
//! A copied cache gets a new name, because the objects in Docker under the old name belong to the original cache. The
//! device does not count, because its number may change with a reboot.

use super::{Store, trust};
use crate::digest::Fields;
use crate::error::{Context as _, Failure, ImageError};
use crate::manifest::sync;
use crate::progress::ImagePhase;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Number of bytes of the file that are read; a name has 16, an inode at most 20.
const MAX: u64 = 64;

/// Returns the cache's own name, which is made with the cache and labels its images and containers in Docker.
///
/// # Errors
/// If the cache must not be used, or the name cannot be read or written.
pub fn id(cache: &Path) -> Result<String, ImageError> {
    let store = Store::new(cache);
    let id = || {
        store.check()?;
        store.id()
    };
    id().map_err(|failure| ImageError::new("the cache", ImagePhase::Store, failure))
}

impl Store {
    /// Returns the name, and makes one if there is none, if a power cut truncated it, or if it was copied from another
    /// cache.
    pub(crate) fn id(&self) -> Result<String, Failure> {
        if let Some(id) = self.known_id()? {
            return Ok(id);
        }
        // If two processes make a name, the second finds that of the first.
        let _gate = self.gate()?;
        if let Some(id) = self.known_id()? {
            return Ok(id);
        }
        let path = self.images.with_file_name("id");
        let cache = self.images.parent().unwrap_or(&self.images);
        let seed = [std::process::id().to_le_bytes().to_vec(), random()].concat();
        let id: String = Fields::default().add("id", seed).hex().chars().take(16).collect();
        // The file appears under its name complete, or not at all.
        let mut made = tempfile::NamedTempFile::new_in(cache).context("creating a file in", cache)?;
        // The rename keeps the inode.
        let inode = made.as_file().metadata().context("looking at", made.path())?.ino();
        let text = format!("{id} {inode}\n");
        made.write_all(text.as_bytes()).and_then(|()| made.as_file().sync_all()).context("writing", &path)?;
        made.persist(&path).map_err(|e| e.error).context("creating", &path)?;
        sync(cache)?;
        Ok(id)
    }

    fn known_id(&self) -> Result<Option<String>, Failure> {
        let path = self.images.with_file_name("id");
        let file = match trust::existing_lock(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.context("using", &path)?,
        };
        let inode = file.metadata().context("looking at", &path)?.ino();
        let mut bytes = Vec::new();
        file.take(MAX).read_to_end(&mut bytes).context("reading", &path)?;
        let text = String::from_utf8_lossy(&bytes);
        let Some((id, recorded_inode)) = text.trim().split_once(' ') else { return Ok(None) };
        // An empty name would be common to all caches.
        let is_name = !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit());
        Ok((is_name && recorded_inode.parse::<u64>() == Ok(inode)).then(|| id.to_owned()))
    }
}

fn random() -> Vec<u8> {
    let mut bytes = [0_u8; 16];
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
    bytes[..got].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_cache_is_stable_and_unique() {
        let dir = tempfile::tempdir().unwrap();
        let first = id(dir.path()).unwrap();
        assert_eq!(first.len(), 16);
        assert_eq!(id(dir.path()).unwrap(), first);
        assert_ne!(id(tempfile::tempdir().unwrap().path()).unwrap(), first);
    }

    #[test]
    fn a_copied_cache_gets_a_new_id_and_a_moved_cache_keeps_its_id() {
        let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = dir.path().join("first");
        trust::make(&first).unwrap();
        let name = id(&first).unwrap();
        std::fs::copy(first.join("id"), copy.path().join("id")).unwrap();
        let copied = id(copy.path()).unwrap();
        assert_ne!(copied, name);
        assert_eq!(id(copy.path()).unwrap(), copied);
        let moved = dir.path().join("moved");
        std::fs::rename(&first, &moved).unwrap();
        assert_eq!(id(&moved).unwrap(), name);
    }

    #[test]
    fn an_empty_or_damaged_id_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        id(dir.path()).unwrap();
        for content in [&b""[..], b"\n", b"\0\0\0\0", b"\xff", b"0123456789abcdef", b"0123456789abcdef "] {
            std::fs::write(dir.path().join("id"), content).unwrap();
            let name = id(dir.path()).unwrap();
            assert_eq!(name.len(), 16, "after {content:?}");
            assert_ne!(name, "0123456789abcdef", "after {content:?}");
            let file = dir.path().join("id");
            let inode = std::fs::metadata(&file).unwrap().ino();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{name} {inode}\n"), "after {content:?}");
            assert_eq!(id(dir.path()).unwrap(), name);
        }
    }
}
