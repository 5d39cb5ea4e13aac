//! Removal of half images whose makers died, and of images that are no longer wanted.
//!
//! Files of the cache have a key for their name, or are in a directory of the cache's own; everything else stays. No
//! link is followed, and nothing is removed whose lock is held or cannot be judged.

use super::trust::UntrustedPath;
use super::{Store, is_still_at, trust};
use crate::error::{Context as _, Failure, ImageError};
use crate::progress::ImagePhase;
use model::distro::Target;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::TryLockError;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Scope of [`clean()`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CleanScope {
    /// Every image, and the remains of images that cannot be read.
    All,
    /// The images of one release.
    Release(Target),
    /// All but the newest image of each request; images that cannot be read are removed, too.
    Superseded,
}

/// Result of [`clean()`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CleanReport {
    /// Keys of removed images.
    pub removed: Vec<String>,
    /// Keys of images that are in use and therefore stay.
    pub in_use: Vec<String>,
    /// Paths that could not be removed.
    pub leftovers: Vec<Leftover>,
    /// Files and directories next to the images that the cache did not create.
    pub others: Vec<PathBuf>,
}

/// Result of [`sweep`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweptImages {
    /// Number of half images that were removed.
    pub removed: usize,
    /// Half images that could not be removed, without those whose makers are alive.
    pub leftovers: Vec<Leftover>,
}

/// A path of a cache that could not be removed, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The path.
    pub path: PathBuf,
    /// Reason.
    pub why: String,
}

impl Leftover {
    pub(super) fn new(path: &Path, why: impl fmt::Display) -> Leftover {
        Leftover { path: path.to_owned(), why: why.to_string() }
    }

