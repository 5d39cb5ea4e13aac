//! Disks of tests: files of known content.

use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::environment::{Machine, Question};
use crate::scratch;
use std::path::PathBuf;

/// The size of a disk that is used thoroughly, bytes.
const BYTES: usize = 8 << 20;
/// The size of one of many disks, bytes.
pub(in crate::smoke) const SMALL: usize = 64 << 10;

/// A disk's file and its content; dropping it removes the file.
pub(in crate::smoke) struct ScratchDisk(pub(in crate::smoke) PathBuf, Content);

#[derive(Debug, Clone, Copy)]
struct Content {
    byte: u8,
    bytes: usize,
}

impl ScratchDisk {
    /// Creates a disk filled with dashes.
    pub(in crate::smoke) fn new() -> Result<ScratchDisk, Stop> {
        ScratchDisk::of(b'-', BYTES)
    }

    /// Creates a disk filled with a byte.
    pub(in crate::smoke) fn of(byte: u8, bytes: usize) -> Result<ScratchDisk, Stop> {
        let disk = ScratchDisk(scratch::path("disk"), Content { byte, bytes });
        scratch::write_new(&disk.0, &vec![byte; bytes]).map_err(|e| Stop::error(format!("making a disk: {e}")))?;
        Ok(disk)
    }

    /// Checks that the guest reads the host's data, and that the host finds the guest's.
    pub(in crate::smoke) fn is_used(&self, machine: &mut dyn Machine, name: &str) -> Check {
        let (device, Content { byte, bytes }) = (format!("/dev/{name}"), self.1);
        let (write, full) = (bytes / 8, char::from(byte).to_string());
        let question = Question::WriteDisk { device, bytes: u32::try_from(write).unwrap_or(u32::MAX) };
        let seen = machine.ask(question)?.text("using the disk in the guest")?;
        ensure!(seen == full, "a disk full of {full:?} reads in the guest as {seen:?}");
        let content = self.content()?;
        let written = content.iter().enumerate().take_while(|(at, byte)| **byte == crate::disk::pattern(*at)).count();
        ensure!(written >= write, "the guest wrote {write} bytes to the disk, and {written} of them reached the file");
        let rest = &content[2 * write..];
        ensure!(rest.iter().all(|there| *there == byte), "the guest's write spread beyond what it wrote");
        Ok(())
    }

    /// Checks that nothing has been written to the disk.
    pub(in crate::smoke) fn is_untouched(&self) -> Check {
        let content = self.content()?;
        let same = content.len() == self.1.bytes && content.iter().all(|there| *there == self.1.byte);
        ensure!(same, "the file of a disk that is read-only has changed");
        Ok(())
    }

    fn content(&self) -> Result<Vec<u8>, Stop> {
        std::fs::read(&self.0).doing("reading the disk's file")
    }
}

impl Drop for ScratchDisk {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
