//! RPM's database, by way of this machine's `rpm`.
//!
//! The rpm of another root is never run. This machine's reads a copy of the database: as nobody, in namespaces of its own,
//! with its own macros, so that nothing but the database is the root's.
//!
//! What it is asked, and what it answers, is that of rpm 4.18 of Debian 12, with which the tests of the installers run.

use super::{Installed, MAX_BYTES, QueryError};
use crate::process::{Confinement, Finished, Invocation, give_to_reader};
use model::package::PackageVersion;
use root::{Root, RootError};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(60);
const FORMAT: &str = "%{NAME}\\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\\n";

/// Where the database is: its own folder on older systems, below /usr on image-based and newer ones.
///
/// `Packages` is Berkeley DB's, `Packages.db` ndb's, and `rpmdb.sqlite` that of the backend which rpm 4.16 brought.
///
/// # Errors
///
/// That one of them cannot be looked into.
pub(crate) fn folder(root: &Root) -> Result<Option<PathBuf>, RootError> {
    for folder in ["/var/lib/rpm", "/usr/lib/sysimage/rpm"].map(PathBuf::from) {
        for file in ["rpmdb.sqlite", "Packages", "Packages.db"] {
            if root.look(&folder.join(file))?.is_some() {
                return Ok(Some(folder));
            }
        }
    }
    Ok(None)
}

/// A database that can be asked.
#[derive(Debug)]
pub(super) struct Database {
    root: PathBuf,
    rpm: PathBuf,
    /// Of another root; goes with this.
    copy: Option<tempfile::TempDir>,
}

impl Database {
    /// The running system's own, or a copy of another root's.
    pub(super) fn of(root: &Root) -> Result<Database, QueryError> {
        let none = || QueryError::NoRpm(root.path().to_owned());
        let rpm = Root::default().which("rpm")?.ok_or_else(none)?;
        let copy = if root.is_running_system() { None } else { Some(copy(root)?) };
        Ok(Database { root: root.path().to_owned(), rpm, copy })
    }

    pub(super) fn installed(&self, name: &str) -> Result<Vec<Installed>, QueryError> {
        let named = self.ask(&["-q", "--qf", FORMAT, "--", name])?;
        if named.is_ok() {
            return self.lines(&named.stdout);
        }
        let provided = self.ask(&["-q", "--whatprovides", "--qf", FORMAT, "--", name])?;
        if provided.is_ok() { self.lines(&provided.stdout) } else { Ok(Vec::new()) }
    }

    pub(super) fn owner(&self, paths: &[String]) -> Result<Option<Installed>, QueryError> {
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
            true => Err(QueryError::Refused { path: self.root.clone(), message: finished.last_words() }),
            false => Ok(finished),
        }
    }

    /// What an answer in [`FORMAT`] names.
    fn lines(&self, text: &str) -> Result<Vec<Installed>, QueryError> {
        let mut installed = Vec::new();
        for (package, version) in text.lines().filter_map(|line| line.split_once('\t')) {
            let version = version.parse::<PackageVersion>();
            let version =
                version.map_err(|e| QueryError::Refused { path: self.root.clone(), message: e.to_string() })?;
            installed.push(Installed { package: package.to_owned(), version });
        }
        Ok(installed)
    }
}

/// The database's files in a folder of nobody's.
fn copy(root: &Root) -> Result<tempfile::TempDir, QueryError> {
    let from = folder(root)?.unwrap_or_else(|| PathBuf::from("/var/lib/rpm"));
    let copied = tempfile::Builder::new().prefix("kata-osinfo-").tempdir();
    let to = copied.map_err(|source| RootError::Read { path: std::env::temp_dir(), source })?;
    let failed = |source: io::Error| RootError::Read { path: to.path().to_owned(), source };
    give_to_reader(to.path()).map_err(failed)?;
    let mut left = MAX_BYTES;
    for name in root.list(&from)? {
        let path = from.join(&name);
        // Locks and shared memory of whoever has it open; what they are about is in the other files.
        let passing = name.starts_with('.') || name.starts_with("__db.") || name.ends_with("-shm");
        if passing || !root.has_file(&path)? {
            continue;
        }
        let bytes = root.read(&path, left)?;
        left -= bytes.len() as u64;
        let file = to.path().join(&name);
        std::fs::write(&file, bytes).and_then(|()| give_to_reader(&file)).map_err(failed)?;
    }
    Ok(to)
}
