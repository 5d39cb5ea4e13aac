//! The directory in which an image is made, until one rename turns it into the image.

use super::{Image, ImageOrigin, Store, trust};
use crate::error::{Context, Failure};
use crate::manifest::{Manifest, sync};
use std::fs::File;
use std::path::PathBuf;

/// A directory for making an image or fetching its parts; removed when the value is dropped, unless finished.
#[derive(Debug)]
pub(crate) struct Workshop {
    pub(crate) dir: PathBuf,
    _lock: File,
    finished: bool,
}

impl Store {
    pub(crate) fn workshop(&self, key: &str) -> Result<Workshop, Failure> {
        let tmp = self.images.join(".tmp");
        self.check()?;
        let _gate = self.gate()?;
        let prefix = format!("{}-", key.get(..12).unwrap_or(key));
        // Readable by all, as a tree's own modes expect: apt's sandbox user must be able to traverse it.
        let dir = tempfile::Builder::new()
            .prefix(&prefix)
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir_in(&tmp)
            .context("creating a folder in", &tmp)?
            .keep();
        let path = dir.join("lock");
        let lock = trust::lock(&path).context("opening", &path)?;
        lock.lock().context("locking", &path)?;
        Ok(Workshop { dir, _lock: lock, finished: false })
    }
}

impl Workshop {
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Turns the directory into the image of its key, in one step.
    pub(crate) fn finish(mut self, store: &Store, manifest: &Manifest) -> Result<Image, Failure> {
        // First the tree is synchronised, then the manifest, then the name: an image with a name is complete, even
        // after a power cut.
        let written = File::open(&self.dir).and_then(|folder| Ok(rustix::fs::syncfs(&folder)?));
        written.context("writing to the disk", &self.dir)?;
        manifest.write(&self.dir.join("manifest.json"))?;
        let target = store.images.join(&manifest.key);
        let lock = self.dir.join("lock");
        std::fs::rename(&self.dir, &target).context("moving into the cache", &self.dir)?;
        self.finished = true;
        sync(&store.images)?;
        let _ = std::fs::remove_file(target.join(lock.file_name().unwrap_or_default()));
        let image = Image { dir: target, made: manifest.made, origin: ImageOrigin::Built, manifest: manifest.clone() };
        Ok(image)
    }

    /// Removes the directory, or returns the reason for a failure; then the next sweep tries again.
    pub(super) fn end(mut self) -> Result<(), Failure> {
        self.finished = true;
        std::fs::remove_dir_all(&self.dir).context("removing", &self.dir)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            // The next sweep tries again.
            tracing::warn!(dir = %self.dir.display(), %error, "a workshop was not removed");
        }
    }
}
