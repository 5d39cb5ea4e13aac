//! A base that is read from files: a vendor's cloud image, or an OCI image.
//!
//! # Cloud images
//!
//! A cloud image is a base like the others: a tree, onto which the record's packages are installed.
//! What differs is who reads it.
//! Its filesystems come from a stranger, and mounting such filesystems is how kernels are broken; no mount, loop device
//! or nbd of this machine ever sees them.
//!
//! ```text
//! qcow2 ─► checksum ─► header and tables ─► guest under the pinned QEMU ─► archive ─► tree ─► os-release ─► packages
//! ```
//!
//! The trait `BaseProvider` is all that is known of it here: who it is, read it, is it the release.
//! Reading a cloud image takes a virtual machine, which `harness` has and this crate does not; an OCI image is read by
//! [`oci_image`](super::oci_image).
//! The cache is asked by the checksum before anything is fetched.
//! Where the base says itself where its packages come from (all families but apt's), the archives' indexes, which are a part
//! of an image's key, can only be asked once it is read; what it says is kept with the image, so that it is read once.
//! Once unpacked, the tree is trusted as an OCI image's is: its programs run in namespaces of their own, with ids that belong
//! to nobody here.
//! That is why an address needs a checksum.
//! A boot loader's `update-grub` is moved out of the way while packages are installed, because there is no disk that it
//! could find.
//! Of several kernels the record's package is taken, not the vendor's own flavour.

use super::{archive, layers};
use crate::error::{BaseError, Context, Failure, ImageErrorKind};
use crate::progress::Phase;
use crate::runner::Runner;
use crate::source::Source;
use crate::tree;
use std::fmt;
use std::path::{Path, PathBuf};

/// Below an image's folder: what its base said of where its packages come from.
pub(crate) const SETTINGS: &str = "settings";
/// Bytes of one of these files: a distro's keyring is the largest.
const MAX_SETTING: u64 = 64 << 20;

/// Where a release's base comes from, if neither from its archive nor from a registry.
pub trait BaseProvider: fmt::Debug + Send + Sync {
    /// What distinguishes it from every other base: its checksum.
    /// It is known before anything is fetched or read, because the cache is asked by it.
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
pub(crate) fn read(
    runner: &Runner<'_>,
    base: &dyn BaseProvider,
    workshop: &Path,
    tree: &Path,
) -> Result<String, Failure> {
    let folder = workshop.join("base-files");
    std::fs::create_dir(&folder).context("creating", &folder)?;
    let task = Task {
        folder: &folder,
        go_on: &|| runner.check().is_ok(),
        tell: &|doing| runner.report(Phase::Read, Some(doing)),
    };
    let read = base.read(&task);
    // A reader that was stopped fails with a message of its own, which is not the reason.
    runner.check()?;
    let bad = |error| Failure::from(ImageErrorKind::BadBase { kind: base.source(), error });
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

/// Keeps files of a base, and the files of its folders, where they stand in it; links are followed inside, and what cannot
/// be one of these files is left out, as whoever reads them leaves it out.
pub(crate) fn keep(tree: &Path, settings: &[&str], folder: &Path) -> Result<(), Failure> {
    let root = tree::open(tree)?;
    for setting in settings.iter().map(Path::new) {
        let names = root.list_if_any(setting).map_err(tree::failed)?;
        for inside in names.iter().map(|name| setting.join(name)).chain([setting.to_owned()]) {
            let Ok(content) = root.read(&inside, MAX_SETTING) else { continue };
            let to = folder.join(inside.strip_prefix("/").unwrap_or(&inside));
            let above = to.parent().unwrap_or(folder);
            std::fs::create_dir_all(above).context("creating", above)?;
            std::fs::write(&to, content).context("writing", &to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_kept_as_files_and_nothing_outside_of_the_tree_is() {
        use std::os::unix::fs::symlink;
        let (tree, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |path: &str| tree.path().join(path);
        for folder in ["etc/yum.repos.d/folder", "etc/pki", "usr/lib", "real"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        std::fs::write(at("usr/lib/os-release"), "ID=fedora\n").unwrap();
        symlink("../usr/lib/os-release", at("etc/os-release")).unwrap();
        std::fs::write(at("etc/yum.repos.d/own.repo"), "[own]\n").unwrap();
        symlink("/etc/hostname", at("etc/yum.repos.d/outside.repo")).unwrap();
        symlink("/real", at("etc/pki/keys")).unwrap();
        std::fs::write(at("real/KEY"), "the key").unwrap();
        keep(tree.path(), &["/etc/os-release", "/etc/yum.repos.d", "/etc/pki/keys", "/etc/none"], kept.path()).unwrap();
        let text = |path: &str| std::fs::read_to_string(kept.path().join(path)).unwrap();
        assert_eq!(text("etc/os-release"), "ID=fedora\n");
        assert_eq!(text("etc/yum.repos.d/own.repo"), "[own]\n");
        assert_eq!(text("etc/pki/keys/KEY"), "the key");
        assert_eq!(std::fs::read_dir(kept.path().join("etc/yum.repos.d")).unwrap().count(), 1);
        assert!(!kept.path().join("etc/none").exists());
    }
}
