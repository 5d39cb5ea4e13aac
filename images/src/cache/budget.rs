//! How much room the images of a cache may take: beyond that, the least recently used ones are removed.
//!
//! At the end of a run, `trim` removes the images that nobody holds, the least recently used first, until the rest fits
//! the budget.
//! A file that several images share counts once, and goes with the last of them.

use super::{CacheEntry, Image, Leftover, Store};
use crate::error::{Context as _, Failure, ImageError};
use crate::progress::Phase;
use jiff::Timestamp;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// An image that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedImage {
    /// Its key.
    pub key: String,
    /// `debian:13`; nothing where it could not be read.
    pub release: Option<String>,
    /// When it was used last.
    pub used: Timestamp,
}

/// What [`trim`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrimReport {
    /// The images that were removed, in that order.
    pub removed: Vec<RemovedImage>,
    /// The bytes on the disk of the images that are there; more than the budget where they are in use.
    pub bytes: u64,
    /// What could not be removed.
    pub leftovers: Vec<Leftover>,
}

/// Removes the least recently used images until what is left takes no more than `budget` bytes on the disk.
///
/// What cannot be read goes before all others, because nobody can use it.
/// A file that several images share counts once, and is freed only with the last of them.
/// What a live process holds ([`Image::hold`]) stays. What Docker has of the images is not counted.
///
/// # Errors
/// When the cache is not to be used or cannot be read.
pub fn trim(cache: &Path, budget: u64) -> Result<TrimReport, ImageError> {
    let store = Store::new(cache);
    let trim = || {
        store.check()?;
        store.trim(budget)
    };
    trim().map_err(|failure| ImageError::new("the cache", Phase::Store, failure))
}

impl Store {
    fn trim(&self, budget: u64) -> Result<TrimReport, Failure> {
        let images = self.content().context("reading", &self.images)?.images;
        let mut images: Vec<(Timestamp, CacheEntry)> =
            images.into_iter().map(|entry| (self.last_use(&entry), entry)).collect();
        images
            .sort_by_key(|(used, entry)| (entry.image.is_some(), *used, entry.image.as_ref().map(|image| image.made)));
        let mut room = Room::default();
        images.iter().for_each(|(_, entry)| room.add(&entry.dir));
        let mut done = TrimReport::default();
        for (used, entry) in images {
            if room.bytes <= budget {
                break;
            }
            match self.remove(&entry.key) {
                Ok(true) => {
                    room.take(&entry.dir);
                    let release = entry.image.as_ref().map(Image::release);
                    done.removed.push(RemovedImage { key: entry.key, release, used });
                }
                Ok(false) => {}
                Err(failure) => done.leftovers.push(Leftover::new(&entry.dir, failure.cause)),
            }
        }
        done.bytes = room.bytes;
        Ok(done)
    }

    /// When somebody last held the image: the time of its lock.
    fn last_use(&self, entry: &CacheEntry) -> Timestamp {
        let lock = std::fs::metadata(self.images.join(".locks").join(&entry.key));
        let held = lock.and_then(|meta| meta.modified()).ok().and_then(|time| Timestamp::try_from(time).ok());
        let made = entry.image.as_ref().map_or(Timestamp::UNIX_EPOCH, |image| image.made);
        held.map_or(made, |held| held.max(made))
    }
}

/// What some images take, each file once.
#[derive(Default)]
struct Room {
    bytes: u64,
    /// By device and inode: what it takes, and how many of the images have it.
    files: HashMap<(u64, u64), (u64, usize)>,
    of: HashMap<PathBuf, Vec<(u64, u64)>>,
}

