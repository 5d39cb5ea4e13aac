//! Debian's packages as they lie in a tree: what each needs and provides, and its files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// An installed package.
pub(crate) struct Package {
    /// `1:10.0.13+ds-0+deb13u1`.
    pub(crate) version: String,
    /// What it stands for besides its name.
    pub(crate) provides: Vec<String>,
    /// What dpkg's database says of it.
    pub(crate) stanza: String,
    /// Its folders, files and links.
    pub(crate) paths: Vec<String>,
    /// What it needs: of each group one.
    needs: Vec<Vec<String>>,
}

/// The installed packages of a tree by their names.
pub(crate) struct Packages(BTreeMap<String, Package>);

impl Packages {
    /// Those of a tree, by dpkg's database.
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

    /// All of them, by their names.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Package)> {
        self.0.iter().map(|(name, package)| (name.as_str(), package))
    }

    /// Whether one is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// One that must be there.
    pub(crate) fn get(&self, name: &str) -> &Package {
        self.0.get(name).unwrap_or_else(|| panic!("{name} is not installed in the tree"))
    }

    /// What a package needs, of alternatives the one that is installed, except for some.
    pub(crate) fn needs(&self, name: &str, without: &[&str]) -> Vec<&str> {
        let provider = |wanted: &String| self.0.iter().find(|(_, package)| package.provides.contains(wanted));
        let found = |wanted: &String| self.0.get_key_value(wanted).or_else(|| provider(wanted)).map(|(name, _)| name);
        let groups = self.get(name).needs.iter();
        let installed = groups.map(|group| {
            let one = group.iter().find_map(found);
            one.unwrap_or_else(|| panic!("{name} needs {group:?}, and none of these is installed")).as_str()
        });
        installed.filter(|needed| !without.contains(needed)).collect()
    }

    /// These packages and all that they need, except for some.
    pub(crate) fn closure<'a>(&'a self, roots: &[&'a str], without: &[&str]) -> BTreeSet<&'a str> {
        let mut all = BTreeSet::new();
        let mut left = roots.to_vec();
        while let Some(name) = left.pop() {
            if all.insert(name) {
                left.extend(self.needs(name, without));
            }
        }
        all
    }
}

fn field<'t>(stanza: &'t str, key: &str) -> Option<&'t str> {
    stanza.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
}

/// The names in `a (>= 1) | b:any`.
fn names(list: &str, between: char) -> Vec<String> {
    let name = |item: &str| item.trim().split([' ', '(', ':']).next().unwrap_or_default().to_owned();
    list.split(between).map(name).filter(|name| !name.is_empty()).collect()
}
