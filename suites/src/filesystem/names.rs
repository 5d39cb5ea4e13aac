//! The names that a directory entry can have.

use super::expect::refused;
use super::proves::FILES;
use crate::check::{Check, Doing};
use crate::ensure;
use crate::environment::Site;
use crate::row::{Row, row};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, statat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

const SOURCE: &str = include_str!("names.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Guest(names_of_255_bytes_work_and_longer_ones_are_refused), FILES),
    row!(Guest(names_need_not_be_utf8), FILES),
    row!(Guest(names_differ_by_case), FILES),
    row!(Guest(deep_paths_work), FILES),
    row!(Guest(wrong_paths_give_the_right_errors), FILES),
];

/// Names of files and directories may have 255 bytes, and a name of 256 bytes is refused with ENAMETOOLONG.
///
/// This is NAME_MAX of Linux and of every image layer; overlay snapshots and package caches in containers have such
/// names, and cannot be unpacked if the share has a shorter limit.
fn names_of_255_bytes_work_and_longer_ones_are_refused(site: &Site) -> Check {
    let longest = "n".repeat(255);
    let file = site.file(&longest, "x")?;
    let listed = fs::read_dir(&site.dir).doing("listing the directory")?.filter_map(Result::ok);
    ensure!(
        listed.map(|e| e.file_name()).any(|n| n == *longest),
        "a name of 255 bytes: expected it in the listing, but it is not"
    );
    fs::remove_file(&file).doing("removing the name of 255 bytes")?;
    site.directory(&longest)?;
    refused(fs::write(site.path("n".repeat(256)), "x"), &[Errno::NAMETOOLONG], "creating a name of 256 bytes")?;
    refused(fs::create_dir(site.path("d".repeat(256))), &[Errno::NAMETOOLONG], "making a directory of 256 bytes")
}

/// A name may contain any bytes except `/` and NUL: invalid UTF-8, newlines, a leading dash.
///
/// Names are bytes in POSIX, and image layers made elsewhere have Latin-1 names; the daemon (a Rust program since
/// virtiofsd 1.0) must not treat them as text.
fn names_need_not_be_utf8(site: &Site) -> Check {
    let names: [&[u8]; 5] = [b"caf\xe9", b"\xff\xfe\x80", b"new\nline", b"-rf *", b"\x01\x7f \t"];
    for name in names {
        let shown = name.escape_ascii().to_string();
        fs::write(site.path(OsString::from_vec(name.to_vec())), name).doing(format_args!("writing \"{shown}\""))?;
    }
    let entries = fs::read_dir(&site.dir).doing("listing the directory")?;
    let listed: BTreeSet<Vec<u8>> = entries.filter_map(Result::ok).map(|e| e.file_name().into_vec()).collect();
    for name in names {
        let shown = name.escape_ascii().to_string();
        ensure!(listed.contains(name), "expected \"{shown}\" in the listing, saw {listed:?}");
        let seen = fs::read(site.path(OsString::from_vec(name.to_vec()))).doing(format_args!("reading \"{shown}\""))?;
        super::expect::same_bytes(&seen, name, format_args!("the file \"{shown}\""))?;
    }
    Ok(())
}

/// `readme`, `README` and the two Unicode spellings of one letter are different files.
///
/// Linux sources and images rely on this (the kernel's tree has such pairs), so a share that folds or normalises names
/// loses files when a layer is unpacked.
fn names_differ_by_case(site: &Site) -> Check {
    let names = ["readme", "README", "\u{e9}", "e\u{301}"];
    for name in names {
        site.file(name, name)?;
    }
    for name in names {
        let seen = fs::read_to_string(site.path(name)).doing(format_args!("reading {name}"))?;
        ensure!(seen == name, "the file {name:?}: expected its own name inside, saw {seen:?}: two names share a file");
    }
    Ok(())
}

/// Two hundred nested directories, with a path far longer than PATH_MAX, can be made, entered step by step and written
/// to.
///
/// PATH_MAX limits a path that is given to one call, not a tree (POSIX, openat); `node_modules` trees can be as deep,
/// and the daemon must not rebuild whole paths to reach a file.
fn deep_paths_work(site: &Site) -> Check {
    let name = "level-of-a-deep-tree-with-a-longish-name";
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = openat(CWD, &site.dir, flags, Mode::empty()).doing("opening the test's directory")?;
    let top = statat(&here, "", AtFlags::EMPTY_PATH).doing("stat of the test's directory")?.st_ino;
    for level in 1..=200 {
        mkdirat(&here, name, Mode::from_raw_mode(0o755)).doing(format_args!("making level {level} of 200"))?;
        here = openat(&here, name, flags, Mode::empty()).doing(format_args!("entering level {level} of 200"))?;
    }
    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let file = openat(&here, "leaf", create, Mode::from_raw_mode(0o644)).doing("creating a file at level 200")?;
    rustix::io::write(&file, b"deep").doing("writing at level 200")?;
    let size = statat(&here, "leaf", AtFlags::empty()).doing("stat at level 200")?.st_size;
    ensure!(size == 4, "the file at level 200: expected 4 bytes, saw {size}");
    for level in (1..=200).rev() {
        here = openat(&here, "..", flags, Mode::empty()).doing(format_args!("going up from level {level}"))?;
    }
    let back = statat(&here, "", AtFlags::EMPTY_PATH).doing("stat after climbing back")?.st_ino;
    ensure!(back == top, "after 200 levels down and up: expected inode {top}, saw {back}");
    let path = format!("{}/leaf", vec![name; 200].join("/"));
    refused(fs::read(site.path(path)), &[Errno::NAMETOOLONG], "a path of more than 4096 bytes")
}

/// Each wrong path gives the errno that POSIX specifies: ENOENT, ENOTDIR, EISDIR, EEXIST, ENOTEMPTY, EINVAL.
///
/// Programs act on the errno (make a directory unless EEXIST, fall back on ENOENT), so the share must pass it through
/// two kernels and a daemon unchanged.
fn wrong_paths_give_the_right_errors(site: &Site) -> Check {
    let file = site.file("file", "x")?;
    let full = site.directory("full")?;
    fs::write(full.join("inside"), "x").doing("writing full/inside")?;
    refused(fs::read(site.path("missing")), &[Errno::NOENT], "reading a missing file")?;
    refused(fs::write(site.path("missing/file"), "x"), &[Errno::NOENT], "writing in a missing directory")?;
    refused(fs::read(file.join("below")), &[Errno::NOTDIR], "reading below a file")?;
    refused(fs::read_dir(&file), &[Errno::NOTDIR], "listing a file")?;
    refused(fs::write(&full, "x"), &[Errno::ISDIR], "writing to a directory")?;
    refused(fs::create_dir(&full), &[Errno::EXIST], "making a directory that exists")?;
    refused(fs::hard_link(&file, &full), &[Errno::EXIST], "linking onto a name that exists")?;
    refused(fs::remove_dir(&full), &[Errno::NOTEMPTY, Errno::EXIST], "removing a directory with a file in it")?;
    refused(fs::remove_dir(&file), &[Errno::NOTDIR], "rmdir of a file")?;
    refused(fs::remove_file(&full), &[Errno::ISDIR, Errno::PERM], "unlink of a directory")?;
    refused(fs::read_link(&file), &[Errno::INVAL], "readlink of a file")?;
    refused(fs::rename(&full, full.join("below")), &[Errno::INVAL], "moving a directory into itself")
}
