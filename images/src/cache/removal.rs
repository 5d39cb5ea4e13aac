//! What goes from a cache: half images whose makers died, and images that are not wanted any more.
//!
//! What was made here has a key for its name, or stands in a folder that is the cache's alone; all else stays.
//! No link is followed, and nothing goes whose lock somebody holds, or whose lock says nothing.

use super::{Store, is_still_at, trust};
use crate::error::{Context as _, Failure, ImageError, Phase};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::TryLockError;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// What [`clean()`] is to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clean {
    /// Every image, and what is left of images that cannot be read.
    All,
    /// The images of one release: `debian:13`.
    Release(String),
    /// All but the newest image of each request; what cannot be read is nobody's newest.
    Superseded,
}

/// What [`clean()`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Keys of removed images.
    pub removed: Vec<String>,
    /// Keys of images that are in use and were left.
    pub in_use: Vec<String>,
    /// What was to go and could not.
    pub left: Vec<Left>,
    /// What lies between the images and was not made here.
    pub others: Vec<PathBuf>,
}

/// What [`sweep`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many half images it removed.
    pub removed: usize,
    /// Those that it left, other than their living makers'.
    pub left: Vec<Left>,
}

/// Something of a cache that stays where it is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// What.
    pub path: PathBuf,
    /// Why it could not be removed.
    pub why: String,
}

impl Left {
    pub(super) fn new(path: &Path, why: impl fmt::Display) -> Left {
        Left { path: path.to_owned(), why: why.to_string() }
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display().to_string();
        // `PATH is a link`: once is enough.
        let why = self.why.strip_prefix(&path).and_then(|why| why.strip_prefix(' ')).unwrap_or(&self.why);
        write!(f, "{path}: {why}")
    }
}

/// Removes half images whose makers have died.
///
/// # Errors
/// When the cache cannot be read; what cannot be removed is told in [`Swept::left`].
pub fn sweep(cache: &Path) -> Result<Swept, ImageError> {
    let store = Store::new(cache);
    let sweep = || {
        store.check()?;
        store.sweep()
    };
    sweep().map_err(|failure| ImageError::new("the cache", Phase::Store, failure))
}

/// Removes images from the cache, and left-overs of makers that died, of which [`sweep`] tells more.
///
/// # Errors
/// When the cache cannot be read; an image that cannot be removed is told in [`Cleaned::left`].
pub fn clean(cache: &Path, what: &Clean) -> Result<Cleaned, ImageError> {
    let store = Store::new(cache);
    let clean = || {
        store.check()?;
        store.sweep()?;
        store.clean(what)
    };
    clean().map_err(|failure| ImageError::new("the cache", Phase::Store, failure))
}

impl Store {
    pub(crate) fn sweep(&self) -> Result<Swept, Failure> {
        let tmp = self.images.join(".tmp");
        let mut swept = Swept::default();
        let mut dead = Vec::new();
        if !tmp.exists() {
            return Ok(swept);
        }
        {
            let _gate = self.gate()?;
            for entry in std::fs::read_dir(&tmp).context("reading", &tmp)?.flatten() {
                let path = entry.path();
                // Makers make folders; what else stands here is nobody's, and a link's end is not looked at.
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
                    // Its maker died in the middle of being removed, or before the gate opened.
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error),
                };
                match locked {
                    Ok(lock) => dead.push((path, lock)),
                    Err(error) => {
                        swept.left.push(Left::new(&path, format!("its lock says nothing of its maker: {error}")));
                    }
                }
            }
        }
        for (path, _lock) in &dead {
            match remove_all(path) {
                Ok(()) => swept.removed += 1,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // Somebody still writes to it, perhaps; it is in nobody's way.
                Err(error) => swept.left.push(Left::new(path, error)),
            }
        }
        Ok(swept)
    }

    fn clean(&self, what: &Clean) -> Result<Cleaned, Failure> {
        let places = self.places().context("reading", &self.images)?;
        let mut done = Cleaned { others: places.others, ..Cleaned::default() };
        let mut seen = BTreeSet::new();
        for place in places.images {
            let newest = place.image.as_ref().is_some_and(|image| seen.insert(image.manifest.request.clone()));
            let wanted = match (what, &place.image) {
                (Clean::All, _) => true,
                (Clean::Release(name), Some(image)) => image.release() == *name,
                // It does not say of which release it is.
                (Clean::Release(_), None) => false,
                (Clean::Superseded, _) => !newest,
            };
            if !wanted {
                continue;
            }
            match self.remove(&place.key) {
                Ok(true) => done.removed.push(place.key),
                Ok(false) => done.in_use.push(place.key),
                Err(failure) => done.left.push(Left::new(&place.dir, failure.cause)),
            }
        }
        done.left.extend(self.remove_stale_locks()?);
        Ok(done)
    }

    /// Removes an image with its lock, or what is left of one, unless somebody holds it.
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

    /// Takes away what stands under a key, whatever it is; its lock must be held.
    pub(super) fn discard(&self, key: &str) -> Result<(), Failure> {
        let place = self.images.join(key);
        // First out of sight, then slowly away: whoever is killed here leaves no half image either.
        let workshop = self.workshop(key)?;
        match std::fs::rename(&place, workshop.dir.join("removed")) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            moved => moved.context("moving away", &place)?,
        }
        workshop.end()
    }

    /// Removes the locks that nobody holds of images that are not there; tells those that cannot be looked at.
    fn remove_stale_locks(&self) -> Result<Vec<Left>, Failure> {
        let locks = self.images.join(".locks");
        let mut left = Vec::new();
        for entry in std::fs::read_dir(&locks).context("reading", &locks)?.flatten() {
            let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
            let key = name.strip_suffix(".import").unwrap_or(&name);
            let is_wanted = || self.images.join(key).symlink_metadata().is_ok();
            match trust::existing_lock(&path) {
                // Whoever waits for it finds it gone and makes it anew.
                Ok(lock) if lock.try_lock().is_ok() && !is_wanted() => match std::fs::remove_file(&path) {
                    Err(e) if e.kind() != ErrorKind::NotFound => left.push(Left::new(&path, e)),
                    _ => {}
                },
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::NotFound || is_wanted() => {}
                Err(e) => left.push(Left::new(&path, e)),
            }
        }
        Ok(left)
    }
}

