//! The package lists of suites, as apt has fetched and verified them.

use crate::error::{Context, Failure};
use crate::family::folder;
use crate::family::offered::Offered;
use crate::tree;
use model::package::PackageVersion;
use operator::deb822;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// Size limit of a package list, in bytes: the largest has some 70 MB.
pub(super) const MAX_LIST: u64 = 512 << 20;

/// Calls `read` for each list in a directory; returns the results.
pub(super) fn each<T>(
    lists: &Path,
    mut read: impl FnMut(&str, BufReader<File>) -> io::Result<T>,
) -> Result<Vec<T>, Failure> {
    let root = tree::open(lists)?;
    let mut all = Vec::new();
    for name in folder::names(lists)?.iter().filter(|name| name.ends_with("_Packages")) {
        let (file, list) = (root.file(&Path::new("/").join(name)).map_err(tree::failed)?, lists.join(name));
        if file.metadata().context("reading", &list)?.len() > MAX_LIST {
            return Err(io::Error::other(format!("it has more than {MAX_LIST} bytes"))).context("reading", &list);
        }
        all.push(read(name, BufReader::new(file)).context("reading", &list)?);
    }
    Ok(all)
}

/// Returns the versions of the named packages that the suites offer.
pub(super) fn offered(lists: &Path, names: &BTreeSet<&str>) -> Result<Vec<Offered>, Failure> {
    let all = each(lists, |name, list| versions(list, suite(name), names))?;
    Ok(all.into_iter().flatten().collect())
}

/// Returns the suite of a list, such as `mirror.example_debian_dists_trixie_main_binary-amd64_Packages`.
fn suite(name: &str) -> &str {
    let after = name.rsplit_once("_dists_").map_or(name, |(_, after)| after);
    after.split('_').next().unwrap_or(after)
}

fn versions(list: impl BufRead, repository: &str, names: &BTreeSet<&str>) -> io::Result<Vec<Offered>> {
    let mut all = Vec::new();
    deb822::each_stanza(list, |stanza| {
        let name = stanza.value("Package").filter(|name| names.contains(name));
        let offered = name.and_then(|name| {
            let version = stanza.value("Version")?.parse::<PackageVersion>().ok()?;
            Some(Offered { repository: repository.to_owned(), name: name.to_owned(), version })
        });
        all.extend(offered);
    })?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_of_a_suite_are_read_from_its_lists() {
        let dir = tempfile::tempdir().unwrap();
        let list = "Package: qemu-system-x86\nSource: qemu\nVersion: 1:10.0.2\n\nPackage: other\nVersion: 1\n\n\
            Package: virtiofsd\nDescription: a daemon\n Version: 9\nVersion: 1.13.2-1\n";
        let name = "mirror.example_debian_dists_trixie-updates_main_binary-amd64_Packages";
        std::fs::write(dir.path().join(name), list).unwrap();
        std::fs::write(dir.path().join("mirror.example_debian_dists_trixie_InRelease"), "Package: qemu\n").unwrap();
        let found = offered(dir.path(), &BTreeSet::from(["qemu-system-x86", "virtiofsd", "absent"])).unwrap();
        let one = |name: &str, version: &str| Offered {
            repository: "trixie-updates".to_owned(),
            name: name.to_owned(),
            version: version.parse().unwrap(),
        };
        assert_eq!(found, [one("qemu-system-x86", "1:10.0.2"), one("virtiofsd", "1.13.2-1")]);
    }
}
