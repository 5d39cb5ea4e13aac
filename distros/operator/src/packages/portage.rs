//! Portage's database: `/var/db/pkg/CATEGORY/NAME-VERSION/CONTENTS`.
//!
//! The directories in the tests are made by hand: no emerge was run.

use super::{MAX_BYTES, PackageEntry};
use model::package::{NativeName, PackageArch, PackageVersion};
use root::{Root, RootError};
use std::path::{Path, PathBuf};

pub(super) const FILES: &[&str] = &[FOLDER];
const FOLDER: &str = "/var/db/pkg";

pub(super) fn entries(root: &Root) -> Result<Vec<PackageEntry>, RootError> {
    Ok(packages(root)?.into_iter().map(|(_, entry)| entry).collect())
}

/// Returns the owners of files that may be listed under several names: the first package that lists one of them.
pub(super) fn owners_of_names(root: &Root, files: &[Vec<String>]) -> Result<Vec<Option<NativeName>>, RootError> {
    let mut owners = vec![None; files.len()];
    for (folder, entry) in packages(root)? {
        if owners.iter().all(Option::is_some) {
            break;
        }
        let text = match root.read_text(&folder.join("CONTENTS"), MAX_BYTES) {
            Err(error) if error.is_missing() => continue,
            text => text?,
        };
        for path in text.lines().filter_map(listed) {
            for (owner, _) in owners.iter_mut().zip(files).filter(|(_, names)| names.iter().any(|name| name == path)) {
                owner.get_or_insert_with(|| entry.name.clone());
            }
        }
    }
    Ok(owners)
}

/// Returns the path in a line: `obj PATH MD5 MTIME`, `sym PATH -> TARGET MTIME`; `None` for a directory, `dir PATH`.
fn listed(line: &str) -> Option<&str> {
    let (kind, rest) = line.split_once(' ')?;
    match kind {
        "obj" => rest.rsplitn(3, ' ').nth(2),
        "sym" => rest.split(" -> ").next(),
        _ => None,
    }
}

fn packages(root: &Root) -> Result<Vec<(PathBuf, PackageEntry)>, RootError> {
    let mut found = Vec::new();
    for category in root.list(Path::new(FOLDER))? {
        let folder = Path::new(FOLDER).join(&category);
        let names = match root.list(&folder) {
            // A file next to the categories.
            Err(error) if error.is_missing() => continue,
            names => names?,
        };
        for name in names {
            // Portage makes no directories with other names.
            if let Some((package, version)) = split(&name)
                && let Ok(version) = version.parse::<PackageVersion>()
                && let Ok(unqualified) = package.parse::<NativeName>()
                && let Ok(whole) = format!("{category}/{package}").parse::<NativeName>()
            {
                let path = folder.join(&name);
                let (arch, provides) = (PackageArch::default(), vec![unqualified]);
                let entry = PackageEntry { name: whole, version, arch, provides };
                found.push((path, entry));
            }
        }
    }
    Ok(found)
}

/// Splits `qemu-9.1.2-r1` into `qemu` and `9.1.2-r1`: the version is the last part that is no revision, and begins with
/// a digit.
fn split(name: &str) -> Option<(&str, &str)> {
    let revision = |tail: &str| tail.strip_prefix('r').is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()));
    let mut end = name.len();
    let mut pieces = name.rsplit('-').peekable();
    if pieces.peek().is_some_and(|tail| revision(tail)) {
        end -= pieces.next()?.len() + 1;
    }
    let version = pieces.next()?;
    let at = end.checked_sub(version.len() + 1)?;
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| (&name[..at], &name[at + 1..]))
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_and_versions_are_split() {
        assert_eq!(super::split("qemu-9.1.2-r1"), Some(("qemu", "9.1.2-r1")));
        assert_eq!(super::split("gtk+-3.24"), Some(("gtk+", "3.24")));
        assert_eq!(super::split("linux-firmware-20240115"), Some(("linux-firmware", "20240115")));
        assert_eq!(super::split("MERGING"), None);
        assert_eq!(super::split("-r1"), None);
    }
}
