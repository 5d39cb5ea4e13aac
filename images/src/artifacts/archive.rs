//! Unpacks a release's archive.

use super::{ArtifactsError, doing};
use crate::error::Cause;
use crate::unpack::{self, Limits};
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path};

/// Upstream's archives have some hundred entries and about 2 GiB.
const LIMITS: Limits =
    Limits { entries: 100_000, bytes: 16 << 30, reason: "the archive is larger than any release of Kata" };

/// Unpacks an archive into an empty folder: no file of it is written outside, and no link leads outside.
pub(super) fn unpack(archive: &Path, folder: &Path) -> Result<(), ArtifactsError> {
    let file = doing(File::open(archive), "opening", archive)?;
    let mut tar = tar::Archive::new(doing(unpack::decompressed(file), "reading", archive)?);
    tar.set_preserve_permissions(true);
    tar.set_preserve_ownerships(false);
    unpack::unpack(tar, archive, folder, &LIMITS, &accept, &|| Ok(())).map_err(|failure| match failure.cause {
        Cause::BadArchive { entry, reason } => ArtifactsError::Entry { entry, reason },
        cause => {
            let context = format!("unpacking {}", archive.display());
            ArtifactsError::Io { context, source: io::Error::other(cause) }
        }
    })?;
    links_stay_inside(folder)
}

/// Accepts an entry of a kind that releases have, if it leads nowhere outside by itself.
fn accept(path: &Path, target: Option<&Path>, kind: tar::EntryType) -> Result<(), &'static str> {
    if !stays_inside(path) {
        return Err("it leads out of the folder");
    }
    match target {
        Some(target) => {
            let from = if kind.is_symlink() { path.parent().unwrap_or(Path::new("")) } else { Path::new("") };
            // Upstream's links are relative; an absolute one would be resolved on this machine.
            match target.is_absolute() || !stays_inside(&from.join(target)) {
                true => Err("it is a link that leads out of the folder"),
                false => Ok(()),
            }
        }
        None if kind.is_file() || kind.is_dir() || kind.is_gnu_sparse() => Ok(()),
        None => Err("it is neither a file, a folder nor a link"),
    }
}

/// Checks that no link of an unpacked archive leads out of it, however many others it passes through.
///
/// Nobody else can write to the folder, so this stays true.
fn links_stay_inside(folder: &Path) -> Result<(), ArtifactsError> {
    let top = doing(fs::canonicalize(folder), "resolving", folder)?;
    let mut todo = vec![top.clone()];
    while let Some(folder) = todo.pop() {
        for entry in doing(fs::read_dir(&folder), "listing", &folder)? {
            let path = doing(entry, "listing", &folder)?.path();
            let kind = doing(fs::symlink_metadata(&path), "reading", &path)?;
            if kind.is_dir() {
                todo.push(path);
            } else if kind.is_symlink() {
                let outside = match fs::canonicalize(&path) {
                    Ok(target) => !target.starts_with(&top),
                    // A release's own links may lead to files that it leaves out; nobody reads through them.
                    Err(error) => error.kind() != io::ErrorKind::NotFound,
                };
                if outside {
                    let entry = path.strip_prefix(&top).unwrap_or(&path).display().to_string();
                    let reason = "it is a link that leads out of the folder".to_owned();
                    return Err(ArtifactsError::Entry { entry, reason });
                }
            }
        }
    }
    Ok(())
}

/// Whether a relative path, taken word by word, never climbs above where it starts.
fn stays_inside(path: &Path) -> bool {
    let mut depth = 0_i32;
    path.components().all(|component| {
        depth += match component {
            Component::Normal(_) => 1,
            Component::CurDir => 0,
            Component::ParentDir => -1,
            Component::RootDir | Component::Prefix(_) => return false,
        };
        depth >= 0
    })
}
