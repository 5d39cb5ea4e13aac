//! Packages installed in a cell's image, from the manifest next to the journal.

use model::package::{PackageVersion, is_plain};
use serde::Deserialize;
use std::path::Path;

/// Size of the largest manifest that is read, in bytes; those of whole distros have less than one MiB.
const MAX_BYTES: u64 = 64 << 20;

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InstalledPackage {
    /// Its name: `qemu-system-x86`.
    pub name: String,
    /// Its version.
    pub version: PackageVersion,
    /// The source package's name: `qemu`.
    pub source: String,
}

/// The parts of a manifest that are read.
#[derive(Deserialize)]
struct Manifest {
    packages: Vec<InstalledPackage>,
}

/// Reads the packages of a manifest; none if it cannot be read. Entries without a valid package name are left out.
pub(crate) fn read(path: &Path) -> Vec<InstalledPackage> {
    let is_small = std::fs::metadata(path).is_ok_and(|found| found.len() <= MAX_BYTES);
    let text = is_small.then(|| std::fs::read(path).ok()).flatten().unwrap_or_default();
    let mut packages = serde_json::from_slice(&text).map_or_else(|_| Vec::new(), |read: Manifest| read.packages);
    packages.retain(|package| is_plain(&package.name) && is_plain(&package.source));
    packages
}

/// Returns the version of a source package: that of the binary package with its name, or else of any other one.
pub(crate) fn source_version<'p>(packages: &'p [InstalledPackage], source: &str) -> Option<&'p str> {
    let of_source = packages.iter().filter(|package| package.source == source);
    of_source.min_by_key(|package| package.name != source).map(|package| package.version.as_str())
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
        assert_eq!(source_version(&packages, "qemu"), Some("1:10.0.2"));
        assert_eq!(source_version(&packages[..1], "qemu"), Some("1:10.0.2+ds-2"));
        assert_eq!(source_version(&packages, "virtiofsd"), None);
        std::fs::write(&file, "{}").unwrap();
        assert_eq!(read(&file), []);
    }
}
