//! A virtio-serial port: the line of an agent in a virtual machine.

use rustix::fs::{Mode, OFlags};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// A port that reads as ended while the host side is not connected, which is not the end of the line.
pub(crate) struct Port(File);

impl Port {
    /// Finds the port by its name and opens it; the device appears a moment after its driver.
    pub(crate) fn open(expected: &str, within: Duration) -> io::Result<Port> {
        let end = Instant::now() + within;
        loop {
            for entry in fs::read_dir("/sys/class/virtio-ports").into_iter().flatten().flatten() {
                let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
                if name.trim() == expected {
                    let device = Path::new("/dev").join(entry.file_name());
                    if let Ok(fd) = rustix::fs::open(&device, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
                        return Ok(Port(File::from(fd)));
                    }
                }
            }
            if Instant::now() > end {
                return Err(io::Error::other(format!("no virtio-serial port named {expected} within {within:?}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn try_clone(&self) -> io::Result<Port> {
        self.0.try_clone().map(Port)
    }
}

impl Read for Port {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer)? {
                0 => std::thread::sleep(Duration::from_millis(20)),
                count => return Ok(count),
            }
        }
    }
}

impl Write for Port {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
