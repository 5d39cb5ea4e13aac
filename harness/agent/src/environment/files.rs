//! Reading and writing of files in the environment, for the harness.

use protocol::message::{Base64Bytes, CHUNK};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Writes bytes at `offset`; an offset of 0 truncates the file first. Parent directories are created.
pub(super) fn put(path: &Path, mode: u32, offset: u64, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(offset == 0).mode(mode).open(path)?;
    // A device may not support seeking, even to its beginning.
    if offset > 0 {
        file.seek(SeekFrom::Start(offset))?;
    }
    file.write_all(bytes)?;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// Reads one chunk at `offset`; it is empty at the end of the file.
pub(super) fn get(path: &Path, offset: u64) -> io::Result<Base64Bytes> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(CHUNK as u64).read_to_end(&mut bytes)?;
    Ok(Base64Bytes(bytes))
}

/// Lists the regular files below `dir` with their sizes.
pub(super) fn list(dir: &Path, files: &mut Vec<(String, u64)>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => list(&entry.path(), files),
            Ok(meta) if meta.is_file() => files.push((entry.path().to_string_lossy().into_owned(), meta.len())),
            _ => {}
        }
    }
}
