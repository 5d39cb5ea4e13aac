//! From a release to something bootable.
//!
//! [`prepare`] turns a [`Release`](model::release::Release) into an [`Image`]: a folder with the release's root
//! filesystem, its native packages installed by its own package manager, and a manifest with the exact versions in it.
//! Images are kept in a cache, keyed by their inputs.
//! The tree has no initrd of its own: guests get one that is built here, and making the distro's takes longer than all
//! other packages together.
//! To boot the tree itself there is [`prepare_disk`], whose disk has an initrd.

// Preparation of an image.
mod candidates; // an overlay or packages under test, laid over a release's image
mod job; // one call: its step, its runner, its family
pub mod manifest; // content and origin of an image
pub mod options; // options of the caller
mod owners; // which packages own the paths that a record names
mod package; // packages by name or file
mod prepare; // the complete path from a release to its image
mod progress; // progress messages
mod source; // sources of a base tree
pub mod upload; // the packages of an upload

// Sources and storage.
pub mod base; // the base tree: an OCI image or a cloud image; families bootstrap
pub mod cache; // images on disk: found, locked, removed
mod digest; // hashes and keys
pub mod external_file; // a file by its path or address, with its checksum
mod family; // package managers, one directory each

// Uses of a tree.
pub mod artifacts; // Kata's own files, and a guest's initrd with its agent
pub mod boot; // kernel, modules, initramfs
mod disk; // a disk that boots the release itself
pub mod docker; // images of the Docker engine
pub mod packed; // files packed as one archive
pub mod portable; // a program of a tree with its libraries
mod tree; // files and programs of a tree
mod unpack; // untrusted tar archives

// Running of foreign programs.
mod runner; // with a deadline and cancellation

pub mod error; // errors, by phase and cause

#[cfg(test)]
mod fixtures;

pub use boot::initramfs::ExtraFile;
pub use cache::{
    CleanReport, CleanScope, Image, ImageLock, ImageOrigin, Leftover, RemovedImage, SweptImages, TrimReport, clean,
    sweep, trim,
};
pub use disk::{Disk, prepare_disk};
pub use error::{CommandFailure, ErrorSubject, ImageError, ImageErrorKind};
pub use family::credentials::check_mirror;
pub use family::{Tool, addresses, boots_with_systemd, tools};
pub use job::runs_programs_of;
pub use manifest::Manifest;
pub use operator::process::sandbox::{NotConfined, confines};
pub use options::Options;
pub use package::ExtraPackage;
pub use prepare::{ImageRoute, attainable, newest_versions, prepare, request_of};
pub use progress::{ImagePhase, ProgressMessage};
pub use source::BaseSource;
