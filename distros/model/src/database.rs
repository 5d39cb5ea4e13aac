//! All records that are known: those built in, and those of directories.

mod layers;

use crate::distro::DistroId;
use crate::record::{Record, RecordError};
use crate::suggest::{did_you_mean, nearest};
use layers::Layers;
use root::{Root, RootError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

// `RECORDS`, `VERDICTS` and `KNOWN_ISSUES`: the name in the repository and the text of every file of `distros/records`,
// of its folder `verified` and of `distros/known-issues`.
include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// Records by distro.
#[derive(Debug, Clone, Default)]
pub struct Database {
    records: BTreeMap<DistroId, Record>,
    problems: Vec<RecordError>,
    /// Distros whose own file is broken, by each of their ids: the built-in record must not stand in for it silently.
    broken: BTreeMap<String, PathBuf>,
}

/// Why the database has no such record.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// A directory cannot be listed.
    #[error("the records directory {path} cannot be read: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of records, or a folder of the system that may have some, cannot be read.
    #[error("{0}, and may say something else")]
    Unreadable(RootError),
    /// No record of that name.
    #[error("unknown distro `{name}`: known are {known}{}", did_you_mean(.nearest))]
    UnknownDistro {
        /// What was asked for.
        name: String,
        /// All that are known.
        known: String,
        /// The known name most like it.
        nearest: Option<String>,
    },
    /// The record exists but cannot be used.
    #[error("the record of {name} is broken, or cannot be read: run `kata-osinfo lint {path}`")]
    Broken {
        /// The distro.
        name: String,
        /// Its file.
        path: PathBuf,
    },
}

impl DatabaseError {
    /// Whether nobody can tell which records there are, because rights are missing.
    pub fn is_unreadable(&self) -> bool {
        match self {
            DatabaseError::Unreadable(_) => true,
            DatabaseError::Directory { source, .. } => source.kind() == std::io::ErrorKind::PermissionDenied,
            DatabaseError::UnknownDistro { .. } | DatabaseError::Broken { .. } => false,
        }
    }
}

/// Where the packaged records of a system are, the admin's last.
pub const SYSTEM_FOLDERS: [&str; 2] = ["/usr/share/kata-osinfo", "/etc/kata-osinfo"];

impl Database {
    /// The records that are built in.
    pub fn embedded() -> Database {
        let mut layers = Layers::default();
        layers.embedded();
        layers.finish()
    }

    /// The built-in records and, over them, those of each directory's `*.yaml`; a later directory wins, key by key.
    ///
    /// What was proved is read from each directory's `verified/*.yaml` in the same way; a later entry wins.
    /// Known issues are read from its `known-issues/*.yaml`; a later one of the same id wins.
    ///
    /// A broken file does not take the others down: see [`Database::problems`].
    ///
    /// # Errors
    ///
    /// That a directory cannot be listed, or a file cannot be read.
    pub fn load(directories: &[PathBuf]) -> Result<Database, DatabaseError> {
        let mut layers = Layers::default();
        layers.embedded();
        for directory in directories {
            layers.directory(directory)?;
        }
        Ok(layers.finish())
    }

    /// As [`Database::load`], with the root's [`SYSTEM_FOLDERS`] between the built-in records and `directories`.
    ///
    /// # Errors
    ///
    /// That one of `directories` cannot be listed, that a system folder may be there and cannot be read (one that is not
    /// there has no records), or that a file cannot be read.
    pub fn of_system(root: &Root, directories: &[PathBuf]) -> Result<Database, DatabaseError> {
        let mut layers = Layers::default();
        layers.embedded();
        for folder in SYSTEM_FOLDERS {
            layers.system_folder(root, Path::new(folder))?;
        }
        for directory in directories {
            layers.directory(directory)?;
        }
        Ok(layers.finish())
    }

    /// The records of `directories` alone.
    ///
    /// # Errors
    ///
    /// Those of [`Database::load`].
    pub fn only(directories: &[PathBuf]) -> Result<Database, DatabaseError> {
        let mut layers = Layers::default();
        for directory in directories {
            layers.directory(directory)?;
        }
        Ok(layers.finish())
    }

    /// The record that has `id` among the values of os-release's `ID` that mean it.
    pub fn by_os_release_id(&self, id: &str) -> Option<&Record> {
        let named = self.records.get(id);
        named.or_else(|| self.records.values().find(|r| r.ids.iter().any(|i| i.eq_ignore_ascii_case(id))))
    }

    /// That the record of a system of this `ID` cannot be used, where there is one and no other stands for it.
    pub fn broken(&self, id: &str) -> Option<DatabaseError> {
        let path = self.broken.get(id).filter(|_| self.by_os_release_id(id).is_none())?;
        Some(DatabaseError::Broken { name: id.to_owned(), path: path.clone() })
    }

    /// The record of a distro.
    ///
    /// # Errors
    ///
    /// That it is not known, with what is, or that its file is broken.
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

    /// All records, by name.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// Files that could not be used, each with what is wrong.
    pub fn problems(&self) -> &[RecordError] {
        &self.problems
    }
}

#[cfg(test)]
mod tests;
