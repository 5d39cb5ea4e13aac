//! A base that the caller gives: a vendor's cloud image, or an OCI image as files.
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
//! The trait `Base` is all that is known of it here: who it is, read it, is it the release.
//! Reading a cloud image takes a virtual machine, which `harness` has and this crate does not; an OCI image is read by
//! [`oci_image`](super::oci_image).
//! The cache is asked by the checksum before anything is fetched.
//! Once unpacked, the tree is trusted as an OCI image's is: its apt runs in namespaces of its own, with ids that belong
//! to nobody here.
//! That is why an address needs a checksum.
//! A boot loader's `update-grub` is moved out of the way while packages are installed, because there is no disk that it
//! could find.
//! Of several kernels the record's package is taken, not the vendor's own flavour.

use super::{archive, layers};
use crate::error::{BaseError, Cause, Context, Failure};
use crate::progress::Phase;
use crate::runner::Runner;
use crate::source::Source;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a release's base comes from, if neither from its archive nor from a registry.
pub trait Base: fmt::Debug + Send + Sync {
    /// What distinguishes it from every other base: its checksum.
    /// It is known before anything is fetched or read, because the cache is asked first.
    fn identity(&self) -> String;

    /// Which kind of base it is.
    fn source(&self) -> Source;

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
    /// Its root filesystem; not trusted.
    pub content: Content,
    /// The SHA-256 of what it was read from.
    pub sha256: String,
}

/// A root filesystem in tar archives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// All of it in one.
    Tree(PathBuf),
    /// Layers with whiteouts, the lowest first.
    Layers(Vec<PathBuf>),
}

/// Unpacks the caller's base, if it is of the release; gives the SHA-256 of what it was read from.
pub(crate) fn read(runner: &Runner<'_>, base: &dyn Base, workshop: &Path, tree: &Path) -> Result<String, Failure> {
    let folder = workshop.join("given");
    std::fs::create_dir(&folder).context("creating", &folder)?;
    let task = Task {
        folder: &folder,
        go_on: &|| runner.check().is_ok(),
        tell: &|doing| runner.report(Phase::Read, Some(doing)),
    };
    let read = base.read(&task);
    // A reader that was stopped fails with a message of its own, which is not the reason.
    runner.check()?;
    let bad = |error| Failure::from(Cause::BadBase { kind: base.source(), error });
    let archive = read.map_err(bad)?;
    runner.report(Phase::Read, Some("unpacking"));
    match &archive.content {
        Content::Tree(tar) => archive::unpack(runner, tar, tree)?,
        Content::Layers(tars) => layers::apply(runner, tars, tree)?,
    }
    std::fs::remove_dir_all(&folder).context("removing", &folder)?;
    base.accept(tree).map_err(bad)?;
    Ok(archive.sha256)
}
