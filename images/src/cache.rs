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
//! An image is on the disk before it has its name, so that a power cut leaves none by half.
//! One that cannot be read nevertheless is none: it is made anew, and goes first where images go.

mod budget;
mod name;
mod removal;
pub mod trust;

pub use budget::{Gone, Trimmed, trim};
pub use name::id;
pub use removal::{Clean, Cleaned, Left, Swept, clean, sweep};

use crate::command::Runner;
use crate::error::{Cause, Context, Failure, Phase};
use crate::manifest::{Manifest, sync};
use jiff::Timestamp;
use rustix::io::Errno;
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
        let store = self.store();
        self.manifest.derived_from.as_ref().map_or(Ok(None), |key| store.find(key))
    }

    /// The name of the cache that it lies in.
    pub(crate) fn cache_id(&self) -> Result<String, Failure> {
        self.store().id()
    }

    fn store(&self) -> Store {
        Store { images: self.dir.parent().unwrap_or(&self.dir).to_owned() }
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
        // Its key is its lock's name: a copy under another name would be held and removed by the wrong one.
        if dir.file_name().is_none_or(|name| name != manifest.key.as_str()) {
            let reason = format!("expected the image of this folder's key, found that of {}", manifest.key);
            return Err(Cause::BadManifest { path, reason }.into());
        }
        Ok(Some(Image { dir: dir.to_owned(), made: manifest.made, origin, manifest }))
    }
}

/// A shared lock on an image; see [`Image::hold`].
#[derive(Debug)]
pub struct Hold {
    _file: File,
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

    /// The image of that key.
    ///
    /// One that cannot be read is none; whoever makes it anew takes it away first: see [`Store::turn`].
    pub(crate) fn find(&self, key: &str) -> Result<Option<Image>, Failure> {
        match Image::load(&self.images.join(key), Origin::Cached) {
            Err(failure) if is_damage(&failure.cause) => {
                tracing::debug!("an image that cannot be read: {}", failure.cause);
                Ok(None)
            }
            found => found,
        }
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
        let Ok(places) = self.places() else {
            return Vec::new();
        };
        places.images.into_iter().filter_map(|place| place.image).collect()
    }

