//! A small filesystem to fill up.

use rustix::mount::{MountPropagationFlags, mount_change};
use std::path::Path;
use std::process::Command;

/// A small tmpfs, which only the calling thread and what it starts see, unmounted with this value.
pub(crate) struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// Mounts a tmpfs with a size in the format of mount(8): `120m`.
    pub(crate) fn new(size: &str) -> Tmpfs {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        own_mounts();
        let option = format!("size={size},mode=755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(dir.path()).status();
        assert!(mounted.unwrap().success(), "a small filesystem cannot be mounted");
        Tmpfs(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Gives this thread mounts of its own, which the threads and programs that it starts share: they vanish with it, also
/// if the tests are killed.
fn own_mounts() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}
