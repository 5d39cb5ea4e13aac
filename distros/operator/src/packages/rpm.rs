//! RPM's database, by way of this machine's `rpm`.
//!
//! The rpm of another root is never run. This machine's reads a copy of the database: as nobody, in namespaces of its own,
//! with its own macros, so that nothing but the database is the root's.
//!
//! What it is asked, and what it answers, is that of rpm 4.18 of Debian 12, with which the tests of the installers run.

use super::{Answers, Installed, MAX_BYTES, Package, QueryError, names_of};
use crate::process::{Confinement, Finished, Invocation, give_to_reader};
use model::package::PackageVersion;
use root::{Root, RootError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Below its own folder on older systems, below /usr on image-based and newer ones.
///
/// `Packages` is Berkeley DB's, `Packages.db` ndb's, and `rpmdb.sqlite` that of the backend which rpm 4.16 brought.
pub(super) const FILES: &[&str] = &[
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages",
    "/var/lib/rpm/Packages.db",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/Packages",
    "/usr/lib/sysimage/rpm/Packages.db",
];

const WITHIN: Duration = Duration::from_secs(60);
/// A line a package: its name, version, architecture and the file of its source package.
const WHOLE: &str = "%{NAME}\\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\\t%{ARCH}\\t%{SOURCERPM}\\n";
const FORMAT: &str = "%{NAME}\\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\\n";

/// All installed packages, in no order; the keys that the database holds as if they were packages are left out.
///
/// # Errors
///
/// That the database cannot be read.
pub fn installed(root: &Root) -> Result<Vec<Package>, QueryError> {
    let database = RpmDatabase::of(root)?;
    let all = database.ask(&["-qa", "--qf", WHOLE])?;
    match all.is_ok() {
        true => packages_of(&all.stdout).map_err(|message| database.refused(message)),
        false => Err(database.refused(all.last_words())),
    }
}

/// What an answer in [`WHOLE`] names.
fn packages_of(text: &str) -> Result<Vec<Package>, String> {
    let mut packages = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[name, version, arch, source] = &fields[..] else {
            return Err(format!("expected name, version, architecture and source of a package, found {line:?}"));
        };
        if name == "gpg-pubkey" {
            continue;
        }
        let version = version.parse::<PackageVersion>().map_err(|e| e.to_string())?;
        let source = source_name(source).unwrap_or(name).to_owned();
        packages.push(Package { name: name.to_owned(), version, arch: arch.to_owned(), source });
    }
    Ok(packages)
}

/// `qemu-kvm` of `qemu-kvm-9.1.0-15.el9.src.rpm`.
fn source_name(file: &str) -> Option<&str> {
    let whole = file.strip_suffix(".rpm")?;
    let (whole, _) = whole.rsplit_once('.')?;
    whole.rsplitn(3, '-').nth(2)
}

/// The packages that own files, by their paths or where their links lead; none of a file that nobody owns.
///
/// # Errors
///
/// That the database cannot be read.
pub fn owners(root: &Root, paths: &[&Path]) -> Result<Vec<Option<String>>, QueryError> {
    let database = RpmDatabase::of(root)?;
    paths.iter().map(|path| Ok(database.owner(root, &names_of(root, path))?.map(|owner| owner.package))).collect()
}

/// The folder that the database is in.
///
/// # Errors
///
/// That one of them cannot be looked into.
pub(crate) fn folder(root: &Root) -> Result<Option<PathBuf>, RootError> {
    for file in FILES.iter().map(Path::new) {
        if root.look(file)?.is_some() {
            return Ok(file.parent().map(Path::to_owned));
        }
    }
    Ok(None)
}

/// A database that can be asked.
#[derive(Debug)]
pub(super) struct RpmDatabase {
    root: PathBuf,
    rpm: PathBuf,
    /// Of another root; goes with this.
    copy: Option<tempfile::TempDir>,
}

impl RpmDatabase {
    /// The running system's own, or a copy of another root's.
    pub(super) fn of(root: &Root) -> Result<RpmDatabase, QueryError> {
        let none = || QueryError::NoRpm(root.path().to_owned());
        let rpm = Root::default().which("rpm")?.ok_or_else(none)?;
        let copy = if root.is_running_system() { None } else { Some(copy(root)?) };
        Ok(RpmDatabase { root: root.path().to_owned(), rpm, copy })
    }

    fn ask(&self, arguments: &[&str]) -> Result<Finished, QueryError> {
        let folder = self.copy.as_ref().map(|copy| copy.path().display().to_string());
        let mut all = Vec::new();
        if let Some(folder) = &folder {
            all.extend(["--dbpath", folder.as_str()]);
        }
        all.extend(arguments);
        let mut invocation = Invocation::new(&self.rpm, &all);
        if self.copy.is_some() {
            // No macros of anybody's home.
            invocation.env.push(("HOME".to_owned(), "/nonexistent".to_owned()));
            invocation.confinement = Confinement::Reader;
        }
        let finished = invocation.run(WITHIN, None)?;
        // No answer and no complaint but `is not installed`: that is an answer.
        let broken =
            !finished.is_ok() && finished.stderr.lines().any(|l| l.starts_with("error:") && !l.contains("not owned"));
        match broken || finished.code.is_none() {
            true => Err(self.refused(finished.last_words())),
            false => Ok(finished),
        }
    }

