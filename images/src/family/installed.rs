//! Packages installed in a tree, in a form common to all families; only the database differs.

use crate::error::{Failure, ImageErrorKind};
use crate::manifest::PathOwner;
use crate::tree;
use operator::packages::{Package, QueryError};
use root::{InsidePath, Root};
use std::io;
use std::path::Path;

/// Returns all installed packages, sorted by name, architecture and version: there may be several versions of a kernel.
pub(super) fn listed(found: Result<Vec<Package>, QueryError>) -> Result<Vec<Package>, Failure> {
    let mut all = found.map_err(query_failure)?;
    all.sort_by(|a, b| (&a.name, &a.arch, a.version.as_str()).cmp(&(&b.name, &b.arch, b.version.as_str())));
    Ok(all)
}

/// Makes a failure from a tree's unreadable or damaged database.
pub(super) fn query_failure(error: QueryError) -> Failure {
    match error {
        QueryError::Read(error) => tree::failed(error),
        QueryError::NoRpm(_) => ImageErrorKind::ToolMissing { program: "rpm".to_owned() }.into(),
        error => {
            ImageErrorKind::Io { context: "in the release's tree".to_owned(), source: io::Error::other(error) }.into()
        }
    }
}

/// Returns the owners of paths according to a database, and the resolved paths in the tree; no owner if the database
/// cannot be read.
pub(super) fn owners<E>(
    tree: &Path,
    paths: &[InsidePath],
    query: impl FnOnce(&Root, &[&Path]) -> Result<Vec<Option<String>>, E>,
) -> Vec<PathOwner> {
    let root = Root::new(tree).ok();
    let inside: Vec<&Path> = paths.iter().map(InsidePath::as_path).collect();
    let found = root.as_ref().and_then(|root| query(root, &inside).ok());
    let packages = found.unwrap_or_else(|| vec![None; paths.len()]);
    let resolved = |path: &Path| {
        // Only root reads a tree here, so a path that cannot be accessed does not exist.
        let root = root.as_ref().filter(|root| root.look(path).is_ok_and(|found| found.is_some()))?;
        InsidePath::try_from(root.resolve(path).ok()?.as_path()).ok()
    };
    let owner = |(path, package): (&InsidePath, Option<String>)| PathOwner {
        path: path.clone(),
        resolved: resolved(path.as_path()),
        package,
    };
    paths.iter().zip(packages).map(owner).collect()
}
