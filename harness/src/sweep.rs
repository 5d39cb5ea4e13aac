//! Removal of leftovers: everything that belongs to a run has its label, and a run whose lock is free is over.
//!
//! A run holds a lock file in the cache's `runs` directory; the kernel releases the lock however the process ends.
//! Containers and volumes carry three labels: the run's id, the lock's path, and the cache's id, a random word in the
//! cache. By that id a cache recognizes its own runs in Docker wherever it is mounted: their locks are in its own
//! directory, and a run whose lock is gone is over. A copy of the cache has another id; if it has the same id after
//! all, like a snapshot of the filesystem, a lock that is held at the path in its label is held. Another cache's lock
//! counts only while it can be opened; seen from another mount namespace its path proves nothing. A lock that cannot be
//! opened is not free: the objects of its run stay, and are listed at each start and by `clean`. Kata's archives are
//! unpacked into a directory named after the run, next to its lock.
//!
//! Containers and volumes that were kept so that people can look into them have a fourth label, and stay as long as the
//! container runs: until `kata-qualify shell` in it ends, or `clean` removes it.
//!
//! At its end, also on Ctrl-C and SIGTERM, a run removes everything that carries its id. At its start it removes what
//! belongs to runs whose lock is free or gone, which cleans up after a `kill -9`.

use crate::environments::container::{CACHE_LABEL, KEPT_LABEL, LOCK_LABEL, RUN_LABEL};
use bollard::Docker;
use bollard::models::ContainerSummaryStateEnum;
use bollard::query_parameters::{
    ListContainersOptions, ListVolumesOptions, RemoveContainerOptions, RemoveVolumeOptions,
};
use images::cache::trust;
use std::collections::{BTreeSet, HashMap};
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Suffixes of a run's files in the directory of locks: its lock, its agent's directory, and the unpacked Kata.
const LOCK: &str = ".lock";
const HOST: &str = ".host";
const KATA: &str = ".kata";

/// Returns the directory of locks of a cache.
pub fn locks_folder(cache: &Path) -> PathBuf {
    cache.join("runs")
}

/// Returns the directory of a run's agent on this machine.
pub fn host_folder(locks: &Path, run: &str) -> PathBuf {
    locks.join(format!("{run}{HOST}"))
}

/// Returns the directory into which a run unpacks Kata.
pub fn kata_folder(locks: &Path, run: &str) -> PathBuf {
    locks.join(format!("{run}{KATA}"))
}

fn lock_of(locks: &Path, run: &str) -> PathBuf {
    locks.join(format!("{run}{LOCK}"))
}

/// The lock that a run holds for as long as it lives; the kernel releases it when the process ends, however it ends.
pub struct RunLock {
    path: PathBuf,
    file: File,
}

impl RunLock {
    /// Takes the lock of a new run.
    ///
    /// # Errors
    /// If the directory belongs to another user or others can write to it, or if another process holds the lock.
    pub fn take(folder: &Path, run: &str) -> io::Result<RunLock> {
        trust::make(folder)?;
        let path = lock_of(folder, run);
        loop {
            let file = trust::lock(&path)?;
            file.try_lock().map_err(io::Error::other)?;
            // A concurrent sweep may have taken the lock for a dead run's, and removed it.
            if std::fs::metadata(&path).is_ok_and(|there| file.metadata().is_ok_and(|mine| mine.ino() == there.ino())) {
                return Ok(RunLock { path, file });
            }
        }
    }

    /// Returns the path of the lock, for labels.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Removed while it is held, so that no other process can find it free in between.
        let _ = std::fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

/// The state of a lock, which shows whether its run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LockState {
    /// A process holds the lock.
    Held,
    /// No process holds the lock: the run is over.
    Free,
    /// There is no lock: in this cache the run is over; another cache's run may be in another mount namespace.
    Gone,
    /// The lock could not be examined.
    Unknown,
}

fn state(lock: &Path) -> LockState {
    match trust::existing_lock(lock) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => LockState::Gone,
        Err(_) => LockState::Unknown,
        // The lock is shared, so that two runs that sweep at the same time do not take each other's probe for a run.
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => LockState::Free,
            Err(TryLockError::WouldBlock) => LockState::Held,
            Err(TryLockError::Error(_)) => LockState::Unknown,
        },
    }
}

/// The cache whose runs are swept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnCache<'a> {
    /// The id of the cache, [`images::cache::id`].
    pub cache: &'a str,
    /// The cache's directory of locks.
    pub locks: &'a Path,
}