    /// Makes a leftover from an error; drops the path from the error's text if it is repeated there.
    pub fn of_error(path: &Path, error: &io::Error) -> Leftover {
        let untrusted = error.get_ref().and_then(|inner| inner.downcast_ref::<UntrustedPath>());
        match untrusted.filter(|untrusted| untrusted.path == path) {
            Some(untrusted) => Leftover::new(path, untrusted.message()),
            None => Leftover::new(path, error),
        }
    }
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

/// Removes half images whose makers have died.
///
/// # Errors
/// If the cache cannot be read; paths that cannot be removed are listed in [`SweptImages::leftovers`].
pub fn sweep(cache: &Path) -> Result<SweptImages, ImageError> {
    let store = Store::new(cache);
    let sweep = || {
        store.check()?;
        store.sweep()
    };
    sweep().map_err(|failure| ImageError::new("the cache", ImagePhase::Store, failure))
}

/// Removes images from the cache, and half images whose makers died, as [`sweep`] does.
///
/// # Errors
/// If the cache cannot be read; an image that cannot be removed is listed in [`CleanReport::leftovers`].
pub fn clean(cache: &Path, what: &CleanScope) -> Result<CleanReport, ImageError> {
    let store = Store::new(cache);
    let clean = || {
        store.check()?;
        store.sweep()?;
        store.clean(what)
    };
    clean().map_err(|failure| ImageError::new("the cache", ImagePhase::Store, failure))
}

impl Store {
    pub(crate) fn sweep(&self) -> Result<SweptImages, Failure> {
        let tmp = self.images.join(".tmp");
        let mut swept = SweptImages::default();
        let mut dead = Vec::new();
        if !tmp.exists() {
            return Ok(swept);
        }
        {
            let _gate = self.gate()?;
            for entry in std::fs::read_dir(&tmp).context("reading", &tmp)?.flatten() {
                let path = entry.path();
                // Makers create only directories, so anything else here has no maker; links are not followed.
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    dead.push((path, None));
                    continue;
                }
                let locked = match trust::existing_lock(&path.join("lock")) {
                    Ok(lock) => match lock.try_lock() {
                        Ok(()) => Ok(Some(lock)),
                        Err(TryLockError::WouldBlock) => continue,
                        Err(TryLockError::Error(error)) => Err(error),
                    },
                    // The maker died in the middle of its removal, or before it had a lock.
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error),
                };
                match locked {
                    Ok(lock) => dead.push((path, lock)),
                    Err(error) => {
                        swept.leftovers.push(Leftover::new(
                            &path,
                            format!("cannot find out from its lock whether it is in use: {error}"),
                        ));
                    }
                }
            }
        }
        for (path, _lock) in &dead {
            match remove_all(path) {
                Ok(()) => swept.removed += 1,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // A process may still write to it; the leftover does no harm.
                Err(error) => swept.leftovers.push(Leftover::of_error(path, &error)),
            }
        }
        swept.leftovers.extend(self.remove_stale_locks()?);
        Ok(swept)
    }

    fn clean(&self, what: &CleanScope) -> Result<CleanReport, Failure> {
        let content = self.content().context("reading", &self.images)?;
        let mut done = CleanReport { others: content.others, ..CleanReport::default() };
        let mut seen = BTreeSet::new();
        for entry in content.images {
            let newest = entry.image.as_ref().is_some_and(|image| seen.insert(image.manifest.request.clone()));
            let selected = match (what, &entry.image) {
                (CleanScope::All, _) => true,
                (CleanScope::Release(release), Some(image)) => image.release() == *release,
                // The release of an unreadable image is unknown.
                (CleanScope::Release(_), None) => false,
                (CleanScope::Superseded, _) => !newest,
            };
            if !selected {
                continue;
            }
            match self.remove(&entry.key) {
                Ok(true) => done.removed.push(entry.key),
                Ok(false) => done.in_use.push(entry.key),
                Err(failure) => done.leftovers.push(Leftover::new(&entry.dir, failure.cause)),
            }
        }
        done.leftovers.extend(self.remove_stale_locks()?);
        Ok(done)
    }

    /// Removes an image with its lock, or the remains of an image, unless the image is held.
    pub(super) fn remove(&self, key: &str) -> Result<bool, Failure> {
        let path = self.images.join(".locks").join(key);
        let lock = trust::lock(&path).context("opening", &path)?;
        match lock.try_lock() {
            Ok(()) if is_still_at(&lock, &path) => {}
            Ok(()) | Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(e)) => return Err(e).context("locking", &path),
        }
        self.discard(key)?;
        std::fs::remove_file(&path).context("removing", &path)?;
        Ok(true)
    }

    /// Removes the entry of a key, whatever its type; its lock must be held.
    pub(super) fn discard(&self, key: &str) -> Result<(), Failure> {
        let path = self.images.join(key);
        // Renamed first, because removal takes time: a process that is killed here leaves no half image either.
        let workshop = self.workshop(key)?;
        match std::fs::rename(&path, workshop.dir.join("removed")) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            moved => moved.context("moving away", &path)?,
        }
        workshop.end()
    }

    /// Removes locks of vanished images that no process holds; returns those that cannot be opened.
    fn remove_stale_locks(&self) -> Result<Vec<Leftover>, Failure> {
        let locks = self.images.join(".locks");
        let mut leftovers = Vec::new();
        let entries = match std::fs::read_dir(&locks) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(leftovers),
            entries => entries.context("reading", &locks)?,
        };
        for entry in entries.flatten() {
            let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
            let key = name.strip_suffix(".import").unwrap_or(&name);
            let has_image = || self.images.join(key).symlink_metadata().is_ok();
            match trust::existing_lock(&path) {
                // A process that waits for the lock notices the removal and makes a new one.
                Ok(lock) if lock.try_lock().is_ok() && !has_image() => match std::fs::remove_file(&path) {
                    Err(e) if e.kind() != ErrorKind::NotFound => leftovers.push(Leftover::of_error(&path, &e)),
                    _ => {}
                },
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::NotFound || has_image() => {}
                Err(e) => leftovers.push(Leftover::of_error(&path, &e)),
            }
        }
        Ok(leftovers)
    }
}

/// Removes a directory with its content, or any other file; the target of a link stays.
fn remove_all(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path)?.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    }
}

#[cfg(test)]
mod tests;
