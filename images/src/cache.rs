//! Images on disk: found by key, finished by one rename, swept when their maker died.
//!
//! ```text
//! <cache>/images/<key>/rootfs          the tree
//!                     /manifest.json   what is in it
//!                     /apt/lists       package lists, kept beside the tree for images derived from it
//! <cache>/images/.tmp/<key>-<n>/       being made; its lock file is held by its maker
//! <cache>/images/.locks/<key>          held exclusively while making, shared while in use
//!                       /<key>.import  held while Docker is given the image
//! <cache>/images/.gate                 held for the moment in which `.tmp` gains or loses folders
//! ```

use crate::command::Runner;
use crate::error::{Context, Failure, ImageError, Phase};
use crate::manifest::Manifest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A root filesystem with what is known about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Image {
    /// The folder in the cache.
    pub dir: PathBuf,
    /// When the tree was finished: its age is what `--offline` shows.
    pub made: Timestamp,
    /// How this call came by it.
    pub origin: Origin,
    /// What is in it.
    pub manifest: Manifest,
}

/// How an image came to be returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// It was made now.
    Built,
    /// It was in the cache, and the mirror has nothing newer.
    Cached,
    /// It was in the cache; nobody asked the mirror.
    Offline,
}

impl Image {
    /// The root filesystem.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// The cache key.
    pub fn key(&self) -> &str {
        &self.manifest.key
    }

    /// `debian:13`.
    pub fn release(&self) -> String {
        format!("{}:{}", self.manifest.distro, self.manifest.version)
    }

    /// Seconds since the tree was finished.
    pub fn age_seconds(&self) -> i64 {
        Timestamp::now().as_second() - self.made.as_second()
    }

    /// Keeps [`clean`] away from the image until the value is dropped or the process dies.
    pub fn hold(&self) -> std::io::Result<Hold> {
        let images = self.dir.parent().unwrap_or(&self.dir);
        let file = lock_file(&images.join(".locks").join(self.key()))?;
        file.lock_shared()?;
        Ok(Hold { _file: file })
    }

    /// Waits until nobody else hands this image to Docker.
    pub(crate) fn lock_import(&self) -> std::io::Result<File> {
        let images = self.dir.parent().unwrap_or(&self.dir);
        let file = lock_file(&images.join(".locks").join(format!("{}.import", self.key())))?;
        file.lock()?;
        Ok(file)
    }

    pub(crate) fn load(dir: &Path, origin: Origin) -> Result<Option<Image>, Failure> {
        let path = dir.join("manifest.json");
        if !path.exists() {
            return Ok(None);
        }
        let manifest = Manifest::read(&path)?;
        Ok(Some(Image { dir: dir.to_owned(), made: manifest.made, origin, manifest }))
    }
}

/// A shared lock on an image; see [`Image::hold`].
#[derive(Debug)]
pub struct Hold {
    _file: File,
}

/// What [`clean`] is to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clean {
    /// Every image.
    All,
    /// The images of one release: `debian:13`.
    Release(String),
    /// All but the newest image of each request.
    Superseded,
}

/// What [`clean`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Keys of removed images.
    pub removed: Vec<String>,
    /// Keys of images that are in use and were left.
    pub in_use: Vec<String>,
}

/// Removes half images whose makers have died; returns how many.
///
/// # Errors
/// When the cache cannot be read or a left-over cannot be removed.
pub fn sweep(cache: &Path) -> Result<usize, ImageError> {
    let store = Store::new(cache);
    store.sweep().map_err(|failure| ImageError::new("the cache", Phase::Store, failure))
}

/// Removes images from the cache, and left-overs of makers that died.
///
/// # Errors
/// When the cache cannot be read or an image cannot be removed.
pub fn clean(cache: &Path, what: &Clean) -> Result<Cleaned, ImageError> {
    let store = Store::new(cache);
    let clean = || {
        store.sweep()?;
        store.clean(what)
    };
    clean().map_err(|failure| ImageError::new("the cache", Phase::Store, failure))
}

/// The images in the cache, newest first; what cannot be read is left out.
pub fn list(cache: &Path) -> Vec<Image> {
    Store::new(cache).list()
}

/// The folder `images` of a cache.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) images: PathBuf,
}

/// A folder in which an image is made, or what it takes is fetched; gone with its value unless it is finished.
#[derive(Debug)]
pub(crate) struct Workshop {
    pub(crate) dir: PathBuf,
    _lock: File,
    finished: bool,
}

impl Store {
    pub(crate) fn new(cache: &Path) -> Store {
        // Children are started with other working folders.
        let cache = std::path::absolute(cache).unwrap_or_else(|_| cache.to_owned());
        Store { images: cache.join("images") }
    }

