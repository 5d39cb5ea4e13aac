//! Finds the installed packages of a root, and the package that owns a file.
//!
//! The databases of dpkg, pacman, apk and Portage are text and are read directly: this needs no privileges, no tools
//! and no root of the machine's architecture. RPM's is read by this machine's `rpm`, from a copy, as a user of its own
//! and in its own namespaces; a root's own program is never run.

pub mod apk;
pub mod dpkg;
pub mod pacman;
mod portage;
pub mod rpm;

pub(crate) use rpm::folder as rpm_folder;

use crate::process::ProcessError;
use model::arch::Arch;
use model::package::{NativeName, PackageArch, PackageVersion};
use model::package_manager::{PackageManager, usr_merge_names};
use root::{Root, RootError};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// Maximum size of a package database file, and of all files of a database together, in bytes.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Remaining bytes to read from a database of many files.
struct Budget(u64);

impl Budget {
    fn text(&mut self, root: &Root, path: &Path) -> Result<String, RootError> {
        let text = root.read_text(path, self.0)?;
        self.0 = self.0.saturating_sub(text.len() as u64);
        Ok(text)
    }
}

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// The name in the database.
    pub package: NativeName,
    /// Its version.
    pub version: PackageVersion,
    /// Its architecture.
    #[serde(skip)]
    pub arch: PackageArch,
}

impl Installed {
    /// Checks whether the package is for this architecture, or for all: a database may have a package for several.
    pub(crate) fn is_for(&self, arch: Arch, format: Format) -> bool {
        let native = match format {
            Format::Dpkg => arch.debian_name(),
            Format::Rpm | Format::Pacman | Format::Apk | Format::Portage => arch.name(),
        };
        ["", "all", "noarch", "any", native].contains(&self.arch.as_str())
    }
}

/// A package as described by its database.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PackageEntry {
    name: NativeName,
    version: PackageVersion,
    arch: PackageArch,
    /// Names that it provides, without versions.
    provides: Vec<NativeName>,
}

/// A syntax error in a database file.
#[derive(Debug, PartialEq, Eq)]
struct Damage {
    /// The line, from 1.
    line: usize,
    what: &'static str,
}

impl Damage {
    fn of(self, root: &Root, file: &Path) -> QueryError {
        QueryError::Damaged { path: root.shown(file), line: self.line, what: self.what }
    }
}

/// Detects a truncated file, which ends in the middle of a line: package managers end each line with a newline.
fn ends_with_a_line(text: &str) -> Result<(), Damage> {
    match text.is_empty() || text.ends_with('\n') {
        true => Ok(()),
        false => Err(Damage { line: text.lines().count(), what: "the file ends within a line" }),
    }
}

/// Parses the name of a package in a line of a database.
fn name_of(text: &str, line: usize) -> Result<NativeName, Damage> {
    text.parse().map_err(|_| Damage { line, what: "a name of a package that is not one printable word" })
}

/// Parses a list of packages, each with a version or without; texts that are no names are left out.
fn names_in<'t>(list: impl Iterator<Item = &'t str>) -> Vec<NativeName> {
    list.filter_map(|item| without_version(item.trim()).parse().ok()).collect()
}

/// Parses the version in a line of a database; `None` for an empty text.
fn version_of(text: &str, line: usize) -> Result<Option<PackageVersion>, Damage> {
    match text {
        "" => Ok(None),
        text => match text.parse::<PackageVersion>() {
            Ok(version) => Ok(Some(version)),
            Err(_) => Err(Damage { line, what: "a version that is not one printable word" }),
        },
    }
}

impl PackageEntry {
    fn installed(&self) -> Installed {
        Installed { package: self.name.clone(), version: self.version.clone(), arch: self.arch.clone() }
    }
}

