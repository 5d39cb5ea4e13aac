//! Programs of a tree: its own apt and dpkg, the directories mounted for them, and how they are started.

use crate::error::Failure;
use crate::tree;
use operator::process::sandbox::BindMount;
use std::path::Path;
use std::process::Command;

/// Mounts the package lists for the tree's own apt.
pub(crate) fn lists(folder: &Path) -> BindMount<'_> {
    BindMount { folder, over: "/var/lib/apt/lists", writable: false }
}

/// Mounts the fetched packages where the tree's own apt looks for them.
pub(crate) fn archives(folder: &Path) -> BindMount<'_> {
    BindMount { folder, over: "/var/cache/apt/archives", writable: true }
}

/// Returns a command for a program of the tree, which asks no questions.
pub(crate) fn command(tree: &Path, mounts: &[BindMount<'_>], program: &str) -> Result<Command, Failure> {
    let mut command = tree::command(tree, mounts, program)?;
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("DEBCONF_NONINTERACTIVE_SEEN", "true")
        // Keeps Debian's kernel hook from making an initrd, which takes longer than all other packages and is not
        // booted here.
        .env("INITRD", "No");
    Ok(command)
}
