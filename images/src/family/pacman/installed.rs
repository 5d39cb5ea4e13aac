//! What is installed in a tree by pacman: exact versions, and the repositories that offer them.

use super::database;
use crate::error::Failure;
use crate::family::installed;
use crate::manifest::{Package, PackageOrigin};
use model::package::PackageName;
use std::path::Path;

/// The repositories that offer the installed versions of these packages, by their databases.
pub(super) fn origins(sync: &Path, names: &[PackageName], packages: &[Package]) -> Result<Vec<PackageOrigin>, Failure> {
    let offered = database::offered(sync)?;
    Ok(installed::origins(names, packages, |package| {
        let is_it = |one: &&database::Offered| package.name == one.name && package.version == *one.version;
        offered.iter().filter(is_it).map(|one| one.repository.clone()).collect()
    }))
}
