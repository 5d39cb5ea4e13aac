//! Space and its end.

use super::expect::{noise, same_bytes};
use super::proves::{FILES, SHARED_FILES};
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::Site;
use crate::row::{Row, row};
use rustix::fs::statvfs;
use rustix::io::Errno;
use std::fs::{self, OpenOptions};
use std::io::Write;

const SOURCE: &str = include_str!("space.rs");

pub(super) static ROWS: &[Row] =
    &[row!(Guest(statfs_is_plausible), FILES), row!(Guest(a_full_share_says_so), SHARED_FILES).seconds(120)];

/// statvfs(3) reports a size, free and available space and a name length that are consistent, and the same for the
/// directory as for a file in it.
///
/// df, databases and package managers in a container refuse to work if the share reports no space; with submounts
/// (`--announce-submounts`) each one must report its own. Both runtimes ship that flag (`DEFVIRTIOFSEXTRAARGS` in
/// src/runtime/Makefile@4.1.0 and src/runtime-rs/Makefile@4.1.0).
fn statfs_is_plausible(site: &Site) -> Check {
    let file = site.file("file", "x")?;
    let (directory, inside) =
        (statvfs(&site.dir).doing("statvfs of the directory")?, statvfs(&file).doing("statvfs of a file")?);
    let sizes = (directory.f_blocks, directory.f_bfree, directory.f_bavail);
    ensure!(
        directory.f_bsize > 0 && directory.f_frsize > 0,
        "expected block sizes above 0, saw {} and {}",
        directory.f_bsize,
        directory.f_frsize
    );
    ensure!(
        sizes.0 > 0 && sizes.1 <= sizes.0 && sizes.2 <= sizes.1,
        "expected available <= free <= size in blocks, saw size {}, free {}, available {}",
        sizes.0,
        sizes.1,
        sizes.2
    );
    ensure!(directory.f_namemax >= 255, "expected names of at least 255 bytes, saw {}", directory.f_namemax);
    ensure!(
        directory.f_blocks == inside.f_blocks,
        "size in blocks: the directory says {}, a file in it {}",
        directory.f_blocks,
        inside.f_blocks
    );
    ensure!(
        directory.f_ffree <= directory.f_files,
        "expected free inodes <= inodes, saw {} of {}",
        directory.f_ffree,
        directory.f_files
    );
    Ok(())
}

/// Filling a small filesystem of the host fails with ENOSPC at write(2), fsync(2) or close(2), existing data stays
/// intact, and unlink frees the space again.
///
/// Disks of nodes do fill up: a container must then get this errno, and neither a success whose data is lost nor a
/// guest that hangs.
fn a_full_share_says_so(site: &Site) -> Check {
    let Some(small) = &site.small else {
        return Err(Stop::skip("there is no small filesystem under the share to fill"));
    };
    let kept = small.join("kept");
    fs::write(&kept, noise(1, 100_000)).doing("writing before the filesystem is full")?;
    OpenOptions::new()
        .append(true)
        .open(&kept)
        .and_then(|f| f.sync_all())
        .doing("fsync before the filesystem is full")?;
    let filler = small.join("filler");
    let limit = 256;
    let chunk = noise(2, 1 << 20);
    let mut file = fs::File::create(&filler).doing("creating the filler")?;
    let mut written = 0;
    let end = loop {
        ensure!(written < limit, "expected ENOSPC on a small filesystem, but {limit} MiB were written");
        if let Err(e) = file.write_all(&chunk).and_then(|()| file.sync_all()) {
            break e;
        }
        written += 1;
    };
    drop(file);
    ensure!(end.raw_os_error() == Some(Errno::NOSPC.raw_os_error()), "after {written} MiB: expected ENOSPC, got {end}");
    same_bytes(
        &fs::read(&kept).doing("reading on the full filesystem")?,
        &noise(1, 100_000),
        "a file on the full filesystem",
    )?;
    let mut head = vec![0; written.min(2) << 20];
    std::io::Read::read_exact(&mut fs::File::open(&filler).doing("opening the filler")?, &mut head)
        .doing("reading the filler")?;
    for part in head.chunks(1 << 20) {
        same_bytes(part, &chunk, "what was written before the filesystem was full")?;
    }
    fs::remove_file(&filler).doing("removing the filler from the full filesystem")?;
    super::expect::until(std::time::Duration::from_secs(10), "writing 1 MiB after space was freed", || {
        let again = fs::write(small.join("again"), &chunk)
            .and_then(|()| OpenOptions::new().append(true).open(small.join("again")))
            .and_then(|file| file.sync_all());
        Ok(again.map_err(|e| e.to_string()))
    })?;
    for name in ["again", "kept"] {
        fs::remove_file(small.join(name)).doing(format_args!("removing {name}"))?;
    }
    Ok(())
}
