//! Symbolic and hard links.

use super::expect::{refused, same_bytes};
use super::proves::FILES;
use crate::check::{Check, Doing};
use crate::ensure;
use crate::environment::Site;
use crate::row::{Row, row};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

const SOURCE: &str = include_str!("links.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Guest(symlinks_lead_where_they_say), FILES).finds("/^(sym)?link(at)?$:retval=0"),
    row!(Guest(symlink_loops_are_refused), FILES),
    row!(Guest(symlink_targets_keep_every_byte), FILES).finds("/^readlink:error=EINVAL"),
    row!(Guest(hard_links_share_one_file), FILES).finds("/^link(at)?$:error=EPERM"),
    row!(Guest(inode_numbers_are_stable_and_distinct), FILES),
];

/// Relative symlinks are resolved from their own directory and absolute ones from the guest's root; dangling ones give
/// ENOENT until their target appears; writing through a symlink reaches its target.
///
/// A container's root has many symlinks of all three kinds (`/lib`, `/etc/alternatives`), and on a share the guest must
/// resolve them.
fn symlinks_lead_where_they_say(site: &Site) -> Check {
    let below = site.directory("below")?;
    let file = site.file("file", "contents")?;
    symlink("../file", below.join("relative")).doing("making a relative symlink")?;
    symlink(&file, site.path("absolute")).doing("making an absolute symlink")?;
    symlink("below", site.path("to-directory")).doing("making a symlink to a directory")?;
    symlink("later", site.path("dangling")).doing("making a dangling symlink")?;
    for way in ["below/relative", "absolute", "to-directory/relative"] {
        same_bytes(&fs::read(site.path(way)).doing(format_args!("reading {way}"))?, b"contents", way)?;
    }
    fs::write(site.path("absolute"), "changed").doing("writing through a symlink")?;
    same_bytes(
        &fs::read(&file).doing("reading the target")?,
        b"changed",
        "the target after a write through a symlink",
    )?;
    refused(fs::read(site.path("dangling")), &[Errno::NOENT], "reading a dangling symlink")?;
    fs::write(site.path("dangling"), "made").doing("writing through a dangling symlink")?;
    same_bytes(
        &fs::read(site.path("later")).doing("reading the made target")?,
        b"made",
        "a target made through its symlink",
    )?;
    let kind = fs::symlink_metadata(site.path("absolute")).doing("lstat of a symlink")?;
    let expected = file.as_os_str().len() as u64;
    ensure!(kind.is_symlink() && kind.len() == expected, "lstat: expected a symlink of {expected} bytes, saw {kind:?}");
    fs::remove_file(site.path("absolute")).doing("removing a symlink")?;
    ensure!(file.exists(), "removing a symlink: expected its target to stay, but it is gone");
    Ok(())
}

/// A symlink to itself, a circle of two, and a chain of more than forty fail with ELOOP, and never hang.
///
/// POSIX demands a limit, and Linux sets it at 40; if a daemon resolved links itself, a container could keep it busy.
fn symlink_loops_are_refused(site: &Site) -> Check {
    symlink("self", site.path("self")).doing("making a symlink to itself")?;
    symlink("two", site.path("one")).doing("making a circle")?;
    symlink("one", site.path("two")).doing("closing the circle")?;
    site.file("chain-0", "end of the chain")?;
    for link in 1..=42 {
        symlink(format!("chain-{}", link - 1), site.path(format!("chain-{link}"))).doing("making a chain")?;
    }
    for name in ["self", "one", "chain-42"] {
        refused(fs::read(site.path(name)), &[Errno::LOOP], format_args!("reading {name}"))?;
    }
    same_bytes(
        &fs::read(site.path("chain-30")).doing("reading a chain of 30")?,
        b"end of the chain",
        "a chain of 30 symlinks",
    )
}

