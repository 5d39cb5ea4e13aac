//! Systems that boot from an OSTree repository.

use root::{Root, RootError};
use std::path::Path;

/// Checks whether a system is a deployment of OSTree, so that the next one replaces what a package manager installs.
///
/// `/ostree` alone says nothing, because building and mirroring such systems makes it, too. The running system says by
/// a file what it booted from. In another root that file may be missing: there, deployments are below `/ostree/deploy`,
/// or the root is a deployment, in which `/ostree` is a link to `sysroot/ostree`.
///
/// # Errors
///
/// Fails if a directory in a path cannot be searched.
pub(super) fn is_used(root: &Root) -> Result<bool, RootError> {
    if root.look(Path::new("/run/ostree-booted"))?.is_some() {
        return Ok(true);
    }
    if root.is_running_system() {
        return Ok(false);
    }
    let is_link = match root.symlink_metadata(Path::new("/ostree")) {
        Ok(meta) => meta.is_symlink(),
        Err(error) if error.is_missing() => false,
        Err(error) => return Err(error),
    };
    Ok(is_link || root.look(Path::new("/ostree/deploy"))?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_repositories_makes_no_deployment() {
        let with = |make: &dyn Fn(&Path)| {
            let dir = tempfile::tempdir().unwrap();
            make(dir.path());
            is_used(&Root::new(dir.path()).unwrap()).unwrap()
        };
        assert!(!with(&|_| {}));
        // A mirror of others' systems.
        assert!(!with(&|root| std::fs::create_dir_all(root.join("ostree/repo")).unwrap()));
        assert!(with(&|root| std::fs::create_dir_all(root.join("ostree/deploy/fedora")).unwrap()));
        assert!(with(&|root| std::os::unix::fs::symlink("sysroot/ostree", root.join("ostree")).unwrap()));
        assert!(with(&|root| {
            std::fs::create_dir(root.join("run")).unwrap();
            std::fs::write(root.join("run/ostree-booted"), "").unwrap();
        }));
    }
}
