//! A directory taken as `/`: the running system's, or that of another system mounted somewhere.
//!
//! Paths are absolute inside this directory. Symbolic links are followed as for a process with this root directory, so
//! `/host/etc/os-release -> /usr/lib/os-release` is a file of the node and not of the pod.

mod attributes; // a file's owner, mode and extended attributes
mod error; // why a file cannot be used
mod glob; // files by a pattern
mod inside_path; // a path inside a root, checked where it is read
mod open; // `openat2`: the kernel follows links and confines them to the root
mod pinned_path; // a name in a directory that is held open: checking, reading and atomically writing its file
mod read; // reading files and listing directories, with caps
mod root; // the directory, its paths, and the files found there
pub mod sha256; // digests of contents

pub use attributes::Attributes;
pub use error::RootError;
pub use inside_path::{InsidePath, NotAnInsidePath};
pub use open::folder_below;
pub use pinned_path::{DisplacedText, FileContents, PinnedPath, Rescued, may_be_half};
pub use read::MAX_CONFIGURATION;
pub use root::{PATH, Root, never_climbs};

#[cfg(test)]
mod tests;
