//! From a release to something bootable.
//!
//! [`prepare`] turns a [`Release`](kata_osinfo::release::Release) into an [`Image`]: a directory with the release's root
//! filesystem, its native packages installed by its own package manager, and a manifest with the exact versions in it.
//! Images lie in a cache, keyed by what went in.
//! The tree has no initrd of its own: guests get one that is built here, and making the distro's costs more than all
//! other packages together; who boots the tree itself wants a [`disk`], which has one.
//! From the tree come a Docker image ([`container`]), the guest's kernel ([`kernel`]), its modules ([`modules`]) and an
//! initramfs ([`initramfs`]).
//! Kata's own files, where they are brought along, are unpacked by [`artifacts`].
//! A vendor's cloud image is a base that the caller reads ([`base`]), once [`qcow2`] has found nothing wrong with it.

pub mod artifacts;
pub mod base;
pub mod brought;
pub mod cache;
pub mod container;
pub mod disk;
pub mod error;
pub mod initramfs;
pub mod initrd;
pub mod kernel;
pub mod manifest;
pub mod modules;
pub mod options;
pub mod overlay;
pub mod qcow2;

mod apt;
mod bootstrap;
mod cage;
mod classify;
mod command;
mod derive;
mod digest;
mod fetch;
mod ids;
mod indexes;
mod install;
mod login;
mod mirror;
mod oci;
mod prepare;
mod record;
mod share;
mod tree;
mod unpack;

pub use cache::{Clean, Cleaned, Gone, Hold, Image, Left, Origin, Swept, Trimmed, clean, sweep, trim};
pub use disk::{Disk, prepare_disk};
pub use error::{Cause, CommandFailure, ImageError, Phase};
pub use initramfs::ExtraFile;
pub use login::check_mirror;
pub use manifest::Manifest;
pub use options::{ExtraPackage, Options, Progress, Source};
pub use prepare::{attainable, prepare};

/// The addresses of mirrors and proxies, credentials and all, that nothing that leaves this machine may tell.
pub fn addresses(options: &Options) -> Vec<String> {
    mirror::known(options)
}

/// Whether packages' scripts can be kept to a tree on the filesystem of this folder.
///
/// # Errors
/// Why not.
pub fn confines(folder: &std::path::Path) -> Result<(), String> {
    ids::mapped(folder, 0)
        .map(drop)
        .map_err(|e| format!("ids cannot be mapped on the filesystem of {}: {e}", folder.display()))
}
