//! Packages that repositories offer.

use crate::manifest::PackageOrigin;
use model::package::{PackageName, PackageVersion};
use operator::packages::Package;

/// A package that a repository, or a suite, offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offered {
    pub(super) repository: String,
    /// As its index has it: what is installed besides what somebody names may be called anything.
    pub(super) name: String,
    pub(super) version: PackageVersion,
}

/// One whose file is fetched by us and not by its package manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OfferedFile {
    pub(super) offered: Offered,
    /// The file's name, which is the end of an address, too.
    pub(super) name: String,
    /// Where it is verified here; apk verifies by hashes of its own.
    pub(super) sha256: Option<String>,
}

/// Where the installed versions of the named packages are offered, each place once and in its order.
pub(super) fn origins<'o>(
    names: &[PackageName],
    packages: &[Package],
    offered: impl IntoIterator<Item = &'o Offered>,
) -> Vec<PackageOrigin> {
    let offered: Vec<&Offered> = offered.into_iter().collect();
    let origin = |name: &PackageName| {
        let installed = packages.iter().find(|p| *name == *p.name)?;
        let mut suites: Vec<String> = Vec::new();
        for one in &offered {
            let is_it = one.name == installed.name && is_same(&one.version, &installed.version);
            if is_it && !suites.contains(&one.repository) {
                suites.push(one.repository.clone());
            }
        }
        Some(PackageOrigin { package: name.clone(), version: installed.version.clone(), suites })
    };
    names.iter().filter_map(origin).collect()
}

/// Whether two versions are one: an RPM may say that its epoch is 0, and an index leaves that out.
fn is_same(a: &PackageVersion, b: &PackageVersion) -> bool {
    let [a, b] = [a, b].map(PackageVersion::as_str).map(|version| version.strip_prefix("0:").unwrap_or(version));
    a == b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_version_comes_from_where_it_is_offered() {
        let one = |repository: &str, version: &str| Offered {
            repository: repository.to_owned(),
            name: "qemu".to_owned(),
            version: version.parse().unwrap(),
        };
        let installed = Package {
            name: "qemu".to_owned(),
            version: "0:2-1".parse().unwrap(),
            arch: "x86_64".to_owned(),
            source: "qemu".to_owned(),
        };
        let names = ["qemu", "none"].map(|name| name.parse::<PackageName>().unwrap());
        // Of two architectures, say.
        let offered = [one("core", "1-1"), one("updates", "2-1"), one("updates", "2-1"), one("testing", "2-1")];
        let found = origins(&names, &[installed], &offered);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].package, "qemu");
        assert_eq!(found[0].suites, ["updates", "testing"]);
    }
}
