//! What is being done while an image is made, and in which step.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The steps of preparing an image, in order; an error in one is never reported as another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Checking the request, finding the mirror, reading the signed indexes, looking into the cache.
    Resolve,
    /// Waiting for another process that builds the same image.
    Wait,
    /// Making the base tree by the family's own tool.
    Bootstrap,
    /// Pulling the release's OCI image and unpacking it.
    Pull,
    /// Reading the base that the caller gave, a cloud image or an OCI image, and unpacking it.
    Read,
    /// Copying the plain release's tree.
    Copy,
    /// Installing packages by the release's own package manager.
    Install,
    /// Laying the overlay over the tree.
    Overlay,
    /// Writing down which versions the tree holds and where they came from.
    Record,
    /// Making the initrd and the disk.
    Disk,
    /// Moving the finished tree into the cache.
    Store,
    /// Importing the tree into Docker.
    Import,
}

impl Phase {
    /// The word shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Resolve => "resolve",
            Phase::Wait => "wait",
            Phase::Bootstrap => "bootstrap",
            Phase::Pull => "pull",
            Phase::Read => "read",
            Phase::Copy => "copy",
            Phase::Install => "install",
            Phase::Overlay => "overlay",
            Phase::Record => "record",
            Phase::Disk => "disk",
            Phase::Store => "store",
            Phase::Import => "import",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is being done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// `debian:13`.
    pub release: String,
    /// The phase.
    pub phase: Phase,
    /// The latest line of the command that runs, mirrors redacted; nothing when a phase starts.
    pub detail: Option<String>,
}
