//! A disk inside a guest: read, write, sync and discard.
#![expect(unsafe_code, reason = "nothing gives up parts of a disk by a safe interface")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

/// Returns the byte that a test writes at this offset of a disk.
pub fn pattern(at: usize) -> u8 {
    // Never an ASCII byte, because an unwritten disk is filled with one.
    (at % 251) as u8 | 0x80
}

/// How long it may take until a disk that the kernel lists can be opened.
const IS_MADE: Duration = Duration::from_secs(10);

/// Opens a disk, also one that has just been plugged.
///
/// The kernel lists the disk and makes its node before it serves it, and informs udev only then; in between, open fails
/// with ENXIO (`device_add_disk`).
///
/// # Errors
/// The kernel's error; ENXIO only after retrying for a while.
pub fn opened(device: &str, how: &OpenOptions) -> io::Result<File> {
    let until = Instant::now() + IS_MADE;
    loop {
        match how.open(device) {
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            done => return done,
        }
    }
}

/// Reads the first byte of a disk, then writes this many bytes from its beginning and waits until they are on the disk.
///
/// # Errors
/// The disk's error.
pub fn write(device: &str, bytes: u32) -> io::Result<String> {
    let mut disk = opened(device, File::options().read(true).write(true))?;
    let mut first = [0];
    disk.read_exact(&mut first)?;
    disk.seek(SeekFrom::Start(0))?;
    let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
    disk.write_all(&(0..bytes).map(pattern).collect::<Vec<_>>())?;
    disk.sync_all()?;
    Ok(String::from_utf8_lossy(&first).into_owned())
}

/// Discards this many bytes of a disk, from an offset on.
///
/// # Errors
/// The kernel's error, for example if the disk does not support discard.
pub fn discard(device: &str, offset: u64, bytes: u64) -> io::Result<()> {
    // BLKDISCARD, in linux/fs.h.
    const DISCARD: libc::c_ulong = 0x1277;
    let disk = opened(device, File::options().read(true).write(true))?;
    let range = [offset, bytes];
    // SAFETY: the kernel reads two numbers of 64 bits, which live until the call returns.
    match unsafe { libc::ioctl(disk.as_raw_fd(), DISCARD as libc::Ioctl, &raw const range) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