    /// What lies between the images, readable or not: the newest first, and last what cannot be read.
    fn places(&self) -> std::io::Result<Places> {
        let (mut images, mut others) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(&self.images)? {
            let (name, dir) = entry.map(|entry| (entry.file_name(), entry.path()))?;
            if OWN.iter().any(|own| name == *own) {
                continue;
            }
            let image = Image::load(&dir, Origin::Cached).ok().flatten();
            match name.into_string() {
                Ok(key) if image.is_some() || is_key(&key) => images.push(Place { key, dir, image }),
                _ => others.push(dir),
            }
        }
        let made = |place: &Place| place.image.as_ref().map(|image| image.made);
        images.sort_by(|a, b| made(b).cmp(&made(a)).then_with(|| a.key.cmp(&b.key)));
        Ok(Places { images, others })
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
                    if let Some(image) = self.find(key)? {
                        return Ok(Turn::Made(Box::new(image)));
                    }
                    // The new one could not take the place of what stands there by half.
                    if self.images.join(key).symlink_metadata().is_ok() {
                        tracing::warn!("the image {key} cannot be read and is made anew");
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
}

impl Workshop {
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Makes the folder the image of that key, in one step.
    pub(crate) fn finish(mut self, store: &Store, manifest: &Manifest) -> Result<Image, Failure> {
        // First the tree is on the disk, then the manifest, then the name: what has one is whole, after a power cut too.
        let written = File::open(&self.dir).and_then(|folder| Ok(rustix::fs::syncfs(&folder)?));
        written.context("writing to the disk", &self.dir)?;
        manifest.write(&self.dir.join("manifest.json"))?;
        let target = store.images.join(&manifest.key);
        let lock = self.dir.join("lock");
        std::fs::rename(&self.dir, &target).context("moving into the cache", &self.dir)?;
        self.finished = true;
        sync(&store.images)?;
        let _ = std::fs::remove_file(target.join(lock.file_name().unwrap_or_default()));
        let image = Image { dir: target, made: manifest.made, origin: Origin::Built, manifest: manifest.clone() };
        Ok(image)
    }

    /// Removes the folder, and says why if it cannot; then the next sweep tries again.
    fn end(mut self) -> Result<(), Failure> {
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

/// What a cache has between its images besides them.
const OWN: [&str; 3] = [".tmp", ".locks", ".gate"];

/// What lies in the folder of images.
struct Places {
    /// What stands where an image does.
    images: Vec<Place>,
    /// What was not made here.
    others: Vec<PathBuf>,
}

/// What stands under a key: an image, or something that cannot be read and takes room nevertheless.
struct Place {
    key: String,
    dir: PathBuf,
    image: Option<Image>,
}

/// Whether a name is a key's, the SHA-256 of what went in; nobody else calls a folder so.
fn is_key(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether it is the image that is damaged, and not this process that lacks something.
fn is_damage(cause: &Cause) -> bool {
    match cause {
        Cause::BadManifest { .. } => true,
        Cause::Io { source, .. } => {
            matches!(Errno::from_io_error(source), Some(Errno::IO | Errno::ISDIR | Errno::UCLEAN))
        }
        _ => false,
    }
}

/// Whether an open lock is still the one of that name: a lock is removed with its image by whoever holds it.
fn is_still_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let of = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    file.metadata().ok().map(of) == std::fs::symlink_metadata(path).ok().map(of)
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

    /// The variable that tells [`make_one_image`] where.
    const PLACE: &str = "KATA_QUALIFY_TEST_PLACE";

    #[test]
    #[ignore = "a part of an_image_is_on_the_disk_before_it_has_its_name, which runs it under strace"]
    fn make_one_image() {
        if let Some(cache) = std::env::var_os(PLACE) {
            make(&Store::new(Path::new(&cache)), "aaaa", "13", "2026-11-01T00:00:00Z");
        }
    }

    /// Else a power cut leaves an empty manifest under a key, or a whole one beside an empty tree.
    #[test]
    #[cfg_attr(lacks = "strace", ignore = "needs strace")]
    fn an_image_is_on_the_disk_before_it_has_its_name() {
        let strace = || std::process::Command::new("strace");
        let dir = tempfile::tempdir().unwrap();
        let (cache, log) = (dir.path().join("cache"), dir.path().join("log"));
        let calls = "trace=syncfs,fsync,fdatasync,rename,renameat,renameat2";
        let ended = strace()
            .args(["-f", "-y", "-qq", "-e", calls, "-o"])
            .arg(&log)
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "cache::tests::make_one_image", "--ignored", "--test-threads=1"])
            .env(PLACE, &cache)
            .output()
            .unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
        // `1234 fsync(7</…/images/.tmp/aaaa-x1y2z3/manifest.json>) = 0`
        let step = |line: &str| {
            let (call, about) = line.split_once('(')?;
            let call = call.rsplit(' ').next()?;
            let (call, quote) = if call.starts_with("rename") { ("rename", ['"', '"']) } else { (call, ['<', '>']) };
            let name = about.split(quote).nth(1)?.rsplit('/').next()?;
            Some(format!("{call} {}", if name.starts_with("aaaa-") { "workshop" } else { name }))
        };
        let text = std::fs::read_to_string(&log).unwrap();
        let steps: Vec<String> = text.lines().filter_map(step).collect();
        let expected = ["syncfs workshop", "fsync manifest.json", "fsync workshop", "rename workshop", "fsync images"];
        assert_eq!(steps, expected, "{text}");
    }

    #[test]
    fn an_image_survives_serialisation() {
        let cache = tempfile::tempdir().unwrap();
        let image = make(&Store::new(cache.path()), "k", "13", "2026-11-01T00:00:00Z");
        let text = serde_json::to_string(&image).unwrap();
        assert_eq!(serde_json::from_str::<Image>(&text).unwrap(), image);
    }
}
