//! What is installed in a root, and which package owns a file.
//!
//! The databases of dpkg, pacman, apk and Portage are text and are read as they are: that needs no privilege, no tool and
//! no root of the machine's own architecture. RPM's is read by this machine's `rpm`, from a copy, as nobody and in
//! namespaces of its own; a root's own program is never run.

pub mod apk;
pub mod dpkg;
pub mod pacman;
mod portage;
pub mod rpm;

pub(crate) use rpm::folder as rpm_folder;

use crate::process::ProcessError;
use model::arch::Arch;
use model::package::PackageVersion;
use model::package_manager::PackageManager;
use root::{Root, RootError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// Bytes of the largest package database file that is read, and of all that are kept together.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// What is left to be read of a database of many files.
struct Budget(u64);

impl Budget {
    fn text(&mut self, root: &Root, path: &Path) -> Result<String, RootError> {
        let text = root.read_text(path, self.0)?;
        self.0 = self.0.saturating_sub(text.len() as u64);
        Ok(text)
    }
}

/// An architecture by a package manager's name of it: `amd64`, `x86_64`, `noarch`, `any`.
///
/// It is empty where the database does not say it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PackageArch(String);

impl PackageArch {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for PackageArch {
    fn from(name: &str) -> PackageArch {
        PackageArch(name.to_owned())
    }
}

/// One of all packages that are installed; images' manifests list them so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Package {
    /// Its name as the database has it: `qemu-system-x86`.
    pub name: String,
    /// With the epoch, where there is one: `17:9.1.0-15.el9`.
    pub version: PackageVersion,
    /// Its architecture.
    pub arch: PackageArch,
    /// The source package's name, or what packages that are built together have in common: `qemu`.
    pub source: String,
}

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// Its name as the database has it.
    pub package: String,
    /// Its version.
    pub version: PackageVersion,
    /// Its architecture.
    #[serde(skip)]
    pub arch: PackageArch,
}

impl Installed {
    /// Whether it is for an architecture, or for all: a database may have a package for several.
    pub(crate) fn is_for(&self, arch: Arch, format: Format) -> bool {
        let native = match format {
            Format::Dpkg => arch.debian_name(),
            Format::Rpm | Format::Pacman | Format::Apk | Format::Portage => arch.name(),
        };
        ["", "all", "noarch", "any", native].contains(&self.arch.as_str())
    }
}

/// A package as its database describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PackageEntry {
    name: String,
    version: PackageVersion,
    arch: PackageArch,
    /// Names that it stands for, without versions.
    provides: Vec<String>,
}

/// What is wrong with the text of a database, and where.
#[derive(Debug, PartialEq, Eq)]
struct Damage {
    /// From 1.
    line: usize,
    what: &'static str,
}

impl Damage {
    fn of(self, root: &Root, file: &Path) -> QueryError {
        QueryError::Damaged { path: root.shown(file), line: self.line, what: self.what }
    }
}

/// A file that was cut off ends in the middle of a line: whoever writes a database ends each with a newline.
fn ends_with_a_line(text: &str) -> Result<(), Damage> {
    match text.is_empty() || text.ends_with('\n') {
        true => Ok(()),
        false => Err(Damage { line: text.lines().count(), what: "the file ends within a line" }),
    }
}

/// The version that a line of a database gives; none where it gives no text.
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

/// Why a package database cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// There is none that is known.
    #[error("{0} has no package database of dpkg, rpm, pacman, apk or Portage")]
    NoDatabase(PathBuf),
    /// A file of it.
    #[error(transparent)]
    Read(#[from] RootError),
    /// A file of it is not what its package manager writes: what is installed cannot be told from it.
    #[error("{path}:{line}: the package database is damaged: {what}")]
    Damaged {
        /// The file, seen from outside.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The tool that reads it.
    #[error(transparent)]
    Tool(#[from] ProcessError),
    /// RPM's database is there and nothing that reads it.
    #[error(
        "{0} has an RPM database, which cannot be read here: it needs rpm on this machine; the root's own is not run"
    )]
    NoRpm(PathBuf),
    /// The tool does not understand the database.
    #[error("this machine's rpm cannot read the database of {path}: {message}")]
    Refused {
        /// The root.
        path: PathBuf,
        /// What it said.
        message: String,
    },
}

