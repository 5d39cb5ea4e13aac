//! Ensures one installation at a time, because package managers in sandboxes do not see each other's processes.
//!
//! dnf and zypper identify the holder of a lock by its process number, which is the same in every sandbox's process
//! namespace. So the holder is checked from outside, and this program's own runs hold an additional lock.

use super::{FailureKind, InstallFailure, InstallerChoice};
use root::{Root, RootError};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Maximum size of a file that holds a process number, in bytes.
const MAX_NUMBER: u64 = 32;

/// Numbers of the first process in every sandbox and of the program in it: if left behind, they are meaningless.
const OF_SANDBOXES: [u32; 2] = [1, 2];

/// An exclusive lock on a root, for as long as the value lives.
#[derive(Debug)]
pub(super) struct ClaimedRoot(OwnedFd);

impl Drop for ClaimedRoot {
    /// Unlocks explicitly instead of only closing the descriptor: a process just forked by another thread may still
    /// have it open.
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Claims a root for one command.
pub(super) fn claim(chosen: &InstallerChoice, root: &Root) -> Result<ClaimedRoot, InstallFailure> {
    let failed = |kind, why: String| {
        let message = format!("{} cannot work on {}: {why}", chosen.installer.name(), root.path().display());
        InstallFailure { kind, message }
    };
    for file in chosen.installer.program().number_files() {
        let holder = holder(root, Path::new(file)).map_err(|error| failed(FailureKind::Other, error.to_string()))?;
        if let Some(number) = holder {
            return Err(failed(FailureKind::Locked, format!("process {number} is using it, according to {file}")));
        }
    }
    match lock(root) {
        Ok(lock) => Ok(lock),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(failed(FailureKind::Locked, "another installation is running".to_owned()))
        }
        Err(error) => Err(failed(FailureKind::Other, error.to_string())),
    }
}

/// Returns the process that works on the root according to this file, if that process still runs.
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
    fn a_root_is_held_only_by_a_living_process() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        let holder_of = |text: &str| {
            std::fs::write(dir.path().join("pid"), text).unwrap();
            holder(&root, Path::new("/pid")).unwrap()
        };
        let own = std::process::id();
        assert_eq!(holder_of(&format!("{own}\n")), Some(own));
        for dead in ["", "2", "x", "4294967295"] {
            assert_eq!(holder_of(dead), None, "{dead}");
        }
        assert_eq!(holder(&root, Path::new("/none")).unwrap(), None);
        let guard = lock(&root).unwrap();
        assert_eq!(lock(&root).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(guard);
        lock(&root).unwrap();
    }
}
