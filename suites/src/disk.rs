//! A disk inside a guest: read, written and synchronised.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

/// The byte that a test writes at this place of a disk.
pub fn pattern(at: usize) -> u8 {
    // Never a dash, which is what the disk was full of.
    (at % 251) as u8 | 0x80
}

/// Reads the first byte of a disk, then writes so many bytes from its beginning and waits until they are on it.
///
/// # Errors
/// What the disk says.
pub fn write(device: &str, bytes: u32) -> io::Result<String> {
    let mut disk = OpenOptions::new().read(true).write(true).open(device)?;
    let mut first = [0];
    disk.read_exact(&mut first)?;
    disk.seek(SeekFrom::Start(0))?;
    let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
    disk.write_all(&(0..bytes).map(pattern).collect::<Vec<_>>())?;
    disk.sync_all()?;
    Ok(String::from_utf8_lossy(&first).into_owned())
}