    pub(crate) fn find(&self, key: &str) -> Result<Option<Image>, Failure> {
        Image::load(&self.images.join(key), Origin::Cached)
    }

    /// The newest image that was made for the same request, whatever the mirror had then.
    pub(crate) fn newest(&self, fits: impl Fn(&Manifest) -> bool) -> Option<Image> {
        let mut image = self.list().into_iter().find(|i| fits(&i.manifest))?;
        image.origin = Origin::Offline;
        Some(image)
    }

    fn list(&self) -> Vec<Image> {
        let Ok(dir) = std::fs::read_dir(&self.images) else {
            return Vec::new();
        };
        let mut all: Vec<Image> = dir
            .flatten()
            .filter(|e| !e.file_name().to_string_lossy().starts_with('.'))
            .filter_map(|e| Image::load(&e.path(), Origin::Cached).ok().flatten())
            .collect();
        all.sort_by(|a, b| b.made.cmp(&a.made).then_with(|| a.key().cmp(b.key())));
        all
    }

    fn gate(&self) -> Result<File, Failure> {
        let path = self.images.join(".gate");
        let file = lock_file(&path).context("opening", &path)?;
        file.lock().context("locking", &path)?;
        Ok(file)
    }

    /// Waits until nobody else makes this image.
    pub(crate) fn lock_key(&self, runner: &Runner<'_>, key: &str) -> Result<File, Failure> {
        let path = self.images.join(".locks").join(key);
        let file = lock_file(&path).context("opening", &path)?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => return Err(e).context("locking", &path),
            }
            if !told {
                runner.report(Phase::Wait, None);
                told = true;
            }
            runner.check()?;
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(crate) fn workshop(&self, key: &str) -> Result<Workshop, Failure> {
        let tmp = self.images.join(".tmp");
        std::fs::create_dir_all(&tmp).context("creating", &tmp)?;
        let _gate = self.gate()?;
        let prefix = format!("{}-", key.get(..12).unwrap_or(key));
        // Readable by all, as the tree's own modes say: apt's sandbox user must get through.
        let dir = tempfile::Builder::new()
            .prefix(&prefix)
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir_in(&tmp)
            .context("creating a folder in", &tmp)?
            .keep();
        let path = dir.join("lock");
        let lock = lock_file(&path).context("opening", &path)?;
        lock.lock().context("locking", &path)?;
        Ok(Workshop { dir, _lock: lock, finished: false })
    }

    pub(crate) fn sweep(&self) -> Result<usize, Failure> {
        let tmp = self.images.join(".tmp");
        if !tmp.exists() {
            return Ok(0);
        }
        let mut dead = Vec::new();
        {
            let _gate = self.gate()?;
            for entry in std::fs::read_dir(&tmp).context("reading", &tmp)?.flatten() {
                let lock = File::open(entry.path().join("lock"));
                // Without a lock file the maker died in the middle of being removed, or before the gate opened.
                if lock.is_err() {
                    dead.push((entry.path(), None));
                } else if let Ok(lock) = lock
                    && lock.try_lock().is_ok()
                {
                    dead.push((entry.path(), Some(lock)));
                }
            }
        }
        let mut removed = 0;
        for (path, _lock) in &dead {
            match std::fs::remove_dir_all(path) {
                Ok(()) => removed += 1,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                // One that cannot be removed, or that somebody still writes to, is in nobody's way.
                Err(error) => tracing::warn!(dir = %path.display(), %error, "a left-over was not removed"),
            }
        }
        Ok(removed)
    }

    fn clean(&self, what: &Clean) -> Result<Cleaned, Failure> {
        let mut done = Cleaned::default();
        let mut seen = std::collections::BTreeSet::new();
        for image in self.list() {
            let newest = seen.insert(image.manifest.request.clone());
            let wanted = match what {
                Clean::All => true,
                Clean::Release(name) => image.release() == *name,
                Clean::Superseded => !newest,
            };
            if !wanted {
                continue;
            }
            let path = self.images.join(".locks").join(image.key());
            let lock = lock_file(&path).context("opening", &path)?;
            if lock.try_lock().is_err() {
                done.in_use.push(image.key().to_owned());
                continue;
            }
            // First out of sight, then slowly away: a killed `clean` leaves no half image either.
            let workshop = self.workshop(image.key())?;
            let aside = workshop.dir.join("removed");
            std::fs::rename(&image.dir, &aside).context("moving away", &image.dir)?;
            drop(workshop);
            done.removed.push(image.key().to_owned());
        }
        Ok(done)
    }
}

