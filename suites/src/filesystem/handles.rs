//! Files that stay open while their names change.

use super::expect::{refused, same_bytes};
use super::proves::FILES;
use crate::check::{Check, Doing};
use crate::ensure;
use crate::environment::Site;
use crate::reproducer::Reproducer;
use crate::row::{Row, row};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};

const SOURCE: &str = include_str!("handles.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Guest(unlinked_but_open_files_stay_usable), FILES)
        .finds("/^unlink:retval=0")
        .reproduced(Reproducer::SystemCalls(include_str!("reproducers/unlinked.c"))),
    row!(Guest(a_removed_directory_is_empty_and_takes_nothing), FILES),
];

/// A file whose last name is removed can still be read, written, extended and stat'ed through its descriptor, with a
/// link count of 0, and a new file of that name is a different one.
///
/// POSIX's unlink demands this; every temporary file made with tmpfile(3) works this way, and 9p failed here for years
/// (kata-containers/runtime, "unlinked but open").
fn unlinked_but_open_files_stay_usable(site: &Site) -> Check {
    let path = site.file("file", "before")?;
    let file = OpenOptions::new().read(true).write(true).open(&path).doing("opening the file")?;
    let inode = file.metadata().doing("fstat")?.ino();
    fs::remove_file(&path).doing("removing the open file")?;
    refused(fs::metadata(&path), &[Errno::NOENT], "stat of the removed name")?;
    let status = file.metadata().doing("fstat of an unlinked file")?;
    ensure!(status.nlink() == 0, "fstat of an unlinked file: expected a link count of 0, saw {}", status.nlink());
    ensure!(status.ino() == inode, "fstat of an unlinked file: expected inode {inode}, saw {}", status.ino());
    file.write_all_at(b" and after", 6).doing("writing to an unlinked file")?;
    let mut seen = [0; 16];
    file.read_exact_at(&mut seen, 0).doing("reading an unlinked file")?;
    same_bytes(&seen, b"before and after", "an unlinked file")?;
    site.file("file", "another")?;
    file.set_len(6).doing("truncating an unlinked file")?;
    let size = file.metadata().doing("fstat after truncating")?.len();
    ensure!(size == 6, "an unlinked file truncated to 6: saw {size} bytes");
    same_bytes(&fs::read(&path).doing("reading the new file")?, b"another", "a new file of the removed name")
}

/// A directory that is removed while it is open lists nothing any more, and no file can be made in it (ENOENT).
///
/// POSIX's rmdir demands this; a process whose working directory is removed must get an error instead of losing what it
/// writes.
fn a_removed_directory_is_empty_and_takes_nothing(site: &Site) -> Check {
    let path = site.directory("directory")?;
    let held = File::open(&path).doing("opening the directory")?;
    fs::remove_dir(&path).doing("removing the open directory")?;
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CREATE | rustix::fs::OFlags::CLOEXEC;
    let create = rustix::fs::openat(&held, "file", flags, rustix::fs::Mode::from_raw_mode(0o644));
    refused(create, &[Errno::NOENT, Errno::STALE], "creating a file in a removed directory")?;
    refused(fs::read_dir(&path), &[Errno::NOENT], "listing a removed directory by its name")
}
