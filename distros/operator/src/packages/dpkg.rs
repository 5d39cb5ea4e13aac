//! Reads dpkg's `status` and file lists directly: the configured packages, and the owner of a file.
//!
//! The formats are those of dpkg 1.20 of Debian 11 to that of sid, which `distros/cli/tests/debian.rs` reads; a test
//! compares the results with the output of this machine's dpkg-query.

use super::{
    Budget, Damage, MAX_BYTES, PackageEntry, QueryError, ends_with_a_line, name_of, names_in, names_of_all, version_of,
    without_version,
};
use crate::deb822::{self, NotAField, Stanza};
use model::package::{NativeName, Package, PackageArch, PackageVersion};
use root::{Root, RootError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Distroless images have the directory.
pub(super) const FILES: &[&str] = &[STATUS, "/var/lib/dpkg/status.d"];
const STATUS: &str = "/var/lib/dpkg/status";
/// While dpkg runs, its changes since it last wrote `status`: one file per package, in the order of their names.
const UPDATES: &str = "/var/lib/dpkg/updates";
const INFO: &str = "/var/lib/dpkg/info";

/// Maximum size of one package's file list, in bytes; a kernel's list has 1 MiB.
const MAX_LIST: u64 = 64 << 20;
/// Maximum size of all lists read for one query, in bytes.
const MAX_LISTS: u64 = 1 << 30;

/// A configured package, and its relations to others.
pub(crate) struct ConfiguredPackage {
    pub(crate) package: Package,
    /// Names that it provides, without versions.
    provides: Vec<NativeName>,
    /// Names of its dependencies and their alternatives, without versions.
    pub(crate) depends: Vec<NativeName>,
}

pub(super) fn entries(root: &Root) -> Result<Vec<PackageEntry>, QueryError> {
    let entry = |ConfiguredPackage { package: Package { name, version, arch, .. }, provides, .. }| PackageEntry {
        name,
        version,
        arch,
        provides,
    };
    Ok(configured(root)?.into_iter().map(entry).collect())
}

/// Returns all configured packages.
///
/// # Errors
///
/// Fails if the database exists and cannot be read, or is damaged.
pub fn installed(root: &Root) -> Result<Vec<Package>, QueryError> {
    Ok(configured(root)?.into_iter().map(|one| one.package).collect())
}

/// Returns the configured packages, in the database's order; removed packages whose configuration is still listed are
/// left out.
///
/// # Errors
///
/// Fails if the database exists and cannot be read, or is damaged.
pub(crate) fn configured(root: &Root) -> Result<Vec<ConfiguredPackage>, QueryError> {
    let mut budget = Budget(MAX_BYTES);
    let mut texts = Vec::new();
    match budget.text(root, Path::new(STATUS)) {
        // Distroless images have no `status` file: their files are read below.
        Err(error) if error.is_missing() => {}
        text => texts.push((PathBuf::from(STATUS), text?)),
    }
    // Distroless images have one file per package instead.
    for name in root.list(Path::new("/var/lib/dpkg/status.d"))?.iter().filter(|n| !n.ends_with(".md5sums")) {
        let path = Path::new("/var/lib/dpkg/status.d").join(name);
        let text = budget.text(root, &path)?;
        texts.push((path, text));
    }
    let mut entries = Vec::new();
    for (path, text) in &texts {
        let parsed = match path == Path::new(STATUS) {
            true => parse(text),
            // The package's own file, which dpkg did not write: it may end without a newline.
            false => entries_of(text),
        };
        entries.extend(parsed.map_err(|damage| damage.of(root, path))?);
    }
    // Hooks run by dpkg may query before it writes `status`.
    let is_update = |name: &&String| name.bytes().all(|b| b.is_ascii_digit());
    for name in root.list(Path::new(UPDATES))?.iter().filter(is_update) {
        let path = Path::new(UPDATES).join(name);
        let text = match budget.text(root, &path) {
            // dpkg has written `status` meanwhile.
            Err(error) if error.is_missing() => continue,
            text => text?,
        };
        for newer in parse(&text).map_err(|damage| damage.of(root, &path))? {
            entries.retain(|e| (&e.name, &e.arch) != (&newer.name, &newer.arch));
            entries.push(newer);
        }
    }
    Ok(entries.into_iter().filter_map(StatusEntry::configured).collect())
}

/// dpkg's entry for one package on one architecture.
#[derive(Default)]
struct StatusEntry {
    name: Option<NativeName>,
    version: Option<PackageVersion>,
    arch: PackageArch,
    source: Option<NativeName>,
    provides: Vec<NativeName>,
    depends: Vec<NativeName>,
    installed: bool,
}

impl StatusEntry {
    fn of(stanza: Stanza<'_>) -> Result<StatusEntry, Damage> {
        // The files of distroless images have no state.
        let mut entry = StatusEntry { installed: true, ..StatusEntry::default() };
        for field in stanza.fields() {
            let not_a_field = |NotAField { line }| Damage { line, what: "expected a field, `Name: value`" };
            let field = field.map_err(not_a_field)?;
            let value = field.first_line();
            match field.name {
                "Package" if entry.name.is_some() => {
                    return Err(Damage { line: field.line, what: "a second name within a stanza" });
                }
                "Package" if value.is_empty() => {}
                "Package" => entry.name = Some(name_of(value, field.line)?),
                "Version" => entry.version = version_of(value, field.line)?,
                "Architecture" => entry.arch = value.into(),
                // `qemu (1:10.0.3+ds-0+deb13u1)` if the source's version differs.
                "Source" if value.is_empty() => {}
                "Source" => entry.source = Some(name_of(without_version(value), field.line)?),
                "Status" => {
                    // Triggers run after a package is configured.
                    let state = value.split_whitespace().last();
                    entry.installed = matches!(state, Some("installed" | "triggers-awaited" | "triggers-pending"));
                }
                "Provides" => entry.provides = names_in(value.split(',')),
                "Depends" => entry.depends = names_in(value.split([',', '|'])),
                _ => {}
            }
        }
        let line = stanza.line();
        if entry.name.is_none() {
            return Err(Damage { line, what: "a stanza without a package's name" });
        }
        if entry.installed && entry.version.is_none() {
            return Err(Damage { line, what: "an installed package without a version" });
        }
        Ok(entry)
    }

    /// Returns the package, if it is installed.
    fn configured(self) -> Option<ConfiguredPackage> {
        let StatusEntry { name, version, arch, source, provides, depends, installed } = self;
        let (name, version) = (name?, version.filter(|_| installed)?);
        let source = source.unwrap_or_else(|| name.clone());
        Some(ConfiguredPackage { package: Package { name, version, arch, source }, provides, depends })
    }
}

/// Parses the stanzas of a file that dpkg wrote.
fn parse(text: &str) -> Result<Vec<StatusEntry>, Damage> {
    let entries = entries_of(text)?;
    ends_with_a_line(text)?;
    Ok(entries)
}

/// Parses the stanzas of a text; the last one need not be followed by an empty line, as in debootstrap's first
/// `status`.
fn entries_of(text: &str) -> Result<Vec<StatusEntry>, Damage> {
    deb822::stanzas(text).map(StatusEntry::of).collect()
}

/// Returns the packages that own these files, each by its path or the target of its links; dpkg's lists are read once.
///
/// A list that is not a regular file is skipped: an overlay may have replaced it.
///
/// # Errors
///
/// Fails if the lists cannot be read: one exceeds 64 MiB, or all together exceed 1 GiB.
pub fn owners(root: &Root, paths: &[&Path]) -> Result<Vec<Option<NativeName>>, QueryError> {
    Ok(owners_of_names(root, &names_of_all(root, paths))?)
}

/// Returns the owners of files that may be listed under several names: the first name takes precedence, then the first
/// list.
pub(super) fn owners_of_names(root: &Root, files: &[Vec<String>]) -> Result<Vec<Option<NativeName>>, RootError> {
    let mut owners: BTreeMap<&[u8], Option<NativeName>> =
        files.iter().flatten().map(|name| (name.as_bytes(), None)).collect();
    let owner =
        |owners: &BTreeMap<&[u8], Option<NativeName>>, name: &String| owners.get(name.as_bytes()).cloned().flatten();
    let mut remaining = MAX_LISTS;
    for list in root.list(Path::new(INFO))? {
        if files.iter().all(|names| names.first().is_some_and(|name| owner(&owners, name).is_some())) {
            break;
        }
        let Some(package) = list.strip_suffix(".list") else { continue };
        // `libc6:amd64`. dpkg has no list under another name.
        let Ok(package) = package.split(':').next().unwrap_or(package).parse::<NativeName>() else { continue };
        let path = Path::new(INFO).join(&list);
        let bytes = match root.read(&path, remaining.min(MAX_LIST)) {
            Ok(bytes) => bytes,
            Err(_) if !root.look(&path)?.is_some_and(|found| found.is_file()) => continue,
            Err(error) => return Err(error),
        };
        remaining = remaining.saturating_sub(bytes.len() as u64);
        for line in bytes.split(|b| *b == b'\n') {
            if let Some(owner) = owners.get_mut(line) {
                owner.get_or_insert_with(|| package.clone());
            }
        }
    }
    Ok(files.iter().map(|names| names.iter().find_map(|name| owner(&owners, name))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(status: &str, updates: &[(&str, &str)]) -> Vec<(String, String)> {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("var/lib/dpkg/updates");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(dir.path().join("var/lib/dpkg/status"), status).unwrap();
        for (name, text) in updates {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let entries = entries(&Root::new(dir.path()).unwrap()).unwrap();
        entries.into_iter().map(|e| (e.name.to_string(), e.version.to_string())).collect()
    }

    #[test]
    fn the_size_limit_applies_to_all_files_together() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("var/lib/dpkg/status.d");
        std::fs::create_dir_all(&folder).unwrap();
        let format = crate::packages::Format::of(&Root::new(dir.path()).unwrap()).unwrap();
        assert_eq!(format, Some(crate::packages::Format::Dpkg));
        for name in ["a", "b", "c"] {
            let file = std::fs::File::create(folder.join(name)).unwrap();
            file.set_len(MAX_BYTES / 5 * 2).unwrap();
        }
        let error = entries(&Root::new(dir.path()).unwrap()).err().unwrap();
        assert!(matches!(error, QueryError::Read(RootError::TooLarge { .. })), "{error}");
    }

    #[test]
    fn only_installed_packages_count() {
        let text = "Package: a\nStatus: install ok installed\nVersion: 1:2\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: half\nStatus: install ok half-installed\n\nPackage: b\nStatus: install ok triggers-awaited\nVersion: 3\n";
        assert_eq!(installed(text, &[]), [("a".into(), "1:2".into()), ("b".into(), "3".into())]);
        let text = "Package: a\nVersion: 1\nProvides: b (= 1), c,\n d\nDescription: x\n y: z\n";
        let provides = parse(text).unwrap().remove(0).provides;
        assert_eq!(provides[..2], ["b", "c"]);
        let sources =
            "Package: a\nSource: s (1:2)\nVersion: 1\n\nPackage: b\nSource: t\nVersion: 1\n\nPackage: c\nVersion: 1\n";
        let sources = parse(sources).unwrap().into_iter().filter_map(StatusEntry::configured);
        let sources: Vec<NativeName> = sources.map(|one| one.package.source).collect();
        assert_eq!(sources, ["s", "t", "c"]);
    }

    #[test]
    fn text_that_dpkg_would_not_write_is_damage() {
        let sound = "Package: a\nStatus: install ok installed\nEssential : yes\nVersion: 1\nConffiles:\n /x 1\n\tnewconffile\nDescription: ü\n .\n\n\nPackage: b\nStatus: purge ok not-installed\nPriority: optional\n\n";
        assert_eq!(parse(sound).unwrap().len(), 2);
        for short in [
            "",
            "\n",
            "#padding\n#padding\n",
            "Package: dpkg\nVersion: 1\nMaintainer: unknown\nStatus: install ok installed\n",
        ] {
            assert!(parse(short).is_ok(), "{short}");
        }
        let line = |text: &str| parse(text).err().unwrap().line;
        assert_eq!(line(&sound[..sound.len() - 3]), 14, "cut off within a line");
        assert_eq!(line("Package: a\nStatus: install ok installed\n"), 1, "cut off before its version");
        assert_eq!(line("Version: 1\n\nPackage: a\nVersion: 1\n"), 1, "without a name");
        assert_eq!(line("Package:\nVersion: 1\n"), 1, "without a name");
        assert_eq!(line("Package: a\nVersion: 1\nPackage: b\nVersion: 1\n"), 3, "the line between is lost");
        assert_eq!(line("Package: a\nVersion: 1\n\n<!DOCTYPE html>\n"), 4);
        assert_eq!(line("<a href=\"http://x\">\n"), 1);
        assert_eq!(line("Package: a\nVersion: 1 \u{1b}[m\n"), 2, "no version");
        assert_eq!(line(" y\nPackage: a\nVersion: 1\n"), 1, "what does it continue?");
        assert_eq!(
            line(&format!("Package: a\nVersion: 1\n\n{}", "\0".repeat(4096))),
            4,
            "blocks that were never written"
        );
    }

    #[test]
    fn pending_updates_of_dpkg_count() {
        let stanza = |arch: &str, version: &str, state: &str| {
            format!("Package: a\nArchitecture: {arch}\nStatus: install ok {state}\nVersion: {version}\n")
        };
        let status = format!("{}\n{}", stanza("amd64", "1", "installed"), stanza("i386", "1", "installed"));
        let updates = [
            ("0000", stanza("amd64", "2", "unpacked")),
            ("0001", stanza("amd64", "2", "installed")),
            ("tmp.i", stanza("i386", "3", "installed")),
        ];
        let updates = updates.each_ref().map(|(name, text)| (*name, text.as_str()));
        let now = |amd64: &str, i386: &str| [("a".to_owned(), i386.to_owned()), ("a".to_owned(), amd64.to_owned())];
        assert_eq!(installed(&status, &updates), now("2", "1"));
        assert_eq!(installed(&status, &updates[..1]), now("2", "1")[..1], "it is only unpacked");
    }

    #[test]
    fn only_regular_lists_of_the_root_are_read() {
        use std::os::unix::fs::symlink;
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let info = dir.path().join("var/lib/dpkg/info");
        std::fs::create_dir_all(&info).unwrap();
        std::fs::write(outside.path().join("list"), "/usr/bin/sh\n").unwrap();
        symlink(outside.path().join("list"), info.join("aaa.list")).unwrap();
        symlink("/dev/zero", info.join("bbb.list")).unwrap();
        symlink("/proc/kmsg", info.join("ccc.list")).unwrap();
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, info.join("ddd.list"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        symlink("fff.list", info.join("fff.list")).unwrap();
        std::fs::write(info.join("zzz.list"), "/bin/sh\n").unwrap();
        std::fs::create_dir_all(dir.path().join("dev")).unwrap();
        let zero = rustix::fs::makedev(1, 5);
        let kind = rustix::fs::FileType::CharacterDevice;
        let _ = rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("dev/zero"), kind, mode, zero);
        let root = Root::new(dir.path()).unwrap();
        let found = owners(&root, &[Path::new("/usr/bin/sh"), Path::new("/none")]).unwrap();
        assert_eq!(found, [Some("zzz".parse().unwrap()), None]);
        // A list that is too large: the owner may be in it.
        let huge = std::fs::File::create(info.join("eee.list")).unwrap();
        huge.set_len(MAX_LIST + 1).unwrap();
        let error = owners(&root, &[Path::new("/none")]).unwrap_err();
        assert!(matches!(&error, QueryError::Read(error) if error.is_unreadable()), "{error}");
    }

    #[test]
    fn the_owner_of_a_link_precedes_the_owner_of_its_target() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["usr/bin", "var/lib/dpkg/info"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        std::fs::write(dir.path().join("usr/bin/real"), "").unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("usr/bin/link")).unwrap();
        for (list, text) in
            [("a:amd64.list", "/usr/bin/real\n"), ("b.list", "/.\n/bin/link\n"), ("c.list", "/usr/bin/real\n")]
        {
            std::fs::write(dir.path().join("var/lib/dpkg/info").join(list), text).unwrap();
        }
        let root = Root::new(dir.path()).unwrap();
        let found = owners(&root, &[Path::new("/usr/bin/link"), Path::new("/usr/bin/real")]).unwrap();
        assert_eq!(found, ["b", "a"].map(|name| Some(name.parse().unwrap())));
    }
}
