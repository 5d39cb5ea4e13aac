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
//! <cache>/id                           a random word: what Docker has of this cache is known by it
//! ```
//!
//! Nothing of a cache is used that somebody else could have put there: see [`trust`].

mod budget;
pub mod trust;

pub use budget::{Gone, Trimmed, trim};

use crate::command::Runner;
use crate::digest::Fields;
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

    /// Keeps [`clean`] and [`trim`] away from the image until the value is dropped or the process dies, and counts as its
    /// use.
    ///
    /// # Errors
    /// When the image has been removed meanwhile, or the lock cannot be had.
    pub fn hold(&self) -> std::io::Result<Hold> {
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
            let gone = format!("{} has been removed from the cache meanwhile; run it again", self.release());
            return Err(std::io::Error::new(std::io::ErrorKind::NotFound, gone));
        }
        file.set_modified(std::time::SystemTime::now())?;
        Ok(Hold { _file: file })
    }

    /// The image that it is derived from, if the cache still has it.
    pub(crate) fn base(&self) -> Result<Option<Image>, Failure> {
        let images = self.dir.parent().unwrap_or(&self.dir);
        let base = self.manifest.derived_from.as_ref().map(|key| Image::load(&images.join(key), Origin::Cached));
        Ok(base.transpose()?.flatten())
    }

    /// The name of the cache that it lies in.
    pub(crate) fn cache_id(&self) -> Result<String, Failure> {
        Store { images: self.dir.parent().unwrap_or(&self.dir).to_owned() }.id()
    }

    /// Waits until nobody else hands this image to Docker.
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

    pub(crate) fn load(dir: &Path, origin: Origin) -> Result<Option<Image>, Failure> {
        let path = dir.join("manifest.json");
        if !path.exists() {
            return Ok(None);
        }
        trust::check(dir).context("using", dir)?;
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
    let sweep = || {
        store.check()?;
        store.sweep()
    };
    sweep().map_err(|failure| ImageError::new("the cache", Phase::Store, failure))
}

/// Removes images from the cache, and left-overs of makers that died.
///
/// # Errors
/// When the cache cannot be read or an image cannot be removed.
pub fn clean(cache: &Path, what: &Clean) -> Result<Cleaned, ImageError> {
    let store = Store::new(cache);
    let clean = || {
        store.check()?;
        store.sweep()?;
        store.clean(what)
    };
    clean().map_err(|failure| ImageError::new("the cache", Phase::Store, failure))
}

/// The cache's own name, which is made with the cache: what is elsewhere, as Docker's images and containers are, is
/// known by it.
///
/// # Errors
/// When the cache is not to be used, or the name cannot be read or written.
pub fn id(cache: &Path) -> Result<String, ImageError> {
    let store = Store::new(cache);
    let id = || {
        store.check()?;
        store.id()
    };
    id().map_err(|failure| ImageError::new("the cache", Phase::Store, failure))
}

/// The images in the cache, newest first; what cannot be read is left out, and so is all of a cache that is not to be used.
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

/// What came of waiting for an image.
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

    pub(crate) fn id(&self) -> Result<String, Failure> {
        let path = self.images.with_file_name("id");
        loop {
            match trust::existing_lock(&path) {
                Ok(mut file) => {
                    let mut text = String::new();
                    std::io::Read::read_to_string(&mut file, &mut text).context("reading", &path)?;
                    return Ok(text.trim().to_owned());
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(e).context("using", &path),
            }
            // Whole under its name, or not there; of two makers the second finds the first one's.
            let cache = self.images.parent().unwrap_or(&self.images);
            let mut made = tempfile::NamedTempFile::new_in(cache).context("creating a file in", cache)?;
            let seed = [std::process::id().to_le_bytes().to_vec(), random()].concat();
            let id = Fields::default().add("id", seed).hex();
            std::io::Write::write_all(&mut made, id.get(..16).unwrap_or(&id).as_bytes()).context("writing", &path)?;
            match made.persist_noclobber(&path) {
                Err(e) if e.error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(e.error).context("creating", &path);
                }
                _ => {}
            }
        }
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
        let cache = self.images.parent().unwrap_or(&self.images);
        if let Some(error) = [cache, &self.images].into_iter().find_map(|folder| trust::check(folder).err()) {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::warn!("{error}");
            }
            return Vec::new();
        }
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
        let file = trust::lock(&path).context("opening", &path)?;
        file.lock().context("locking", &path)?;
        Ok(file)
    }

    /// Waits until nobody else makes this image, or until it is made.
    ///
    /// Whoever has made it may hold it from then on for as long as a run takes; see [`Image::hold`].
    pub(crate) fn turn(&self, runner: &Runner<'_>, key: &str) -> Result<Turn, Failure> {
        let path = self.images.join(".locks").join(key);
        let mut file = trust::lock(&path).context("opening", &path)?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) if is_still_at(&file, &path) => {
                    return Ok(self.find(key)?.map_or(Turn::Ours { _lock: file }, |image| Turn::Made(Box::new(image))));
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

    pub(crate) fn workshop(&self, key: &str) -> Result<Workshop, Failure> {
        let tmp = self.images.join(".tmp");
        self.check()?;
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
        let lock = trust::lock(&path).context("opening", &path)?;
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
                match trust::existing_lock(&entry.path().join("lock")) {
                    Ok(lock) if lock.try_lock().is_ok() => dead.push((entry.path(), Some(lock))),
                    Ok(_) => {}
                    // Its maker died in the middle of being removed, or before the gate opened.
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => dead.push((entry.path(), None)),
                    // What cannot be opened says nothing of its maker.
                    Err(error) => tracing::warn!(dir = %entry.path().display(), %error, "a workshop's lock"),
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
            let removed = self.remove(&image)?;
            if removed { &mut done.removed } else { &mut done.in_use }.push(image.key().to_owned());
        }
        self.remove_stale_locks()?;
        Ok(done)
    }

    /// Removes an image with its locks, unless somebody holds it.
    fn remove(&self, image: &Image) -> Result<bool, Failure> {
        let path = self.images.join(".locks").join(image.key());
        let lock = trust::lock(&path).context("opening", &path)?;
        if lock.try_lock().is_err() || !is_still_at(&lock, &path) {
            return Ok(false);
        }
        // First out of sight, then slowly away: a killed `clean` leaves no half image either.
        let workshop = self.workshop(image.key())?;
        let aside = workshop.dir.join("removed");
        std::fs::rename(&image.dir, &aside).context("moving away", &image.dir)?;
        drop(workshop);
        std::fs::remove_file(&path).context("removing", &path)?;
        Ok(true)
    }

    /// Removes the locks that nobody holds of images that are not there.
    fn remove_stale_locks(&self) -> Result<(), Failure> {
        let locks = self.images.join(".locks");
        for entry in std::fs::read_dir(&locks).context("reading", &locks)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let key = name.trim_end_matches(".import");
            let free = trust::existing_lock(&entry.path()).is_ok_and(|lock| match lock.try_lock() {
                // Whoever waits for it finds it gone and makes it anew.
                Ok(()) => !self.images.join(key).exists() && std::fs::remove_file(entry.path()).is_ok(),
                Err(_) => false,
            });
            tracing::debug!(name, free, "a lock");
        }
        Ok(())
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

/// Whether an open lock is still the one of that name: a lock is removed with its image by whoever holds it.
fn is_still_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let of = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    file.metadata().ok().map(of) == std::fs::symlink_metadata(path).ok().map(of)
}

