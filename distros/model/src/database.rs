//! All known records: the built-in ones, and those in directories.

mod layers;

use crate::distro::DistroId;
use crate::record::{Record, RecordError};
use crate::suggest::{did_you_mean, nearest};
use crate::verified::{self, VerifiedFile};
use layers::Layers;
use root::{Root, RootError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

// Defines `RECORDS`, `VERDICTS` and `KNOWN_ISSUES`: name in the repository and text of every file of `distros/records`,
// of its directory `verified`, and of `distros/known-issues`.
include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// Records by distro.
#[derive(Debug, Clone, Default)]
pub struct Database {
    records: BTreeMap<DistroId, Record>,
    problems: Vec<RecordError>,
    /// Distros whose own file is broken, by each of their ids: the built-in record must not stand in for a broken file
    /// silently.
    broken: BTreeMap<String, PathBuf>,
}

/// Reasons why the database does not have a record.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// A directory cannot be listed.
    #[error("the records directory {path} cannot be read: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The I/O error.
        source: std::io::Error,
    },
    /// A record file, or a system directory that may contain some, cannot be read.
    #[error("{0}, and may override other records")]
    Unreadable(RootError),
    /// There is no record of that name.
    #[error("unknown distro `{name}`: known are {known}{}", did_you_mean(.nearest))]
    UnknownDistro {
        /// The requested name.
        name: String,
        /// All known names.
        known: String,
        /// The most similar known name.
        nearest: Option<String>,
    },
    /// The record exists but cannot be used.
    #[error("the record of {name} is invalid or cannot be read: run `kata-osinfo lint {path}`")]
    Broken {
        /// The distro.
        name: String,
        /// Its file.
        path: PathBuf,
    },
}

impl DatabaseError {
    /// Whether missing permissions hide which records exist.
    pub fn is_unreadable(&self) -> bool {
        match self {
            DatabaseError::Unreadable(_) => true,
            DatabaseError::Directory { source, .. } => source.kind() == std::io::ErrorKind::PermissionDenied,
            DatabaseError::UnknownDistro { .. } | DatabaseError::Broken { .. } => false,
        }
    }
}

/// Directories of packaged records on a system, the admin's last.
pub const SYSTEM_FOLDERS: [&str; 2] = ["/usr/share/kata-osinfo", "/etc/kata-osinfo"];

impl Database {
    /// Returns the built-in records.
    pub fn embedded() -> Database {
        let mut layers = Layers::default();
        layers.embedded();
        layers.finish()
    }

    /// Loads the built-in records and lays over them the `*.yaml` of each directory; a later directory wins, key by
    /// key.
    ///
    /// Verdicts are read from each directory's `verified/*.yaml` in the same way; a later entry wins. Known issues are
    /// read from `known-issues/*.yaml`; a later one of the same id wins.
    ///
    /// A broken file does not affect the others: see [`Database::problems`].
    ///
    /// # Errors
    ///
    /// If a directory cannot be listed, or a file cannot be read.
    pub fn load(directories: &[PathBuf]) -> Result<Database, DatabaseError> {
        let mut layers = Layers::default();
        layers.embedded();
        for directory in directories {
            layers.directory(directory)?;
        }
        Ok(layers.finish())
    }

    /// Like [`Database::load`], with the root's [`SYSTEM_FOLDERS`] between the built-in records and `directories`.
    ///
    /// # Errors
    ///
    /// If one of `directories` cannot be listed, a system directory exists (or may exist) and cannot be read, or a file
    /// cannot be read. A missing system directory has no records.
    pub fn of_system(root: &Root, directories: &[PathBuf]) -> Result<Database, DatabaseError> {
        let mut layers = Layers::default();
        layers.embedded();
        layers.system(root, directories)?;
        Ok(layers.finish())
    }

    /// Like [`Database::of_system`], without the built-in verdicts: they are most of the text, and a call about one
    /// release needs those of its distro at most ([`add_shipped_verdicts`]).
    ///
    /// # Errors
    ///
    /// The errors of [`Database::of_system`].
    pub fn of_system_without_shipped_verdicts(root: &Root, directories: &[PathBuf]) -> Result<Database, DatabaseError> {
        let mut layers = Layers::default();
        layers.embedded_without_verdicts();
        layers.system(root, directories)?;
        Ok(layers.finish())
    }

    /// Loads only the records of `directories`.
    ///
    /// # Errors
    ///
    /// The errors of [`Database::load`].
    pub fn only(directories: &[PathBuf]) -> Result<Database, DatabaseError> {
        let mut layers = Layers::default();
        for directory in directories {
            layers.directory(directory)?;
        }
        Ok(layers.finish())
    }

    /// Returns the record for a value of os-release's `ID`: the distro's name, or one of the record's `ids`.
    pub fn by_os_release_id(&self, id: &str) -> Option<&Record> {
        let named = self.records.get(id);
        named.or_else(|| self.records.values().find(|r| r.ids.iter().any(|i| i.eq_ignore_ascii_case(id))))
    }

    /// Returns the error for a system with this `ID`, if its record is broken and no other record stands in.
    pub fn broken(&self, id: &str) -> Option<DatabaseError> {
        let path = self.broken.get(id).filter(|_| self.by_os_release_id(id).is_none())?;
        Some(DatabaseError::Broken { name: id.to_owned(), path: path.clone() })
    }

    /// Returns the record of a distro.
    ///
    /// # Errors
    ///
    /// If the distro is unknown, with the known ones, or if its file is broken.
    pub fn record(&self, name: impl AsRef<str>) -> Result<&Record, DatabaseError> {
        let name = name.as_ref();
        if let Some(record) = self.records.get(name) {
            return Ok(record);
        }
        if let Some(path) = self.broken.get(name) {
            return Err(DatabaseError::Broken { name: name.to_owned(), path: path.clone() });
        }
        let known: Vec<&str> = self.records.keys().map(DistroId::as_str).collect();
        Err(DatabaseError::UnknownDistro {
            name: name.to_owned(),
            nearest: nearest(name, known.iter().copied()).map(str::to_owned),
            known: known.join(", "),
        })
    }

    /// Returns all records, by name.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// Returns the files that could not be used, each with its findings.
    pub fn problems(&self) -> &[RecordError] {
        &self.problems
    }
}

/// Lays the verdicts of a record of [`Database::of_system_without_shipped_verdicts`] over the built-in ones of its
/// distro: then it has those of [`Database::of_system`].
pub fn add_shipped_verdicts(record: &mut Record) {
    for (path, text) in VERDICTS {
        // A file has its distro's name, and a test reads all of them.
        let is_of_distro = Path::new(path).file_stem().is_some_and(|stem| stem == record.distro.as_str());
        let Some(mut file) = is_of_distro.then(|| VerifiedFile::parse(Path::new(path), text).ok()).flatten() else {
            continue;
        };
        verified::remove_overridden(&mut file.entries, &record.verified);
        file.entries.append(&mut record.verified);
        record.verified = file.entries;
    }
}

#[cfg(test)]
mod tests;
