//! Filesystems mounted below the share's directory on the host.

use super::expect::refused;
use super::proves::SHARED_FILES;
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::Site;
use crate::row::{Row, row};
use crate::share::Share;
use crate::under;
use rustix::fs::statvfs;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

const SOURCE: &str = include_str!("submounts.rs");

pub(super) static ROWS: &[Row] =
    &[row!(Guest(submounts_are_filesystems_of_their_own), SHARED_FILES).under(&under::SUBMOUNTS)];

/// A filesystem that the host has mounted below the share has a device number and a size of its own in the guest, no
/// two files are mistaken for the same one, and neither a rename nor a link crosses it (EXDEV).
///
/// Each volume of a pod is such a mount, and Kata makes virtiofsd announce them (`--announce-submounts`,
/// src/runtime/Makefile@4.1.0, `DEFVIRTIOFSEXTRAARGS`): files of different volumes can have the same inode number, and
/// tar, rsync and `find -xdev` go by device and inode. 9p has one device number for all; there QEMU's `multidevs=remap`
/// must keep the inodes apart.
fn submounts_are_filesystems_of_their_own(site: &Site) -> Check {
    let Some(small) = &site.small else {
        return Err(Stop::skip("there is no filesystem mounted under the share"));
    };
    let mine = small.join(format!("submount-{}", std::process::id()));
    fs::create_dir_all(&mine).doing("making a directory on the submount")?;
    let checked = is_apart(site, &mine);
    let _ = fs::remove_dir_all(&mine);
    checked
}

fn is_apart(site: &Site, below: &std::path::Path) -> Check {
    let mut seen: BTreeMap<(u64, u64), String> = BTreeMap::new();
    let mut devices = Vec::new();
    for (folder, word) in [(&*site.dir, "share"), (below, "submount")] {
        for number in 0..50 {
            let path = folder.join(format!("file-{number}"));
            fs::write(&path, word).doing(format_args!("writing a file on the {word}"))?;
            let status = fs::metadata(&path).doing(format_args!("looking at a file on the {word}"))?;
            let name = format!("{word}/file-{number}");
            let other = seen.insert((status.dev(), status.ino()), name.clone());
            ensure!(other.is_none(), "{name} and {other:?} have the same device and inode, and are not the same file");
            devices.push(status.dev());
        }
    }
    let (on_share, on_submount) = (devices[0], devices[devices.len() - 1]);
    if site.share != Some(Share::Virtio9p) {
        ensure!(on_share != on_submount, "files on the share and on a submount have the same device number {on_share}");
        let sizes = [&*site.dir, below].map(|path| statvfs(path).map(|fs| fs.f_blocks.saturating_mul(fs.f_frsize)));
        ensure!(sizes[0] != sizes[1], "share and submount have the same size {:?}", sizes[0]);
    }
    let (from, to) = (below.join("file-0"), site.path("elsewhere"));
    refused(fs::rename(&from, &to), &[Errno::XDEV], "renaming a file from a submount to the share")?;
    refused(fs::hard_link(&from, &to), &[Errno::XDEV], "linking a file of a submount on the share")
}
