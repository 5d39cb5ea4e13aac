//! Size limit of a cache: above it, the least recently used images are removed.
//!
//! At the end of a run, `trim` removes images that no process holds, the least recently used first, until the rest fits
//! the budget.
//! A file that several images share counts once, and is freed with the last of them.

use super::{CacheEntry, Image, Leftover, Store};
use crate::error::{Context as _, Failure, ImageError};
use crate::progress::ImagePhase;
use jiff::Timestamp;
use model::distro::Target;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// An image that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedImage {
    /// Key of the image.
    pub key: String,
    /// The release of the image; `None` if it could not be read.
    pub release: Option<Target>,
    /// Time of its last use.
    pub used: Timestamp,
}

/// Result of [`trim`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrimReport {
    /// The removed images, in the order of removal.
    pub removed: Vec<RemovedImage>,
    /// Bytes on the disk of the remaining images; more than the budget if images are in use.
    pub bytes: u64,
    /// Paths that could not be removed.
    pub leftovers: Vec<Leftover>,
}

/// Removes the least recently used images until the rest takes no more than `budget` bytes on the disk.
///
/// Unreadable images go first, because they are useless.
/// A file that several images share counts once, and is freed only with the last of them.
/// Images held by a live process ([`Image::hold`]) stay. Docker's copies of the images are not counted.
///
/// # Errors
/// If the cache must not be used or cannot be read.
pub fn trim(cache: &Path, budget: u64) -> Result<TrimReport, ImageError> {
    let store = Store::new(cache);
    let trim = || {
        store.check()?;
        store.trim(budget)
    };
    trim().map_err(|failure| ImageError::new("the cache", ImagePhase::Store, failure))
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

    /// Returns the time of the image's last use: the time of its lock.
    fn last_use(&self, entry: &CacheEntry) -> Timestamp {
        let lock = std::fs::metadata(self.images.join(".locks").join(&entry.key));
        let held = lock.and_then(|meta| meta.modified()).ok().and_then(|time| Timestamp::try_from(time).ok());
        let made = entry.image.as_ref().map_or(Timestamp::UNIX_EPOCH, |image| image.made);
        held.map_or(made, |held| held.max(made))
    }
}

/// Disk space of a set of images, counting each file once.
#[derive(Default)]
struct Room {
    bytes: u64,
    /// For each device and inode: the size, and the number of images that share it.
    files: HashMap<(u64, u64), (u64, usize)>,
    files_by_folder: HashMap<PathBuf, Vec<(u64, u64)>>,
}

impl Room {
    /// Adds an image. Inaccessible or vanished files do not count; links are not followed.
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
        // A hard link within the same image is no second user.
        mine.sort_unstable();
        mine.dedup();
        for (file, size) in &mine {
            let (_, users) = self.files.entry(*file).or_insert_with(|| {
                self.bytes += size;
                (*size, 0)
            });
            *users += 1;
        }
        self.files_by_folder.insert(dir.to_owned(), mine.into_iter().map(|(file, _)| file).collect());
    }

    fn take(&mut self, dir: &Path) {
        for file in self.files_by_folder.remove(dir).unwrap_or_default() {
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

    /// Makes an image with one file of 1 MiB, used `used` seconds after the epoch.
    fn image(store: &Store, key: &str, used: u64) -> Image {
        let image = make(store, key, "13", "1970-01-01T00:00:00Z");
        std::fs::write(image.rootfs().join(key), vec![1; MIB]).unwrap();
        drop(image.hold().unwrap());
        let lock = super::super::trust::lock(&store.images.join(".locks").join(key)).unwrap();
        lock.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(used)).unwrap();
        image
    }

    fn keys(done: &TrimReport) -> Vec<&str> {
        done.removed.iter().map(|image| image.key.as_str()).collect()
    }

    #[test]
    fn the_least_recently_used_images_are_removed_until_the_rest_fits() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::new(cache.path());
        for (key, used) in [("newest", 30), ("oldest", 10), ("middle", 20)] {
            image(&store, key, used);
        }
        assert!(trim(cache.path(), 4 * MIB as u64).unwrap().removed.is_empty());
        let done = trim(cache.path(), 2 * MIB as u64 + MIB as u64 / 2).unwrap();
        assert_eq!(keys(&done), ["oldest"]);
        assert!(done.bytes >= 2 * MIB as u64 && done.bytes <= 2 * MIB as u64 + MIB as u64 / 2, "{}", done.bytes);
        // Holding the older image makes it the more recently used one.
        drop(store.find("middle").unwrap().unwrap().hold().unwrap());
        assert_eq!(keys(&trim(cache.path(), MIB as u64 * 3 / 2).unwrap()), ["newest"]);
    }

    #[test]
    fn images_in_use_are_kept_and_counted() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::new(cache.path());
        let old = image(&store, "old", 10);
        image(&store, "new", 20);
        let hold = old.hold().unwrap();
        let done = trim(cache.path(), 0).unwrap();
        assert_eq!(keys(&done), ["new"]);
        assert!(done.bytes >= MIB as u64, "{}", done.bytes);
        drop(hold);
        // A process that another test forks keeps a copy of the lock until it calls exec.
        let until = std::time::Instant::now() + Duration::from_secs(20);
        let trimmed = loop {
            let done = trim(cache.path(), 0).unwrap();
            if !done.removed.is_empty() || std::time::Instant::now() > until {
                break done;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(keys(&trimmed), ["old"]);
        assert!(old.hold().unwrap_err().to_string().contains("removed"), "a hold of an image that is gone");
    }

    #[test]
    fn unreadable_images_are_counted_and_removed_first() {
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
    fn shared_files_count_once_and_are_freed_with_the_last_image() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::new(cache.path());
        let base = image(&store, "base", 10);
        let derived = image(&store, "derived", 20);
        std::fs::remove_file(derived.rootfs().join("derived")).unwrap();
        std::fs::hard_link(base.rootfs().join("base"), derived.rootfs().join("base")).unwrap();
        let all = trim(cache.path(), u64::MAX).unwrap().bytes;
        assert!(all < MIB as u64 * 3 / 2, "{all}");
        // Removing the base alone would free nothing, so the derived image goes, too.
        assert_eq!(keys(&trim(cache.path(), MIB as u64 / 2).unwrap()), ["base", "derived"]);
    }
}
