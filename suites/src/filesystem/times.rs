//! Timestamps.

use super::expect::until;
use super::proves::FILES;
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::Site;
use crate::outcome::Component;
use crate::reproducer::Reproducer;
use crate::row::{Row, row};
use crate::share::Share;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

const SOURCE: &str = include_str!("times.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Guest(times_keep_nanoseconds), FILES)
        .finds("/^utime:retval=0")
        .reproduced(Reproducer::SystemCalls(include_str!("reproducers/times.c"))),
    row!(Guest(writes_advance_mtime_and_ctime), FILES).finds("/^ftruncate:retval=0"),
    row!(Guest(metadata_changes_advance_ctime_alone), FILES),
    row!(Guest(directory_times_follow_their_entries), FILES),
];

fn spec(tv_sec: i64, tv_nsec: i64) -> Timespec {
    Timespec { tv_sec, tv_nsec }
}

fn times_of(path: &Path) -> Result<[(i64, i64); 3], Stop> {
    let status = fs::symlink_metadata(path).doing(format_args!("lstat of {}", path.display()))?;
    Ok([
        (status.atime(), status.atime_nsec()),
        (status.mtime(), status.mtime_nsec()),
        (status.ctime(), status.ctime_nsec()),
    ])
}

/// Repeats a change until the clock of the filesystem has moved on, and fails if the change never shows.
fn advances(path: &Path, which: usize, since: (i64, i64), what: &str, mut change: impl FnMut() -> Check) -> Check {
    until(Duration::from_secs(5), format_args!("{what}: expected a later time than {since:?}"), || {
        change()?;
        let seen = times_of(path)?[which];
        Ok(if seen > since { Ok(()) } else { Err(format!("{seen:?}")) })
    })
}

/// utimensat(2) sets access and modification times to the nanosecond, on files, directories and symlinks, before 1970
/// and after 2038.
///
/// Image layers have such times, make and rsync compare them, and incremental backups copy everything again if the
/// share rounds them.
fn times_keep_nanoseconds(site: &Site) -> Check {
    let (file, directory, link) = (site.file("file", "x")?, site.directory("directory")?, site.path("link"));
    std::os::unix::fs::symlink("file", &link).doing("making a symlink")?;
    for path in [&file, &directory, &link] {
        for (access, change) in
            [((1, 1), (1_600_000_000, 123_456_789)), ((-5, 999_999_999), (4_294_967_296, 987_654_321))]
        {
            let times =
                Timestamps { last_access: spec(access.0, access.1), last_modification: spec(change.0, change.1) };
            utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
                .doing(format_args!("utimensat of {}", path.display()))?;
            let [seen_access, seen_change, _] = times_of(path)?;
            let name = path.display();
            if seen_change != change && seen_change == (change.0, 0) && site.share == Some(Share::Virtio9p) {
                let message = format!("mtime of {name}: expected {change:?}, saw whole seconds");
                // Linux's 9p client itself limits the resolution of times; it sends no request with nanoseconds.
                return Err(Stop::blame(Component::Kernel, message));
            }
            ensure!(seen_change == change, "mtime of {name}: expected {change:?}, saw {seen_change:?}");
            ensure!(seen_access == access, "atime of {name}: expected {access:?}, saw {seen_access:?}");
        }
    }
    Ok(())
}

/// Writing and truncating advance the modification and change times, and fstat of an open file and stat of its name
/// agree.
///
/// make, editors and Kata's agent (its watchable mounts poll mtime instead of using inotify) have no other way to
/// detect a change. That is `update_target` in src/agent/src/watcher.rs@4.1.0.
fn writes_advance_mtime_and_ctime(site: &Site) -> Check {
    let path = site.file("file", "x")?;
    let mut file = OpenOptions::new().append(true).open(&path).doing("opening the file")?;
    let before = times_of(&path)?;
    advances(&path, 1, before[1], "mtime after a write", || file.write_all(b"y").doing("writing"))?;
    advances(&path, 2, before[2], "ctime after a write", || file.write_all(b"y").doing("writing"))?;
    let open = file.metadata().doing("fstat")?;
    let named = times_of(&path)?[1];
    ensure!(
        (open.mtime(), open.mtime_nsec()) == named,
        "mtime: fstat says {:?}, stat says {named:?}",
        (open.mtime(), open.mtime_nsec())
    );
    advances(&path, 1, named, "mtime after a truncation", || file.set_len(0).doing("truncating"))
}

/// chmod, link and chown advance the change time, and leave the modification time unchanged.
///
/// Backup programs find changed modes and owners by ctime, and dpkg verifies by mtime.
fn metadata_changes_advance_ctime_alone(site: &Site) -> Check {
    let path = site.file("file", "x")?;
    let modified = times_of(&path)?[1];
    let mut links = 0;
    advances(&path, 2, times_of(&path)?[2], "ctime after chmod", || {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).doing("chmod")
    })?;
    advances(&path, 2, times_of(&path)?[2], "ctime after link", || {
        links += 1;
        fs::hard_link(&path, site.path(format!("link-{links}"))).doing("linking")
    })?;
    advances(&path, 2, times_of(&path)?[2], "ctime after chown", || {
        std::os::unix::fs::chown(&path, Some(1), Some(1)).doing("chown")
    })?;
    let seen = times_of(&path)?[1];
    ensure!(seen == modified, "mtime after chmod, link and chown: expected {modified:?} as before, saw {seen:?}");
    Ok(())
}

/// A directory's modification time advances when an entry is made, renamed or removed in it.
///
/// Caches of directory contents (package managers, fontconfig, web servers in a container) are refreshed only when this
/// time changes.
fn directory_times_follow_their_entries(site: &Site) -> Check {
    let directory = site.directory("directory")?;
    let modified = || -> Result<(i64, i64), Stop> { Ok(times_of(&directory)?[1]) };
    let mut count = 0;
    advances(&directory, 1, modified()?, "mtime of a directory after creations", || {
        count += 1;
        fs::write(directory.join(format!("file-{count}")), "").doing("creating a file")
    })?;
    let mut renames = 0;
    advances(&directory, 1, modified()?, "mtime of a directory after renames", || {
        renames += 1;
        let (from, to) = if renames % 2 == 1 { ("file-1", "renamed") } else { ("renamed", "file-1") };
        fs::rename(directory.join(from), directory.join(to)).doing("renaming a file")
    })?;
    for round in 0..200 {
        fs::write(directory.join(format!("more-{round}")), "").doing("creating a file")?;
    }
    let mut removed = 0;
    advances(&directory, 1, modified()?, "mtime of a directory after removals", || {
        removed += 1;
        fs::remove_file(directory.join(format!("more-{}", removed - 1))).doing("removing a file")
    })
}
