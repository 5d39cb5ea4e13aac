//! pacman's local database: one directory per package, with `desc` and `files`.
//!
//! The format version is 9, according to `ALPM_DB_VERSION`, as written by pacman 6.0 of Debian 12 in the tests of the
//! installers.

use super::{
    Budget, Damage, MAX_BYTES, PackageEntry, QueryError, ends_with_a_line, name_of, names_in, names_of_all, version_of,
};
use model::package::{NativeName, Package};
use root::{Root, RootError};
use std::path::{Path, PathBuf};

pub(super) const FILES: &[&str] = &[LOCAL];
const LOCAL: &str = "/var/lib/pacman/local";

pub(super) fn entries(root: &Root) -> Result<Vec<PackageEntry>, QueryError> {
    let mut entries = Vec::new();
    for (folder, desc) in folders(root)? {
        entries.push(entry(&desc).map_err(|damage| damage.of(root, &folder.join("desc")))?);
    }
    Ok(entries)
}

/// Returns all installed packages.
///
/// # Errors
///
/// Fails if the database cannot be read or is damaged.
pub fn installed(root: &Root) -> Result<Vec<Package>, QueryError> {
    let mut all = Vec::new();
    for (folder, desc) in folders(root)? {
        let PackageEntry { name, version, arch, .. } =
            entry(&desc).map_err(|damage| damage.of(root, &folder.join("desc")))?;
        let base = field(&desc, "BASE").into_iter().next().and_then(|base| base.parse().ok());
        let source = base.unwrap_or_else(|| name.clone());
        all.push(Package { name, version, arch, source });
    }
    Ok(all)
}

/// Returns the packages that own files, by their paths or the targets of their links; `None` for a file that no package
/// owns.
///
/// # Errors
///
/// Fails if the database cannot be read.
pub fn owners(root: &Root, paths: &[&Path]) -> Result<Vec<Option<NativeName>>, QueryError> {
    Ok(owners_of_names(root, &names_of_all(root, paths))?)
}

fn entry(desc: &str) -> Result<PackageEntry, Damage> {
    let mut within = false;
    for (line, number) in desc.lines().zip(1..) {
        let is_head = line.len() > 2 && line.starts_with('%') && line.ends_with('%');
        if !within && !line.is_empty() && !is_head {
            return Err(Damage { line: number, what: "expected the head of a section, `%NAME%`" });
        }
        within = !line.is_empty();
    }
    ends_with_a_line(desc)?;
    let lines = desc.lines().count();
    if within {
        return Err(Damage { line: lines, what: "the file ends within a section" });
    }
    let incomplete = || Damage { line: lines.max(1), what: "the file ends without `%NAME%` or `%VERSION%`" };
    let required = |name: &str| field(desc, name).into_iter().next().ok_or_else(incomplete);
    let (name, text) = (required("NAME")?, required("VERSION")?);
    let at = |head: &str| desc.lines().position(|line| line == head).map_or(lines, |head| head + 2);
    Ok(PackageEntry {
        name: name_of(&name, at("%NAME%"))?,
        version: version_of(&text, at("%VERSION%"))?.ok_or_else(incomplete)?,
        arch: field(desc, "ARCH").first().map(|name| name.as_str().into()).unwrap_or_default(),
        provides: names_in(field(desc, "PROVIDES").iter().map(String::as_str)),
    })
}

/// Returns the owners of files that may be listed under several names: the first package that lists one of them.
pub(super) fn owners_of_names(root: &Root, files: &[Vec<String>]) -> Result<Vec<Option<NativeName>>, RootError> {
    let mut owners = vec![None; files.len()];
    for (folder, desc) in folders(root)? {
        if owners.iter().all(Option::is_some) {
            break;
        }
        let text = match root.read_text(&folder.join("files"), MAX_BYTES) {
            Err(error) if error.is_missing() => continue,
            text => text?,
        };
        let listed = field(&text, "FILES");
        for (owner, names) in owners.iter_mut().zip(files).filter(|(owner, _)| owner.is_none()) {
            // Paths in the list have no leading slash.
            if listed.iter().any(|file| names.iter().any(|name| name.trim_start_matches('/') == file)) {
                *owner = field(&desc, "NAME").into_iter().next().and_then(|name| name.parse().ok());
            }
        }
    }
    Ok(owners)
}

/// Returns each package's directory and description.
fn folders(root: &Root) -> Result<Vec<(PathBuf, String)>, RootError> {
    let mut folders = Vec::new();
    let mut budget = Budget(MAX_BYTES);
    for name in root.list(Path::new(LOCAL))? {
        let folder = Path::new(LOCAL).join(name);
        match budget.text(root, &folder.join("desc")) {
            Ok(desc) => folders.push((folder, desc)),
            // `ALPM_DB_VERSION` next to the packages' directories is a file.
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(folders)
}

/// Returns the lines below `%NAME%` in a package's description, up to an empty one; repository databases have the same
/// format.
pub fn field(text: &str, name: &str) -> Vec<String> {
    let head = format!("%{name}%");
    let after = text.lines().skip_while(|l| *l != head).skip(1);
    after.take_while(|l| !l.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_has_its_base_as_its_source() {
        let dir = tempfile::tempdir().unwrap();
        for (package, base) in [("qemu-system-x86", "%BASE%\nqemu\n\n"), ("local", "")] {
            let folder = dir.path().join("var/lib/pacman/local").join(package);
            std::fs::create_dir_all(&folder).unwrap();
            let desc = format!("%NAME%\n{package}\n\n%VERSION%\n1:10.1-1\n\n{base}%ARCH%\nx86_64\n\n");
            std::fs::write(folder.join("desc"), desc).unwrap();
            std::fs::write(folder.join("files"), format!("%FILES%\nusr/\nusr/{package}\n\n")).unwrap();
        }
        let root = Root::new(dir.path()).unwrap();
        let found = installed(&root).unwrap();
        let found: Vec<[&str; 4]> =
            found.iter().map(|p| [p.name.as_str(), p.version.as_str(), p.arch.as_str(), p.source.as_str()]).collect();
        let local = ["local", "1:10.1-1", "x86_64", "local"];
        assert_eq!(found, [local, ["qemu-system-x86", "1:10.1-1", "x86_64", "qemu"]]);
        let owners = owners(&root, &[Path::new("/usr/local"), Path::new("/usr/none")]).unwrap();
        assert_eq!(owners, [Some("local".parse().unwrap()), None]);
    }

    #[test]
    fn text_that_pacman_would_not_write_is_damage() {
        let sound = "%NAME%\na\n\n%VERSION%\n1-1\n\n%DESC%\n\n%PROVIDES%\nb=1\n%c%\n\n";
        assert_eq!(entry(sound).unwrap().name, "a");
        let line = |text: &str| entry(text).unwrap_err().line;
        assert_eq!(line(&sound[..sound.len() - 1]), 11, "cut off within a section");
        assert_eq!(line(&sound[..sound.len() - 3]), 11, "cut off within a line");
        assert_eq!(line("%NAME%\na\n\n"), 3, "cut off before its version");
        assert_eq!(line("%VERSION%\n1-1\n\n"), 3, "without a name");
        assert_eq!(line("%NAME%\na\n\n<html>\n"), 4);
        assert_eq!(line("%NAME%\na\n\n%VERSION%\n1 1\n\n"), 5, "no version");
        assert_eq!(line(""), 1);
    }
}
