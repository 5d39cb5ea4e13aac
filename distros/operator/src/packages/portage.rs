//! Portage's database: `/var/db/pkg/CATEGORY/NAME-VERSION/CONTENTS`.
//!
//! The directories in the tests are made by hand: no emerge was run.

use super::{MAX_BYTES, PackageArch, PackageEntry};
use model::package::PackageVersion;
use root::{Root, RootError};
use std::path::{Path, PathBuf};

pub(super) const FILES: &[&str] = &[FOLDER];
const FOLDER: &str = "/var/db/pkg";

pub(super) fn entries(root: &Root) -> Result<Vec<PackageEntry>, RootError> {
    Ok(packages(root)?.into_iter().map(|(_, entry)| entry).collect())
}

pub(super) fn owner(root: &Root, paths: &[String]) -> Result<Option<String>, RootError> {
    for (folder, entry) in packages(root)? {
        let text = match root.read_text(&folder.join("CONTENTS"), MAX_BYTES) {
            Err(error) if error.is_missing() => continue,
            text => text?,
        };
        // `obj PATH MD5 MTIME`, `sym PATH -> TARGET MTIME`, `dir PATH`.
        let is_one_of = |line: &str| {
            let (kind, rest) = line.split_once(' ')?;
            let path = match kind {
                "obj" => rest.rsplitn(3, ' ').nth(2)?,
                "sym" => rest.split(" -> ").next()?,
                _ => return None,
            };
            Some(paths.iter().any(|p| p == path))
        };
        if text.lines().any(|l| is_one_of(l) == Some(true)) {
            return Ok(Some(entry.name));
        }
    }
    Ok(None)
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
            {
                let path = folder.join(&name);
                let (name, arch) = (format!("{category}/{package}"), PackageArch::default());
                let entry = PackageEntry { name, version, arch, provides: vec![package.to_owned()] };
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
