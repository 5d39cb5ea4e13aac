//! Packages whose versions differ between two systems: the one comparison behind changes, differences, base runs and
//! merges.
//!
//! Two versions are the same or they are not. Only their package manager can say which one is later
//! ([`model::version_order`]), and nothing here asks for that.

use model::package::PackageVersion;
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

/// A package's version then and now; `None` if it was not installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageChange<'m> {
    /// The package's name.
    pub name: &'m str,
    /// The version then.
    pub then: Option<&'m str>,
    /// The version now.
    pub now: Option<&'m str>,
}

impl PackageChange<'_> {
    /// Formats the change: `1:10.0 → 1:10.1`.
    pub fn turn(&self) -> String {
        format!("{} → {}", self.then.unwrap_or("not there"), self.now.unwrap_or("not there"))
    }
}

/// Returns the packages whose versions differ, by name.
pub(crate) fn differing<'m, N: Ord + Borrow<str>>(
    then: &'m BTreeMap<N, PackageVersion>,
    now: &'m BTreeMap<N, PackageVersion>,
) -> Vec<PackageChange<'m>> {
    let names: BTreeSet<&'m N> = then.keys().chain(now.keys()).collect();
    let one = |name: &'m N| PackageChange {
        name: name.borrow(),
        then: then.get::<N>(name).map(PackageVersion::as_str),
        now: now.get::<N>(name).map(PackageVersion::as_str),
    };
    names.into_iter().map(one).filter(|package| package.then != package.now).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_on_only_one_side_count_as_differing() {
        let versions = |all: &[(&str, &str)]| -> BTreeMap<String, PackageVersion> {
            all.iter().map(|(name, version)| ((*name).to_owned(), version.parse().unwrap())).collect()
        };
        let then = versions(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let now = versions(&[("b", "1"), ("c", "0:1"), ("d", "2")]);
        let found: Vec<_> = differing(&then, &now).into_iter().map(|p| (p.name, p.then, p.now)).collect();
        // dpkg treats these versions as equal, but they are different packages.
        let expected = [("a", Some("1"), None), ("c", Some("1"), Some("0:1")), ("d", None, Some("2"))];
        assert_eq!(found, expected);
        assert_eq!(differing(&then, &then), []);
    }
}
