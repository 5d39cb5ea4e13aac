//! Packages that repositories offer.

use crate::manifest::PackageOrigin;
use model::package::{Package, PackageName, PackageVersion};
use model::version_order::is_same;
use std::collections::{BTreeMap, BTreeSet};

/// A package that a repository, or a suite, offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) repository: String,
    /// Name as in the index: a package that is installed as a dependency may have any name.
    pub(crate) name: String,
    pub(crate) version: PackageVersion,
}

/// A package whose file the harness fetches, not its package manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OfferedFile {
    pub(super) offered: Offered,
    /// Name of the file, which is also the end of its address.
    pub(super) name: String,
    /// Expected hash, if the file is verified here; apk verifies by hashes of its own.
    pub(super) sha256: Option<String>,
}

/// Returns the named packages among the offered files.
pub(super) fn named(files: Vec<OfferedFile>, names: &BTreeSet<&str>) -> Vec<Offered> {
    let all = files.into_iter().map(|file| file.offered);
    all.filter(|offered| names.contains(offered.name.as_str())).collect()
}

/// Returns the suites that offer the installed versions of packages, each once and in order.
///
/// A package with a name that no repository can use is left out.
pub(super) fn origins<'o>(packages: &[Package], offered: impl IntoIterator<Item = &'o Offered>) -> Vec<PackageOrigin> {
    let mut by_name: BTreeMap<&str, Vec<&Offered>> = BTreeMap::new();
    for one in offered {
        by_name.entry(&one.name).or_default().push(one);
    }
    let origin = |installed: &Package| {
        let package = installed.name.as_str().parse::<PackageName>().ok()?;
        let mut suites: Vec<String> = Vec::new();
        for one in by_name.get(installed.name.as_str()).into_iter().flatten() {
            if is_same(&one.version, &installed.version) && !suites.contains(&one.repository) {
                suites.push(one.repository.clone());
            }
        }
        Some(PackageOrigin { package, version: installed.version.clone(), suites })
    };
    packages.iter().filter_map(origin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_the_repositories_that_offer_the_installed_version() {
        let one = |repository: &str, version: &str| Offered {
            repository: repository.to_owned(),
            name: "qemu".to_owned(),
            version: version.parse().unwrap(),
        };
        let installed = |name: &str| Package {
            name: name.parse().unwrap(),
            version: "0:2-1".parse().unwrap(),
            arch: "x86_64".into(),
            source: "qemu".parse().unwrap(),
        };
        // For example for two architectures.
        let offered = [one("core", "1-1"), one("updates", "2-1"), one("updates", "2-1"), one("testing", "2-1")];
        let found = origins(&["qemu", "local", "no~package"].map(installed), &offered);
        assert_eq!(found.iter().map(|origin| origin.package.as_str()).collect::<Vec<_>>(), ["qemu", "local"]);
        assert!(found[1].suites.is_empty());
        assert_eq!(found[0].suites, ["updates", "testing"]);
    }
}