/// The reason why a package database cannot be queried.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The root has no known package database.
    #[error("{0} has no package database of dpkg, rpm, pacman, apk or Portage")]
    NoDatabase(PathBuf),
    /// A file of the database cannot be read.
    #[error(transparent)]
    Read(#[from] RootError),
    /// A file of the database is not as its package manager writes it, so the installed packages are unknown.
    #[error("{path}:{line}: the package database is damaged: {what}")]
    Damaged {
        /// The file, seen from outside.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The error.
        what: &'static str,
    },
    /// The tool that reads the database failed.
    #[error(transparent)]
    Tool(#[from] ProcessError),
    /// The root has an RPM database, but the machine has no tool to read it.
    #[error("{0} has an RPM database, which this machine cannot read without rpm; the root's own rpm is not run")]
    NoRpm(PathBuf),
    /// The tool does not support the database.
    #[error("this machine's rpm cannot read the database of {path}: {message}")]
    Refused {
        /// The root.
        path: PathBuf,
        /// The tool's message.
        message: String,
    },
}

/// The known package databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Debian's.
    Dpkg,
    /// Fedora's, Enterprise Linux's and SUSE's.
    Rpm,
    /// Arch's.
    Pacman,
    /// Alpine's.
    Apk,
    /// Gentoo's.
    Portage,
}

impl Format {
    /// All formats, in the order of detection in an unknown system: a Debian system with rpm installed for its tools
    /// has both databases, and dpkg's counts.
    pub(crate) const ALL: &'static [Format] =
        &[Format::Dpkg, Format::Pacman, Format::Apk, Format::Portage, Format::Rpm];

    /// Returns the format of a package manager's database; `None` for Nix's, which is not read, and for image-based
    /// systems.
    pub(crate) fn of_manager(manager: PackageManager) -> Option<Format> {
        match manager {
            PackageManager::Apt => Some(Format::Dpkg),
            PackageManager::Dnf | PackageManager::Yum | PackageManager::Tdnf | PackageManager::Zypper => {
                Some(Format::Rpm)
            }
            PackageManager::Pacman => Some(Format::Pacman),
            PackageManager::Apk => Some(Format::Apk),
            PackageManager::Emerge => Some(Format::Portage),
            PackageManager::Nix | PackageManager::ImageBased => None,
        }
    }

    /// Returns the first package manager whose database has this format.
    pub(crate) fn manager(self) -> PackageManager {
        let has_it = |manager: &PackageManager| Format::of_manager(*manager) == Some(self);
        PackageManager::ALL.iter().copied().find(has_it).unwrap_or(PackageManager::ImageBased)
    }

    /// Detects the format of an unknown system's database.
    ///
    /// # Errors
    ///
    /// Fails if a directory in a database's path cannot be searched.
    pub fn of(root: &Root) -> Result<Option<Format>, RootError> {
        for format in Format::ALL.iter().copied() {
            if format.is_there(root)? {
                return Ok(Some(format));
            }
        }
        Ok(None)
    }

    /// Checks whether the root has a database of this format.
    fn is_there(self, root: &Root) -> Result<bool, RootError> {
        for file in self.reader().files {
            if root.look(Path::new(file))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the format's files and the function that reads them.
    fn reader(self) -> FormatReader {
        match self {
            Format::Dpkg => {
                FormatReader { files: dpkg::FILES, read: |root| listed(dpkg::entries(root)?, dpkg::owners_of_names) }
            }
            Format::Rpm => FormatReader { files: rpm::FILES, read: |root| Ok(Box::new(rpm::RpmDatabase::of(root)?)) },
            Format::Pacman => FormatReader {
                files: pacman::FILES,
                read: |root| listed(pacman::entries(root)?, pacman::owners_of_names),
            },
            Format::Apk => {
                FormatReader { files: apk::FILES, read: |root| listed(apk::entries(root)?, apk::owners_of_names) }
            }
            Format::Portage => FormatReader {
                files: portage::FILES,
                read: |root| listed(portage::entries(root)?, portage::owners_of_names),
            },
        }
    }
}

/// The reader of a format.
struct FormatReader {
    /// A root with this format has one of these files.
    files: &'static [&'static str],
    /// Reads the database, or prepares queries.
    read: fn(&Root) -> Result<Box<dyn Answers>, QueryError>,
}

/// Queries of one root's database.
trait Answers: fmt::Debug + Send + Sync {
    /// Returns the package of that name, or those that provide it.
    fn installed(&self, name: &str) -> Result<Vec<Installed>, QueryError>;

