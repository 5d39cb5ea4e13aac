//! What containerd and CRI-O need to know of Kata: the shim, and which configuration it reads.

use super::change::ChangeError;
use crate::profile::Runtime;
use crate::root::{Root, RootError};
use std::path::{Path, PathBuf};

/// The handler's name, by which a `RuntimeClass` chooses it.
pub(super) const NAME: &str = "kata";

/// A container manager whose handler can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handler {
    /// containerd, configuration versions 2 and up.
    Containerd,
    /// CRI-O.
    Crio,
}

/// Why there is no handler.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// Kata itself is not there.
    #[error("no Kata shim at {}: install Kata first", .0.join(", "))]
    NoShim(Vec<&'static str>),
    /// The container manager's configuration cannot be read.
    #[error(transparent)]
    Root(#[from] RootError),
    /// It was changed since.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// It cannot be edited.
    #[error("{path}: {source}")]
    Edit {
        /// The file.
        path: PathBuf,
        /// Why.
        source: super::edit::EditError,
    },
    /// A version of its form for which there is no rule.
    #[error("{path} has version {version}: expected 2 or later; bring it up with `containerd config migrate`")]
    OldConfig {
        /// The file.
        path: PathBuf,
        /// What it has.
        version: i64,
    },
    /// An imported file would undo the edit.
    #[error(
        "{import}, which {main} imports, replaces the whole section `{plugin}`: containerd before 2.0 does not merge it; move the section into {main}"
    )]
    Replaced {
        /// The file that is imported.
        import: PathBuf,
        /// The main file.
        main: PathBuf,
        /// The section.
        plugin: &'static str,
    },
}

/// Where the Go shim is installed: by distros, by hand, by Kata's static release.
const GO: &[&str] = &[
    "/usr/bin/containerd-shim-kata-v2",
    "/usr/local/bin/containerd-shim-kata-v2",
    "/opt/kata/bin/containerd-shim-kata-v2",
];

/// Where the Rust shim is installed: by Kata's static release, by Fedora, by hand.
const RS: &[&str] = &[
    "/opt/kata/runtime-rs/bin/containerd-shim-kata-v2",
    "/usr/bin/containerd-shim-kata-rs-v2",
    "/usr/local/bin/containerd-shim-kata-v2",
];

/// The shim of a runtime.
///
/// # Errors
///
/// That it is nowhere.
pub fn shim(root: &Root, runtime: Runtime) -> Result<PathBuf, HandlerError> {
    let places = match runtime {
        Runtime::Go => GO,
        Runtime::Rs => RS,
    };
    let found = places.iter().map(Path::new).find(|p| root.has_file(p));
    found.map(Path::to_owned).ok_or_else(|| HandlerError::NoShim(places.to_vec()))
}
