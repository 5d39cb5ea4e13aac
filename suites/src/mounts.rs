//! Mounts that no test leaves behind.

use rustix::mount::{MountPropagationFlags, mount_change};

/// Gives this thread mounts of its own, which the threads and programs that it starts share: they vanish with it, also
/// if the tests are killed.
pub(crate) fn own() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).expect("private mounts");
}
