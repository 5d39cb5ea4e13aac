//! The programs of a tree: its own apt and dpkg, what they see, and how they are started.

use crate::error::Failure;
use crate::tree;
use operator::process::sandbox::BindMount;
use std::path::Path;
use std::process::Command;

/// The package lists, which the tree's own apt may read.
pub(crate) fn lists(folder: &Path) -> BindMount<'_> {
    BindMount { folder, over: "/var/lib/apt/lists", writable: false }
}

/// The packages that were fetched, where the tree's own apt looks for them.
pub(crate) fn archives(folder: &Path) -> BindMount<'_> {
    BindMount { folder, over: "/var/cache/apt/archives", writable: true }
}

/// A program of the tree, which asks no questions.
pub(crate) fn command(tree: &Path, mounts: &[BindMount<'_>], program: &str) -> Result<Command, Failure> {
    let mut command = tree::command(tree, mounts, program)?;
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("DEBCONF_NONINTERACTIVE_SEEN", "true")
        // Debian's kernel hook makes no initrd then: it costs more than all other packages, and no guest here boots it.
        .env("INITRD", "No");
    Ok(command)
}
