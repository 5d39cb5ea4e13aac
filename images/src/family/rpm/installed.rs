//! What is installed in a tree by its own rpm: exact versions, and the repositories that offer them.

use super::indexes;
use crate::error::Failure;
use crate::family::installed;
use crate::manifest::{Package, PackageOrigin};
use model::package::PackageName;
use std::collections::BTreeSet;
use std::path::Path;

/// The repositories that offer the installed versions of these packages, by dnf's cache.
pub(super) fn origins(
    cache: &Path,
    names: &[PackageName],
    packages: &[Package],
) -> Result<Vec<PackageOrigin>, Failure> {
    let wanted: BTreeSet<&str> = names.iter().map(PackageName::as_str).collect();
    let offered = indexes::offered(cache, &wanted)?;
    Ok(installed::origins(names, packages, |package| {
        // A package may say that its epoch is 0.
        let version = package.version.as_str();
        let version = version.strip_prefix("0:").unwrap_or(version);
        let is_it = |[other, offered, _]: &&[String; 3]| package.name == *other && offered == version;
        let mut suites: Vec<String> = offered.iter().filter(is_it).map(|[_, _, id]| id.clone()).collect();
        suites.sort();
        suites.dedup();
        suites
    }))
}
