//! Packages whose versions differ between two systems: the one comparison behind changes, differences, base runs and
//! merges.
//!
//! Two versions are the same or they are not. Only their package manager can say which one is later
//! ([`model::version_order`]), and nothing here asks for that.

use model::package::{PackageName, PackageVersion};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// A package's version then and now; `None` if it was not installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionChange<'m> {
    /// The package's name.
    pub name: &'m PackageName,
    /// The version then.
    pub then: Option<&'m PackageVersion>,
    /// The version now.
    pub now: Option<&'m PackageVersion>,
}

impl VersionChange<'_> {
    /// Formats the change: `1:10.0 → 1:10.1`.
    pub fn turn(&self) -> String {
        let [then, now] = [self.then, self.now].map(|version| version.map_or("not there", PackageVersion::as_str));
        format!("{then} → {now}")
    }
}

/// The order is that of the texts: it makes lists the same each time, and says nothing about which version is later.
impl Ord for VersionChange<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_text = |a: Option<&PackageVersion>, b: Option<&PackageVersion>| {
            a.map(PackageVersion::as_str).cmp(&b.map(PackageVersion::as_str))
        };
        self.name
            .cmp(other.name)
            .then_with(|| by_text(self.then, other.then))
            .then_with(|| by_text(self.now, other.now))
    }
}

impl PartialOrd for VersionChange<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Returns the packages whose versions differ, by name.
pub(crate) fn differing<'m>(
    then: &'m BTreeMap<PackageName, PackageVersion>,
    now: &'m BTreeMap<PackageName, PackageVersion>,
) -> Vec<VersionChange<'m>> {
    let names: BTreeSet<&PackageName> = then.keys().chain(now.keys()).collect();
    let one = |name: &'m PackageName| VersionChange { name, then: then.get(name), now: now.get(name) };
    names.into_iter().map(one).filter(|package| package.then != package.now).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_on_only_one_side_count_as_differing() {
        let versions = |all: &[(&str, &str)]| -> BTreeMap<PackageName, PackageVersion> {
            all.iter().map(|(name, version)| (name.parse().unwrap(), version.parse().unwrap())).collect()
        };
        let then = versions(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let now = versions(&[("b", "1"), ("c", "0:1"), ("d", "2")]);
        let found = differing(&then, &now);
        let shown: Vec<String> = found.iter().map(|package| format!("{}: {}", package.name, package.turn())).collect();
        // dpkg treats 1 and 0:1 as equal, but they are different packages.
        assert_eq!(shown, ["a: 1 → not there", "c: 1 → 0:1", "d: not there → 2"]);
        assert_eq!(differing(&then, &then), []);
    }
}
