//! A base that is read from files: a vendor's cloud image, or an OCI image.
//!
//! # Cloud images
//!
//! A cloud image is a base like the others: a tree, into which the record's packages are installed.
//! Only the reading differs.
//! Its filesystems are untrusted, and mounting untrusted filesystems is a known way to attack a kernel; so they never
//! reach a mount, loop device or nbd of this machine.
//!
//! ```text
//! qcow2 ─► checksum ─► header and tables ─► guest under the pinned QEMU ─► archive ─► tree ─► os-release ─► packages
//! ```
//!
//! This crate knows only the trait `BaseProvider`: the base's identity, how to read it, and a check that it is the
//! release.
//! Reading a cloud image takes a virtual machine, which `harness` has and this crate does not; an OCI image is read by
//! [`oci_image`](super::oci_image).
//! The cache is looked up by the checksum before anything is fetched.
//! If the base itself has the settings of its package sources (all families but apt's), the archives' indexes, which
//! are part of an image's key, can only be fetched once the base has been read; its settings are kept with the image,
//! so that it is read only once. Once unpacked, the tree is trusted as much as that of an OCI image: its programs run
//! in namespaces of their own, with ids that no user of this machine has.
//! For this reason an address needs a checksum.
//! A boot loader's `update-grub` is moved out of the way while packages are installed, because there is no disk that it
//! could find.
//! Of several kernels the one from the record's package is used, not the vendor's own flavour.

use super::{archive, layers};
use crate::error::{BaseError, Context, Failure, ImageErrorKind};
use crate::progress::ImagePhase;
use crate::runner::Runner;
use crate::source::BaseSource;
use crate::tree;
use std::fmt;
use std::path::{Path, PathBuf};

/// Subdirectory of an image for the package source settings of its base.
pub(crate) const SETTINGS: &str = "settings";
/// Size limit of a settings file, in bytes; a distro's keyring is the largest.
const MAX_SETTING: u64 = 64 << 20;

/// Provider of a release's base that comes neither from the release's archive nor from a registry.
pub trait BaseProvider: fmt::Debug + Send + Sync {
    /// Returns the checksum that distinguishes the base from every other base.
    /// It is known before anything is fetched or read, because it is part of the cache's key.
    fn identity(&self) -> String;

    /// Returns the kind of base.
    fn source(&self) -> BaseSource;

    /// Fetches and reads the base; all temporary files are in `task.folder`, which is removed afterwards.
    ///
    /// # Errors
    /// Describes the step that failed.
    fn read(&self, task: &BaseTask<'_>) -> Result<ReadBase, BaseError>;

    /// Checks whether a tree is of the wanted release.
    ///
    /// # Errors
    /// Names the system that the tree is of instead.
    fn accept(&self, tree: &Path) -> Result<(), BaseError>;
}

/// Parameters for reading a base.
pub struct BaseTask<'a> {
    /// Directory for the reader's exclusive use.
    pub folder: &'a Path,
    /// Returns whether to continue: neither cancelled nor out of time.
    pub go_on: &'a dyn Fn() -> bool,
    /// Callback for progress messages.
    pub tell: &'a dyn Fn(&str),
}

/// A base that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadBase {
    /// Root filesystem; not trusted.
    pub content: BaseContent,
    /// SHA-256 of the source file.
    pub sha256: String,
}

/// A root filesystem in tar archives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseContent {
    /// All of it in one archive.
    Tree(PathBuf),
    /// Layers with whiteouts, the lowest first.
    Layers(Vec<PathBuf>),
}

/// Unpacks the caller's base, if it is of the release; returns the SHA-256 of its source.
pub(crate) fn read(
    runner: &Runner<'_>,
    base: &dyn BaseProvider,
    workshop: &Path,
    tree: &Path,
) -> Result<String, Failure> {
    let folder = workshop.join("base-files");
    std::fs::create_dir(&folder).context("creating", &folder)?;
    let task = BaseTask {
        folder: &folder,
        go_on: &|| runner.check().is_ok(),
        tell: &|doing| runner.report(ImagePhase::Read, Some(doing)),
    };
    let read = base.read(&task);
    // A reader that was stopped fails with a message of its own, but the real reason is the stop.
    runner.check()?;
    let bad = |error| Failure::from(ImageErrorKind::BadBase { kind: base.source(), error });
    let archive = read.map_err(bad)?;
    runner.report(ImagePhase::Read, Some("unpacking"));
    match &archive.content {
        BaseContent::Tree(tar) => archive::unpack(runner, tar, tree)?,
        BaseContent::Layers(tars) => layers::apply(runner, tars, tree)?,
    }
    std::fs::remove_dir_all(&folder).context("removing", &folder)?;
    base.accept(tree).map_err(bad)?;
    Ok(archive.sha256)
}

/// Keeps files of a base, and files of its directories, at the same paths below `folder`. Links are followed inside; a
/// path that is no readable file is skipped, as the later readers of the settings skip it.
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
    fn settings_are_copied_as_files_and_links_out_of_the_tree_are_skipped() {
        use std::os::unix::fs::symlink;
        let (tree, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let in_tree = |path: &str| tree.path().join(path);
        for folder in ["etc/yum.repos.d/folder", "etc/pki", "usr/lib", "real"] {
            std::fs::create_dir_all(in_tree(folder)).unwrap();
        }
        std::fs::write(in_tree("usr/lib/os-release"), "ID=fedora\n").unwrap();
        symlink("../usr/lib/os-release", in_tree("etc/os-release")).unwrap();
        std::fs::write(in_tree("etc/yum.repos.d/own.repo"), "[own]\n").unwrap();
        symlink("/etc/hostname", in_tree("etc/yum.repos.d/outside.repo")).unwrap();
        symlink("/real", in_tree("etc/pki/keys")).unwrap();
        std::fs::write(in_tree("real/KEY"), "the key").unwrap();
        keep(tree.path(), &["/etc/os-release", "/etc/yum.repos.d", "/etc/pki/keys", "/etc/none"], target.path())
            .unwrap();
        let text = |path: &str| std::fs::read_to_string(target.path().join(path)).unwrap();
        assert_eq!(text("etc/os-release"), "ID=fedora\n");
        assert_eq!(text("etc/yum.repos.d/own.repo"), "[own]\n");
        assert_eq!(text("etc/pki/keys/KEY"), "the key");
        assert_eq!(std::fs::read_dir(target.path().join("etc/yum.repos.d")).unwrap().count(), 1);
        assert!(!target.path().join("etc/none").exists());
    }
}
