//! Listing directories.

use super::proves::FILES;
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::Site;
use crate::row::{Row, row};
use crate::test::Need;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, RawDir, SeekFrom, mknodat, openat, seek};
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

const SOURCE: &str = include_str!("directories.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Guest(ten_thousand_entries_are_listed_once), FILES).needs(&[Need::OpenFiles]).seconds(300).random(),
    row!(Guest(deleting_while_listing_hides_nothing), FILES).finds("/^unlink:retval=0").seconds(120),
    row!(Guest(a_listing_can_be_resumed_at_any_entry), FILES).finds("lseek:retval=0"),
    row!(Guest(a_directory_lists_what_was_just_made_and_removed), FILES).finds("/^getdents:retval=0"),
];

/// Ten thousand entries in one directory, or a hundred thousand with `--thorough`, are all listed, each exactly once,
/// with the right type.
///
/// A listing of this size needs many READDIR requests with offsets between them; mail spools and package caches have
/// such directories, and as late as version 1.14 virtiofsd fixed its directory cookies (docs/releases/4.1.0.md@4.1.0).
fn ten_thousand_entries_are_listed_once(site: &Site) -> Check {
    let count = site.effort.of(10_000, 100_000);
    make_empty_files(&site.dir, count)?;
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for entry in Dir::new(open_dir(&site.dir)?).doing("opening the directory")? {
        let entry = entry.doing("listing the directory")?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "." || name == ".." {
            continue;
        }
        let kind = entry.file_type();
        ensure!(matches!(kind, FileType::RegularFile | FileType::Unknown), "{name}: expected a file, saw {kind:?}");
        *seen.entry(name).or_default() += 1;
    }
    let twice = seen.iter().find(|(_, times)| **times > 1);
    ensure!(twice.is_none(), "expected each entry once, saw {twice:?} times");
    ensure!(seen.len() == count as usize, "expected {count} entries, saw {}", seen.len());
    let missing = (0..count).map(file_name).find(|name| !seen.contains_key(name));
    ensure!(missing.is_none(), "expected {missing:?} in the listing, but it is missing");
    Ok(())
}

/// Deleting the entries that a listing has already returned neither hides nor repeats the remaining ones.
///
/// POSIX (readdir) leaves open only whether the changed entries appear; `rm -r` in a container works this way, and
/// leaves files behind on a share that counts positions.
fn deleting_while_listing_hides_nothing(site: &Site) -> Check {
    let count = 1_000;
    make_empty_files(&site.dir, count)?;
    let mut removed: BTreeMap<String, u32> = BTreeMap::new();
    let fd = open_dir(&site.dir)?;
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut listing = RawDir::new(&fd, &mut buffer);
    while let Some(entry) = listing.next() {
        let entry = entry.doing("listing the directory")?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "." || name == ".." {
            continue;
        }
        let again = removed.contains_key(&name);
        ensure!(!again, "{name}: listed again after it was removed");
        std::fs::remove_file(site.path(&name)).doing(format_args!("removing {name} while listing"))?;
        removed.insert(name, 1);
    }
    ensure!(removed.len() == count as usize, "expected {count} entries while removing them, saw {}", removed.len());
    std::fs::remove_dir(&site.dir).doing("rmdir after removing every entry")?;
    std::fs::create_dir(&site.dir).doing("making the directory again")
}

/// After seekdir to the position that readdir gave with an entry, the rest of the listing is the same.
///
/// NFS servers and programs with telldir(3) in a container rely on it (POSIX seekdir); virtiofsd passes the host's
/// 64-bit cookies through.
fn a_listing_can_be_resumed_at_any_entry(site: &Site) -> Check {
    make_empty_files(&site.dir, 100)?;
    let fd = open_dir(&site.dir)?;
    let all = list_from(&fd, 0)?;
    ensure!(all.len() == 102, "expected 100 entries, `.` and `..`, saw {} in all", all.len());
    for at in [0, 1, 40, 99, 100, 101] {
        let (name, position) = &all[at];
        let rest: Vec<String> = list_from(&fd, *position)?.into_iter().map(|(name, _)| name).collect();
        let expected: Vec<String> = all[at + 1..].iter().map(|(name, _)| name.clone()).collect();
        ensure!(
            rest == expected,
            "resumed after entry {at} ({name}): expected the {} entries that followed it, saw {}: first {:?}, expected {:?}",
            expected.len(),
            rest.len(),
            rest.first(),
            expected.first()
        );
    }
    Ok(())
}

/// A descriptor that is already open lists a new entry at the next listing, and no longer lists a removed one.
///
/// A guest that caches listings (FUSE does, with cache=always) must drop them after its own changes; otherwise `ls` in
/// a container is wrong about the container's own files.
fn a_directory_lists_what_was_just_made_and_removed(site: &Site) -> Check {
    let fd = open_dir(&site.dir)?;
    let names = |fd: &OwnedFd| -> Result<Vec<String>, Stop> {
        let mut names: Vec<String> = list_from(fd, 0)?.into_iter().map(|(name, _)| name).collect();
        names.retain(|name| name != "." && name != "..");
        names.sort();
        Ok(names)
    };
    for round in 0..20 {
        let (new, old) = (format!("round-{round}"), format!("round-{}", round - 1));
        site.file(&new, "")?;
        if round > 0 {
            std::fs::remove_file(site.path(&old)).doing(format_args!("removing {old}"))?;
        }
        let seen = names(&fd)?;
        ensure!(seen == [new.clone()], "round {round}: expected only {new} in the listing, saw {seen:?}");
    }
    Ok(())
}

fn open_dir(path: &Path) -> Result<OwnedFd, Stop> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).doing(format_args!("opening the directory {}", path.display()))
}

fn file_name(index: u32) -> String {
    format!("file-{index:05}")
}

/// Creates empty files by mknod(2), the cheapest request that creates one.
fn make_empty_files(dir: &Path, count: u32) -> Check {
    let fd = open_dir(dir)?;
    for index in 0..count {
        let name = file_name(index);
        mknodat(&fd, &name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0)
            .doing(format_args!("making {name}"))?;
    }
    Ok(())
}

/// Returns the entries from a position on, each with the position after it.
fn list_from(fd: &OwnedFd, position: u64) -> Result<Vec<(String, u64)>, Stop> {
    seek(fd, SeekFrom::Start(position)).doing(format_args!("seeking the directory to {position}"))?;
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut listing = RawDir::new(fd, &mut buffer);
    let mut entries = Vec::new();
    while let Some(entry) = listing.next() {
        let entry = entry.doing("listing the directory")?;
        entries.push((entry.file_name().to_string_lossy().into_owned(), entry.next_entry_cookie()));
    }
    Ok(entries)
}
