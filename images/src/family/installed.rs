//! Packages installed in a tree, in a form common to all families; only the database differs.

use crate::error::{Failure, ImageErrorKind};
use crate::manifest::PathOwner;
use crate::tree;
use model::package::{NativeName, Package};
use operator::packages::QueryError;
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

/// Returns the owners of paths according to a database, and the resolved paths in the tree.
pub(super) fn owners(
    tree: &Path,
    paths: &[InsidePath],
    query: impl FnOnce(&Root, &[&Path]) -> Result<Vec<Option<NativeName>>, QueryError>,
) -> Result<Vec<PathOwner>, Failure> {
    let root = tree::open(tree)?;
    let inside: Vec<&Path> = paths.iter().map(InsidePath::as_path).collect();
    let packages = query(&root, &inside).map_err(query_failure)?;
    let resolved = |path: &Path| {
        // Only root reads a tree here, so a path that cannot be accessed does not exist.
        root.look(path).ok().flatten()?;
        InsidePath::try_from(root.resolve(path).ok()?.as_path()).ok()
    };
    let owner = |(path, package): (&InsidePath, Option<NativeName>)| PathOwner {
        path: path.clone(),
        resolved: resolved(path.as_path()),
        package,
    };
    Ok(paths.iter().zip(packages).map(owner).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use operator::packages::{apk, dpkg};

    #[test]
    fn owners_in_an_unreadable_database_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let info = dir.path().join("var/lib/dpkg/info");
        std::fs::create_dir_all(&info).unwrap();
        let paths = ["/usr/bin/x".parse().unwrap()];
        assert_eq!(owners(dir.path(), &paths, dpkg::owners).unwrap()[0].package, None);
        // Larger than any list that is read.
        std::fs::File::create(info.join("huge.list")).unwrap().set_len(65 << 20).unwrap();
        let error = owners(dir.path(), &paths, dpkg::owners).unwrap_err().cause.to_string();
        assert!(error.contains("huge.list"), "{error}");
        assert!(owners(dir.path(), &paths, apk::owners).is_err(), "there is no database");
    }
}
