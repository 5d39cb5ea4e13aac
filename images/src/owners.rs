//! Records the owners of the paths of a finished tree that the record names.

use crate::boot::kernel::{self, KernelFiles, MAX_IMAGE};
use crate::error::Failure;
use crate::family::PackageFamily;
use crate::manifest::PathOwner;
use crate::tree;
use model::release::Release;
use root::InsidePath;
use std::path::Path;

/// Returns the owners of the paths that the record names.
pub(crate) fn owners(family: &dyn PackageFamily, tree: &Path, release: &Release) -> Result<Vec<PathOwner>, Failure> {
    let mut paths: Vec<InsidePath> = release.vmms.iter().map(|v| v.path.clone()).collect();
    paths.extend(release.filesystems.iter().filter_map(|f| f.path.clone()));
    let kernel = kernel::find(tree, release).ok();
    paths.extend(kernel.iter().filter_map(|k| InsidePath::try_from(k.vmlinuz.as_path()).ok()));
    paths.sort();
    paths.dedup();
    let mut owners = family.owners(tree, &paths)?;
    if let Some(kernel) = kernel {
        own_kernel(family, tree, &kernel, &mut owners)?;
    }
    Ok(owners)
}

/// Finds the owner of a kernel's copy: since Debian 14 the kernel is packaged as `/usr/lib/modules/<release>/vmlinuz`,
/// and its script links it into `/boot`.
fn own_kernel(
    family: &dyn PackageFamily,
    tree: &Path,
    kernel: &KernelFiles,
    owners: &mut [PathOwner],
) -> Result<(), Failure> {
    let (image, path) = (&kernel.vmlinuz, kernel.modules_dir.join("vmlinuz"));
    let Some(owner) = owners.iter_mut().find(|o| o.path.as_path() == image && o.package.is_none()) else {
        return Ok(());
    };
    let Ok(path) = InsidePath::try_from(path.as_path()) else { return Ok(()) };
    let root = tree::open(tree)?;
    let bytes = |path: &Path| root.read(path, MAX_IMAGE).ok();
    if bytes(image).is_some_and(|image| Some(image) == bytes(path.as_path())) {
        owner.package = family.owners(tree, &[path])?.pop().and_then(|o| o.package);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family;

    #[test]
    fn a_kernel_hard_linked_into_boot_belongs_to_its_package() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path();
        let modules = tree.join("usr/lib/modules/7.2.13+deb14-amd64");
        for folder in [modules.clone(), tree.join("boot"), tree.join("var/lib/dpkg/info")] {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(modules.join("vmlinuz"), "kernel").unwrap();
        std::fs::hard_link(modules.join("vmlinuz"), tree.join("boot/vmlinuz-7.2.13+deb14-amd64")).unwrap();
        let list = "/usr/lib/modules/7.2.13+deb14-amd64/vmlinuz\n";
        std::fs::write(tree.join("var/lib/dpkg/info/linux-binary.list"), list).unwrap();
        let release = crate::fixtures::release("unstable", "sid");
        let owners = owners(family::of(&release).unwrap(), tree, &release).unwrap();
        let kernel = owners.iter().find(|o| o.path.as_path().starts_with("/boot/")).unwrap();
        assert_eq!(kernel.package, Some("linux-binary".parse().unwrap()));
    }
}
