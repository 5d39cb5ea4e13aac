//! apk's list of installed packages: each field has one letter, and a blank line separates packages.
//!
//! This is the format of apk-tools 2. The lists in the tests are made by hand: no apk was run.

use super::{
    Damage, MAX_BYTES, PackageEntry, QueryError, ends_with_a_line, name_of, names_in, names_of_all, version_of,
};
use model::package::{NativeName, Package, PackageArch};
use root::{Root, RootError};
use std::mem::take;
use std::path::Path;

pub(super) const FILES: &[&str] = &[INSTALLED];
const INSTALLED: &str = "/lib/apk/db/installed";

/// Returns all installed packages.
///
/// # Errors
///
/// Fails if the list cannot be read or is damaged.
pub fn installed(root: &Root) -> Result<Vec<Package>, QueryError> {
    let text = root.read_text(Path::new(INSTALLED), MAX_BYTES)?;
    let entries = parse(&text).map_err(|damage| damage.of(root, Path::new(INSTALLED)))?;
    // The list is valid, so each of its paragraphs with a name is an entry.
    let paragraphs = text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty());
    let package = |(entry, paragraph): (PackageEntry, &str)| {
        let source = paragraph.lines().find_map(|line| line.strip_prefix("o:")?.parse().ok());
        let source = source.unwrap_or_else(|| entry.name.clone());
        Package { name: entry.name, version: entry.version, arch: entry.arch, source }
    };
    Ok(entries.into_iter().zip(paragraphs).map(package).collect())
}

/// Returns the packages that own files, by their paths or the targets of their links; `None` for a file that no package
/// owns.
///
/// # Errors
///
/// Fails if the list cannot be read.
pub fn owners(root: &Root, paths: &[&Path]) -> Result<Vec<Option<NativeName>>, QueryError> {
    Ok(owners_of_names(root, &names_of_all(root, paths))?)
}

pub(super) fn entries(root: &Root) -> Result<Vec<PackageEntry>, QueryError> {
    let text = root.read_text(Path::new(INSTALLED), MAX_BYTES)?;
    parse(&text).map_err(|damage| damage.of(root, Path::new(INSTALLED)))
}

/// Parses the packages of a list; the last one need not be followed by an empty line.
fn parse(text: &str) -> Result<Vec<PackageEntry>, Damage> {
    let mut entries = Vec::new();
    let (mut name, mut version, mut arch, mut provides) = (None, None, PackageArch::default(), Vec::new());
    let mut first_line = None;
    for (line, number) in text.lines().chain([""]).zip(1..) {
        if line.is_empty() {
            let (name, version) = (take(&mut name), take(&mut version));
            let (arch, provides) = (take(&mut arch), take(&mut provides));
            let Some(line) = first_line.take() else { continue };
            let (Some(name), Some(version)) = (name, version) else {
                return Err(Damage { line, what: "a package without a name (`P:`) or a version (`V:`)" });
            };
            entries.push(PackageEntry { name, version, arch, provides });
            continue;
        }
        first_line = first_line.or(Some(number));
        match line.split_once(':') {
            Some(("P", "")) => {}
            Some(("P", text)) => name = Some(name_of(text, number)?),
            Some(("V", text)) => version = version_of(text, number)?,
            Some(("A", text)) => arch = text.into(),
            Some(("p", list)) => provides = names_in(list.split_whitespace()),
            // Many more fields exist, and new ones may be added.
            Some((field, _)) if matches!(field.as_bytes(), [b'a'..=b'z' | b'A'..=b'Z']) => {}
            _ => return Err(Damage { line: number, what: "expected a field, one letter and a colon" }),
        }
    }
    ends_with_a_line(text)?;
    Ok(entries)
}

/// Returns the owners of files that may be listed under several names: the first package in the list.
pub(super) fn owners_of_names(root: &Root, files: &[Vec<String>]) -> Result<Vec<Option<NativeName>>, RootError> {
    let mut owners = vec![None; files.len()];
    let text = root.read_text(Path::new(INSTALLED), MAX_BYTES)?;
    let (mut package, mut folder) = (None::<NativeName>, "");
    for line in text.lines() {
        match line.split_once(':') {
            Some(("P", name)) => package = name.parse().ok(),
            Some(("F", name)) => folder = name,
            Some(("R", name)) => {
                let path = format!("/{folder}/{name}");
                for (owner, _) in owners.iter_mut().zip(files).filter(|(_, names)| names.contains(&path)) {
                    *owner = owner.take().or_else(|| package.clone());
                }
            }
            _ => {}
        }
    }
    Ok(owners)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "C:Q1x=\nP:a\nV:1-r0\nF:\nF:usr\nM:0:0:755\nR:x:y\nZ:Q1=\n\nP:b\nV:2\np:c=1 d\n\n";

    #[test]
    fn a_package_has_its_origin() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("lib/apk/db")).unwrap();
        let list = "C:Q1x=\nP:qemu-system-x86_64\nV:9.2.2-r1\nA:x86_64\no:qemu\nF:usr/bin\nR:qemu\n\nP:local\nV:2-r0\nA:noarch\n\n";
        std::fs::write(dir.path().join("lib/apk/db/installed"), list).unwrap();
        let root = Root::new(dir.path()).unwrap();
        let found = installed(&root).unwrap();
        let found: Vec<[&str; 4]> =
            found.iter().map(|p| [p.name.as_str(), p.version.as_str(), p.arch.as_str(), p.source.as_str()]).collect();
        assert_eq!(found, [["qemu-system-x86_64", "9.2.2-r1", "x86_64", "qemu"], ["local", "2-r0", "noarch", "local"]]);
        let owners = owners(&root, &[Path::new("/usr/bin/qemu"), Path::new("/usr/bin/none")]).unwrap();
        assert_eq!(owners, [Some("qemu-system-x86_64".parse().unwrap()), None]);
    }

    #[test]
    fn text_that_apk_would_not_write_is_damage() {
        assert_eq!(parse("").unwrap(), []);
        assert_eq!(parse(SOUND).unwrap().len(), 2);
        // Without the last empty line.
        assert_eq!(parse(&SOUND[..SOUND.len() - 1]).unwrap().len(), 2);
        let line = |text: &str| parse(text).unwrap_err().line;
        assert_eq!(line(&SOUND[..SOUND.len() - 3]), 12, "cut off within a line");
        assert_eq!(line("P:a\nV:1\n\nP:b\n"), 4, "cut off before its version");
        assert_eq!(line("P:a\nV:1\n\nV:2\n\n"), 4, "without a name");
        assert_eq!(line("P:a\nV:1\n\n<html>\n"), 4);
        assert_eq!(line("P:a\nV:1 \u{1b}[m\n\n"), 2, "no version");
        assert_eq!(line("P:a\nV:1\nhref: x\n\n"), 3);
    }
}
