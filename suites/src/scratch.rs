//! Paths for the tests' own files.
//!
//! With `--in host` root makes them in a directory that every user of the machine may write to. So nobody can foresee
//! their names, and only what does not exist yet is created, so that no link of another user is followed.

use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Returns a unique path across tests and runs whose name contains `what`. The caller removes the file that it creates
/// there, by [`File::create_new`] or [`write_new`].
///
/// The path is not in /tmp, which may be memory and says nothing about a disk.
pub(crate) fn path(what: &str) -> PathBuf {
    path_in("/var/tmp", what)
}

fn path_in(folder: &str, what: &str) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // Its keys come from the kernel's random numbers.
    let unforeseen = RandomState::new().build_hasher().finish();
    PathBuf::from(format!("{folder}/kata-qualify-{what}-{unforeseen}-{number}"))
}

/// Writes a file that must not exist yet, not even as a link.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    File::create_new(path)?.write_all(content)
}

/// The path of a test's file or socket, which the user of the path creates; dropping it removes the file.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    /// Returns a new [`path`].
    pub(crate) fn new(what: &str) -> Scratch {
        Scratch(path(what))
    }

    /// Returns a new path in another directory.
    pub(crate) fn within(folder: &str, what: &str) -> Scratch {
        Scratch(path_in(folder, what))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_paths_are_unique() {
        let (one, other) = (path("disk"), path("disk"));
        assert_ne!(one, other);
        assert!(one.to_string_lossy().starts_with("/var/tmp/kata-qualify-disk-"), "{}", one.display());
    }

    /// Everybody sees the numbers of processes, and the names of the files that a run has made so far.
    #[test]
    fn no_other_user_foresees_a_scratch_path() {
        let secret = |path: PathBuf| {
            let name = path.to_string_lossy().into_owned();
            name.rsplit('-').nth(1).unwrap().parse::<u64>().unwrap()
        };
        let (one, other) = (secret(path("disk")), secret(path("disk")));
        assert_ne!(one, other);
        assert_ne!(one, u64::from(std::process::id()));
    }

    #[test]
    fn no_link_in_the_way_is_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (theirs, planted) = (dir.path().join("theirs"), dir.path().join("planted"));
        std::fs::write(&theirs, "unchanged").unwrap();
        for target in [theirs.clone(), dir.path().join("new")] {
            std::os::unix::fs::symlink(target, &planted).unwrap();
            assert!(write_new(&planted, b"ours").is_err());
            std::fs::remove_file(&planted).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "unchanged");
        assert!(!dir.path().join("new").exists());
    }
}
