//! A small filesystem to fill up.

use std::path::Path;
use std::process::Command;

/// A small tmpfs, unmounted with this value.
pub(crate) struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// Mounts a tmpfs with a size in the format of mount(8): `120m`.
    pub(crate) fn new(size: &str) -> Tmpfs {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let option = format!("size={size},mode=755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(dir.path()).status();
        assert!(mounted.unwrap().success(), "a small filesystem cannot be mounted");
        Tmpfs(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}