impl Room {
    /// What cannot be looked at, or is gone by now, counts nothing; a link's end is not looked at.
    fn add(&mut self, dir: &Path) {
        let mut mine = Vec::new();
        let mut folders: Vec<PathBuf> = Vec::new();
        let mut count = |path: PathBuf, meta: &std::fs::Metadata| {
            mine.push(((meta.dev(), meta.ino()), meta.blocks() * 512));
            meta.is_dir().then_some(path)
        };
        if let Ok(meta) = dir.symlink_metadata() {
            folders.extend(count(dir.to_owned(), &meta));
        }
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                if let Ok(meta) = entry.metadata() {
                    folders.extend(count(entry.path(), &meta));
                }
            }
        }
        // A file's second name in the same image is no second use.
        mine.sort_unstable();
        mine.dedup();
        for (file, size) in &mine {
            let (_, users) = self.files.entry(*file).or_insert_with(|| {
                self.bytes += size;
                (*size, 0)
            });
            *users += 1;
        }
        self.of.insert(dir.to_owned(), mine.into_iter().map(|(file, _)| file).collect());
    }

    fn take(&mut self, dir: &Path) {
        for file in self.of.remove(dir).unwrap_or_default() {
            if let Some((size, users)) = self.files.get_mut(&file) {
                *users -= 1;
                if *users == 0 {
                    self.bytes = self.bytes.saturating_sub(*size);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::make;
    use super::*;
    use std::time::{Duration, SystemTime};

    const MIB: usize = 1 << 20;

    /// An image with one file of a MiB, used so many seconds after the epoch.
    fn image(store: &Store, key: &str, used: u64) -> Image {
        let image = make(store, key, "13", "1970-01-01T00:00:00Z");
        std::fs::write(image.rootfs().join(key), vec![1; MIB]).unwrap();
        drop(image.hold().unwrap());
        let lock = super::super::trust::lock(&store.images.join(".locks").join(key)).unwrap();
        lock.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(used)).unwrap();
        image
    }

    fn keys(done: &TrimReport) -> Vec<&str> {
        done.removed.iter().map(|gone| gone.key.as_str()).collect()
    }

    #[test]
    fn the_least_recently_used_goes_until_the_rest_fits() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::new(cache.path());
        for (key, used) in [("newest", 30), ("oldest", 10), ("middle", 20)] {
            image(&store, key, used);
        }
        assert!(trim(cache.path(), 4 * MIB as u64).unwrap().removed.is_empty());
        let done = trim(cache.path(), 2 * MIB as u64 + MIB as u64 / 2).unwrap();
        assert_eq!(keys(&done), ["oldest"]);
        assert!(done.bytes >= 2 * MIB as u64 && done.bytes <= 2 * MIB as u64 + MIB as u64 / 2, "{}", done.bytes);
        // Its use makes the older one the newer.
        drop(store.find("middle").unwrap().unwrap().hold().unwrap());
        assert_eq!(keys(&trim(cache.path(), MIB as u64 * 3 / 2).unwrap()), ["newest"]);
    }

    #[test]
    fn what_is_held_stays_and_is_said_to_be_left() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::new(cache.path());
        let old = image(&store, "old", 10);
        image(&store, "new", 20);
        let hold = old.hold().unwrap();
        let done = trim(cache.path(), 0).unwrap();
        assert_eq!(keys(&done), ["new"]);
        assert!(done.bytes >= MIB as u64, "{}", done.bytes);
        drop(hold);
        // A process that another test forks has its own copy of the lock, until it executes its program.
        let until = std::time::Instant::now() + Duration::from_secs(20);
        let gone = loop {
            let done = trim(cache.path(), 0).unwrap();
            if !done.removed.is_empty() || std::time::Instant::now() > until {
                break done;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(keys(&gone), ["old"]);
        assert!(old.hold().unwrap_err().to_string().contains("removed"), "a hold of an image that is gone");
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_goes_first() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::new(cache.path());
        let damaged = "d".repeat(64);
        for (key, used) in [("old", 10), (damaged.as_str(), 30)] {
            image(&store, key, used);
        }
        std::fs::write(store.images.join(&damaged).join("manifest.json"), "").unwrap();
        let done = trim(cache.path(), MIB as u64 * 3 / 2).unwrap();
        let used = Timestamp::from_second(30).unwrap();
        assert_eq!(done.removed, [RemovedImage { key: damaged, release: None, used }]);
        assert!(done.bytes >= MIB as u64 && done.bytes < MIB as u64 * 3 / 2, "{}", done.bytes);
    }

    #[test]
    fn what_is_shared_counts_once_and_goes_with_the_last() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::new(cache.path());
        let base = image(&store, "base", 10);
        let derived = image(&store, "derived", 20);
        std::fs::remove_file(derived.rootfs().join("derived")).unwrap();
        std::fs::hard_link(base.rootfs().join("base"), derived.rootfs().join("base")).unwrap();
        let all = trim(cache.path(), u64::MAX).unwrap().bytes;
        assert!(all < MIB as u64 * 3 / 2, "{all}");
        // Without the base as much is left, so the derived one goes, too.
        assert_eq!(keys(&trim(cache.path(), MIB as u64 / 2).unwrap()), ["base", "derived"]);
    }
}
