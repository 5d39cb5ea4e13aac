//! What is installed in a tree by apk: exact versions, and the repositories that offer them.

use super::index;
use crate::error::Failure;
use crate::family::installed;
use crate::manifest::{Package, PackageOrigin};
use model::package::PackageName;
use std::path::Path;

/// The repositories that offer the installed versions of these packages, by the indexes in an image's folder.
pub(super) fn origins(
    folder: &Path,
    names: &[PackageName],
    packages: &[Package],
) -> Result<Vec<PackageOrigin>, Failure> {
    let offered = index::offered(folder)?;
    Ok(installed::origins(names, packages, |package| {
        let is_it = |one: &&index::Offered| package.name == one.name && package.version == *one.version;
        offered.iter().filter(is_it).map(|one| one.repository.clone()).collect()
    }))
}
