//! Progress of the preparation of an image: the phase, and what is being done in it.

use model::distro::Target;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Phases of preparing an image, in order; an error in one phase is never reported for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImagePhase {
    /// Checking the request, finding the mirror, reading the signed indexes, looking into the cache.
    Resolve,
    /// Waiting for another process that builds the same image.
    Wait,
    /// Making the base tree with the family's own tool.
    Bootstrap,
    /// Pulling the release's OCI image and unpacking it.
    Pull,
    /// Reading the base that the caller gave, a cloud image or an OCI image, and unpacking it.
    Read,
    /// Copying the plain release's tree.
    Copy,
    /// Installing packages with the release's own package manager.
    Install,
    /// Laying the overlay over the tree.
    Overlay,
    /// Recording the versions in the tree and their origins.
    Record,
    /// Making the initrd and the disk.
    Disk,
    /// Moving the finished tree into the cache.
    Store,
    /// Importing the tree into Docker.
    Import,
}

impl ImagePhase {
    /// Returns the name for people.
    pub fn name(self) -> &'static str {
        match self {
            ImagePhase::Resolve => "resolve",
            ImagePhase::Wait => "wait",
            ImagePhase::Bootstrap => "bootstrap",
            ImagePhase::Pull => "pull",
            ImagePhase::Read => "read",
            ImagePhase::Copy => "copy",
            ImagePhase::Install => "install",
            ImagePhase::Overlay => "overlay",
            ImagePhase::Record => "record",
            ImagePhase::Disk => "disk",
            ImagePhase::Store => "store",
            ImagePhase::Import => "import",
        }
    }
}

impl fmt::Display for ImagePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A progress message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressMessage {
    /// The release whose image is prepared.
    pub release: Target,
    /// The phase.
    pub phase: ImagePhase,
    /// Latest line of the running command, mirrors redacted; `None` at the start of a phase.
    pub detail: Option<String>,
}
