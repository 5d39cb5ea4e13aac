//! rename(2).

use super::expect::{refused, same_bytes};
use super::proves::{FILES, FILES_NOT_ON_9P};
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::Site;
use crate::row::{Row, row};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SOURCE: &str = include_str!("renames.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Guest(rename_is_atomic), FILES).finds("/^rename:retval=0"),
    row!(Guest(rename_keeps_open_files), FILES).finds("/^rename:retval=0"),
    row!(Guest(rename_moves_directories), FILES).finds("/^rename:retval=0"),
    row!(Guest(rename_noreplace_and_exchange_are_honoured), FILES_NOT_ON_9P).finds("/^rename:retval=0"),
];

/// While one thread renames new versions over a name, a reader never finds the name missing, empty, or a mix of two
/// versions; afterwards the old name is gone.
///
/// POSIX rename; every configuration file, package and image layer in a container is replaced this way, and a share
/// that unlinks first or only pretends loses it.
fn rename_is_atomic(site: &Site) -> Check {
    let target = site.path("target");
    let next = site.path("next");
    let size = 6_000;
    fs::write(&target, vec![b'a'; size]).doing("writing the first version")?;
    let done = AtomicBool::new(false);
    let (written, read) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0_u32;
            while !done.load(Ordering::Relaxed) {
                let seen =
                    fs::read(&target).doing(format_args!("reading the name that is renamed over, read {reads}"))?;
                let first = seen.first().copied();
                let whole = seen.len() == size && seen.iter().all(|byte| Some(*byte) == first);
                ensure!(
                    whole,
                    "read {reads}: expected one whole version of {size} bytes, saw {} bytes or a mix",
                    seen.len()
                );
                reads += 1;
            }
            Ok(reads)
        });
        let start = Instant::now();
        let mut version = 0_u8;
        let writer = (|| -> Result<u8, Stop> {
            while start.elapsed() < Duration::from_secs(1) || version < 20 {
                version = version.wrapping_add(1);
                let mut file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .open(&next)
                    .doing("creating the old name again (a rename must have taken it away)")?;
                file.write_all(&vec![b'a' + version % 26; size]).doing("writing a version")?;
                drop(file);
                fs::rename(&next, &target).doing("renaming over the target")?;
            }
            Ok(version)
        })();
        done.store(true, Ordering::Relaxed);
        (writer, reader.join().unwrap_or_else(|_| Err(Stop::error("the reader panicked"))))
    });
    let (version, reads) = (written?, read?);
    ensure!(reads > 0, "expected at least one read between the renames, saw none");
    let last = fs::read(&target).doing("reading the last version")?;
    same_bytes(&last, &vec![b'a' + version % 26; size], "the target after the last rename")?;
    let names: Vec<_> =
        fs::read_dir(&site.dir).doing("listing")?.filter_map(Result::ok).map(|e| e.file_name()).collect();
    ensure!(names == ["target"], "after the last rename: expected only \"target\" in the directory, saw {names:?}");
    Ok(())
}

/// A file that is open when another file is renamed over it keeps its old contents, while its name shows the new
/// contents.
///
/// POSIX's rename demands this; a container reads its old library or configuration until it opens the name again, which
/// 9p servers that work with paths break.
fn rename_keeps_open_files(site: &Site) -> Check {
    let (old, new) = (site.file("name", "old contents")?, site.file("new", "new contents")?);
    let mut held = File::open(&old).doing("opening the old file")?;
    let mut moved = OpenOptions::new().append(true).open(&new).doing("opening the new file")?;
    fs::rename(&new, &old).doing("renaming over an open file")?;
    let mut seen = Vec::new();
    held.read_to_end(&mut seen).doing("reading the old file through its descriptor")?;
    same_bytes(&seen, b"old contents", "the old file through its descriptor")?;
    moved.write_all(b", more").doing("writing to the moved file through its descriptor")?;
    same_bytes(&fs::read(&old).doing("reading the name")?, b"new contents, more", "the name after the rename")?;
    refused(fs::metadata(&new), &[Errno::NOENT], "stat of the old name")
}

/// Directories move with their contents, also over an empty directory; renaming one over a directory with entries
/// (ENOTEMPTY) or over a file (ENOTDIR), and a file over a directory (EISDIR), is refused and changes nothing.
///
/// POSIX's rename demands this; package managers swap whole trees this way, and the name caches of both kernels must
/// follow.
fn rename_moves_directories(site: &Site) -> Check {
    let (tree, empty, full) = (site.directory("tree")?, site.directory("empty")?, site.directory("full")?);
    fs::create_dir(tree.join("below")).doing("making tree/below")?;
    fs::write(tree.join("below/leaf"), "leaf").doing("writing tree/below/leaf")?;
    fs::write(full.join("keep"), "kept").doing("writing full/keep")?;
    let file = site.file("file", "file")?;
    let cached = fs::read(tree.join("below/leaf")).doing("reading the leaf")?;
    refused(fs::rename(&tree, &full), &[Errno::NOTEMPTY, Errno::EXIST], "renaming over a directory with entries")?;
    refused(fs::rename(&tree, &file), &[Errno::NOTDIR], "renaming a directory over a file")?;
    refused(fs::rename(&file, &tree), &[Errno::ISDIR], "renaming a file over a directory")?;
    fs::rename(&tree, &empty).doing("renaming over an empty directory")?;
    let moved = fs::read(empty.join("below/leaf")).doing("reading the leaf under its new path")?;
    same_bytes(&moved, &cached, "the moved leaf")?;
    refused(fs::read(tree.join("below/leaf")), &[Errno::NOENT], "the leaf under its old path")?;
    fs::rename(empty.join("below"), full.join("below")).doing("moving a directory to another parent")?;
    let parent = fs::canonicalize(full.join("below/..")).doing("resolving the moved directory's parent")?;
    ensure!(parent.ends_with("full"), "`..` of a moved directory: expected its new parent, saw {}", parent.display());
    same_bytes(&fs::read(full.join("keep")).doing("reading full/keep")?, b"kept", "full/keep")
}

/// RENAME_NOREPLACE refuses an existing target with EEXIST, and RENAME_EXCHANGE swaps two names in one step.
///
/// systemd and package managers use both, and virtiofsd has always passed them on; Linux's 9p client refuses every
/// flag, so this is not tried on 9p.
fn rename_noreplace_and_exchange_are_honoured(site: &Site) -> Check {
    let (one, two) = (site.file("one", "first")?, site.file("two", "second")?);
    let noreplace = renameat_with(CWD, &one, CWD, &two, RenameFlags::NOREPLACE);
    refused(noreplace, &[Errno::EXIST], "RENAME_NOREPLACE over an existing name")?;
    same_bytes(&fs::read(&two).doing("reading two")?, b"second", "the target that must not be replaced")?;
    renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE).doing("RENAME_EXCHANGE")?;
    same_bytes(&fs::read(&one).doing("reading one")?, b"second", "the first name after the exchange")?;
    same_bytes(&fs::read(&two).doing("reading two")?, b"first", "the second name after the exchange")?;
    let free = site.path("three");
    renameat_with(CWD, &one, CWD, &free, RenameFlags::NOREPLACE).doing("RENAME_NOREPLACE to a free name")?;
    refused(fs::metadata(&one), &[Errno::NOENT], "the old name after RENAME_NOREPLACE")
}
