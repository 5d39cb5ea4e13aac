//! A directory taken as `/`: the running system, or another one that is mounted somewhere.
//!
//! Paths here are absolute and seen from inside; symbolic links are followed as a process does whose root is there, so
//! `/host/etc/os-release -> /usr/lib/os-release` is a file of the node and not of the pod.

mod attributes; // a file's owner, mode and extended attributes
mod error; // why a file cannot be used
mod glob; // files by a pattern
mod open; // `openat2`: the kernel follows links, and cannot be led out
mod pinned_path; // one name in a folder that is held open: looked at, read, written whole
mod read; // reading files and listing folders, capped
mod root; // the folder, its paths, and what stands at them

pub use attributes::Attributes;
pub use error::RootError;
pub use open::folder_below;
pub use pinned_path::{DisplacedText, FileContents, PinnedPath, Rescued, may_be_half};
pub use read::MAX_CONFIGURATION;
pub use root::{PATH, Root, never_climbs};

#[cfg(test)]
mod tests;
