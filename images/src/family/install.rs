//! The packages to install in a tree, as every family takes them.

use crate::error::{Context as _, Failure, ImageErrorKind};
use crate::package::ExtraPackage;
use crate::progress::Phase;
use crate::runner::{Runner, tied};
use model::package::PackageName;
use std::path::Path;

/// Where a tree's package manager sees the packages that were fetched for it.
pub(super) const OVER: &str = "/var/cache/kata-qualify";

/// What to install, and where.
pub(crate) struct Install<'a> {
    pub(crate) tree: &'a Path,
    /// The image's folder while it is made: packages are fetched to it.
    pub(crate) folder: &'a Path,
    /// The folder of the image whose indexes say which versions there are.
    pub(crate) indexes: &'a Path,
    pub(crate) packages: &'a [ExtraPackage],
    /// What a bootstrapped base needs besides.
    pub(crate) required: &'a [PackageName],
}

impl Install<'_> {
    /// The names of packages to install, and the files of those that the caller brings along.
    pub(super) fn names_and_files(&self) -> (Vec<String>, Vec<&Path>) {
        let mut names: Vec<String> = self.required.iter().map(ToString::to_string).collect();
        let mut files = Vec::new();
        for package in self.packages {
            match package {
                ExtraPackage::Name(name) => names.push(name.to_string()),
                ExtraPackage::File(path) => files.push(path.as_path()),
            }
        }
        (names, files)
    }

    /// Has `work` find the indexes, which an image keeps below its folder under that name: one that is derived from another
    /// has a copy of them for as long as it is made.
    pub(super) fn with_indexes(
        &self,
        runner: &Runner<'_>,
        kept: &str,
        work: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.indexes == self.folder {
            return work();
        }
        let copy = self.folder.join(kept);
        let mut cp = tied("cp");
        cp.args(["-a", "--reflink=auto", "--"]).args([&self.indexes.join(kept), &copy]).env("LC_ALL", "C");
        runner.run(Phase::Copy, &mut cp)?;
        work()?;
        std::fs::remove_dir_all(&copy).context("removing", &copy)
    }
}

/// Has an image's folder keep the indexes that its key was made of; they lie elsewhere until there is one.
pub(super) fn keep(scratch: Option<&Path>, kept: &str, folder: &Path) -> Result<(), Failure> {
    let Some(scratch) = scratch else { return Err(ImageErrorKind::NotCached.into()) };
    let to = folder.join(kept);
    std::fs::rename(scratch.join(kept), &to).context("moving the indexes to", &to)
}