/// The package databases that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(Deserialize))]
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
    /// All of them, in the order in which they are looked for in an unknown system: a Debian system with rpm installed for
    /// its tools has both, and is dpkg's.
    const ALL: &'static [Format] = &[Format::Dpkg, Format::Pacman, Format::Apk, Format::Portage, Format::Rpm];

    /// The format that a package manager's database has; `None` of Nix's, which is not read, and where there is none.
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

    /// The first package manager whose database has this format.
    pub(crate) fn manager(self) -> PackageManager {
        let has_it = |manager: &PackageManager| Format::of_manager(*manager) == Some(self);
        PackageManager::ALL.iter().copied().find(has_it).unwrap_or(PackageManager::ImageBased)
    }

    /// The format of an unknown system's database, by what is there.
    ///
    /// # Errors
    ///
    /// That a folder on the way to one cannot be looked into.
    pub fn of(root: &Root) -> Result<Option<Format>, RootError> {
        for format in Format::ALL.iter().copied() {
            if format.is_there(root)? {
                return Ok(Some(format));
            }
        }
        Ok(None)
    }

    /// Whether the root has a database of this format.
    fn is_there(self, root: &Root) -> Result<bool, RootError> {
        for file in self.reader().files {
            if root.look(Path::new(file))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where its database is, and what reads it.
    fn reader(self) -> FormatReader {
        match self {
            Format::Dpkg => FormatReader { files: dpkg::FILES, read: |root| listed(dpkg::entries(root)?, dpkg::owner) },
            Format::Rpm => FormatReader { files: rpm::FILES, read: |root| Ok(Box::new(rpm::RpmDatabase::of(root)?)) },
            Format::Pacman => {
                FormatReader { files: pacman::FILES, read: |root| listed(pacman::entries(root)?, pacman::owner) }
            }
            Format::Apk => FormatReader { files: apk::FILES, read: |root| listed(apk::entries(root)?, apk::owner) },
            Format::Portage => {
                FormatReader { files: portage::FILES, read: |root| listed(portage::entries(root)?, portage::owner) }
            }
        }
    }
}

/// A format's database in any root.
struct FormatReader {
    /// One of these is there.
    files: &'static [&'static str],
    /// Reads it, or gets ready to ask it.
    read: fn(&Root) -> Result<Box<dyn Answers>, QueryError>,
}

/// The answers of one root's database.
trait Answers: fmt::Debug + Send + Sync {
    /// The package of that name, or those that provide it.
    fn installed(&self, name: &str) -> Result<Vec<Installed>, QueryError>;

    /// The package that owns a file, by any of its paths.
    fn owner(&self, root: &Root, paths: &[String]) -> Result<Option<Installed>, QueryError>;
}

/// A database that is a list of all packages.
#[derive(Debug)]
struct Listed {
    entries: Vec<PackageEntry>,
    owner: Owner,
}

/// Names the package that owns a file, by any of its paths.
type Owner = fn(&Root, &[String]) -> Result<Option<String>, RootError>;

fn listed(entries: Vec<PackageEntry>, owner: Owner) -> Result<Box<dyn Answers>, QueryError> {
    Ok(Box::new(Listed { entries, owner }))
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

    fn owner(&self, root: &Root, paths: &[String]) -> Result<Option<Installed>, QueryError> {
        let owner = (self.owner)(root, paths)?;
        Ok(owner.and_then(|name| self.entries.iter().find(|e| e.name == name)).map(PackageEntry::installed))
    }
}

/// The packages of a root; RPM's are asked for each time, all others are read once.
#[derive(Debug)]
pub struct Packages<'r> {
    root: &'r Root,
    format: Format,
    answers: Box<dyn Answers>,
}

impl<'r> Packages<'r> {
    /// Reads the root's database: that of the package manager which the record of a known system names, and no other
    /// that lies beside it; of an unknown system the one that is there.
    ///
    /// Nothing of the root is run for it.
    ///
    /// # Errors
    ///
    /// That there is none, or it cannot be read or is damaged.
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

    /// The database's format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The package of that name, or those that provide it; none if it is not installed.
    ///
    /// # Errors
    ///
    /// That RPM's database cannot be asked.
    pub fn installed(&self, name: &str) -> Result<Vec<Installed>, QueryError> {
        self.answers.installed(name)
    }

    /// The package that owns a file, by its path or where its links lead.
    ///
    /// # Errors
    ///
    /// That the database cannot be read.
    pub fn owner(&self, path: &Path) -> Result<Option<Installed>, QueryError> {
        self.answers.owner(self.root, &names_of(self.root, path))
    }
}

/// The names under which a package may list a file: its own, where its links lead, and each before and after /usr was merged.
fn names_of(root: &Root, path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut seen = BTreeSet::new();
    let mut add = |path: &Path| {
        let Some(text) = path.to_str().filter(|t| !t.contains('\n')) else { return };
        let other = match text.strip_prefix("/usr") {
            Some(rest) if ["/bin/", "/sbin/", "/lib"].iter().any(|f| rest.starts_with(f)) => Some(rest.to_owned()),
            _ if ["/bin/", "/sbin/", "/lib"].iter().any(|f| text.starts_with(f)) => Some(format!("/usr{text}")),
            _ => None,
        };
        for name in std::iter::once(text.to_owned()).chain(other) {
            if seen.insert(name.clone()) {
                names.push(name);
            }
        }
    };
    add(path);
    // The folder's links first: a package lists /usr/bin/kvm, and that the file is a link itself is its own business.
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

/// A provided name without its version: `libc.so=6`, `awk (= 1)`.
fn without_version(provided: &str) -> &str {
    let end = provided.find(|c: char| c.is_whitespace() || "=<>(:".contains(c)).unwrap_or(provided.len());
    &provided[..end]
}

#[cfg(test)]
mod tests;