/// Removes a folder with all that is in it, or what else stands there; what a link leads to stays.
fn remove_all(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path)?.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{make, manifest};
    use super::super::{Image, Origin, Turn, list, trim};
    use super::*;
    use crate::manifest::FORMAT;
    use std::fs::File;
    use std::os::unix::fs::symlink;

    /// A name as images have it.
    fn key(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    /// What power cuts, other versions and people leave in the place of an image; a link leads to `precious`.
    fn damaged(store: &Store, precious: &Path) -> Vec<String> {
        store.check().unwrap();
        let whole = serde_json::to_string(&manifest(&key('0'), "13", "2026-11-01T00:00:00Z")).unwrap();
        let older = whole.replace(&format!("\"format\":{FORMAT}"), "\"format\":0");
        assert_ne!(older, whole);
        let newer = whole.replacen('{', "{\"of-tomorrow\":1,", 1);
        let place = |digit| store.images.join(key(digit));
        // Emptied, of another format, with a field that is not known, of another image, and none.
        let texts = [Some(""), Some(older.as_str()), Some(newer.as_str()), Some(whole.as_str()), None];
        for (digit, text) in ('1'..='5').zip(texts) {
            std::fs::create_dir_all(place(digit).join("rootfs/etc")).unwrap();
            std::fs::write(place(digit).join("rootfs/etc/hostname"), "kata\n").unwrap();
            if let Some(text) = text {
                std::fs::write(place(digit).join("manifest.json"), text).unwrap();
            }
        }
        std::fs::create_dir_all(place('6').join("manifest.json")).unwrap();
        std::fs::write(place('7'), "").unwrap();
        symlink(precious, place('8')).unwrap();
        ('1'..='8').map(key).collect()
    }

    fn precious() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("data"), "precious").unwrap();
        dir
    }

    /// What lies in the folder of images besides what every cache has there.
    fn names(store: &Store) -> Vec<String> {
        let all = std::fs::read_dir(&store.images).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = all.filter(|name| !super::super::OWN.contains(&name.as_str())).collect();
        names.sort();
        names
    }

    #[test]
    fn an_image_that_cannot_be_read_goes_like_any_other() {
        let (cache, precious) = (tempfile::tempdir().unwrap(), precious());
        let store = Store::new(cache.path());
        let keys = damaged(&store, precious.path());
        let whole = make(&store, &key('9'), "13", "2026-11-01T00:00:00Z");
        assert_eq!(list(cache.path()), [Image { origin: Origin::Cached, ..whole }]);
        let mut done = clean(cache.path(), &Clean::Superseded).unwrap();
        done.removed.sort();
        assert_eq!(done, Cleaned { removed: keys.clone(), ..Cleaned::default() });
        damaged(&store, precious.path());
        let mut done = clean(cache.path(), &Clean::All).unwrap();
        done.removed.sort();
        assert_eq!(done, Cleaned { removed: [&keys[..], &[key('9')]].concat(), ..Cleaned::default() });
        assert_eq!(names(&store), Vec::<String>::new());
        damaged(&store, precious.path());
        let done = trim(cache.path(), 0).unwrap();
        assert!(done.left == 0 && done.stuck.is_empty(), "{done:?}");
        let gone = |key: String| done.removed.iter().any(|gone| gone.key == key && gone.release.is_none());
        // What has a file in it takes room on every filesystem.
        assert!(('1'..='5').map(key).all(gone), "{:?}", done.removed);
        assert!(precious.path().join("data").exists(), "a link was followed");
    }

    #[test]
    fn an_image_that_cannot_be_read_is_made_anew() {
        let (cache, precious) = (tempfile::tempdir().unwrap(), precious());
        let store = Store::new(cache.path());
        let cancel = std::sync::atomic::AtomicBool::new(false);
        for key in damaged(&store, precious.path()) {
            assert_eq!(store.find(&key).unwrap(), None, "{key}");
            let turn = store.turn(&crate::command::tests::runner(&cancel, 20), &key).unwrap();
            assert!(matches!(turn, Turn::Ours { .. }), "{key}");
            let image = make(&store, &key, "13", "2026-11-01T00:00:00Z");
            assert_eq!(store.find(&key).unwrap().unwrap().manifest, image.manifest);
        }
        assert!(precious.path().join("data").exists(), "a link was followed");
    }

    #[test]
    fn what_a_run_holds_stays_whatever_became_of_it() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::new(cache.path());
        let image = make(&store, &key('1'), "13", "2026-11-01T00:00:00Z");
        let hold = image.hold().unwrap();
        std::fs::write(image.dir.join("manifest.json"), "").unwrap();
        assert_eq!(clean(cache.path(), &Clean::All).unwrap().in_use, [key('1')]);
        assert!(trim(cache.path(), 0).unwrap().removed.is_empty());
        let cancel = std::sync::atomic::AtomicBool::new(false);
        assert!(store.turn(&crate::command::tests::runner(&cancel, 1), &key('1')).is_err(), "it is in use");
        assert!(image.rootfs().exists());
        drop(hold);
        assert_eq!(clean(cache.path(), &Clean::All).unwrap().removed, [key('1')]);
    }

    #[test]
    fn what_was_not_made_here_stays_and_is_told() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::new(cache.path());
        make(&store, &key('1'), "13", "2026-11-01T00:00:00Z");
        std::fs::create_dir(store.images.join("photos")).unwrap();
        std::fs::write(store.images.join("photos/manifest.json"), "{}").unwrap();
        std::fs::write(store.images.join("notes"), "").unwrap();
        let mut done = clean(cache.path(), &Clean::All).unwrap();
        done.others.sort();
        let others = ["notes", "photos"].map(|name| store.images.join(name)).to_vec();
        assert_eq!(done, Cleaned { removed: vec![key('1')], others, ..Cleaned::default() });
        assert_eq!(names(&store), ["notes", "photos"]);
    }

    #[test]
    fn what_cannot_be_judged_is_left_and_told_and_stops_nothing() {
        let (cache, precious) = (tempfile::tempdir().unwrap(), precious());
        let store = Store::new(cache.path());
        for digit in ['1', '2'] {
            make(&store, &key(digit), "13", "2026-11-01T00:00:00Z");
        }
        let (tmp, locks) = (store.images.join(".tmp"), store.images.join(".locks"));
        std::fs::create_dir(tmp.join("x")).unwrap();
        for lock in [tmp.join("x/lock"), locks.join(key('1')), locks.join(key('3'))] {
            symlink("/dev/null", lock).unwrap();
        }
        symlink(precious.path(), tmp.join("y")).unwrap();
        std::fs::write(tmp.join("z"), "").unwrap();
        let swept = sweep(cache.path()).unwrap();
        assert_eq!(swept.removed, 2, "neither the file nor the link has a maker");
        let told: Vec<String> = swept.left.iter().map(ToString::to_string).collect();
        let expected = format!("{}: its lock says nothing of its maker: {}", tmp.join("x").display(), tmp.display());
        assert!(told.len() == 1 && told[0].starts_with(&expected) && told[0].contains("is a link"), "{told:?}");
        let done = clean(cache.path(), &Clean::All).unwrap();
        assert_eq!(done.removed, [key('2')]);
        let left: Vec<PathBuf> = done.left.iter().map(|left| left.path.clone()).collect();
        assert_eq!(left, [store.images.join(key('1')), locks.join(key('3'))]);
        assert!(precious.path().join("data").exists(), "a link was followed");
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
        assert_eq!(sweep(cache.path()).unwrap(), Swept { removed: 1, left: vec![] });
        assert!(living.dir.exists());
        assert!(!dead_dir.exists());
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
        let in_use = vec!["new".to_owned()];
        assert_eq!(done, Cleaned { removed: vec!["other".to_owned()], in_use, ..Cleaned::default() });
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
        let link = |name: &str| symlink(precious.join("data"), images.join(name)).unwrap();
        link(".tmp");
        for done in [sweep(&cache).map(drop), clean(&cache, &Clean::All).map(drop), trim(&cache, 0).map(drop)] {
            let chain = format!("{:?}", done.unwrap_err());
            assert!(chain.contains("is a link"), "{chain}");
        }
        assert!(precious.join("data").exists());
        std::fs::remove_file(images.join(".tmp")).unwrap();
        symlink(precious.join("made"), images.join(".gate")).unwrap();
        assert!(clean(&cache, &Clean::All).is_err());
        assert!(!precious.join("made").exists());
    }
}
