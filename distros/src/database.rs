//! All records that are known: those built in, and those of directories.

use crate::record::{Record, RecordError, did_you_mean, nearest};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The records built into the program: name in the repository, text.
const EMBEDDED: &[(&str, &str)] = &[("distros/records/debian.yaml", include_str!("../records/debian.yaml"))];

/// Records by distro.
#[derive(Debug, Clone, Default)]
pub struct Database {
    records: BTreeMap<String, Record>,
    problems: Vec<RecordError>,
    /// Distros whose own file is broken: the built-in record must not stand in for it silently.
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
    #[error("the record of {name} is broken: run `kata-osinfo lint {path}`")]
    Broken {
        /// The distro.
        name: String,
        /// Its file.
        path: PathBuf,
    },
}

impl Database {
    /// The records that are built in.
    pub fn embedded() -> Database {
        let mut database = Database::default();
        for (path, text) in EMBEDDED {
            match Record::parse(Path::new(path), text) {
                Ok(record) => {
                    database.records.insert(record.distro.clone(), record);
                }
                Err(error) => database.problems.push(error),
            }
        }
        database
    }

    /// The built-in records, with those of each directory's `*.yaml` in their place; a later directory wins.
    ///
    /// A broken file does not take the others down: see [`Database::problems`].
    ///
    /// # Errors
    ///
    /// That a directory cannot be listed.
    pub fn load(directories: &[PathBuf]) -> Result<Database, DatabaseError> {
        let mut database = Database::embedded();
        for directory in directories {
            let failed = |source| DatabaseError::Directory { path: directory.clone(), source };
            let mut files = Vec::new();
            for entry in std::fs::read_dir(directory).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                if path.extension().is_some_and(|e| e == "yaml") {
                    files.push(path);
                }
            }
            // The order of a directory is not one.
            files.sort();
            for file in files {
                database.add(&file);
            }
        }
        Ok(database)
    }

    fn add(&mut self, path: &Path) {
        match Record::read(path) {
            Ok(record) => {
                self.broken.remove(&record.distro);
                self.records.insert(record.distro.clone(), record);
            }
            Err(error) => {
                if let Some(stem) = path.file_stem().and_then(|s| s.to_str()) {
                    self.records.remove(stem);
                    self.broken.insert(stem.to_owned(), path.to_owned());
                }
                self.problems.push(error);
            }
        }
    }

    /// The record of a distro.
    ///
    /// # Errors
    ///
    /// That it is not known, with what is, or that its file is broken.
    pub fn record(&self, name: &str) -> Result<&Record, DatabaseError> {
        if let Some(record) = self.records.get(name) {
            return Ok(record);
        }
        if let Some(path) = self.broken.get(name) {
            return Err(DatabaseError::Broken { name: name.to_owned(), path: path.clone() });
        }
        let known: Vec<&str> = self.records.keys().map(String::as_str).collect();
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
mod tests {
    use super::*;

    #[test]
    fn the_embedded_records_are_sound() {
        let database = Database::embedded();
        assert!(database.problems().is_empty(), "{:?}", database.problems());
        assert_eq!(database.records().count(), EMBEDDED.len());
    }

    #[test]
    fn one_bad_file_does_not_take_the_others_down() {
        let dir = tempfile::tempdir().unwrap();
        let fedora = "distro: fedora\nversion: 32\npackage-manager: dnf\narch: x86_64\n";
        std::fs::write(dir.path().join("fedora.yaml"), fedora).unwrap();
        std::fs::write(dir.path().join("debian.yaml"), "distro: [\n").unwrap();
        std::fs::write(dir.path().join("notes.txt"), "not a record").unwrap();
        let database = Database::load(&[dir.path().to_owned()]).unwrap();
        assert_eq!(database.problems().len(), 1);
        assert!(database.record("fedora").is_ok());
        let error = database.record("debian").unwrap_err().to_string();
        assert!(error.contains("is broken"), "{error}");
        let error = database.record("fedra").unwrap_err().to_string();
        assert!(error.ends_with("did you mean `fedora`?"), "{error}");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = Database::load(&[PathBuf::from("/nowhere/at/all")]).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