impl Workshop {
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Makes the folder the image of that key, in one step.
    pub(crate) fn finish(mut self, store: &Store, manifest: &Manifest) -> Result<Image, Failure> {
        manifest.write(&self.dir.join("manifest.json"))?;
        let target = store.images.join(&manifest.key);
        let lock = self.dir.join("lock");
        std::fs::rename(&self.dir, &target).context("moving into the cache", &self.dir)?;
        self.finished = true;
        let _ = std::fs::remove_file(target.join(lock.file_name().unwrap_or_default()));
        let image = Image { dir: target, made: manifest.made, origin: Origin::Built, manifest: manifest.clone() };
        Ok(image)
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

fn lock_file(path: &Path) -> std::io::Result<File> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    File::options().create(true).truncate(false).write(true).read(true).open(path)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::manifest::FORMAT;
    use crate::options::Source;
    use kata_osinfo::arch::Arch;

    pub(crate) fn manifest(key: &str, version: &str, made: &str) -> Manifest {
        Manifest {
            format: FORMAT,
            key: key.to_owned(),
            request: format!("request-{version}"),
            distro: "debian".to_owned(),
            version: version.to_owned(),
            arch: Arch::X86_64,
            source: Source::Bootstrap,
            oci_digest: None,
            cloud_sha256: None,
            derived_from: None,
            made: made.parse().unwrap(),
            accepted_expired: vec![],
            indexes: vec![],
            requested: vec![],
            packages: vec![],
            origins: vec![],
            owners: vec![],
            timings: vec![],
        }
    }

    fn make(store: &Store, key: &str, version: &str, made: &str) -> Image {
        let workshop = store.workshop(key).unwrap();
        std::fs::create_dir(workshop.rootfs()).unwrap();
        workshop.finish(store, &manifest(key, version, made)).unwrap()
    }

    #[test]
    fn a_finished_image_is_found_and_an_abandoned_one_is_not() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::new(cache.path());
        let image = make(&store, "aaaa", "13", "2026-11-01T00:00:00Z");
        assert!(!image.dir.join("lock").exists());
        assert_eq!(store.find("aaaa").unwrap().unwrap().manifest, image.manifest);
        let abandoned = store.workshop("bbbb").unwrap();
        std::fs::write(abandoned.dir.join("manifest.json"), "{").unwrap();
        let dir = abandoned.dir.clone();
        drop(abandoned);
        assert!(!dir.exists());
        assert!(store.find("bbbb").unwrap().is_none());
    }

    #[test]
    fn sweep_removes_what_the_dead_left_and_nothing_of_the_living() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::new(cache.path());
        let living = store.workshop("aaaa").unwrap();
        let dead = store.workshop("bbbb").unwrap();
        let dead_dir = dead.dir.clone();
        // As `kill -9` does: the lock goes with the process, the folder stays.
        let lock = dead_dir.join("lock");
        std::mem::forget(dead);
        std::fs::remove_file(&lock).unwrap();
        File::create(&lock).unwrap();
        assert_eq!(sweep(cache.path()).unwrap(), 1);
        assert!(living.dir.exists());
        assert!(!dead_dir.exists());
    }

    #[test]
    fn the_newest_image_of_a_request_is_the_offline_one() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::new(cache.path());
        make(&store, "old", "13", "2026-11-01T00:00:00Z");
        make(&store, "new", "13", "2026-11-09T00:00:00Z");
        make(&store, "other", "12", "2026-11-10T00:00:00Z");
        let found = store.newest(|m| m.request == "request-13").unwrap();
        assert_eq!((found.key(), found.origin), ("new", Origin::Offline));
        assert!(store.newest(|m| m.request == "request-11").is_none());
    }

    #[test]
    fn clean_leaves_images_in_use() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::new(cache.path());
        make(&store, "old", "13", "2026-11-01T00:00:00Z");
        let new = make(&store, "new", "13", "2026-11-09T00:00:00Z");
        make(&store, "other", "12", "2026-11-10T00:00:00Z");
        let done = clean(cache.path(), &Clean::Superseded).unwrap();
        assert_eq!(done.removed, ["old"]);
        let hold = new.hold().unwrap();
        let done = clean(cache.path(), &Clean::All).unwrap();
        assert_eq!(done, Cleaned { removed: vec!["other".to_owned()], in_use: vec!["new".to_owned()] });
        drop(hold);
        assert_eq!(clean(cache.path(), &Clean::Release("debian:13".to_owned())).unwrap().removed, ["new"]);
        assert!(list(cache.path()).is_empty());
    }

    #[test]
    fn an_image_survives_serialisation() {
        let cache = tempfile::tempdir().unwrap();
        let image = make(&Store::new(cache.path()), "k", "13", "2026-11-01T00:00:00Z");
        let text = serde_json::to_string(&image).unwrap();
        assert_eq!(serde_json::from_str::<Image>(&text).unwrap(), image);
    }
}
