//! Reading of record and verdict files, layer upon layer.

use super::{Database, DatabaseError, KNOWN_ISSUES, RECORDS, SYSTEM_FOLDERS, VERDICTS};
use crate::diagnostic::{Diagnostic, UNREADABLE, finish};
use crate::distro::DistroId;
use crate::known_issues::{self, KnownIssue, KnownIssuesFile};
use crate::record::{Draft, RecordError};
use crate::source::{self, bytes, bytes_in};
use crate::verified::{self, VerifiedEntry, VerifiedFile};
use root::{Root, RootError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The files read so far, lowest layer first.
#[derive(Default)]
pub(super) struct Layers {
    drafts: BTreeMap<DistroId, Draft>,
    /// The verdicts on each distro, and the last file that has some.
    verdicts: BTreeMap<DistroId, (Vec<VerifiedEntry>, PathBuf)>,
    /// The known issues of each distro, and the last file that has some.
    issues: BTreeMap<DistroId, (Vec<KnownIssue>, PathBuf)>,
    problems: Vec<RecordError>,
    broken: BTreeMap<String, PathBuf>,
}

impl Layers {
    pub(super) fn embedded(&mut self) {
        self.embedded_without_verdicts();
        for (path, text) in VERDICTS {
            match VerifiedFile::parse(Path::new(path), text) {
                Ok(file) => self.add_entries(Path::new(path), file),
                Err(error) => self.problems.push(error),
            }
        }
    }

    pub(super) fn embedded_without_verdicts(&mut self) {
        for (path, text) in RECORDS {
            self.add(Path::new(path), Draft::parse(Path::new(path), text));
        }
        for (path, text) in KNOWN_ISSUES {
            self.add_issues(Path::new(path), Ok((*text).to_owned()));
        }
    }

    /// Adds the layers of a system: its own directories, and the caller's.
    pub(super) fn system(&mut self, root: &Root, directories: &[PathBuf]) -> Result<(), DatabaseError> {
        for folder in SYSTEM_FOLDERS {
            self.system_folder(root, Path::new(folder))?;
        }
        for directory in directories {
            self.directory(directory)?;
        }
        Ok(())
    }

    pub(super) fn directory(&mut self, directory: &Path) -> Result<(), DatabaseError> {
        for file in yaml_files(directory)? {
            let draft = Draft::of_text(&file, text_of(&file, bytes(&file))?);
            self.add(&file, draft.map(Draft::of_an_admin));
        }
        for file in yaml_files_below(directory, verified::FOLDER)? {
            self.add_verdicts(&file, text_of(&file, bytes(&file))?);
        }
        for file in yaml_files_below(directory, known_issues::FOLDER)? {
            self.add_issues(&file, text_of(&file, bytes(&file))?);
        }
        Ok(())
    }

    fn system_folder(&mut self, root: &Root, folder: &Path) -> Result<(), DatabaseError> {
        let is_packaged = folder == Path::new(SYSTEM_FOLDERS[0]);
        for inside in self.yaml_files_in(root, folder)? {
            let path = root.shown(&inside);
            let draft = Draft::of_text(&path, text_of(&path, bytes_in(root, &inside))?);
            self.add(&path, if is_packaged { draft } else { draft.map(Draft::of_an_admin) });
        }
        for inside in self.yaml_files_in(root, &folder.join(verified::FOLDER))? {
            let path = root.shown(&inside);
            self.add_verdicts(&path, text_of(&path, bytes_in(root, &inside))?);
        }
        for inside in self.yaml_files_in(root, &folder.join(known_issues::FOLDER))? {
            let path = root.shown(&inside);
            self.add_issues(&path, text_of(&path, bytes_in(root, &inside))?);
        }
        Ok(())
    }

    /// Returns the YAML files of a directory in a root; a missing directory has none.
    ///
    /// Anything else in the directory's place is reported as a problem; an unreadable directory is an error.
    fn yaml_files_in(&mut self, root: &Root, folder: &Path) -> Result<Vec<PathBuf>, DatabaseError> {
        match root.list(folder) {
            Ok(names) => Ok(names.iter().filter(|n| n.ends_with(".yaml")).map(|name| folder.join(name)).collect()),
            Err(error) if error.is_unreadable() => Err(DatabaseError::Unreadable(error)),
            Err(error) => {
                self.problems.push(unreadable(&root.shown(folder), &error.to_string()));
                Ok(Vec::new())
            }
        }
    }

    /// Adds a verdict file that is not built in, without the entries that no harness can have written.
    ///
    /// A mistake in the file costs only its own verdicts.
    fn add_verdicts(&mut self, path: &Path, text: Result<String, Box<Diagnostic>>) {
        let text = match text {
            Ok(text) => text,
            Err(found) => return self.problems.push(RecordError::unread(path, *found)),
        };
        match VerifiedFile::parse(path, &text) {
            Ok(mut file) => {
                self.problems.extend(file.without_forged(path, &text));
                self.add_entries(path, file);
            }
            Err(error) => self.problems.push(error),
        }
    }

    /// Lays verdicts over those of the layers below, capability by capability.
    fn add_entries(&mut self, path: &Path, mut file: VerifiedFile) {
        let (below, from) = self.verdicts.entry(file.distro).or_default();
        verified::remove_overridden(below, &file.entries);
        below.append(&mut file.entries);
        path.clone_into(from);
    }

    /// Lays known issues over those of the layers below, entry by entry; a mistake in the file costs only that file.
    fn add_issues(&mut self, path: &Path, text: Result<String, Box<Diagnostic>>) {
        let text = match text {
            Ok(text) => text,
            Err(found) => return self.problems.push(RecordError::unread(path, *found)),
        };
        match KnownIssuesFile::parse(path, &text) {
            Ok(mut file) => {
                let (below, from) = self.issues.entry(file.distro).or_default();
                below.retain(|old| !file.issues.iter().any(|new| new.id == old.id));
                below.append(&mut file.issues);
                path.clone_into(from);
            }
            Err(error) => self.problems.push(error),
        }
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

    pub(super) fn finish(mut self) -> Database {
        let mut database = Database::default();
        for (name, draft) in &self.drafts {
            if self.broken.contains_key(name.as_str()) {
                continue;
            }
            let whole = self.derived(draft, 0).and_then(Draft::complete);
            match whole {
                Ok(mut record) => {
                    record.verified = self.verdicts.remove(name).map(|(entries, _)| entries).unwrap_or_default();
                    record.known_issues = self.issues.remove(name).map(|(issues, _)| issues).unwrap_or_default();
                    database.records.insert(name.clone(), record);
                }
                Err(error) => {
                    database.broken.insert(name.to_string(), error.path.clone());
                    database.problems.push(error);
                }
            }
        }
        let verdicts = self.verdicts.into_iter().map(|(name, (_, path))| (name, path, "verdicts"));
        let issues = self.issues.into_iter().map(|(name, (_, path))| (name, path, "known issues"));
        for (name, path, what) in verdicts.chain(issues) {
            // A broken record has been reported already.
            if !database.broken.contains_key(name.as_str()) && !self.broken.contains_key(name.as_str()) {
                let message = format!("this file has {what} of `{name}`, but there is no record of that distro");
                database.problems.push(unreadable(&path, &message));
            }
        }
        database.broken.append(&mut self.broken);
        // A lower layer may state the other ids of the distro's systems.
        for (name, draft) in &self.drafts {
            let Some(path) = database.broken.get(name.as_str()).cloned() else { continue };
            for id in &draft.ids {
                database.broken.entry(id.to_ascii_lowercase()).or_insert_with(|| path.clone());
            }
        }
        self.problems.append(&mut database.problems);
        database.problems = self.problems;
        database
    }

    /// Lays the draft over the records of the distros that it derives from.
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
        let Some(parent) = self.drafts.get(name).filter(|_| !self.broken.contains_key(name.as_str())) else {
            return Err(failed(format!("`{}` derives from `{name}`, which has no usable record", draft.distro)));
        };
        Ok(self.derived(parent, depth + 1)?.parent_of(draft.clone()))
    }
}

/// Returns the text of a file, or the finding about it. An unreadable file is an error, because the distro it belongs
/// to is unknown.
fn text_of(path: &Path, bytes: Result<Vec<u8>, RootError>) -> Result<Result<String, Box<Diagnostic>>, DatabaseError> {
    match bytes {
        Err(error) if error.is_unreadable() => Err(DatabaseError::Unreadable(error)),
        bytes => Ok(source::text(path, bytes)),
    }
}

/// Returns the `*.yaml` of a subdirectory; a missing one has none.
fn yaml_files_below(directory: &Path, folder: &str) -> Result<Vec<PathBuf>, DatabaseError> {
    let folder = directory.join(folder);
    match std::fs::metadata(&folder) {
        Err(source) if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(DatabaseError::Directory { path: folder, source })
        }
        Ok(found) if found.is_dir() => yaml_files(&folder),
        Ok(_) | Err(_) => Ok(Vec::new()),
    }
}

/// Returns the `*.yaml` of a directory, sorted, because directories have no order of their own.
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
    let found = Diagnostic::error(UNREADABLE, "", 0..0, message);
    let diagnostics = finish(vec![found], "", &path.display().to_string());
    RecordError { path: path.to_owned(), text: String::new(), diagnostics }
}
