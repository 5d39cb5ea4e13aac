//! Packages to install in a tree, in a form common to all families.

use crate::error::{Context as _, Failure, ImageErrorKind};
use crate::package::ExtraPackage;
use crate::progress::ImagePhase;
use crate::runner::{Runner, tied};
use model::package::PackageName;
use std::path::Path;

/// Path at which a tree's package manager sees the packages that were fetched for it.
pub(super) const OVER: &str = "/var/cache/kata-qualify";

/// Packages to install, and their target.
pub(crate) struct Install<'a> {
    pub(crate) tree: &'a Path,
    /// Directory of the image while it is made: packages are fetched into it.
    pub(crate) folder: &'a Path,
    /// Directory of the image whose indexes list the available versions.
    pub(crate) indexes: &'a Path,
    pub(crate) packages: &'a [ExtraPackage],
    /// Additional packages for a bootstrapped base.
    pub(crate) required: &'a [PackageName],
}

impl Install<'_> {
    /// Returns the names of the packages to install, and the files of packages from the caller.
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

    /// Runs `work` with the indexes, which an image keeps below its directory under the name `subfolder`: an image that
    /// is derived from another one has a temporary copy of them.
    pub(super) fn with_indexes(
        &self,
        runner: &Runner<'_>,
        subfolder: &str,
        work: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.indexes == self.folder {
            return work();
        }
        let copy = self.folder.join(subfolder);
        let mut cp = tied("cp");
        cp.args(["-a", "--reflink=auto", "--"]).args([&self.indexes.join(subfolder), &copy]).env("LC_ALL", "C");
        runner.run(ImagePhase::Copy, &mut cp)?;
        work()?;
        std::fs::remove_dir_all(&copy).context("removing", &copy)
    }
}

/// Moves the indexes that an image's key was computed from into the image's directory.
pub(super) fn keep(scratch: Option<&Path>, subfolder: &str, folder: &Path) -> Result<(), Failure> {
    let Some(scratch) = scratch else { return Err(ImageErrorKind::NotCached.into()) };
    let to = folder.join(subfolder);
    std::fs::rename(scratch.join(subfolder), &to).context("moving the indexes to", &to)
}
