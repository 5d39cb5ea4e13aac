//! Unpacking of a release's archive.

use super::folder::reason;
use super::{ArtifactsError, doing};
use crate::error::{Failure, ImageErrorKind};
use crate::unpack::{self, ArchiveFile, UnpackLimits};
use root::{Root, never_climbs};
use std::fs;
use std::io;
use std::path::Path;

/// Limits for an archive; upstream's have some hundred entries and about 2 GiB.
const LIMITS: UnpackLimits =
    UnpackLimits { entries: 100_000, bytes: 16 << 30, reason: "the archive is too large for a release of Kata" };

/// Unpacks an archive into an empty directory: no file is written outside, and no link leads outside.
pub(super) fn unpack(archive: &Path, folder: &Path) -> Result<(), ArtifactsError> {
    let put_all = || {
        let opened = ArchiveFile::open(archive)?;
        unpack::check_metadata_and_maps(opened.content()?, archive, &|| Ok(()))?;
        let mut tar = tar::Archive::new(opened.content()?);
        tar.set_preserve_permissions(true);
        tar.set_preserve_ownerships(false);
        unpack::unpack(tar, archive, folder, &LIMITS, &accept, &|| Ok(()))
    };
    put_all().map_err(|failure: Failure| match failure.cause {
        ImageErrorKind::BadArchive { entry, reason } => ArtifactsError::Entry { entry, reason },
        cause => {
            let context = format!("unpacking {}", archive.display());
            ArtifactsError::Io { context, source: io::Error::other(cause) }
        }
    })?;
    links_stay_inside(folder)
}

/// Accepts an entry if it has a kind that releases use and its path does not lead outside. The target of a link may not
/// be unpacked yet, so only the text of the path can be judged here.
fn accept(path: &Path, target: Option<&Path>, kind: tar::EntryType) -> Result<(), &'static str> {
    if !never_climbs(path) {
        return Err("its path leads out of the folder");
    }
    match target {
        Some(target) => {
            let from = if kind.is_symlink() { path.parent().unwrap_or(Path::new("")) } else { Path::new("") };
            // Upstream's links are relative; an absolute one would be resolved on this machine.
            match target.is_absolute() || !never_climbs(&from.join(target)) {
                true => Err("the link points out of the folder"),
                false => Ok(()),
            }
        }
        None if kind.is_file() || kind.is_dir() || kind.is_gnu_sparse() => Ok(()),
        None => Err("it is not a file, a folder or a link"),
    }
}

/// Checks that no link of an unpacked archive leads out of the directory, through however many other links.
///
/// Nobody else can write to the directory, so the result stays valid.
fn links_stay_inside(folder: &Path) -> Result<(), ArtifactsError> {
    let top = doing(Root::new(folder).map_err(reason), "opening", folder)?;
    let mut todo = vec![top.path().to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in doing(fs::read_dir(&folder), "listing", &folder)? {
            let path = doing(entry, "listing", &folder)?.path();
            let kind = doing(fs::symlink_metadata(&path), "reading", &path)?;
            if kind.is_dir() {
                todo.push(path);
            } else if kind.is_symlink() {
                let inside = path.strip_prefix(top.path()).unwrap_or(&path);
                // A release's own links may point to files that the release leaves out; no reader follows them.
                if top.stay_inside(inside).is_err_and(|error| !error.is_missing()) {
                    let entry = inside.display().to_string();
                    let reason = "the link points out of the folder".to_owned();
                    return Err(ArtifactsError::Entry { entry, reason });
                }
            }
        }
    }
    Ok(())
}
