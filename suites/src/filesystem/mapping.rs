//! Files mapped into memory.
#![expect(unsafe_code, reason = "mmap(2) has no safe form; `Mapping` keeps the pointer and its length together")]

use super::expect::{noise, same_bytes};
use super::proves::{FILES, FILES_NOT_ON_9P, UNCACHED_MAPS};
use crate::check::{Check, Doing, Stop};
use crate::environment::Site;
use crate::outcome::Component;
use crate::row::{Row, row};
use model::profile::DaemonSetting;
use rustix::io::Errno;
use rustix::mm::{MapFlags, MsyncFlags, ProtFlags, mmap, msync, munmap};
use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::ptr;

const SOURCE: &str = include_str!("mapping.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Guest(shared_mappings_agree_with_each_other), FILES),
    row!(Guest(shared_mappings_agree_with_read_and_write), FILES_NOT_ON_9P),
    row!(Guest(private_mappings_do_not_reach_the_file), FILES),
    row!(Guest(files_can_be_mapped_for_execution), FILES),
    row!(Guest(uncached_files_can_be_mapped_shared), UNCACHED_MAPS).only_with(&[DaemonSetting::UncachedMaps]),
];

/// A mapping of the beginning of a file; the file must not shrink while the mapping exists.
pub(super) struct Mapping {
    start: *mut u8,
    length: usize,
}

impl Mapping {
    /// Creates a readable and writable MAP_SHARED mapping.
    pub(super) fn shared(file: &File, length: usize) -> io::Result<Mapping> {
        Mapping::new(file, length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)
    }

    fn new(file: &File, length: usize, protection: ProtFlags, flags: MapFlags) -> io::Result<Mapping> {
        // SAFETY: the kernel chooses an address that nothing else uses.
        let start = unsafe { mmap(ptr::null_mut(), length, protection, flags, file, 0) }?;
        Ok(Mapping { start: start.cast(), length })
    }

    fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        assert!(offset + length <= self.length, "reading {length} bytes at {offset} of a mapping of {}", self.length);
        // SAFETY: the range is inside the mapping; volatile, because others write to the same pages.
        (offset..offset + length).map(|at| unsafe { self.start.add(at).read_volatile() }).collect()
    }

    /// Changes bytes of the mapping.
    pub(super) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.length, "writing past a mapping of {}", self.length);
        for (index, &byte) in bytes.iter().enumerate() {
            // SAFETY: the range is inside the mapping, which is writable; volatile, because others read the same pages.
            unsafe { self.start.add(offset + index).write_volatile(byte) };
        }
    }

    /// Calls msync(2) on the whole mapping.
    pub(super) fn sync(&self) -> io::Result<()> {
        // SAFETY: the range is exactly the mapping.
        Ok(unsafe { msync(self.start.cast::<c_void>(), self.length, MsyncFlags::SYNC) }?)
    }
}

/// Reads at most `most` bytes of a file through a private mapping.
///
/// # Errors
/// When the file cannot be opened or mapped.
pub fn read_mapped(path: &str, most: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let length = usize::try_from(file.metadata()?.len().min(most)).map_err(io::Error::other)?;
    let mapping = Mapping::new(&file, length, ProtFlags::READ, MapFlags::PRIVATE)?;
    Ok(mapping.read(0, length))
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is exactly the mapping, and nothing refers to it any more.
        let _ = unsafe { munmap(self.start.cast::<c_void>(), self.length) };
    }
}

fn open_twice(site: &Site, name: &str, contents: &[u8]) -> Result<(File, File), Stop> {
    let path = site.file(name, contents)?;
    let open = || OpenOptions::new().read(true).write(true).open(&path).doing(format_args!("opening {name}"));
    Ok((open()?, open()?))
}

/// Two shared mappings of one file, made through two descriptors, are the same memory, and after msync(2) the file
/// holds what was stored.
///
/// POSIX demands this of MAP_SHARED, and databases in containers (SQLite's WAL index, LMDB) depend on it; this was
/// Kata's only reason to mount 9p with `cache=mmap`.
fn shared_mappings_agree_with_each_other(site: &Site) -> Check {
    let length = 3 * 4096;
    let (one, two) = open_twice(site, "mapped", &noise(1, length))?;
    let first = Mapping::shared(&one, length).doing("mapping through the first descriptor, MAP_SHARED")?;
    let second = Mapping::shared(&two, length).doing("mapping through the second descriptor, MAP_SHARED")?;
    first.write(4090, b"through the first");
    second.write(12_000, b"through the second");
    same_bytes(&second.read(4090, 17), b"through the first", "what the second mapping shows of a store to the first")?;
    same_bytes(
        &first.read(12_000, 18),
        b"through the second",
        "what the first mapping shows of a store to the second",
    )?;
    first.sync().doing("msync of the first mapping")?;
    drop((first, second, one, two));
    let contents = std::fs::read(site.path("mapped")).doing("reading the file after unmapping")?;
    let mut expected = noise(1, length);
    expected[4090..4107].copy_from_slice(b"through the first");
    expected[12_000..12_018].copy_from_slice(b"through the second");
    same_bytes(&contents, &expected, "the file after msync and unmapping")
}

