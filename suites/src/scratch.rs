//! Paths for the tests' own files.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// Returns a unique path across tests and runs whose name contains `what`. The caller removes the file that it creates
/// there.
///
/// The path is not in /tmp, which may be memory and says nothing about a disk.
pub(crate) fn path(what: &str) -> PathBuf {
    path_in("/var/tmp", what)
}

fn path_in(folder: &str, what: &str) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(format!("{folder}/kata-qualify-{what}-{}-{number}", std::process::id()))
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
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn scratch_paths_are_unique() {
        let (one, other) = (super::path("disk"), super::path("disk"));
        assert_ne!(one, other);
        assert!(one.to_string_lossy().starts_with("/var/tmp/kata-qualify-disk-"), "{}", one.display());
    }
}
