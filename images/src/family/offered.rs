//! Packages that repositories offer, by indexes that name the file of each.

use super::installed;
use crate::manifest::{Package, PackageOrigin};
use model::package::{PackageName, PackageVersion};

/// A package that a repository offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offered {
    pub(super) repository: String,
    /// As its index has it: what is installed besides what somebody names may be called anything.
    pub(super) name: String,
    pub(super) version: PackageVersion,
    /// The name of its file, which is the end of an address, too.
    pub(super) file: String,
    /// Of the file, where it is verified here; apk verifies by hashes of its own.
    pub(super) sha256: Option<String>,
}

/// The repositories that offer the installed versions of the named packages.
pub(super) fn origins(names: &[PackageName], packages: &[Package], offered: &[Offered]) -> Vec<PackageOrigin> {
    installed::origins(names, packages, |package| {
        let is_it = |one: &&Offered| package.name == one.name && package.version == one.version;
        offered.iter().filter(is_it).map(|one| one.repository.clone()).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_version_comes_from_where_it_is_offered() {
        let version = |text: &str| text.parse::<PackageVersion>().unwrap();
        let one = |repository: &str, text: &str| Offered {
            repository: repository.to_owned(),
            name: "qemu".to_owned(),
            version: version(text),
            file: format!("qemu-{text}"),
            sha256: None,
        };
        let installed = Package {
            name: "qemu".to_owned(),
            version: version("2-1"),
            arch: "x86_64".to_owned(),
            source: "qemu".to_owned(),
        };
        let names = ["qemu", "none"].map(|name| name.parse::<PackageName>().unwrap());
        let offered = [one("core", "1-1"), one("extra", "2-1"), one("testing", "2-1")];
        let found = origins(&names, &[installed], &offered);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].package.as_str(), &found[0].suites[..]),
            ("qemu", &["extra", "testing"].map(str::to_owned)[..])
        );
    }
}
