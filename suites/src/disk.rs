//! A disk inside a guest: read, written and synchronised, and parts of it given up.
#![expect(unsafe_code, reason = "nothing gives up parts of a disk by a safe interface")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

/// The byte that a test writes at this place of a disk.
pub fn pattern(at: usize) -> u8 {
    // Never a byte of ASCII: of one of these a disk is full that has not been written.
    (at % 251) as u8 | 0x80
}

/// How long a disk that the kernel lists may take until it can be opened.
const IS_MADE: Duration = Duration::from_secs(10);

/// Opens a disk, also one that has just come.
///
/// The kernel lists it and makes its node before it serves it, and tells udev only then; in between its answer is ENXIO
/// (`device_add_disk`).
///
/// # Errors
/// What the kernel says, ENXIO only after a while.
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

/// Reads the first byte of a disk, then writes so many bytes from its beginning and waits until they are on it.
///
/// # Errors
/// What the disk says.
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

/// Gives up so many bytes of a disk, from an offset on.
///
/// # Errors
/// What the kernel says: a disk that cannot give anything up is refused.
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
