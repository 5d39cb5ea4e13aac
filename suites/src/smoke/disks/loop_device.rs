//! A file as a disk (loop(4)).
#![expect(unsafe_code, reason = "loop devices are set up by ioctl, which has no safe interface")]

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

/// `LOOP_CTL_GET_FREE`, `LOOP_SET_FD` and `LOOP_CLR_FD` of linux/loop.h.
const GET_FREE: libc::c_ulong = 0x4c82;
const SET_FILE: libc::c_ulong = 0x4c00;
const CLEAR: libc::c_ulong = 0x4c01;
/// How often another one is tried when somebody else was faster.
const TRIES: usize = 8;

/// A loop device with a file, free again when dropped.
pub(super) struct LoopDevice {
    /// `/dev/loop0`.
    pub(super) path: PathBuf,
    device: File,
}

impl LoopDevice {
    /// Attaches a file to a free one.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn attach(file: &File) -> io::Result<LoopDevice> {
        let control = File::options().read(true).write(true).open("/dev/loop-control")?;
        for _ in 0..TRIES {
            // SAFETY: the call takes no pointer.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE as libc::Ioctl) };
            if number < 0 {
                return Err(io::Error::last_os_error());
            }
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = File::options().read(true).write(true).open(&path)?;
            // SAFETY: the call takes a descriptor, which lives until it returns.
            match unsafe { libc::ioctl(device.as_raw_fd(), SET_FILE as libc::Ioctl, file.as_raw_fd()) } {
                0 => return Ok(LoopDevice { path, device }),
                _ if io::Error::last_os_error().raw_os_error() == Some(libc::EBUSY) => {}
                _ => return Err(io::Error::last_os_error()),
            }
        }
        Err(io::Error::other(format!("{TRIES} free loop devices were taken by others")))
    }

    /// Opens the disk.
    pub(super) fn open(&self) -> io::Result<File> {
        File::options().read(true).write(true).open(&self.path)
    }

    /// Its major and minor number: `7:0`.
    pub(super) fn number(&self) -> io::Result<String> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(fs::read_to_string(format!("/sys/block/{name}/dev"))?.trim().to_owned())
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // SAFETY: the call takes no pointer.
        unsafe { libc::ioctl(self.device.as_raw_fd(), CLEAR as libc::Ioctl) };
    }
}
