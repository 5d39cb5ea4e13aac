//! Temporarily acting as another user.
//!
//! Linux keeps credentials, umask and root directory per thread, so a separate thread is enough: no fork, no helper
//! program.

use crate::check::{Doing, Stop};
use crate::environment::Site;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Gid, Uid};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::fs::File;
use std::io;
use std::path::Path;

/// `nobody`: a user with no rights of its own.
pub(super) const NOBODY: u32 = 65534;
/// Another ordinary user.
pub(super) const OTHER: u32 = 1234;

/// Runs `body` in a thread of user and group `id`, with no other groups and no capabilities.
pub(super) fn as_user<T: Send>(site: &Site, id: u32, body: impl FnOnce() -> Result<T, Stop> + Send) -> Result<T, Stop> {
    in_a_thread(|| {
        become_user(id, id).map_err(|e| Stop::error(format!("becoming user {id}: {e} (the tests run as root)")))?;
        std::fs::read_dir(&site.dir).map_err(|e| {
            Stop::error(format!(
                "user {id} cannot reach {}: {e} (its parents must be searchable by all)",
                site.dir.display()
            ))
        })?;
        body()
    })
}

/// Creates an empty file, which must not exist, in a thread of this user and group.
pub(super) fn create_as(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let create = || -> io::Result<()> {
        become_user(uid, gid)?;
        File::create_new(path).map(drop)
    };
    std::thread::scope(|scope| {
        scope.spawn(create).join().unwrap_or_else(|_| Err(io::Error::other("a thread of the test panicked")))
    })
}

fn become_user(uid: u32, gid: u32) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}

/// Runs `body` in a thread whose umask and root directory are its own.
pub(super) fn with_own_fs<T: Send>(body: impl FnOnce() -> Result<T, Stop> + Send) -> Result<T, Stop> {
    in_a_thread(|| {
        unshare(CloneFlags::CLONE_FS).doing("unsharing the umask")?;
        body()
    })
}

/// Runs `body` in a thread whose mounts are its own, and vanish with it.
pub(super) fn with_own_mounts<T: Send>(body: impl FnOnce() -> Result<T, Stop> + Send) -> Result<T, Stop> {
    in_a_thread(|| {
        unshare(CloneFlags::CLONE_NEWNS).map_err(|e| Stop::error(format!("unsharing the mounts: {e}")))?;
        let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
        mount_change("/", private).map_err(|e| Stop::error(format!("making the mounts private: {e}")))?;
        body()
    })
}

fn in_a_thread<T: Send>(body: impl FnOnce() -> Result<T, Stop> + Send) -> Result<T, Stop> {
    std::thread::scope(|scope| {
        scope.spawn(body).join().unwrap_or_else(|_| Err(Stop::error("a thread of the test panicked")))
    })
}
