//! From a configuration to the files that make Kata have it, and to the proof that it will.

use super::change::{self, Change, ChangeError, State, original};
use super::edit::{DROP_IN, EditError, drop_in, edited};
use super::{
    Configuration, Handler, HandlerError, Located, Merged, NotEffective, Problem, Setting, containerd, crio,
    reads_drop_ins, settings, shim,
};
use crate::root::{Root, RootError};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A handler to be written, and what is known of its container manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandlerChoice {
    /// Which container manager.
    pub handler: Handler,
    /// containerd's major and minor version, where known.
    pub version: Option<(u32, u32)>,
}

/// Files that are ready to be written.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Kata's keys.
    pub settings: Vec<Setting>,
    /// Files, each with its text before this program ever touched it and its new one.
    pub changes: Vec<Change>,
    /// Keys that would not take effect.
    pub not_effective: Vec<NotEffective>,
    /// What else would keep Kata from starting.
    pub problems: Vec<Problem>,
    /// What is configured now.
    old: Option<State>,
    new: State,
}

/// Why nothing can be written.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Kata's configuration cannot be read.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The state, or a file that was changed.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The container manager.
    #[error(transparent)]
    Handler(#[from] HandlerError),
    /// Kata's configuration cannot be edited.
    #[error("{path}: {source}")]
    Edit {
        /// The file.
        path: PathBuf,
        /// Why.
        source: EditError,
    },
    /// It is for another VMM.
    #[error("{0} has no [hypervisor.qemu]: give Kata's configuration for QEMU with --kata-config")]
    NotQemu(PathBuf),
}

/// Works out which files to write.
///
/// # Errors
///
/// That the configuration Kata reads is not one for QEMU or cannot be read, and what a handler lacks.
pub fn prepare(
    root: &Root,
    located: &Located,
    configuration: &Configuration,
    handler: Option<HandlerChoice>,
) -> Result<Prepared, PrepareError> {
    let old = change::state(root)?;
    let settings = settings(configuration);
    let base = original(root, old.as_ref(), &located.path)?.unwrap_or_default();
    let edit = |source| PrepareError::Edit { path: located.path.clone(), source };
    let document: toml_edit::DocumentMut = base.parse().map_err(|e| edit(EditError::Syntax(e)))?;
    if document.get("hypervisor").and_then(|h| h.get("qemu")).is_none() {
        return Err(PrepareError::NotQemu(located.path.clone()));
    }
    let mut changes = Vec::new();
    if reads_drop_ins(configuration.runtime, configuration.kata) {
        let path = located.drop_ins().join(DROP_IN);
        let path = root.resolve_new(&path)?;
        let before = original(root, old.as_ref(), &path)?;
        changes.push(Change { path, before, after: drop_in(configuration, &settings) });
    } else {
        let after = edited(&base, &settings).map_err(edit)?;
        changes.push(Change { path: located.path.clone(), before: Some(base), after });
    }
    if let Some(choice) = handler {
        let shim = shim(root, configuration.runtime)?;
        changes.extend(match choice.handler {
            Handler::Containerd => containerd(root, old.as_ref(), &shim, &located.named, choice.version)?,
            Handler::Crio => crio(root, old.as_ref(), &shim, &located.named)?,
        });
    }
    let new = State {
        version: 1,
        profile: configuration.profile.clone(),
        production: configuration.production,
        notes: configuration.notes.iter().map(|n| format!("{}: {}", n.about, n.text)).collect(),
        files: changes.clone(),
        directories: Vec::new(),
    };
    // Files that were written before and no longer are go back to what they were.
    let dropped = old.iter().flat_map(|s| &s.files).map(|f| (f.path.clone(), f.before.clone()));
    let mut replaced: BTreeMap<PathBuf, Option<String>> = dropped.collect();
    replaced.extend(changes.iter().map(|c| (c.path.clone(), Some(c.after.clone()))));
    let merged = Merged::read_with(root, located, configuration.runtime, configuration.kata, &replaced)?;
    Ok(Prepared {
        not_effective: merged.not_effective(&settings),
        problems: problems(root, &merged),
        settings,
        changes,
        old,
        new,
    })
}

impl Prepared {
    /// The differences to what stands there now, as unified diffs; empty where nothing would change.
    ///
    /// # Errors
    ///
    /// That a file cannot be read.
    pub fn diff(&self, root: &Root) -> Result<String, PrepareError> {
        let mut text = String::new();
        let dropped = self.old.iter().flat_map(|s| &s.files).filter(|f| !self.changes.iter().any(|c| c.path == f.path));
        for file in dropped {
            let after = file.before.clone().unwrap_or_default();
            text += &Change { path: file.path.clone(), before: root.utf8_if_any(&file.path)?, after }.diff();
        }
        for change in &self.changes {
            text += &Change { before: root.utf8_if_any(&change.path)?, ..change.clone() }.diff();
        }
        Ok(text)
    }

    /// Writes the files, then reads everything again as Kata would.
    ///
    /// Returns the keys that did not take effect and what else is wrong.
    ///
    /// # Errors
    ///
    /// What could not be written; it can be taken back.
    pub fn write(
        self,
        root: &Root,
        located: &Located,
        configuration: &Configuration,
    ) -> Result<(Vec<NotEffective>, Vec<Problem>), PrepareError> {
        change::apply(root, self.old.as_ref(), self.new)?;
        let merged = Merged::read(root, located, configuration.runtime, configuration.kata)?;
        Ok((merged.not_effective(&self.settings), problems(root, &merged)))
    }
}

fn problems(root: &Root, merged: &Merged) -> Vec<Problem> {
    merged.problems().iter().cloned().chain(merged.missing_files(root)).collect()
}
