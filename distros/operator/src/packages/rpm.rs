//! RPM's database, read by this machine's `rpm`.
//!
//! The rpm of another root is never run. This machine's reads a copy of the database: as a user of its own, in its own
//! namespaces, with its own macros, so that only the database comes from the root.
//!
//! Queries and output format are those of rpm 4.18 of Debian 12, which runs in the tests of the installers.

mod copied;
mod ndb;

use super::{Answers, Installed, QueryError, names_of_all};
use crate::process::{Invocation, ProcessOutput};
use copied::CopiedDatabase;
use model::package::{NativeName, NotANativeName, NotAPackageVersion, Package, PackageVersion};
use root::{Root, RootError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// In /var/lib/rpm on older systems, below /usr on image-based and newer ones.
///
/// `Packages` belongs to Berkeley DB, `Packages.db` to ndb, and `rpmdb.sqlite` to the backend introduced in rpm 4.16.
pub(super) const FILES: &[&str] = &[
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages",
    "/var/lib/rpm/Packages.db",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/Packages",
    "/usr/lib/sysimage/rpm/Packages.db",
];

const WITHIN: Duration = Duration::from_secs(60);
/// One line per package: its name, version, architecture and the file name of its source package.
const WHOLE: &str = "%{NAME}\\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\\t%{ARCH}\\t%{SOURCERPM}\\n";
const FORMAT: &str = "%{NAME}\\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\\t%{ARCH}\\n";

/// Returns all installed packages, unordered; keys that the database holds like packages are left out.
///
/// # Errors
///
/// Fails if the database cannot be read.
pub fn installed(root: &Root) -> Result<Vec<Package>, QueryError> {
    let database = RpmDatabase::of(root)?;
    let all = database.query(&["-qa", "--qf", WHOLE])?;
    match all.is_ok() {
        true => packages_of(&all.stdout).map_err(|error| database.refused(error.to_string())),
        false => Err(database.refused(all.last_words())),
    }
}

/// Reasons why an answer of rpm is not in the requested format.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    /// A line does not have the requested fields.
    #[error("expected name, version, architecture and source of a package, found {0:?}")]
    Fields(String),
    /// A name is invalid.
    #[error(transparent)]
    Name(#[from] NotANativeName),
    /// A version is invalid.
    #[error(transparent)]
    Version(#[from] NotAPackageVersion),
}

/// Parses an answer in the format [`WHOLE`].
fn packages_of(text: &str) -> Result<Vec<Package>, AnswerError> {
    let mut packages = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[name, version, arch, source] = &fields[..] else {
            return Err(AnswerError::Fields(line.to_owned()));
        };
        if name == "gpg-pubkey" {
            continue;
        }
        let version = version.parse::<PackageVersion>()?;
        let source = source_name(source).unwrap_or(name).parse::<NativeName>()?;
        packages.push(Package { name: name.parse()?, version, arch: arch.into(), source });
    }
    Ok(packages)
}

/// Extracts `qemu-kvm` from `qemu-kvm-9.1.0-15.el9.src.rpm`.
fn source_name(file: &str) -> Option<&str> {
    let whole = file.strip_suffix(".rpm")?;
    let (whole, _) = whole.rsplit_once('.')?;
    whole.rsplitn(3, '-').nth(2)
}

/// Returns the packages that own files, by their paths or the targets of their links; `None` for a file that no package
/// owns.
///
/// # Errors
///
/// Fails if the database cannot be read.
pub fn owners(root: &Root, paths: &[&Path]) -> Result<Vec<Option<NativeName>>, QueryError> {
    let database = RpmDatabase::of(root)?;
    let owners = database.owners(root, &names_of_all(root, paths))?;
    Ok(owners.into_iter().map(|owner| owner.map(|owner| owner.package)).collect())
}

/// Returns the directory of the database.
///
/// # Errors
///
/// Fails if a directory in its path cannot be searched.
pub(crate) fn folder(root: &Root) -> Result<Option<PathBuf>, RootError> {
    for file in FILES.iter().map(Path::new) {
        if root.look(file)?.is_some() {
            return Ok(file.parent().map(Path::to_owned));
        }
    }
    Ok(None)
}

/// A database that can be queried.
#[derive(Debug)]
pub(super) struct RpmDatabase {
    root: PathBuf,
    rpm: PathBuf,
    /// A copy of another root's database.
    copy: Option<CopiedDatabase>,
}

impl RpmDatabase {
    /// Opens the running system's database, or a copy of another root's.
    pub(super) fn of(root: &Root) -> Result<RpmDatabase, QueryError> {
        let none = || QueryError::NoRpm(root.path().to_owned());
        let rpm = Root::default().which("rpm")?.ok_or_else(none)?;
        let copy = if root.is_running_system() { None } else { Some(CopiedDatabase::of(root)?) };
        Ok(RpmDatabase { root: root.path().to_owned(), rpm, copy })
    }

    fn query(&self, arguments: &[&str]) -> Result<ProcessOutput, QueryError> {
        let folder = self.copy.as_ref().map(|copy| copy.folder().display().to_string());
        let mut all = Vec::new();
        if let Some(folder) = &folder {
            all.extend(["--dbpath", folder.as_str()]);
        }
        all.extend(arguments);
        let mut invocation = Invocation::new(&self.rpm, &all);
        if let Some(copy) = &self.copy {
            copy.confine(&mut invocation);
        }
        let finished = invocation.run(WITHIN, None)?;
        // `is not installed` is an answer, not an error. So is the message about a file that no package owns: rpm then
        // looks for the file on this machine, and prints an error if it is missing.
        let is_answer = |l: &str| l.contains("not owned") || l.starts_with("error: file ");
        let broken = !finished.is_ok() && finished.stderr.lines().any(|l| l.starts_with("error:") && !is_answer(l));
        match broken || finished.code.is_none() {
            true => Err(self.refused(finished.last_words())),
            false => Ok(finished),
        }
    }

    /// Returns the package that owns a file, by the first of its names that has an owner.
    fn owner(&self, names: &[String]) -> Result<Option<Installed>, QueryError> {
        for name in names {
            // Unlike `-qf`, this queries the database first.
            let found = self.query(&["-q", "--whatprovides", "--qf", FORMAT, "--", name])?;
            if found.is_ok()
                && let Some(owner) = self.lines(&found.stdout)?.into_iter().next()
            {
                return Ok(Some(owner));
            }
        }
        Ok(None)
    }

    fn refused(&self, message: String) -> QueryError {
        QueryError::Refused { path: self.root.clone(), message }
    }

    /// Parses an answer in the format [`FORMAT`].
    fn lines(&self, text: &str) -> Result<Vec<Installed>, QueryError> {
        let mut installed = Vec::new();
        for (package, rest) in text.lines().filter_map(|line| line.split_once('\t')) {
            let (version, arch) = rest.split_once('\t').unwrap_or((rest, ""));
            let version = version.parse::<PackageVersion>();
            let version = version.map_err(|e| self.refused(e.to_string()))?;
            let package = package.parse::<NativeName>().map_err(|e| self.refused(e.to_string()))?;
            installed.push(Installed { package, version, arch: arch.into() });
        }
        Ok(installed)
    }
}

impl Answers for RpmDatabase {
    fn installed(&self, name: &str) -> Result<Vec<Installed>, QueryError> {
        let named = self.query(&["-q", "--qf", FORMAT, "--", name])?;
        if named.is_ok() {
            return self.lines(&named.stdout);
        }
        let provided = self.query(&["-q", "--whatprovides", "--qf", FORMAT, "--", name])?;
        if provided.is_ok() { self.lines(&provided.stdout) } else { Ok(Vec::new()) }
    }

    fn owners(&self, _: &Root, files: &[Vec<String>]) -> Result<Vec<Option<Installed>>, QueryError> {
        files.iter().map(|names| self.owner(names)).collect()
    }
}

/// Copies the database to a directory of this machine, in a format that its rpm supports; copies nothing if the root
/// has no database yet.
///
/// # Errors
///
/// Fails if a file of the database cannot be read, or if all of them together exceed the cap.
pub fn copy_to(root: &Root, to: &Path) -> Result<(), QueryError> {
    let copy = CopiedDatabase::of(root)?;
    Ok(copy.put_into(to).map_err(|source| RootError::Read { path: to.to_owned(), source })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_have_their_source_and_keys_are_skipped() {
        let output = "qemu-kvm-core\t17:9.1.0-15.el9\tx86_64\tqemu-kvm-9.1.0-15.el9.src.rpm\n\
            gpg-pubkey\t8483c65d-5ccc5b19\t(none)\t(none)\n\
            firmware\t20260101-1\tnoarch\tlinux-firmware-20260101-1.nosrc.rpm\nlocal\t2.0-1\tnoarch\t(none)\n";
        let found = packages_of(output).unwrap();
        let found: Vec<[&str; 4]> =
            found.iter().map(|p| [p.name.as_str(), p.version.as_str(), p.arch.as_str(), p.source.as_str()]).collect();
        assert_eq!(
            found,
            [
                ["qemu-kvm-core", "17:9.1.0-15.el9", "x86_64", "qemu-kvm"],
                ["firmware", "20260101-1", "noarch", "linux-firmware"],
                ["local", "2.0-1", "noarch", "local"],
            ]
        );
        assert!(packages_of("qemu\t1 2-3\tx86_64\tx\n").is_err(), "no version");
        assert!(packages_of("error: something else\n").unwrap_err().to_string().contains("something else"));
    }

    /// A header that only has strings, by their tags, and one file.
    fn header(strings: &[(u32, &str)], folder: &str, file: &str) -> Vec<u8> {
        let (mut index, mut store) = (Vec::new(), Vec::new());
        let mut put = |tag: u32, kind: u32, value: &[u8]| {
            let at = u32::try_from(store.len()).unwrap();
            index.extend([tag, kind, at, 1].map(u32::to_be_bytes).concat());
            store.extend_from_slice(value);
        };
        // The index of the file's directory comes first, because numbers are aligned to their size.
        put(1116, 4, &[0; 4]);
        for (tag, text) in strings {
            put(*tag, 6, format!("{text}\0").as_bytes());
        }
        put(1117, 8, format!("{file}\0").as_bytes());
        put(1118, 8, format!("{folder}\0").as_bytes());
        let sizes = [index.len() / 16, store.len()].map(|size| u32::try_from(size).unwrap().to_be_bytes());
        [sizes.concat(), index, store].concat()
    }

    #[test]
    #[cfg_attr(lacks = "dnf", ignore = "needs root, dnf, rpm and createrepo-c")]
    fn opensuses_ndb_database_is_read_by_an_rpm_without_ndb_support() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("usr/lib/sysimage/rpm");
        std::fs::create_dir_all(&folder).unwrap();
        let strings = |name| {
            [
                (1000_u32, name),
                (1001, "10.0.2"),
                (1002, "160000.2.2"),
                (1022, "x86_64"),
                (1044, "qemu-10.0.2-160000.2.2.src.rpm"),
            ]
        };
        let emulator = header(&strings("qemu-x86"), "/usr/bin/", "qemu-system-x86_64");
        let tools = header(&strings("qemu-tools"), "/usr/bin/", "qemu-edid");
        std::fs::write(folder.join(ndb::FILE), ndb::tests::database(&[&emulator, &tools])).unwrap();
        // ndb's own index, and the path of the database according to rpm 4.18 of openSUSE.
        std::fs::write(folder.join("Index.db"), "no database").unwrap();
        std::fs::create_dir_all(dir.path().join("var/lib")).unwrap();
        std::os::unix::fs::symlink("../../usr/lib/sysimage/rpm", dir.path().join("var/lib/rpm")).unwrap();
        let root = Root::new(dir.path()).unwrap();
        let mut found = installed(&root).unwrap();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let found: Vec<[&str; 4]> =
            found.iter().map(|p| [p.name.as_str(), p.version.as_str(), p.arch.as_str(), p.source.as_str()]).collect();
        let one = |name| [name, "10.0.2-160000.2.2", "x86_64", "qemu"];
        assert_eq!(found, [one("qemu-tools"), one("qemu-x86")]);
        let owners = owners(&root, &[Path::new("/usr/bin/qemu-system-x86_64"), Path::new("/usr/bin/none")]).unwrap();
        assert_eq!(owners, [Some("qemu-x86".parse().unwrap()), None]);

        // A copy has the format of this machine's rpm.
        let copy = tempfile::tempdir().unwrap();
        copy_to(&root, copy.path()).unwrap();
        assert!(!copy.path().join(ndb::FILE).exists());
        let all = std::process::Command::new("rpm").arg("--dbpath").arg(copy.path()).arg("-qa").output().unwrap();
        assert_eq!(String::from_utf8(all.stdout).unwrap().lines().count(), 2);

        std::fs::write(folder.join(ndb::FILE), "damaged").unwrap();
        assert!(matches!(installed(&root), Err(QueryError::Refused { .. })));
    }
}
