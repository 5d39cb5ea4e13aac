//! A base that the caller reads from a vendor's cloud image.
//!
//! # Cloud images
//!
//! A cloud image is a base like the others: a tree, onto which the release's own apt installs the record's packages.
//! What differs is who reads it.
//! Its filesystems come from a stranger, and mounting such filesystems is how kernels are broken; no mount, loop device
//! or nbd of this machine ever sees them.
//!
//! ```text
//! qcow2 ─► checksum ─► header and tables ─► guest under the pinned QEMU ─► archive ─► tree ─► os-release ─► apt
//! ```
//!
//! This crate knows only the trait `Base`: who it is, read it, is it the release.
//! Reading takes a virtual machine, which `harness` has and this crate does not.
//! The cache is asked by the checksum before anything is fetched.
//! Once unpacked, the tree is trusted as an OCI image's is: its apt runs in namespaces of its own, with ids that belong
//! to nobody here.
//! That is why an address needs a checksum.
//! A boot loader's `update-grub` is moved out of the way while packages are installed, because there is no disk that it
//! could find.
//! Of several kernels the record's package is taken, not the vendor's own flavour.

use super::archive;
use crate::error::{BaseError, Cause, Context, Failure};
use crate::progress::Phase;
use crate::runner::Runner;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a release's base comes from, if neither from its archive nor from a registry.
///
/// Reading a cloud image takes a virtual machine, of which this crate knows nothing.
pub trait Base: fmt::Debug + Send + Sync {
    /// What distinguishes it from every other base: its checksum.
    /// It is known before anything is fetched or read, because the cache is asked first.
    fn identity(&self) -> String;

    /// Fetches and reads it; everything that this needs is in `task.folder`, which is removed afterwards.
    ///
    /// # Errors
    /// What failed.
    fn read(&self, task: &Task<'_>) -> Result<Archive, BaseError>;

    /// Whether a tree is of the release that is wanted.
    ///
    /// # Errors
    /// What it is instead.
    fn accept(&self, tree: &Path) -> Result<(), BaseError>;
}

/// What reading a base gets.
pub struct Task<'a> {
    /// A folder of its own.
    pub folder: &'a Path,
    /// Whether to go on: neither cancelled nor late.
    pub go_on: &'a dyn Fn() -> bool,
    /// Told what is being done.
    pub tell: &'a dyn Fn(&str),
}

/// A base that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Its root filesystem as a tar archive; not trusted.
    pub tar: PathBuf,
    /// The SHA-256 of what it was read from.
    pub sha256: String,
}

/// Unpacks the caller's base, if it is of the release; gives the SHA-256 of what it was read from.
pub(crate) fn read(runner: &Runner<'_>, base: &dyn Base, workshop: &Path, tree: &Path) -> Result<String, Failure> {
    let folder = workshop.join("base");
    std::fs::create_dir(&folder).context("creating", &folder)?;
    let task = Task {
        folder: &folder,
        go_on: &|| runner.check().is_ok(),
        tell: &|doing| runner.report(Phase::Read, Some(doing)),
    };
    let read = base.read(&task);
    // A reader that was stopped fails with a message of its own, which is not the reason.
    runner.check()?;
    let bad = |error| Failure::from(Cause::BadBase(error));
    let archive = read.map_err(bad)?;
    runner.report(Phase::Read, Some("unpacking"));
    archive::unpack(runner, &archive.tar, tree)?;
    std::fs::remove_dir_all(&folder).context("removing", &folder)?;
    base.accept(tree).map_err(bad)?;
    Ok(archive.sha256)
}
