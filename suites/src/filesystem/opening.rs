//! Promises of the flags of open(2).

use super::expect::{refused, same_bytes};
use super::proves::{CACHES, FILES, THREAD_POOL};
use crate::check::{Check, Doing};
use crate::ensure;
use crate::environment::Site;
use crate::row::{Row, row};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::sync::Barrier;

const SOURCE: &str = include_str!("opening.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Guest(append_writes_at_the_end), FILES).also_with(CACHES),
    row!(Guest(truncate_on_open_empties_the_file), FILES),
    row!(Guest(exclusive_create_has_one_winner), FILES).also_with(THREAD_POOL),
    row!(Guest(directory_and_nofollow_are_honoured), FILES),
    row!(Guest(access_modes_bind_the_descriptor), FILES),
];

/// With O_APPEND each write goes to the current end of the file, whatever the descriptor's position is and whatever
/// other writers do.
///
/// POSIX's open demands this; containers' logs are written this way, and FUSE leaves the position to the daemon, which
/// must itself open with O_APPEND.
fn append_writes_at_the_end(site: &Site) -> Check {
    let path = site.file("log", "start;")?;
    let open = || OpenOptions::new().append(true).open(&path).doing("opening with O_APPEND");
    let (mut one, mut two) = (open()?, open()?);
    one.write_all(b"one;").doing("appending")?;
    two.write_all(b"two;").doing("appending through a second descriptor")?;
    one.seek(SeekFrom::Start(0)).doing("seeking the appending descriptor")?;
    one.write_all(b"three;").doing("appending after a seek to 0")?;
    let mut other = OpenOptions::new().write(true).open(&path).doing("opening without O_APPEND")?;
    other.seek(SeekFrom::End(0)).doing("seeking to the end")?;
    other.write_all(b"four;").doing("writing at the end")?;
    two.write_all(b"five;").doing("appending behind another writer")?;
    same_bytes(&fs::read(&path).doing("reading the log")?, b"start;one;two;three;four;five;", "the log")
}

/// Opening with O_TRUNC empties the file at once, also for readers that have it open, and keeps its inode.
///
/// Every shell redirection in a container does this; with a stale size or stale pages, the end of the old contents
/// would still be visible.
fn truncate_on_open_empties_the_file(site: &Site) -> Check {
    let path = site.file("file", [b'x'; 10_000])?;
    let reader = File::open(&path).doing("opening a reader")?;
    let before = reader.metadata().doing("fstat of the reader")?;
    let mut writer = OpenOptions::new().write(true).truncate(true).open(&path).doing("opening with O_TRUNC")?;
    let size = reader.metadata().doing("fstat of the reader")?.len();
    ensure!(size == 0, "a reader's fstat after O_TRUNC: expected 0 bytes, saw {size}");
    same_bytes(&fs::read(&path).doing("reading the emptied file")?, b"", "the file after O_TRUNC")?;
    writer.write_all(b"new").doing("writing after O_TRUNC")?;
    same_bytes(&fs::read(&path).doing("reading the new contents")?, b"new", "the file after O_TRUNC and a write")?;
    let after = fs::metadata(&path).doing("stat of the file")?;
    use std::os::unix::fs::MetadataExt;
    ensure!(before.ino() == after.ino(), "O_TRUNC: expected inode {} as before, saw {}", before.ino(), after.ino());
    Ok(())
}

/// If several threads create one name with O_CREAT|O_EXCL, exactly one succeeds and the others get EEXIST; a dangling
/// symlink counts as existing.
///
/// POSIX's open demands that the test and the creation are one step; otherwise lock files and `mktemp` in containers
/// are not safe.
fn exclusive_create_has_one_winner(site: &Site) -> Check {
    let threads = 4;
    for round in 0..20 {
        let path = site.path(format!("lock-{round}"));
        let barrier = Barrier::new(threads);
        let attempt = || {
            barrier.wait();
            OpenOptions::new().write(true).create_new(true).open(&path)
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(attempt)).collect();
            handles.into_iter().filter_map(|handle| handle.join().ok()).collect()
        });
        let winners = results.iter().filter(|result| result.is_ok()).count();
        ensure!(winners == 1, "round {round}: expected 1 of {threads} exclusive creations to succeed, saw {winners}");
        for loser in results.into_iter().filter(Result::is_err) {
            refused(loser, &[Errno::EXIST], "losing an exclusive creation")?;
        }
    }
    std::os::unix::fs::symlink("nowhere", site.path("dangling")).doing("making a dangling symlink")?;
    let through = OpenOptions::new().write(true).create_new(true).open(site.path("dangling"));
    refused(through, &[Errno::EXIST], "O_EXCL on a dangling symlink")
}

/// O_DIRECTORY refuses everything but a directory (ENOTDIR), and O_NOFOLLOW refuses a symlink at the end of the path
/// (ELOOP).
///
/// Container runtimes and the guest's agent use these flags to protect themselves against swapped paths.
fn directory_and_nofollow_are_honoured(site: &Site) -> Check {
    let file = site.file("file", "x")?;
    let directory = site.directory("directory")?;
    std::os::unix::fs::symlink("file", site.path("to-file")).doing("making a symlink")?;
    let open = |path: &std::path::Path, flags| openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty());
    refused(open(&file, OFlags::RDONLY | OFlags::DIRECTORY), &[Errno::NOTDIR], "O_DIRECTORY on a file")?;
    open(&directory, OFlags::RDONLY | OFlags::DIRECTORY).doing("O_DIRECTORY on a directory")?;
    refused(open(&site.path("to-file"), OFlags::RDONLY | OFlags::NOFOLLOW), &[Errno::LOOP], "O_NOFOLLOW on a symlink")?;
    open(&file, OFlags::RDONLY | OFlags::NOFOLLOW).doing("O_NOFOLLOW on a file")?;
    Ok(())
}

/// A descriptor opened for reading cannot write, and vice versa (EBADF), even if the daemon has opened the file in
/// another mode.
///
/// With writeback caching, a FUSE daemon also opens write-only files for reading; the guest's process must not notice
/// this.
fn access_modes_bind_the_descriptor(site: &Site) -> Check {
    let path = site.file("file", "contents")?;
    let reader = File::open(&path).doing("opening for reading")?;
    let writer = OpenOptions::new().write(true).open(&path).doing("opening for writing")?;
    let mut buffer = [0; 8];
    refused(rustix::io::write(&reader, b"x"), &[Errno::BADF], "writing through a read-only descriptor")?;
    refused(rustix::io::read(&writer, &mut buffer), &[Errno::BADF], "reading through a write-only descriptor")?;
    same_bytes(&fs::read(&path).doing("reading the file")?, b"contents", "the file")
}
