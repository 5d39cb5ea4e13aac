//! What is installed in a tree by pacman: exact versions, the repositories that offer them, and who owns a path.

use super::database;
use crate::error::{Cause, Failure};
use crate::manifest::{Owner, Package, PackageOrigin};
use crate::tree;
use model::package::PackageName;
use operator::packages::{QueryError, pacman};
use root::Root;
use std::io;
use std::path::Path;

/// All installed packages, sorted by name.
pub(super) fn packages(tree: &Path) -> Result<Vec<Package>, Failure> {
    let found = pacman::installed(&tree::open(tree)?).map_err(unread)?;
    let package = |p: pacman::Package| Package { name: p.name, version: p.version, arch: p.arch, source: p.source };
    let mut all: Vec<Package> = found.into_iter().map(package).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// That pacman's database cannot be read, or is damaged.
fn unread(error: QueryError) -> Failure {
    match error {
        QueryError::Read(error) => tree::failed(error),
        error => Cause::Io { context: "in the release's tree".to_owned(), source: io::Error::other(error) }.into(),
    }
}

/// The repositories that offer the installed versions of these packages, by their databases.
pub(super) fn origins(sync: &Path, names: &[PackageName], packages: &[Package]) -> Result<Vec<PackageOrigin>, Failure> {
    let offered = database::offered(sync)?;
    let origin = |name: &PackageName| {
        let installed = packages.iter().find(|p| *name == *p.name)?;
        let is_it = |one: &&database::Offered| *name == *one.name && installed.version == *one.version;
        let suites = offered.iter().filter(is_it).map(|one| one.repository.clone()).collect();
        Some(PackageOrigin { package: name.clone(), version: installed.version.clone(), suites })
    };
    Ok(names.iter().filter_map(origin).collect())
}

/// The owners of paths; nobody's, where the database cannot be read.
pub(super) fn owners(tree: &Path, paths: &[String]) -> Vec<Owner> {
    let root = Root::new(tree).ok();
    let inside: Vec<&Path> = paths.iter().map(Path::new).collect();
    let found = root.as_ref().and_then(|root| pacman::owners(root, &inside).ok());
    let packages = found.unwrap_or_else(|| vec![None; paths.len()]);
    crate::family::owned(root.as_ref(), paths, packages)
}