    fn refused(&self, message: String) -> QueryError {
        QueryError::Refused { path: self.root.clone(), message }
    }

    /// What an answer in [`FORMAT`] names.
    fn lines(&self, text: &str) -> Result<Vec<Installed>, QueryError> {
        let mut installed = Vec::new();
        for (package, version) in text.lines().filter_map(|line| line.split_once('\t')) {
            let version = version.parse::<PackageVersion>();
            let version = version.map_err(|e| self.refused(e.to_string()))?;
            installed.push(Installed { package: package.to_owned(), version });
        }
        Ok(installed)
    }
}

impl Answers for RpmDatabase {
    fn installed(&self, name: &str) -> Result<Vec<Installed>, QueryError> {
        let named = self.ask(&["-q", "--qf", FORMAT, "--", name])?;
        if named.is_ok() {
            return self.lines(&named.stdout);
        }
        let provided = self.ask(&["-q", "--whatprovides", "--qf", FORMAT, "--", name])?;
        if provided.is_ok() { self.lines(&provided.stdout) } else { Ok(Vec::new()) }
    }

    fn owner(&self, _: &Root, paths: &[String]) -> Result<Option<Installed>, QueryError> {
        for path in paths {
            // Unlike `-qf`, this asks the database only, and not for the file.
            let found = self.ask(&["-q", "--whatprovides", "--qf", FORMAT, "--", path])?;
            if found.is_ok()
                && let Some(owner) = self.lines(&found.stdout)?.into_iter().next()
            {
                return Ok(Some(owner));
            }
        }
        Ok(None)
    }
}

/// The database's files in a folder of nobody's.
fn copy(root: &Root) -> Result<tempfile::TempDir, QueryError> {
    let copied = tempfile::Builder::new().prefix("kata-osinfo-").tempdir();
    let to = copied.map_err(|source| RootError::Read { path: std::env::temp_dir(), source })?;
    let failed = |source: io::Error| RootError::Read { path: to.path().to_owned(), source };
    give_to_reader(to.path()).map_err(failed)?;
    for file in copy_to(root, to.path())? {
        give_to_reader(&file).map_err(failed)?;
    }
    Ok(to)
}

/// Copies the database's files to a folder of this machine; none where the root has no database yet. Gives the copies.
///
/// # Errors
///
/// That a file of it cannot be read, or all of them together are larger than any database.
pub fn copy_to(root: &Root, to: &Path) -> Result<Vec<PathBuf>, QueryError> {
    let Some(from) = folder(root)? else { return Ok(Vec::new()) };
    let failed = |source: io::Error| RootError::Read { path: to.to_owned(), source };
    let mut left = MAX_BYTES;
    let mut copies = Vec::new();
    for name in root.list(&from)? {
        let path = from.join(&name);
        // Locks and shared memory of whoever has it open; what they are about is in the other files.
        let passing = name.starts_with('.') || name.starts_with("__db.") || name.ends_with("-shm");
        if passing || !root.has_file(&path)? {
            continue;
        }
        let bytes = root.read(&path, left)?;
        left -= bytes.len() as u64;
        let file = to.join(&name);
        std::fs::write(&file, bytes).map_err(failed)?;
        copies.push(file);
    }
    Ok(copies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_has_its_source_and_a_key_is_none() {
        let said = "qemu-kvm-core\t17:9.1.0-15.el9\tx86_64\tqemu-kvm-9.1.0-15.el9.src.rpm\n\
            gpg-pubkey\t8483c65d-5ccc5b19\t(none)\t(none)\n\
            firmware\t20260101-1\tnoarch\tlinux-firmware-20260101-1.nosrc.rpm\nlocal\t2.0-1\tnoarch\t(none)\n";
        let found = packages_of(said).unwrap();
        let found: Vec<[&str; 4]> =
            found.iter().map(|p| [&*p.name, p.version.as_str(), &*p.arch, &*p.source]).collect();
        assert_eq!(
            found,
            [
                ["qemu-kvm-core", "17:9.1.0-15.el9", "x86_64", "qemu-kvm"],
                ["firmware", "20260101-1", "noarch", "linux-firmware"],
                ["local", "2.0-1", "noarch", "local"],
            ]
        );
        assert!(packages_of("qemu\t1 2-3\tx86_64\tx\n").is_err(), "no version");
        assert!(packages_of("error: something else\n").unwrap_err().contains("something else"));
    }
}