    /// Returns the packages that own files, each by any of its names.
    fn owners(&self, root: &Root, files: &[Vec<String>]) -> Result<Vec<Option<Installed>>, QueryError>;
}

/// A database that is read as a list of all packages.
#[derive(Debug)]
struct Listed {
    entries: Vec<PackageEntry>,
    owners: Owners,
}

/// Finds the names of the packages that own files, each by any of its names; reads the lists of files once.
type Owners = fn(&Root, &[Vec<String>]) -> Result<Vec<Option<NativeName>>, RootError>;

fn listed(entries: Vec<PackageEntry>, owners: Owners) -> Result<Box<dyn Answers>, QueryError> {
    Ok(Box::new(Listed { entries, owners }))
}

impl Answers for Listed {
    fn installed(&self, name: &str) -> Result<Vec<Installed>, QueryError> {
        let named: Vec<Installed> =
            self.entries.iter().filter(|e| e.name == name).map(PackageEntry::installed).collect();
        if !named.is_empty() {
            return Ok(named);
        }
        Ok(self.entries.iter().filter(|e| e.provides.iter().any(|p| p == name)).map(PackageEntry::installed).collect())
    }

    fn owners(&self, root: &Root, files: &[Vec<String>]) -> Result<Vec<Option<Installed>>, QueryError> {
        let owners = (self.owners)(root, files)?;
        let entry = |name: NativeName| self.entries.iter().find(|e| e.name == name).map(PackageEntry::installed);
        Ok(owners.into_iter().map(|owner| owner.and_then(entry)).collect())
    }
}

/// The packages of a root; RPM's database is queried each time, all others are read once.
#[derive(Debug)]
pub struct Packages<'r> {
    root: &'r Root,
    format: Format,
    answers: Box<dyn Answers>,
}

impl<'r> Packages<'r> {
    /// Reads the root's database. For a known system, it must be that of the record's package manager, even if others
    /// exist; for an unknown system, it is the one found.
    ///
    /// No program of the root is run.
    ///
    /// # Errors
    ///
    /// Fails if there is no database, or if it cannot be read or is damaged.
    pub fn read(root: &'r Root, manager: Option<PackageManager>) -> Result<Packages<'r>, QueryError> {
        let format = match manager {
            Some(manager) => match Format::of_manager(manager) {
                Some(format) if format.is_there(root)? => Some(format),
                _ => None,
            },
            None => Format::of(root)?,
        };
        let format = format.ok_or_else(|| QueryError::NoDatabase(root.path().to_owned()))?;
        Ok(Packages { root, format, answers: (format.reader().read)(root)? })
    }

    /// Returns the database's format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns the package of that name, or those that provide it; none if it is not installed.
    ///
    /// # Errors
    ///
    /// Fails if RPM's database cannot be queried.
    pub fn installed(&self, name: &str) -> Result<Vec<Installed>, QueryError> {
        self.answers.installed(name)
    }

    /// Returns the package that owns a file, by its path or the target of its links.
    ///
    /// # Errors
    ///
    /// Fails if the database cannot be read.
    pub fn owner(&self, path: &Path) -> Result<Option<Installed>, QueryError> {
        Ok(self.owners(&[path])?.pop().flatten())
    }

    /// Does the same as [`Packages::owner`] for several files; the database's lists of files are read once.
    ///
    /// # Errors
    ///
    /// Those of [`Packages::owner`].
    pub fn owners(&self, paths: &[&Path]) -> Result<Vec<Option<Installed>>, QueryError> {
        self.answers.owners(self.root, &names_of_all(self.root, paths))
    }
}

/// Returns the names of several files, as [`names_of`] does.
fn names_of_all(root: &Root, paths: &[&Path]) -> Vec<Vec<String>> {
    paths.iter().map(|path| names_of(root, path)).collect()
}

/// Returns the paths under which a package may list a file: its own and its link target, each as before and after the
/// /usr merge.
fn names_of(root: &Root, path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut add = |path: &Path| {
        let Some(text) = path.to_str().filter(|t| !t.contains('\n')) else { return };
        for name in usr_merge_names(text) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    };
    add(path);
    // The directory's links are resolved first: a package lists /usr/bin/kvm, which may itself be a link.
    if let (Some(folder), Some(name)) = (path.parent(), path.file_name())
        && let Ok(folder) = root.resolve(folder)
    {
        add(&folder.join(name));
    }
    if let Ok(resolved) = root.resolve(path) {
        add(&resolved);
    }
    names
}

/// Returns a provided name without its version: `libc.so=6`, `awk (= 1)`.
fn without_version(provided: &str) -> &str {
    let end = provided.find(|c: char| c.is_whitespace() || "=<>(:".contains(c)).unwrap_or(provided.len());
    &provided[..end]
}

#[cfg(test)]
mod tests;
