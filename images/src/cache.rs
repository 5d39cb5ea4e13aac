//! Images on disk: looked up by key, completed by one rename, removed if their maker died before that.
//!
//! ```text
//! <cache>/images/<key>/rootfs          the tree
//!                     /manifest.json   description of its content
//!                     /apt/lists       package lists, kept next to the tree for images derived from it
//!                     /settings        package source settings of the base that the caller supplied
//! <cache>/images/.tmp/<key>-<n>/       under construction; its maker holds the lock file in it
//! <cache>/images/.locks/<key>          held exclusively during construction, shared during use
//!                       /<key>.import  held while the image is imported into Docker
//! <cache>/images/.gate                 held briefly while a directory in `.tmp` is added or removed
//! <cache>/id                           a random word, used as label for Docker's images of this cache
//! ```
//!
//! A cache is not used if another user could have put something there: see [`trust`].
//!
//! # Guarantees
//!
//! An image is synchronised to the disk before it gets its name, so that a power cut leaves no half image: the tree,
//! its manifest and their directories come first.
//! An image whose manifest cannot be read nevertheless, because it was damaged or written by another version, counts as
//! missing: the next caller that needs it makes it again, and it is the first to be removed.
//! A cell holds shared locks on the images that it uses; the modification time of the lock file is the image's last
//! use.
//! Incomplete images have their maker's lock and are removed when that lock is free.
//! Everything that the cache created has a recognizable name: a key, or a run's id with one of three endings.
//! Everything else in the cache's directories stays, and `clean` lists it.

mod budget;
mod image;
mod name;
mod removal;
pub mod transfer;
pub mod trust;
mod workshop;

pub use budget::{RemovedImage, TrimReport, trim};
pub use image::{Image, ImageLock, ImageOrigin};
pub use name::id;
pub use removal::{CleanReport, CleanScope, Leftover, SweptImages, clean, sweep};
pub(crate) use workshop::Workshop;

use crate::error::{Context, Failure, ImageErrorKind};
use crate::manifest::Manifest;
use crate::progress::ImagePhase;
use crate::runner::Runner;
use rustix::io::Errno;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Lists the images in the cache, newest first, without unreadable ones; empty if the cache cannot be trusted.
pub fn list(cache: &Path) -> Vec<Image> {
    Store::new(cache).list()
}

/// The directory `images` of a cache.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) images: PathBuf,
}

/// The result of waiting for an image.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Another process has made the image.
    Made(Box<Image>),
    /// The image is missing, and the caller makes it: no other process can until the value is dropped.
    Ours {
        /// The lock.
        _lock: File,
    },
}

impl Store {
    pub(crate) fn new(cache: &Path) -> Store {
        // Children run with other working directories.
        let cache = std::path::absolute(cache).unwrap_or_else(|_| cache.to_owned());
        Store { images: cache.join("images") }
    }

