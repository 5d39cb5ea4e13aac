//! Nothing stays behind: what belongs to a run carries its label, and a run whose lock is free is over.

use crate::container::{LOCK_LABEL, RUN_LABEL};
use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptions, ListVolumesOptions, RemoveContainerOptions, RemoveVolumeOptions,
};
use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// Held for as long as a run lives; the kernel gives it up when the process ends, however it ends.
pub struct RunLock {
    path: PathBuf,
    file: File,
}

impl RunLock {
    /// Takes the lock of a new run.
    pub fn take(folder: &Path, run: &str) -> std::io::Result<RunLock> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("{run}.lock"));
        let file = File::create(&path)?;
        file.try_lock().map_err(std::io::Error::other)?;
        Ok(RunLock { path, file })
    }

    /// Its path, for labels.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Removed while still held, so that nobody can find it free in between.
        let _ = std::fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

/// Whether the run that this lock belongs to is over.
fn is_over(lock: &str) -> bool {
    match File::open(lock) {
        Err(_) => true,
        // Shared, so that two runs that sweep at the same time do not take each other for the dead one.
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
        },
    }
}

/// Which runs' belongings to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// Those of runs that are over, however they ended.
    Over,
    /// Those of this run.
    Run(&'a str),
}

/// Removes the folders of agents on this machine, and of unpacked Kata, whose runs are over, and says what it removed.
///
/// # Errors
/// When the folder of locks cannot be read or a folder cannot be removed.
pub fn sweep_folders(locks: &Path) -> std::io::Result<Vec<String>> {
    let mut removed = Vec::new();
    for entry in std::fs::read_dir(locks)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(run) = [".host", ".kata"].iter().find_map(|end| name.strip_suffix(end)) else { continue };
        if is_over(&locks.join(format!("{run}.lock")).to_string_lossy()) {
            std::fs::remove_dir_all(entry.path())?;
            removed.push(format!("folder {name}"));
        }
    }
    Ok(removed)
}

/// Removes containers and volumes, and says what it removed.
pub async fn sweep(docker: &Docker, which: Which<'_>) -> Result<Vec<String>, bollard::errors::Error> {
    let filters = Some(HashMap::from([("label".to_owned(), vec![RUN_LABEL.to_owned()])]));
    let mut removed = Vec::new();
    let options = ListContainersOptions { all: true, filters: filters.clone(), ..Default::default() };
    for container in docker.list_containers(Some(options)).await? {
        let (Some(id), labels) = (container.id, container.labels.unwrap_or_default()) else { continue };
        let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
        if chosen(&labels, which) && gone(docker.remove_container(&id, Some(options)).await)? {
            removed.push(format!("container {}", id.chars().take(12).collect::<String>()));
        }
    }
    let options = ListVolumesOptions { filters };
    for volume in docker.list_volumes(Some(options)).await?.volumes.unwrap_or_default() {
        if chosen(&volume.labels, which)
            && gone(docker.remove_volume(&volume.name, Some(RemoveVolumeOptions { force: true })).await)?
        {
            removed.push(format!("volume {}", volume.name.chars().take(12).collect::<String>()));
        }
    }
    Ok(removed)
}

/// Whether it was us who removed something; another run may sweep the same left-overs at the same time.
fn gone(answer: Result<(), bollard::errors::Error>) -> Result<bool, bollard::errors::Error> {
    match answer {
        Ok(()) => Ok(true),
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(false),
        Err(e) => Err(e),
    }
}

fn chosen(labels: &HashMap<String, String>, which: Which<'_>) -> bool {
    match which {
        Which::Run(run) => labels.get(RUN_LABEL).is_some_and(|r| r == run),
        Which::Over => labels.get(LOCK_LABEL).is_none_or(|lock| is_over(lock)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_over_when_its_lock_is_free_or_gone() {
        let dir = tempfile::tempdir().unwrap();
        let lock = RunLock::take(dir.path(), "r1").unwrap();
        let path = lock.path().to_string_lossy().into_owned();
        // Locks are per open file description, so this process sees its own lock as taken.
        assert!(!is_over(&path));
        drop(lock);
        assert!(is_over(&path));
        // As after `kill -9`: the file is there, nobody holds it.
        std::fs::write(&path, "").unwrap();
        assert!(is_over(&path));
    }
}
