//! Checks whether a written or planned handler takes effect as intended, without changing anything else.

use super::super::Problem;
use super::super::runtime_files::NAME;
use super::super::state::FileChange;
use super::super::theirs::ForeignValue;
use super::files::{Files, Replaced};
use super::handler::RUNC;
use super::loaded::{File, GRPC, LoadError, Loaded, RUNTIME, join, read, working_folder};
use super::loading::Loading;
use root::Root;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// A written handler, which is checked again once everything is read.
#[derive(Debug, Clone)]
pub(in super::super) struct ContainerdHandler {
    pub(super) main: PathBuf,
    /// Texts that stand in for files, for a distribution that joins drop-ins itself.
    pub(super) instead: Replaced,
    pub(super) loadings: Vec<Loading>,
    pub(super) handler: Map<String, Value>,
    /// Values of an existing handler of this name that differ from the planned ones.
    pub(in super::super) foreign_values: Vec<ForeignValue>,
}

/// The effect of one way of writing the handler.
pub(super) enum Effect {
    /// The handler is as intended, and nothing else changes.
    Good,
    /// The handler is not as intended.
    NotEffective,
    /// Another setting changes.
    Harm(String),
}

impl ContainerdHandler {
    /// Compares the result of changed files with `now`, which was loaded before.
    pub(super) fn outcome(
        &self,
        root: &Root,
        replaced: &Replaced,
        changes: &[FileChange],
        now: &[(Loading, Loaded)],
    ) -> Effect {
        let mut planned = replaced.clone();
        planned.extend(changes.iter().map(|c| (c.path.clone(), Some(c.after.clone()))));
        let mut outcome = Effect::Good;
        for (loading, before) in now {
            let (_, after) = match loaded(root, &planned, &self.main, *loading) {
                Ok(loaded) => loaded,
                Err(why) => return Effect::Harm(format!("containerd would not start: {why}")),
            };
            let others = |l: &Loaded| {
                let mut others = l.runtimes.clone();
                others.remove(NAME);
                others
            };
            let mut remaining = others(&after);
            // The default runtime may be written out explicitly.
            if !before.runtimes.contains_key("runc") && remaining.get("runc") == Some(&json!({ "runtime_type": RUNC }))
            {
                remaining.remove("runc");
            }
            if others(before) != remaining {
                let why = if loading.replaces() {
                    ", because a later file's section takes the place of this one's"
                } else {
                    ""
                };
                return Effect::Harm(format!("other handlers would change{why}"));
            }
            if before.rest != after.rest {
                return Effect::Harm("other settings of the CRI plugin would change".to_owned());
            }
            if !self.differences(&after).is_empty() {
                outcome = Effect::NotEffective;
            }
        }
        outcome
    }

    /// Returns the handler's keys that are not as intended, each with the wanted value and the one found.
    fn differences(&self, loaded: &Loaded) -> Vec<(Vec<String>, Value, Option<Value>)> {
        let none = Map::new();
        let found = loaded.runtimes.get(NAME).and_then(Value::as_object).unwrap_or(&none);
        let mut all = Vec::new();
        for (key, expected) in &self.handler {
            match expected {
                Value::Object(options) => {
                    for (name, expected) in options {
                        let found = found.get(key).and_then(|o| o.get(name));
                        all.push((vec![key.clone(), name.clone()], expected.clone(), found.cloned()));
                    }
                }
                _ => all.push((vec![key.clone()], expected.clone(), found.get(key).cloned())),
            }
        }
        all.retain(|(_, expected, found)| found.as_ref() != Some(expected));
        all
    }

    /// Returns a message if it is not certain where containerd looks for imported files.
    pub(in super::super) fn working_folder(&self, root: &Root, replaced: &Replaced) -> Option<String> {
        let files = Files { root, replaced };
        let read = |loading: &Loading| read(&files, &self.main, *loading).ok();
        self.loadings.iter().filter_map(read).find_map(|files| working_folder(&self.loadings, &files))
    }

    /// Returns why the handler would be missing or not as intended.
    pub(in super::super) fn problems(&self, root: &Root, replaced: &Replaced) -> Vec<Problem> {
        let mut replaced = replaced.clone();
        replaced.extend(self.instead.clone());
        let mut problems: Vec<Problem> = Vec::new();
        let mut report = |file: &Path, line, message: String| {
            let problem = Problem { file: file.to_owned(), line, message };
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        };
        for loading in &self.loadings {
            let (files, loaded) = match loaded(root, &replaced, &self.main, *loading) {
                Ok(loaded) => loaded,
                Err(why) => {
                    report(&self.main, None, format!("containerd would not start: {why}"));
                    continue;
                }
            };
            if let Some(Problem { file, line, message }) = disabled(&files, &loaded) {
                report(&file, line, message);
            }
            if let Some(Problem { file, line, message }) = of_first_form(&files, *loading) {
                report(&file, line, message);
                continue;
            }
            for (key, expected, found) in self.differences(&loaded) {
                let keys: Vec<&str> = key.iter().map(String::as_str).collect();
                let (file, line) = set_by(&files, &keys).unwrap_or((self.main.as_path(), None));
                let found = found.map_or_else(|| "not set".to_owned(), |v| v.to_string());
                report(file, line, format!("handler {NAME}: {} is {found}, wanted {expected}", key.join(".")));
            }
        }
        problems
    }
}

/// Returns the files that containerd reads, and the merged result.
///
/// # Errors
///
/// The reason why containerd would not start.
pub(super) fn loaded(
    root: &Root,
    replaced: &Replaced,
    main: &Path,
    loading: Loading,
) -> Result<(Vec<File>, Loaded), LoadError> {
    let files = read(&Files { root, replaced }, main, loading)?;
    let loaded = join(&files, loading)?;
    Ok((files, loaded))
}

/// Returns the last file that sets a key of the handler, with the line.
pub(super) fn set_by<'a>(files: &'a [File], key: &[&str]) -> Option<(&'a Path, Option<usize>)> {
    files.iter().rev().find_map(|file| {
        [RUNTIME, GRPC].iter().find_map(|plugin| {
            let path = [&["plugins", plugin, "containerd", "runtimes", NAME], key].concat();
            Some((file.path.as_path(), Some(file.line(&path)?)))
        })
    })
}

/// Returns a problem if a file disables the CRI plugin.
pub(super) fn disabled(files: &[File], loaded: &Loaded) -> Option<Problem> {
    let file = loaded.disabled.as_ref()?;
    let line = files.iter().find(|f| f.path == *file).and_then(|f| f.line(&["disabled_plugins"]));
    let message = "disabled_plugins contains containerd's CRI plugin: no handler has an effect until it is removed from that list";
    Some(Problem { file: file.clone(), line, message: message.to_owned() })
}

/// Returns a problem if a file makes containerd before 2.0 read all files by version 1, which has no section for the
/// handler.
pub(super) fn of_first_form(files: &[File], loading: Loading) -> Option<Problem> {
    let file =
        files.iter().rev().find(|file| file.version != 0).filter(|file| loading.replaces() && file.version == 1)?;
    let message = format!(
        "it has version 1, and no file that is read later states a version: containerd before 2.0 then reads all files as version 1, without the handler {NAME}: rewrite the file in version 2, or do not import it"
    );
    Some(Problem { file: file.path.clone(), line: file.line(&["version"]), message })
}
