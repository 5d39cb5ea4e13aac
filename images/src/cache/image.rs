//! An image of the cache, and the locks that protect it while it is in use.

use super::{Store, is_still_at, trust};
use crate::error::{Context, Failure, ImageErrorKind};
use crate::manifest::Manifest;
use jiff::Timestamp;
use model::distro::Target;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A root filesystem with what is known about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Image {
    /// Directory in the cache.
    pub dir: PathBuf,
    /// Time at which the tree was completed: `--offline` shows its age.
    pub made: Timestamp,
    /// Origin of the image in this call.
    pub origin: ImageOrigin,
    /// Its content and how it was made.
    pub manifest: Manifest,
}

/// Origins of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageOrigin {
    /// The image was made in this call.
    Built,
    /// The image was in the cache, and the mirror has nothing newer.
    Cached,
    /// The image was in the cache; the mirror was not contacted.
    Offline,
}

impl Image {
    /// Returns the root filesystem.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Returns the cache key.
    pub fn key(&self) -> &str {
        &self.manifest.key
    }

    /// Returns the release that the image is of.
    pub fn release(&self) -> Target {
        Target { distro: self.manifest.distro.clone(), version: self.manifest.version.clone() }
    }

    /// Returns the seconds since the tree was completed.
    pub fn age_seconds(&self) -> i64 {
        Timestamp::now().as_second() - self.made.as_second()
    }

    /// Keeps [`clean`](super::clean()) and [`trim`](super::trim()) from removing the image until the value is dropped
    /// or the process dies; counts as its use.
    ///
    /// # Errors
    /// If the image has been removed meanwhile, or the lock cannot be acquired.
    pub fn hold(&self) -> std::io::Result<ImageLock> {
        let images = self.dir.parent().unwrap_or(&self.dir);
        let path = images.join(".locks").join(self.key());
        let file = loop {
            let file = trust::lock(&path)?;
            file.lock_shared()?;
            if is_still_at(&file, &path) {
                break file;
            }
        };
        if !self.dir.join("manifest.json").exists() {
            return Err(self.removed_error());
        }
        file.set_modified(std::time::SystemTime::now())?;
        Ok(ImageLock { _file: file })
    }

    fn removed_error(&self) -> std::io::Error {
        let message = format!("{} was removed from the cache in the meantime: start the run again", self.release());
        std::io::Error::new(std::io::ErrorKind::NotFound, message)
    }

    /// Returns the image that this one is derived from, held, if the cache still has it.
    pub(crate) fn base(&self) -> Result<Option<(Image, ImageLock)>, Failure> {
        let Some(key) = &self.manifest.derived_from else { return Ok(None) };
        let Some(base) = self.store().find(key)? else { return Ok(None) };
        match base.hold() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            hold => {
                let hold = hold.context("locking", &base.dir)?;
                Ok(Some((base, hold)))
            }
        }
    }

    /// Returns the plain image, held, whose directory has the package indexes of this one: itself, or the image that it
    /// is derived from.
    pub(crate) fn plain(&self) -> Result<(Image, ImageLock), Failure> {
        if self.manifest.derived_from.is_none() {
            return Ok((self.clone(), self.hold().context("locking", &self.dir)?));
        }
        self.base()?.map_or_else(|| Err(self.removed_error()).context("looking for the image below", &self.dir), Ok)
    }

    /// Returns the name of the image's cache.
    pub(crate) fn cache_id(&self) -> Result<String, Failure> {
        self.store().id()
    }

    fn store(&self) -> Store {
        Store { images: self.dir.parent().unwrap_or(&self.dir).to_owned() }
    }

    /// Waits until no other process imports this image into Docker.
    pub(crate) fn lock_import(&self) -> std::io::Result<File> {
        let images = self.dir.parent().unwrap_or(&self.dir);
        let path = images.join(".locks").join(format!("{}.import", self.key()));
        loop {
            let file = trust::lock(&path)?;
            file.lock()?;
            if is_still_at(&file, &path) {
                return Ok(file);
            }
        }
    }

    pub(crate) fn load(dir: &Path, origin: ImageOrigin) -> Result<Option<Image>, Failure> {
        let path = dir.join("manifest.json");
        if !path.exists() {
            return Ok(None);
        }
        trust::check(dir).context("using", dir)?;
        let manifest = Manifest::read(&path)?;
        // The key is the name of the lock: a copy under another name would be held and removed by the wrong lock.
        if dir.file_name().is_none_or(|name| name != manifest.key.as_str()) {
            let reason = format!("the folder's name and the image's key differ: found {}", manifest.key);
            return Err(ImageErrorKind::BadManifest { path, reason }.into());
        }
        Ok(Some(Image { dir: dir.to_owned(), made: manifest.made, origin, manifest }))
    }
}

/// A shared lock on an image; see [`Image::hold`].
#[derive(Debug)]
pub struct ImageLock {
    _file: File,
}
