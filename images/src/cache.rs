//! Images on disk: found by key, finished by one rename, swept when their maker died.
//!
//! ```text
//! <cache>/images/<key>/rootfs          the tree
//!                     /manifest.json   what is in it
//!                     /apt/lists       package lists, kept beside the tree for images derived from it
//!                     /settings        what a cloud image says of where its packages come from
//! <cache>/images/.tmp/<key>-<n>/       being made; its lock file is held by its maker
//! <cache>/images/.locks/<key>          held exclusively while making, shared while in use
//!                       /<key>.import  held while Docker is given the image
//! <cache>/images/.gate                 held for the moment in which `.tmp` gains or loses folders
//! <cache>/id                           a random word: Docker's images of this cache are labelled with it
//! ```
//!
//! Nothing in a cache is used that another user could have put there: see [`trust`].
//!
//! # What is safe to rely on
//!
//! An image is on the disk before it has its name, so that a power cut leaves none by half: the tree, its manifest and
//! their folders are synchronised first.
//! An image whose manifest cannot be read all the same, because it was damaged or another version wrote it, counts as
//! none: whoever wants it makes it again, and it is the first to be removed.
//! A cell holds the images that it is made of by shared locks; the lock file's time is the image's last use.
//! Incomplete images have their maker's lock and are removed when that lock is free.
//! Everything that was made here has a name that only we give: a key, or a run's id with one of three endings.
//! Everything else in the cache's folders stays, and `clean` names it.

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
use crate::progress::Phase;
use crate::runner::Runner;
use rustix::io::Errno;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The images in the cache, newest first; without those that cannot be read, and none of a cache that cannot be trusted.
pub fn list(cache: &Path) -> Vec<Image> {
    Store::new(cache).list()
}

/// The folder `images` of a cache.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) images: PathBuf,
}

/// The result of waiting for an image.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Somebody else has made it.
    Made(Box<Image>),
    /// Nobody has, and nobody else does until the value is dropped.
    Ours {
        /// The lock.
        _lock: File,
    },
}

impl Store {
    pub(crate) fn new(cache: &Path) -> Store {
        // Children are started with other working folders.
        let cache = std::path::absolute(cache).unwrap_or_else(|_| cache.to_owned());
        Store { images: cache.join("images") }
    }

    /// Makes the cache's folders, or checks those that are there.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let cache = self.images.parent().unwrap_or(&self.images);
        let own = [cache.to_owned(), self.images.clone(), self.images.join(".tmp"), self.images.join(".locks")];
        own.iter().try_for_each(|folder| trust::make(folder).context("using", folder))
    }

    /// The image of that key.
    ///
    /// One that cannot be read counts as missing; its next maker removes it first: see [`Store::turn`].
    pub(crate) fn find(&self, key: &str) -> Result<Option<Image>, Failure> {
        match Image::load(&self.images.join(key), ImageOrigin::Cached) {
            Err(failure) if is_damage(&failure.cause) => {
                tracing::debug!("unreadable image: {}", failure.cause);
                Ok(None)
            }
            found => found,
        }
    }

    /// The newest image that was made for the same request, whatever the mirror had then.
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

    /// All images, readable or not, and what else is beside them: the newest first, and unreadable ones last.
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

    /// Waits until nobody else makes this image, or until it is made.
    ///
    /// Its maker may hold it from then on for as long as a run takes; see [`Image::hold`].
    pub(crate) fn turn(&self, runner: &Runner<'_>, key: &str) -> Result<Turn, Failure> {
        let path = self.images.join(".locks").join(key);
        let mut file = trust::lock(&path).context("opening", &path)?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) if is_still_at(&file, &path) => {
                    if let Some(image) = self.find(key)? {
                        return Ok(Turn::Made(Box::new(image)));
                    }
                    // The new one could not be renamed to where a damaged one is.
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
            if !told {
                runner.report(Phase::Wait, None);
                told = true;
            }
            runner.check()?;
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The names beside the images that are the cache's own.
const OWN: [&str; 3] = [".tmp", ".locks", ".gate"];

/// The content of the folder of images.
struct CacheContent {
    /// Images, readable or not.
    images: Vec<CacheEntry>,
    /// What was not made here.
    others: Vec<PathBuf>,
}

/// What is stored under a key: an image, or something that cannot be read but takes room.
struct CacheEntry {
    key: String,
    dir: PathBuf,
    image: Option<Image>,
}

/// Whether a name has the form of a key, the SHA-256 of what went in.
fn is_key(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether the image is damaged, rather than this process lacking something, such as permission.
fn is_damage(cause: &ImageErrorKind) -> bool {
    match cause {
        ImageErrorKind::BadManifest { .. } => true,
        ImageErrorKind::Io { source, .. } => {
            matches!(Errno::from_io_error(source), Some(Errno::IO | Errno::ISDIR | Errno::UCLEAN))
        }
        _ => false,
    }
}

/// Whether an open lock is still the one of that name: the holder of a lock may remove it with its image.
fn is_still_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let of = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    file.metadata().ok().map(of) == std::fs::symlink_metadata(path).ok().map(of)
}

#[cfg(test)]
pub(crate) mod tests;
