//! Packages installed in a cell's image, from the manifest next to the journal.

use model::package::{Package, PackageName, PackageVersion, packages_in_manifest};
use std::path::Path;

/// Size of the largest manifest that is read, in bytes; those of whole distros have less than one MiB.
const MAX_BYTES: u64 = 64 << 20;

/// One package whose names are safe to pass to programs: they get into scripts and addresses of reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledPackage {
    /// Its name: `qemu-system-x86`.
    pub name: PackageName,
    /// Its version.
    pub version: PackageVersion,
    /// The source package's name: `qemu`.
    pub source: PackageName,
}

impl InstalledPackage {
    /// Returns a manifest's package, unless a name is not safe.
    fn of(package: Package) -> Option<InstalledPackage> {
        let [name, source] = [&package.name, &package.source].map(|name| name.as_str().parse::<PackageName>().ok());
        Some(InstalledPackage { name: name?, version: package.version, source: source? })
    }
}

/// Reads the packages of a manifest; none if it cannot be read. Entries without a valid package name are left out.
pub(crate) fn read(path: &Path) -> Vec<InstalledPackage> {
    let is_small = std::fs::metadata(path).is_ok_and(|found| found.len() <= MAX_BYTES);
    let text = is_small.then(|| std::fs::read(path).ok()).flatten().unwrap_or_default();
    packages_in_manifest(&text).unwrap_or_default().into_iter().filter_map(InstalledPackage::of).collect()
}

/// Returns the version of a source package: that of the binary package with its name, or else of any other one.
pub(crate) fn source_version<'p>(packages: &'p [InstalledPackage], source: &str) -> Option<&'p PackageVersion> {
    let of_source = packages.iter().filter(|package| package.source == *source);
    of_source.min_by_key(|package| package.name != *source).map(|package| &package.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_only_from_a_valid_manifest() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("debian-13.json");
        assert_eq!(read(&file), []);
        let text = r#"{"format": 1, "packages": [
            {"name": "qemu-system-x86", "version": "1:10.0.2+ds-2", "arch": "amd64", "source": "qemu"},
            {"name": "qemu", "version": "1:10.0.2", "arch": "amd64", "source": "qemu"},
            {"name": "-o\u001b[m", "version": "1", "arch": "amd64", "source": "x"}]}"#;
        std::fs::write(&file, text).unwrap();
        let packages = read(&file);
        assert_eq!(packages.len(), 2);
        assert_eq!(source_version(&packages, "qemu").unwrap(), "1:10.0.2");
        assert_eq!(source_version(&packages[..1], "qemu").unwrap(), "1:10.0.2+ds-2");
        assert_eq!(source_version(&packages, "virtiofsd"), None);
        std::fs::write(&file, "{}").unwrap();
        assert_eq!(read(&file), []);
    }
}
