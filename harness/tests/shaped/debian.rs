//! Debian's installed packages in a tree: dependencies, provided names and files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// An installed package.
pub(crate) struct Package {
    /// The version: `1:10.0.13+ds-0+deb13u1`.
    pub(crate) version: String,
    /// Names that the package provides in addition to its own.
    pub(crate) provides: Vec<String>,
    /// The package's stanza in dpkg's database.
    pub(crate) stanza: String,
    /// The package's directories, files and links.
    pub(crate) paths: Vec<String>,
    /// Dependencies: one package of each group is needed.
    needs: Vec<Vec<String>>,
}

/// The installed packages of a tree, by name.
pub(crate) struct Packages(BTreeMap<String, Package>);

impl Packages {
    /// Reads the installed packages of a tree from dpkg's database.
    pub(crate) fn of(tree: &Path) -> Packages {
        let database = tree.join("var/lib/dpkg");
        let status = std::fs::read_to_string(database.join("status")).unwrap();
        let package = |stanza: &str| {
            let name = field(stanza, "Package")?;
            field(stanza, "Status").filter(|status| status.ends_with(" installed"))?;
            let groups = ["Pre-Depends", "Depends"].map(|key| field(stanza, key).unwrap_or_default());
            let groups = groups.iter().flat_map(|list| list.split(',')).filter(|group| !group.trim().is_empty());
            let lists = [format!("info/{name}.list"), format!("info/{name}:amd64.list")];
            let list = lists.iter().find_map(|list| std::fs::read_to_string(database.join(list)).ok()).unwrap();
            let package = Package {
                version: field(stanza, "Version")?.to_owned(),
                stanza: stanza.to_owned(),
                provides: names(field(stanza, "Provides").unwrap_or_default(), ','),
                paths: list.lines().filter(|path| *path != "/.").map(str::to_owned).collect(),
                needs: groups.map(|group| names(group, '|')).collect(),
            };
            Some((name.to_owned(), package))
        };
        Packages(status.split("\n\n").filter_map(package).collect())
    }

    /// Iterates over all packages with their names.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Package)> {
        self.0.iter().map(|(name, package)| (name.as_str(), package))
    }

    /// Returns whether a package is installed.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns a package, which must be installed.
    pub(crate) fn get(&self, name: &str) -> &Package {
        self.0.get(name).unwrap_or_else(|| panic!("{name} is not installed in the tree"))
    }

    /// Returns a package's dependencies, the installed one of each group of alternatives, except for the packages in
    /// `without`.
    pub(crate) fn needs(&self, name: &str, without: &[&str]) -> Vec<&str> {
        let provider = |required: &String| self.0.iter().find(|(_, package)| package.provides.contains(required));
        let found =
            |required: &String| self.0.get_key_value(required).or_else(|| provider(required)).map(|(name, _)| name);
        let groups = self.get(name).needs.iter();
        let installed = groups.map(|group| {
            let one = group.iter().find_map(found);
            one.unwrap_or_else(|| panic!("{name} needs {group:?}, and none of these is installed")).as_str()
        });
        installed.filter(|needed| !without.contains(needed)).collect()
    }

    /// Returns these packages and all their dependencies, except for the packages in `without`.
    pub(crate) fn closure<'a>(&'a self, roots: &[&'a str], without: &[&str]) -> BTreeSet<&'a str> {
        let mut all = BTreeSet::new();
        let mut remaining = roots.to_vec();
        while let Some(name) = remaining.pop() {
            if all.insert(name) {
                remaining.extend(self.needs(name, without));
            }
        }
        all
    }
}

fn field<'t>(stanza: &'t str, key: &str) -> Option<&'t str> {
    stanza.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
}

/// Returns the names in `a (>= 1) | b:any`.
fn names(list: &str, separator: char) -> Vec<String> {
    let name = |item: &str| item.trim().split([' ', '(', ':']).next().unwrap_or_default().to_owned();
    list.split(separator).map(name).filter(|name| !name.is_empty()).collect()
}