/// readlink(2) returns the target byte for byte, also if it is long, not UTF-8, or has `..` and double slashes; it is
/// never normalised or rewritten.
///
/// Image layers are checked by digest and some programs keep data in symlink targets (locks of browsers and editors); a
/// daemon that mapped targets to its own root would change them.
fn symlink_targets_keep_every_byte(site: &Site) -> Check {
    let long = "t".repeat(4_000);
    let targets: [&[u8]; 5] = [b"//a//b/../c/.", b"\xff\xfe", long.as_bytes(), b"/etc/../proc/self/root", b" \n"];
    for (index, target) in targets.into_iter().enumerate() {
        let link = site.path(format!("link-{index}"));
        symlink(OsStr::from_bytes(target), &link).doing(format_args!("making symlink {index}"))?;
        let seen = fs::read_link(&link).doing(format_args!("reading symlink {index}"))?;
        same_bytes(seen.as_os_str().as_bytes(), target, format_args!("the target of symlink {index}"))?;
    }
    Ok(())
}

/// Two hard links are one file: they have the same inode, bytes and mode, and a link count of two, and the file remains
/// when one of them is removed.
///
/// Image layers and package managers (dpkg, ostree, pnpm) store files once and link them; if a share invents an inode
/// for each name, tar copies them twice.
fn hard_links_share_one_file(site: &Site) -> Check {
    let (one, two) = (site.file("one", "shared")?, site.path("two"));
    fs::hard_link(&one, &two).doing("linking two to one")?;
    let stat = |path: &Path| fs::metadata(path).doing(format_args!("stat of {}", path.display()));
    let (first, second) = (stat(&one)?, stat(&two)?);
    ensure!(
        first.ino() == second.ino(),
        "two hard links: expected one inode, saw {} and {}",
        first.ino(),
        second.ino()
    );
    ensure!(
        (first.nlink(), second.nlink()) == (2, 2),
        "expected link counts 2 and 2, saw {} and {}",
        first.nlink(),
        second.nlink()
    );
    fs::write(&two, "changed").doing("writing through the second name")?;
    same_bytes(
        &fs::read(&one).doing("reading the first name")?,
        b"changed",
        "the first name after a write through the second",
    )?;
    fs::remove_file(&one).doing("removing the first name")?;
    let count = stat(&two)?.nlink();
    ensure!(count == 1, "after removing one of two names: expected a link count of 1, saw {count}");
    same_bytes(
        &fs::read(&two).doing("reading the second name")?,
        b"changed",
        "the second name after the first is gone",
    )?;
    let directory = site.directory("directory")?;
    refused(fs::hard_link(directory, site.path("three")), &[Errno::PERM], "hard link to a directory")
}

/// Inode numbers are distinct among a hundred files, agree between stat and the listing, and do not change when a file
/// is renamed and reopened.
///
/// tar, rsync and find distinguish files by device and inode; virtiofsd passes the host's numbers through. If numbers
/// clash or change, these programs skip files or copy them wrongly.
fn inode_numbers_are_stable_and_distinct(site: &Site) -> Check {
    let mut inodes = BTreeSet::new();
    for index in 0..100 {
        let path = site.file(&format!("file-{index}"), "")?;
        let inode = fs::metadata(&path).doing("stat of a file")?.ino();
        ensure!(inodes.insert(inode), "file-{index}: expected an inode of its own, saw {inode} again");
    }
    use std::os::unix::fs::DirEntryExt;
    for entry in fs::read_dir(&site.dir).doing("listing")? {
        let entry = entry.doing("listing")?;
        let (listed, known) = (entry.ino(), inodes.contains(&entry.ino()));
        ensure!(known, "{:?}: the listing says inode {listed}, stat of no file said so", entry.file_name());
    }
    let before = fs::metadata(site.path("file-7")).doing("stat before the rename")?.ino();
    fs::rename(site.path("file-7"), site.path("renamed")).doing("renaming")?;
    let after = fs::File::open(site.path("renamed")).and_then(|f| f.metadata()).doing("fstat after the rename")?.ino();
    ensure!(before == after, "after a rename: expected inode {before}, saw {after}");
    Ok(())
}
