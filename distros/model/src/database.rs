//! All records that are known: those built in, and those of directories.

use crate::diagnostic::{Diagnostic, finish};
use crate::record::{Draft, Record, RecordError, read_text, read_text_in};
use crate::suggest::{did_you_mean, nearest};
use crate::verified::{self, VerifiedEntry, VerifiedFile};
use root::Root;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

// `RECORDS` and `VERDICTS`: the name in the repository and the text of every file of `distros/records` and of its folder
// `verified`.
include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

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
    ///
    /// A broken file does not take the others down: see [`Database::problems`].
    ///
    /// # Errors
    ///
    /// That a directory cannot be listed.
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
    /// That one of `directories` cannot be listed; a system folder that is not there has no records.
    pub fn of_system(root: &Root, directories: &[PathBuf]) -> Result<Database, DatabaseError> {
        let mut layers = Layers::default();
        layers.embedded();
        for folder in SYSTEM_FOLDERS {
            layers.system_folder(root, Path::new(folder));
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

/// Files as they are read, the lowest layer first.
#[derive(Default)]
struct Layers {
    drafts: BTreeMap<String, Draft>,
    /// What was proved of each distro, and a file that says so.
    verdicts: BTreeMap<String, (Vec<VerifiedEntry>, PathBuf)>,
    problems: Vec<RecordError>,
    broken: BTreeMap<String, PathBuf>,
}

impl Layers {
    fn embedded(&mut self) {
        for (path, text) in RECORDS {
            self.add(Path::new(path), Draft::parse(Path::new(path), text));
        }
        for (path, text) in VERDICTS {
            match VerifiedFile::parse(Path::new(path), text) {
                Ok(file) => self.prove(Path::new(path), file),
                Err(error) => self.problems.push(error),
            }
        }
    }

    fn directory(&mut self, directory: &Path) -> Result<(), DatabaseError> {
        for file in yaml_files(directory)? {
            self.add(&file, Draft::read(&file));
        }
        let verified = directory.join(verified::FOLDER);
        if verified.is_dir() {
            for file in yaml_files(&verified)? {
                self.add_verdicts(&file, read_text(&file));
            }
        }
        Ok(())
    }

    fn system_folder(&mut self, root: &Root, folder: &Path) {
        for inside in self.yaml_files_in(root, folder) {
            let path = root.shown(&inside);
            self.add(&path, Draft::of_text(&path, read_text_in(root, &inside)));
        }
        for inside in self.yaml_files_in(root, &folder.join(verified::FOLDER)) {
            self.add_verdicts(&root.shown(&inside), read_text_in(root, &inside));
        }
    }

    /// The files of a folder inside a root; one that is not there has none.
    fn yaml_files_in(&mut self, root: &Root, folder: &Path) -> Vec<PathBuf> {
        match root.list(folder) {
            Ok(names) => names.iter().filter(|n| n.ends_with(".yaml")).map(|name| folder.join(name)).collect(),
            Err(error) => {
                self.problems.push(unreadable(&root.shown(folder), &error.to_string()));
                Vec::new()
            }
        }
    }

    /// A file of verdicts that is not built in: of it is kept what a harness can have written.
    ///
    /// What is wrong with it costs its own verdicts and nothing else.
    fn add_verdicts(&mut self, path: &Path, text: Result<String, Box<Diagnostic>>) {
        let text = match text {
            Ok(text) => text,
            Err(found) => return self.problems.push(RecordError::unread(path, *found)),
        };
        match VerifiedFile::parse(path, &text) {
            Ok(mut file) => {
                self.problems.extend(file.without_forged(path, &text));
                self.prove(path, file);
            }
            Err(error) => self.problems.push(error),
        }
    }

    /// Verdicts over those of the layers below, entry by entry.
    fn prove(&mut self, path: &Path, mut file: VerifiedFile) {
        let (below, from) = self.verdicts.entry(file.distro).or_default();
        below.retain(|old| !file.entries.iter().any(|new| new.key() == old.key()));
        below.append(&mut file.entries);
        path.clone_into(from);
    }

    fn add(&mut self, path: &Path, draft: Result<Draft, RecordError>) {
        match draft {
            Ok(draft) => {
                let draft = match self.drafts.remove(&draft.distro) {
                    Some(below) => below.under(draft),
                    None => draft,
                };
                self.drafts.insert(draft.distro.clone(), draft);
            }
            Err(error) => {
                if let Some(stem) = path.file_stem().and_then(|s| s.to_str()) {
                    self.broken.insert(stem.to_owned(), path.to_owned());
                }
                self.problems.push(error);
            }
        }
    }

    fn finish(mut self) -> Database {
        let mut database = Database::default();
        for (name, draft) in &self.drafts {
            if self.broken.contains_key(name) {
                continue;
            }
            let whole = self.derived(draft, 0).and_then(Draft::complete);
            match whole {
                Ok(mut record) => {
                    record.verified = self.verdicts.remove(name).map(|(entries, _)| entries).unwrap_or_default();
                    database.records.insert(name.clone(), record);
                }
                Err(error) => {
                    database.broken.insert(name.clone(), error.path.clone());
                    database.problems.push(error);
                }
            }
        }
        for (name, (_, path)) in self.verdicts {
            // Of a broken record it is told already.
            if !database.broken.contains_key(&name) && !self.broken.contains_key(&name) {
                let message = format!("there is no record of `{name}`, of which this file has verdicts");
                database.problems.push(unreadable(&path, &message));
            }
        }
        database.broken.append(&mut self.broken);
        self.problems.append(&mut database.problems);
        database.problems = self.problems;
        database
    }

    /// The draft over the records of the distros that it derives from.
    fn derived(&self, draft: &Draft, depth: usize) -> Result<Draft, RecordError> {
        let Some(name) = &draft.derives_from else { return Ok(draft.clone()) };
        let failed = |message: String| {
            let source = draft.sources.last();
            let path = source.map(|s| s.path.clone()).unwrap_or_default();
            let text = source.map(|s| s.text.clone()).unwrap_or_default();
            let at = text.find("derives-from").unwrap_or_default();
            let found = Diagnostic::error("derives-from", &text, at..at + "derives-from".len(), message);
            RecordError { diagnostics: finish(vec![found], &text, &path.display().to_string()), path, text }
        };
        if depth > 4 {
            return Err(failed(format!("`{}` derives from itself, or through too many distros", draft.distro)));
        }
        let Some(parent) = self.drafts.get(name).filter(|_| !self.broken.contains_key(name)) else {
            return Err(failed(format!(
                "`{}` derives from `{name}`, of which there is no usable record",
                draft.distro
            )));
        };
        Ok(self.derived(parent, depth + 1)?.parent_of(draft.clone()))
    }
}

/// The `*.yaml` of a directory, sorted: the order of a directory is not one.
fn yaml_files(directory: &Path) -> Result<Vec<PathBuf>, DatabaseError> {
    let failed = |source| DatabaseError::Directory { path: directory.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|e| e == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn unreadable(path: &Path, message: &str) -> RecordError {
    let found = Diagnostic::error("unreadable", "", 0..0, message);
    let diagnostics = finish(vec![found], "", &path.display().to_string());
    RecordError { path: path.to_owned(), text: String::new(), diagnostics }
}

#[cfg(test)]
mod tests;