/// read(2) returns a store to a shared mapping at once, and the mapping shows a write(2) at once.
///
/// Programs use both on one file (SQLite, linkers), and over virtio-fs both use one page cache. Over 9p with
/// `cache=mmap` reads bypass the cache by design (Linux, Documentation/filesystems/9p), so this is not tried on 9p.
fn shared_mappings_agree_with_read_and_write(site: &Site) -> Check {
    let length = 3 * 4096;
    let (one, two) = open_twice(site, "mapped", &noise(1, length))?;
    let mapping = Mapping::shared(&one, length).doing("mapping with MAP_SHARED")?;
    mapping.write(4090, b"by a store");
    let mut seen = [0; 10];
    two.read_exact_at(&mut seen, 4090).doing("reading the mapped file")?;
    same_bytes(&seen, b"by a store", "what read(2) shows of a store to a shared mapping")?;
    two.write_all_at(b"by write(2)", 8000).doing("writing to the mapped file")?;
    same_bytes(&mapping.read(8000, 11), b"by write(2)", "what a shared mapping shows of a write(2)")
}

/// A store to a MAP_PRIVATE mapping stays with its process and never reaches the file.
///
/// The dynamic loader maps every library this way and relocates it in place; otherwise one program in a container would
/// damage a library for the next.
fn private_mappings_do_not_reach_the_file(site: &Site) -> Check {
    let contents = noise(2, 8192);
    let (one, _) = open_twice(site, "private", &contents)?;
    let mapping = Mapping::new(&one, 8192, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        .doing("mapping with MAP_PRIVATE")?;
    same_bytes(&mapping.read(0, 8192), &contents, "a private mapping")?;
    mapping.write(100, b"only here");
    same_bytes(&mapping.read(100, 9), b"only here", "a private mapping after a store")?;
    let in_file = std::fs::read(site.path("private")).doing("reading the mapped file")?;
    same_bytes(&in_file, &contents, "the file under a private mapping with a store")
}

/// A file on the share can be mapped with PROT_EXEC, and the mapping shows the file's bytes.
///
/// Every program and library of a container on a shared root filesystem runs from such a mapping; on a noexec share, or
/// one without mmap, no container starts.
fn files_can_be_mapped_for_execution(site: &Site) -> Check {
    let contents = noise(3, 4096);
    let path = site.file("program", &contents)?;
    let file = File::open(&path).doing("opening the program")?;
    let mapping = Mapping::new(&file, 4096, ProtFlags::READ | ProtFlags::EXEC, MapFlags::PRIVATE)
        .doing("mapping with PROT_EXEC")?;
    same_bytes(&mapping.read(0, 4096), &contents, "an executable mapping")
}

/// A file of which the guest caches nothing can be mapped MAP_SHARED and written, and after msync(2) the file holds
/// what was stored.
///
/// With `virtio_fs_cache` as `never`, which is the default of Kata's code (`DEFAULT_VIRTIO_FS_CACHE_MODE` in
/// src/libs/kata-types/src/config/default.rs@4.1.0), Linux refuses such mappings, and SQLite or LMDB do not run on the
/// share; `--allow-mmap` in `virtio_fs_extra_args` permits them, with virtiofsd from 1.11 on. Linux supports that from
/// 6.6 on: with an older guest kernel the refusal (ENODEV) is the kernel's.
fn uncached_files_can_be_mapped_shared(site: &Site) -> Check {
    let length = 3 * 4096;
    let (one, two) = open_twice(site, "uncached", &noise(4, length))?;
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let mapping = Mapping::shared(&one, length).map_err(|e| not_mapped(&e, &kernel))?;
    mapping.write(4090, b"by a store");
    mapping.sync().doing("msync of the mapping")?;
    let mut seen = [0; 10];
    two.read_exact_at(&mut seen, 4090).doing("reading the mapped file")?;
    same_bytes(&seen, b"by a store", "what read(2) shows of a store after msync")?;
    drop((mapping, one, two));
    let contents = std::fs::read(site.path("uncached")).doing("reading the file after unmapping")?;
    let mut expected = noise(4, length);
    expected[4090..4100].copy_from_slice(b"by a store");
    same_bytes(&contents, &expected, "the file after msync and unmapping")
}

/// Returns the failure to map an uncached file; a kernel that cannot do it, whatever the daemon permits, is to blame.
fn not_mapped(error: &io::Error, kernel: &str) -> Stop {
    let seen = format!("mapping a file of which the guest caches nothing, MAP_SHARED: {error}");
    match error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) && is_before_6_6(kernel) {
        true => Stop::blame(Component::Kernel, format!("{seen} (Linux {kernel}; this needs 6.6 or later)")),
        false => Stop::fail(seen),
    }
}

fn is_before_6_6(kernel: &str) -> bool {
    let mut numbers = kernel.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    matches!((numbers.next(), numbers.next()), (Some(major), Some(minor)) if (major, minor) < (6, 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_blamed_for_what_it_cannot_do_and_for_nothing_else() {
        let blames = |errno: Errno, kernel: &str| match not_mapped(&io::Error::from(errno), kernel) {
            Stop::Fail { blames, .. } => blames,
            other => panic!("{other:?}"),
        };
        for old in ["6.1.0-40-amd64", "5.14.0-503.el9.x86_64", "6.5", "4.18.0"] {
            assert_eq!(blames(Errno::NODEV, old), Some(Component::Kernel), "{old}");
        }
        for new in ["6.6.0", "6.12.48+deb13-amd64", "7.2~rc1-amd64", "virt"] {
            assert_eq!(blames(Errno::NODEV, new), None, "{new}");
        }
        assert_eq!(blames(Errno::IO, "6.1.0-40-amd64"), None);
    }
}