impl OwnCache<'_> {
    /// Returns the state of the run that an object with these labels belongs to.
    ///
    /// Runs of this cache have their locks in this directory, whatever its path was for the run. Another cache's lock
    /// proves something only while it exists. A lock that is held at the path in the label always counts as held: in a
    /// copy of its cache there is no lock, or one that no process holds.
    fn state(&self, labels: &HashMap<String, String>) -> LockState {
        let (Some(run), Some(lock)) = (labels.get(RUN_LABEL), labels.get(LOCK_LABEL)) else {
            return LockState::Unknown;
        };
        let there = state(Path::new(lock));
        if there == LockState::Held {
            return LockState::Held;
        }
        if labels.get(CACHE_LABEL).is_some_and(|cache| cache == self.cache) && !run.contains('/') {
            return state(&lock_of(self.locks, run));
        }
        match there {
            LockState::Gone => LockState::Unknown,
            known => known,
        }
    }
}

/// The runs whose objects are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepScope<'a> {
    /// Containers and volumes of runs that are over, however they ended; kept ones stay.
    Over(OwnCache<'a>),
    /// Containers and volumes of runs that are over, including kept ones.
    OverAndKept(OwnCache<'a>),
    /// Objects that were kept under this name.
    Kept(&'a str),
    /// Containers and volumes of this run.
    Run(&'a str),
}

/// Removes the directories of agents on this machine, and of unpacked Kata, whose runs are over, and those runs' locks.
///
/// # Errors
/// If the directory of locks cannot be read, belongs to another user, or can be written by others; files that cannot be
/// removed are reported as leftovers.
pub fn sweep_folders(locks: &Path) -> io::Result<SweepReport> {
    trust::make(locks)?;
    let mut swept = SweepReport::default();
    let mut runs: BTreeSet<String> = BTreeSet::new();
    for entry in std::fs::read_dir(locks)?.flatten() {
        let name = entry.file_name();
        let run = name.to_str().and_then(|name| [LOCK, HOST, KATA].iter().find_map(|end| name.strip_suffix(end)));
        match run.filter(|run| !run.is_empty()) {
            Some(run) => {
                runs.insert(run.to_owned());
            }
            None => swept.others.push(entry.path()),
        }
    }
    swept.others.sort();
    for run in runs {
        let lock = lock_of(locks, &run);
        // Held while the run's files are removed, so that no new run can take the lock in between.
        let _held = match locked(&lock) {
            Ok(held) => held,
            Err(TryLockError::WouldBlock) => {
                swept.alive = true;
                continue;
            }
            Err(TryLockError::Error(e)) => {
                swept.alive = true;
                swept.add_leftover(&lock, &e);
                continue;
            }
        };
        for folder in [host_folder(locks, &run), kata_folder(locks, &run)] {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            match std::fs::remove_dir_all(&folder) {
                Ok(()) => swept.removed.push(format!("folder {name}")),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => swept.add_leftover(&folder, &e),
            }
        }
        match std::fs::remove_file(&lock) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => swept.add_leftover(&lock, &e),
            _ => {}
        }
    }
    Ok(swept)
}

/// Takes the lock of a run that is over; returns `None` if there is no lock.
fn locked(lock: &Path) -> Result<Option<File>, TryLockError> {
    match trust::existing_lock(lock) {
        Ok(file) => file.try_lock().map(|()| Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(TryLockError::Error(e)),
    }
}

/// The result of a sweep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Objects that were removed.
    pub removed: Vec<String>,
    /// Objects that were left because nothing shows whether their run is over, or because they could not be removed;
    /// with the remedy, if one is known.
    pub leftovers: Vec<String>,
    /// Files in the directory of locks that belong to no run.
    pub others: Vec<PathBuf>,
    /// Whether a run is going on, or may be.
    pub alive: bool,
    /// Objects that stay because they were kept.
    pub kept: Vec<String>,
}

impl SweepReport {
    fn add_leftover(&mut self, path: &Path, why: &io::Error) {
        self.leftovers.push(images::Leftover::of_error(path, why).to_string());
    }
}

/// Removes containers and volumes, and returns what was removed and what was left.
pub async fn sweep(docker: &Docker, which: SweepScope<'_>) -> Result<SweepReport, bollard::errors::Error> {
    let filters = Some(HashMap::from([("label".to_owned(), vec![RUN_LABEL.to_owned()])]));
    let mut swept = SweepReport::default();
    let mut kept: BTreeSet<String> = BTreeSet::new();
    let options = ListContainersOptions { all: true, filters: filters.clone(), ..Default::default() };
    for container in docker.list_containers(Some(options)).await? {
        let (Some(id), labels) = (container.id, container.labels.unwrap_or_default()) else { continue };
        let short = id.chars().take(12).collect::<String>();
        let runs = container.state == Some(ContainerSummaryStateEnum::RUNNING);
        match choose(&labels, which) {
            Choice::Leave => {}
            Choice::Remove if runs && is_kept(&labels, which) => {
                kept.extend(labels.get(KEPT_LABEL).cloned());
                swept.kept.push(format!("container {short}"));
            }
            Choice::Ask(lock) => swept.leftovers.push(format!(
                "container {short} of a run whose lock {lock} cannot be checked from here; if that run is over, remove \
                 it: docker rm --force --volumes {short}"
            )),
            Choice::Remove => {
                let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
                if was_removed(docker.remove_container(&id, Some(options)).await)? {
                    swept.removed.push(format!("container {short}"));
                }
            }
        }
    }
    let options = ListVolumesOptions { filters };
    for volume in docker.list_volumes(Some(options)).await?.volumes.unwrap_or_default() {
        let options = RemoveVolumeOptions { force: true };
        // A volume that is left belongs to a container that is left, and is removed with it.
        if choose(&volume.labels, which) == Choice::Remove
            && !volume.labels.get(KEPT_LABEL).is_some_and(|name| kept.contains(name))
            && was_removed(docker.remove_volume(&volume.name, Some(options)).await)?
        {
            swept.removed.push(format!("volume {}", volume.name.chars().take(12).collect::<String>()));
        }
    }
    Ok(swept)
}

/// Checks whether this process removed the object; another run may sweep the same objects at the same time.
fn was_removed(answer: Result<(), bollard::errors::Error>) -> Result<bool, bollard::errors::Error> {
    match answer {
        Ok(()) => Ok(true),
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(false),
        Err(e) => Err(e),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    Remove,
    Leave,
    /// People must decide; with the lock's path.
    Ask(String),
}

/// Checks whether a running container was kept, and must stay.
fn is_kept(labels: &HashMap<String, String>, which: SweepScope<'_>) -> bool {
    matches!(which, SweepScope::Over(_)) && labels.contains_key(KEPT_LABEL)
}

fn choose(labels: &HashMap<String, String>, which: SweepScope<'_>) -> Choice {
    match which {
        SweepScope::Run(run) if labels.get(RUN_LABEL).is_some_and(|r| r == run) => Choice::Remove,
        SweepScope::Run(_) => Choice::Leave,
        SweepScope::Kept(name) if labels.get(KEPT_LABEL).is_some_and(|kept| kept == name) => Choice::Remove,
        SweepScope::Kept(_) => Choice::Leave,
        SweepScope::Over(mine) | SweepScope::OverAndKept(mine) => match mine.state(labels) {
            LockState::Free | LockState::Gone => Choice::Remove,
            LockState::Held => Choice::Leave,
            LockState::Unknown => Choice::Ask(labels.get(LOCK_LABEL).cloned().unwrap_or_default()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(cache: &str, lock: &Path) -> HashMap<String, String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        HashMap::from([
            (RUN_LABEL.to_owned(), "r1".to_owned()),
            (LOCK_LABEL.to_owned(), text(lock)),
            (CACHE_LABEL.to_owned(), cache.to_owned()),
        ])
    }

    #[test]
    fn a_run_of_this_cache_is_over_when_its_lock_is_free_or_missing() {
        let dir = tempfile::tempdir().unwrap();
        let mine = OwnCache { cache: "mine", locks: dir.path() };
        let lock = RunLock::take(dir.path(), "r1").unwrap();
        let path = lock.path().to_owned();
        let labels = labels("mine", &path);
        // Locks are per open file description, so this process sees its own lock as taken.
        assert_eq!(choose(&labels, SweepScope::Over(mine)), Choice::Leave);
        drop(lock);
        assert_eq!(choose(&labels, SweepScope::Over(mine)), Choice::Remove);
        // The state after `kill -9`: the file exists, and no process holds it.
        std::fs::write(&path, "").unwrap();
        assert_eq!(choose(&labels, SweepScope::Over(mine)), Choice::Remove);
    }

    #[test]
    fn a_held_lock_counts_even_if_the_cache_is_a_copy() {
        let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let lock = RunLock::take(dir.path(), "r1").unwrap();
        let labels = labels("mine", lock.path());
        let mine = OwnCache { cache: "mine", locks: copy.path() };
        // The cache was copied before the run began, or while it went on: no process holds the copy of its lock.
        for copied in [false, true] {
            if copied {
                std::fs::write(copy.path().join("r1.lock"), "").unwrap();
            }
            for scope in [SweepScope::Over(mine), SweepScope::OverAndKept(mine)] {
                assert_eq!(choose(&labels, scope), Choice::Leave, "{scope:?}, copied: {copied}");
            }
        }
        drop(lock);
        assert_eq!(choose(&labels, SweepScope::Over(mine)), Choice::Remove);
    }

    #[test]
    fn kept_environments_outlive_their_run_until_requested() {
        let dir = tempfile::tempdir().unwrap();
        let mine = OwnCache { cache: "mine", locks: dir.path() };
        let (name, plain) = ("r1/debian:13/x86_64/container", labels("mine", &dir.path().join("r1.lock")));
        let mut kept = plain.clone();
        kept.insert(KEPT_LABEL.to_owned(), name.to_owned());
        for (scope, expected) in [
            (SweepScope::Over(mine), true),
            (SweepScope::OverAndKept(mine), false),
            (SweepScope::Run("r1"), false),
            (SweepScope::Kept(name), false),
        ] {
            assert_eq!(choose(&kept, scope), Choice::Remove, "{scope:?}");
            assert_eq!(is_kept(&kept, scope), expected, "{scope:?}");
            assert!(!is_kept(&plain, scope), "{scope:?}");
        }
        for scope in [SweepScope::Kept(name), SweepScope::Kept("r2/debian:13/x86_64/container")] {
            assert_eq!(choose(&plain, scope), Choice::Leave, "{scope:?}");
        }
        // While its run goes on, it belongs to the run.
        let _living = RunLock::take(dir.path(), "r1").unwrap();
        assert_eq!(choose(&kept, SweepScope::OverAndKept(mine)), Choice::Leave);
    }

    #[test]
    fn a_lock_that_cannot_be_examined_leaves_the_run_undecided() {
        let dir = tempfile::tempdir().unwrap();
        let mine = OwnCache { cache: "mine", locks: dir.path() };
        // The lock is in another mount namespace, as when jobs of a CI share Docker's socket.
        let elsewhere = dir.path().join("elsewhere/r1.lock");
        let ask = Choice::Ask(elsewhere.to_string_lossy().into_owned());
        assert_eq!(choose(&labels("other", &elsewhere), SweepScope::Over(mine)), ask);
        // The lock cannot be opened: root may open everything, but a link or a directory is not accepted as a lock.
        let link = dir.path().join("r1.lock");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert_eq!(
            choose(&labels("mine", &link), SweepScope::Over(mine)),
            Choice::Ask(link.to_string_lossy().into_owned())
        );
        std::fs::remove_file(&link).unwrap();
        // An existing free lock of another cache is free.
        std::fs::write(&link, "").unwrap();
        assert_eq!(choose(&labels("other", &link), SweepScope::Over(mine)), Choice::Remove);
        // Nothing is known of an object with the harness's label but without a lock.
        let bare = HashMap::from([(RUN_LABEL.to_owned(), "r1".to_owned())]);
        assert_eq!(choose(&bare, SweepScope::Over(mine)), Choice::Ask(String::new()));
        // A run's id cannot lead out of the directory.
        let mut outside = labels("mine", &elsewhere);
        outside.insert(RUN_LABEL.to_owned(), "../r1".to_owned());
        assert_eq!(choose(&outside, SweepScope::Over(mine)), ask);
    }

    #[test]
    fn folders_of_finished_runs_are_removed_and_of_live_runs_kept() {
        let dir = tempfile::tempdir().unwrap();
        let living = RunLock::take(dir.path(), "living").unwrap();
        for name in ["living.host", "dead.host", "dead.kata", "lockless.kata"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        std::fs::write(dir.path().join("dead.lock"), "").unwrap();
        let swept = sweep_folders(dir.path()).unwrap();
        let removed = ["folder dead.host", "folder dead.kata", "folder lockless.kata"].map(str::to_owned).to_vec();
        assert_eq!(swept, SweepReport { removed, alive: true, ..SweepReport::default() });
        let mut remaining: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        remaining.sort();
        assert_eq!(remaining, ["living.host", "living.lock"]);
        drop(living);
    }

    #[test]
    fn folders_of_undecided_or_unknown_runs_are_kept_and_reported() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["r1.host", "dead.kata", "other.thing"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink("/dev/null", dir.path().join("r1.lock")).unwrap();
        std::fs::write(dir.path().join("odd.host"), "no folder").unwrap();
        let swept = sweep_folders(dir.path()).unwrap();
        assert_eq!(swept.removed, ["folder dead.kata"]);
        assert_eq!(swept.others, [dir.path().join("other.thing")]);
        let [odd, lock] = &swept.leftovers[..] else { panic!("{swept:?}") };
        assert!(odd.starts_with(&format!("{}: ", dir.path().join("odd.host").display())), "{odd}");
        assert!(lock.starts_with(&format!("{}: is a link", dir.path().join("r1.lock").display())), "{lock}");
        assert!(swept.alive, "it may go on");
        assert!(dir.path().join("r1.host").exists() && dir.path().join("odd.host").exists());
    }
}
