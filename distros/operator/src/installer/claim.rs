//! One at a time: package managers in sandboxes do not see each other's processes.
//!
//! dnf and zypper know a lock by the number of the process that holds it, and in a process namespace of its own each has
//! the same number.
//! So it is looked from here who works on a root, and what this program runs there holds a lock of its own, too.

use super::{Failure, FailureKind, InstallerChoice};
use root::{Root, RootError};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Bytes of a file that holds a number.
const MAX_NUMBER: u64 = 32;

/// The first process of every sandbox and the program in it: what they leave behind says nothing.
const OF_SANDBOXES: [u32; 2] = [1, 2];

/// A root that nobody else's sandbox works on, for as long as this lives.
#[derive(Debug)]
pub(super) struct ClaimedRoot(OwnedFd);

impl Drop for ClaimedRoot {
    /// Said and not only closed: a process that another thread has just forked may still have it open.
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Claims a root for one command.
pub(super) fn claim(chosen: &InstallerChoice, root: &Root) -> Result<ClaimedRoot, Failure> {
    let failed = |kind, why: String| {
        let message = format!("{} cannot work on {}: {why}", chosen.installer.name(), root.path().display());
        Failure { kind, message }
    };
    for file in chosen.installer.program().number_files() {
        let holder = holder(root, Path::new(file)).map_err(|error| failed(FailureKind::Other, error.to_string()))?;
        if let Some(number) = holder {
            return Err(failed(FailureKind::Locked, format!("{file} says that process {number} does")));
        }
    }
    match lock(root) {
        Ok(lock) => Ok(lock),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(failed(FailureKind::Locked, "another installation does".to_owned()))
        }
        Err(error) => Err(failed(FailureKind::Other, error.to_string())),
    }
}

/// The process that works on the root by such a file, if it still runs.
fn holder(root: &Root, file: &Path) -> Result<Option<u32>, RootError> {
    let text = match root.read_text(file, MAX_NUMBER) {
        Err(error) if error.is_missing() => return Ok(None),
        text => text?,
    };
    let number = text.trim().parse().ok().filter(|number| !OF_SANDBOXES.contains(number));
    Ok(number.filter(|number: &u32| Path::new("/proc").join(number.to_string()).exists()))
}

fn lock(root: &Root) -> io::Result<ClaimedRoot> {
    let folder = root.folder(Path::new("/")).map_err(io::Error::other)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(&folder, ".", flags, Mode::empty())?;
    match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(ClaimedRoot(folder)),
        Err(Errno::WOULDBLOCK) => Err(io::ErrorKind::WouldBlock.into()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_works_on_a_root_is_told_by_a_number_that_lives() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        let of = |text: &str| {
            std::fs::write(dir.path().join("pid"), text).unwrap();
            holder(&root, Path::new("/pid")).unwrap()
        };
        let own = std::process::id();
        assert_eq!(of(&format!("{own}\n")), Some(own));
        for dead in ["", "2", "x", "4294967295"] {
            assert_eq!(of(dead), None, "{dead}");
        }
        assert_eq!(holder(&root, Path::new("/none")).unwrap(), None);
        let held = lock(&root).unwrap();
        assert_eq!(lock(&root).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        lock(&root).unwrap();
    }
}
