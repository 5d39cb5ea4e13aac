//! What is to be installed in a tree, as every family takes it.

use crate::package::ExtraPackage;
use model::package::PackageName;
use std::path::Path;

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
