//! A file as a disk (loop(4)).
#![expect(unsafe_code, reason = "loop devices are set up by ioctl, which has no safe interface")]

use crate::check::Stop;
use crate::outcome::Component;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// `LOOP_CTL_GET_FREE`, `LOOP_SET_FD` and `LOOP_CLR_FD` of linux/loop.h.
const GET_FREE: libc::c_ulong = 0x4c82;
const SET_FILE: libc::c_ulong = 0x4c00;
const CLEAR: libc::c_ulong = 0x4c01;
/// How often to try another device after losing a race for one.
const TRIES: usize = 8;

/// A loop device with a file; dropping it frees the device.
pub struct LoopDevice {
    /// The device's path, `/dev/loop0`.
    pub path: PathBuf,
    device: File,
}

impl LoopDevice {
    /// Attaches a file to a free loop device.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn attach(file: &File) -> io::Result<LoopDevice> {
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

    /// Attaches a file to a free loop device on a host.
    ///
    /// # Errors
    /// A failure that blames a kernel without loop devices; a skip if the environment does not allow them.
    pub fn of_host(file: &File) -> Result<LoopDevice, Stop> {
        LoopDevice::attach(file).map_err(|e| match e.raw_os_error() {
            // The errors of a node in `/dev` whose module is missing.
            Some(libc::ENODEV | libc::ENXIO) => {
                Stop::blame(Component::Kernel, format!("the kernel has no loop devices: {e}"))
            }
            _ => Stop::skip(format!("the environment gives no loop device: {e}")),
        })
    }

    /// Opens the loop device.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn open(&self) -> io::Result<File> {
        File::options().read(true).write(true).open(&self.path)
    }

    /// Returns the device's major and minor number: `7:0`.
    ///
    /// # Errors
    /// When sysfs cannot be read.
    pub fn number(&self) -> io::Result<String> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(fs::read_to_string(format!("/sys/block/{name}/dev"))?.trim().to_owned())
    }
}

/// Frees every loop device whose file is, or was, below a directory.
pub fn free_below(folder: &Path) {
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let file = fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
        if Path::new(file.trim()).starts_with(folder)
            && let Ok(device) = File::open(Path::new("/dev").join(entry.file_name()))
        {
            clear(&device);
        }
    }
}

/// Frees a loop device, at once or when its last user closes it.
fn clear(device: &File) {
    // SAFETY: the call takes no pointer.
    unsafe { libc::ioctl(device.as_raw_fd(), CLEAR as libc::Ioctl) };
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        clear(&self.device);
    }
}