    /// Creates the cache's directories, or checks existing ones.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let cache = self.images.parent().unwrap_or(&self.images);
        let own = [cache.to_owned(), self.images.clone(), self.images.join(".tmp"), self.images.join(".locks")];
        own.iter().try_for_each(|folder| trust::make(folder).context("using", folder))
    }

    /// Finds the image of a key.
    ///
    /// An unreadable image counts as missing; its next maker removes it first: see [`Store::turn`].
    pub(crate) fn find(&self, key: &str) -> Result<Option<Image>, Failure> {
        match Image::load(&self.images.join(key), ImageOrigin::Cached) {
            Err(failure) if is_damage(&failure.cause) => {
                tracing::debug!("unreadable image: {}", failure.cause);
                Ok(None)
            }
            found => found,
        }
    }

    /// Returns the newest image that was made for the same request, with any state of the mirror.
    pub(crate) fn newest(&self, fits: impl Fn(&Manifest) -> bool) -> Option<Image> {
        let mut image = self.list().into_iter().find(|i| fits(&i.manifest))?;
        image.origin = ImageOrigin::Offline;
        Some(image)
    }

    fn list(&self) -> Vec<Image> {
        let cache = self.images.parent().unwrap_or(&self.images);
        if let Some(error) = [cache, &self.images].into_iter().find_map(|folder| trust::check(folder).err()) {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::warn!("{error}");
            }
            return Vec::new();
        }
        let Ok(content) = self.content() else {
            return Vec::new();
        };
        content.images.into_iter().filter_map(|entry| entry.image).collect()
    }

    /// Lists all images, readable or not, the newest first and unreadable ones last, and other files next to them.
    fn content(&self) -> std::io::Result<CacheContent> {
        let (mut images, mut others) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(&self.images)? {
            let (name, dir) = entry.map(|entry| (entry.file_name(), entry.path()))?;
            if OWN.iter().any(|own| name == *own) {
                continue;
            }
            let image = Image::load(&dir, ImageOrigin::Cached).ok().flatten();
            match name.into_string() {
                Ok(key) if image.is_some() || is_key(&key) => images.push(CacheEntry { key, dir, image }),
                _ => others.push(dir),
            }
        }
        let made = |entry: &CacheEntry| entry.image.as_ref().map(|image| image.made);
        images.sort_by(|a, b| made(b).cmp(&made(a)).then_with(|| a.key.cmp(&b.key)));
        Ok(CacheContent { images, others })
    }

    fn gate(&self) -> Result<File, Failure> {
        let path = self.images.join(".gate");
        let file = trust::lock(&path).context("opening", &path)?;
        file.lock().context("locking", &path)?;
        Ok(file)
    }

    /// Waits until no other process makes this image, or until it is made.
    ///
    /// Its maker may hold the lock from then on for as long as a run takes; see [`Image::hold`].
    pub(crate) fn turn(&self, runner: &Runner<'_>, key: &str) -> Result<Turn, Failure> {
        let path = self.images.join(".locks").join(key);
        let mut file = trust::lock(&path).context("opening", &path)?;
        let mut reported = false;
        loop {
            match file.try_lock() {
                Ok(()) if is_still_at(&file, &path) => {
                    if let Some(image) = self.find(key)? {
                        return Ok(Turn::Made(Box::new(image)));
                    }
                    // The new image could not be renamed to the place of a damaged one.
                    if self.images.join(key).symlink_metadata().is_ok() {
                        tracing::warn!("the image {key} cannot be read and will be made again");
                        self.discard(key)?;
                    }
                    return Ok(Turn::Ours { _lock: file });
                }
                Ok(()) => {
                    file = trust::lock(&path).context("opening", &path)?;
                    continue;
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => return Err(e).context("locking", &path),
            }
            if let Some(image) = self.find(key)? {
                return Ok(Turn::Made(Box::new(image)));
            }
            if !reported {
                runner.report(ImagePhase::Wait, None);
                reported = true;
            }
            runner.check()?;
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The cache's own names next to the images.
const OWN: [&str; 3] = [".tmp", ".locks", ".gate"];

/// Content of the directory `images`.
struct CacheContent {
    /// Images, readable or not.
    images: Vec<CacheEntry>,
    /// Files that the cache did not create.
    others: Vec<PathBuf>,
}

/// An entry under a key: an image, or something unreadable that takes space.
struct CacheEntry {
    key: String,
    dir: PathBuf,
    image: Option<Image>,
}

/// Returns whether a name has the form of a key, a SHA-256 of all inputs.
fn is_key(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns whether the image is damaged, as opposed to a problem of this process, such as missing permission.
fn is_damage(cause: &ImageErrorKind) -> bool {
    match cause {
        ImageErrorKind::BadManifest { .. } => true,
        ImageErrorKind::Io { source, .. } => {
            matches!(Errno::from_io_error(source), Some(Errno::IO | Errno::ISDIR | Errno::UCLEAN))
        }
        _ => false,
    }
}

/// Returns whether an open lock is still the file of that name: the holder of a lock may remove it with its image.
fn is_still_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let device_and_inode = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    file.metadata().ok().map(device_and_inode) == std::fs::symlink_metadata(path).ok().map(device_and_inode)
}

#[cfg(test)]
pub(crate) mod tests;
