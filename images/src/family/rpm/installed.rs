//! What is installed in a tree by its own rpm: exact versions, the repositories that offer them, and who owns a path.

use super::indexes;
use crate::error::{Cause, Failure};
use crate::manifest::{Owner, Package, PackageOrigin};
use crate::tree;
use model::package::PackageName;
use operator::packages::{QueryError, rpm};
use root::Root;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// All installed packages, sorted by name and architecture; there may be several versions of a kernel.
pub(super) fn packages(tree: &Path) -> Result<Vec<Package>, Failure> {
    let found = rpm::installed(&tree::open(tree)?).map_err(unread)?;
    let package = |p: rpm::Package| Package { name: p.name, version: p.version, arch: p.arch, source: p.source };
    let mut all: Vec<Package> = found.into_iter().map(package).collect();
    all.sort_by(|a, b| (&a.name, &a.arch, a.version.as_str()).cmp(&(&b.name, &b.arch, b.version.as_str())));
    Ok(all)
}

/// That rpm's database cannot be read.
pub(super) fn unread(error: QueryError) -> Failure {
    match error {
        QueryError::Read(error) => tree::failed(error),
        QueryError::NoRpm(_) => Cause::ToolMissing { program: "rpm".to_owned() }.into(),
        error => Cause::Io { context: "in the release's tree".to_owned(), source: io::Error::other(error) }.into(),
    }
}

/// The repositories that offer the installed versions of these packages, by dnf's cache.
pub(super) fn origins(
    cache: &Path,
    names: &[PackageName],
    packages: &[Package],
) -> Result<Vec<PackageOrigin>, Failure> {
    let wanted: BTreeSet<&str> = names.iter().map(PackageName::as_str).collect();
    let offered = indexes::offered(cache, &wanted)?;
    let origin = |name: &PackageName| {
        let installed = packages.iter().find(|p| *name == *p.name)?;
        // A package may say that its epoch is 0.
        let version = installed.version.as_str();
        let version = version.strip_prefix("0:").unwrap_or(version);
        let is_it = |[other, offered, _]: &&[String; 3]| name.as_str() == other && offered == version;
        let mut suites: Vec<String> = offered.iter().filter(is_it).map(|[_, _, id]| id.clone()).collect();
        suites.sort();
        suites.dedup();
        Some(PackageOrigin { package: name.clone(), version: installed.version.clone(), suites })
    };
    Ok(names.iter().filter_map(origin).collect())
}

/// The owners of paths; nobody's, where the database cannot be read.
pub(super) fn owners(tree: &Path, paths: &[String]) -> Vec<Owner> {
    let root = Root::new(tree).ok();
    let inside: Vec<&Path> = paths.iter().map(Path::new).collect();
    let found = root.as_ref().and_then(|root| rpm::owners(root, &inside).ok());
    let packages = found.unwrap_or_else(|| vec![None; paths.len()]);
    crate::family::owned(root.as_ref(), paths, packages)
}