fn random() -> Vec<u8> {
    let mut bytes = [0_u8; 16];
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
    bytes[..got].to_vec()
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

    pub(super) fn make(store: &Store, key: &str, version: &str, made: &str) -> Image {
        let workshop = store.workshop(key).unwrap();
        std::fs::create_dir(workshop.rootfs()).unwrap();
        workshop.finish(store, &manifest(key, version, made)).unwrap()
    }

    #[test]
    fn whoever_waits_for_an_image_goes_on_while_its_maker_holds_it() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::new(cache.path());
        store.check().unwrap();
        let cancel = std::sync::atomic::AtomicBool::new(false);
        let runner = crate::command::tests::runner(&cancel, 20);
        let turn = store.turn(&runner, "aaaa").unwrap();
        assert!(matches!(turn, Turn::Ours { .. }));
        let waits = crate::command::tests::runner(&cancel, 1);
        assert!(store.turn(&waits, "aaaa").is_err(), "it is being made");
        std::thread::scope(|scope| {
            let second = scope.spawn(|| store.turn(&crate::command::tests::runner(&cancel, 20), "aaaa"));
            let image = make(&store, "aaaa", "13", "2026-11-01T00:00:00Z");
            drop(turn);
            // As a cell does, for as long as it lives.
            let _hold = image.hold().unwrap();
            assert!(matches!(second.join().unwrap(), Ok(Turn::Made(_))));
        });
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
        // Nothing is left of them, their locks included.
        assert_eq!(std::fs::read_dir(store.images.join(".locks")).unwrap().count(), 0);
    }

    #[test]
    fn a_cache_of_another_kind_is_refused_and_what_it_points_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        std::fs::create_dir_all(precious.join("data")).unwrap();
        let (cache, images) = (dir.path().join("cache"), dir.path().join("cache/images"));
        std::fs::create_dir_all(&images).unwrap();
        let link = |name: &str| std::os::unix::fs::symlink(precious.join("data"), images.join(name)).unwrap();
        link(".tmp");
        for done in [sweep(&cache).map(drop), clean(&cache, &Clean::All).map(drop), trim(&cache, 0).map(drop)] {
            let chain = format!("{:?}", done.unwrap_err());
            assert!(chain.contains("is a link"), "{chain}");
        }
        assert!(precious.join("data").exists());
        std::fs::remove_file(images.join(".tmp")).unwrap();
        std::os::unix::fs::symlink(precious.join("made"), images.join(".gate")).unwrap();
        assert!(clean(&cache, &Clean::All).is_err());
        assert!(!precious.join("made").exists());
    }

    #[test]
    fn a_cache_has_one_name() {
        let dir = tempfile::tempdir().unwrap();
        let first = id(dir.path()).unwrap();
        assert_eq!(first.len(), 16);
        assert_eq!(id(dir.path()).unwrap(), first);
        assert_ne!(id(tempfile::tempdir().unwrap().path()).unwrap(), first);
    }

    #[test]
    fn an_image_survives_serialisation() {
        let cache = tempfile::tempdir().unwrap();
        let image = make(&Store::new(cache.path()), "k", "13", "2026-11-01T00:00:00Z");
        let text = serde_json::to_string(&image).unwrap();
        assert_eq!(serde_json::from_str::<Image>(&text).unwrap(), image);
    }
}
