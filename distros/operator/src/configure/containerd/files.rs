//! The files that a containerd reads, some of them as they are to be.

use root::{Root, RootError};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Files by their paths with links followed, as they are to be; `None` is a file that goes.
pub(in super::super) type Replaced = BTreeMap<PathBuf, Option<String>>;

/// The files of a root, some of them as they are to be.
#[derive(Clone, Copy)]
pub(super) struct Files<'a> {
    pub(super) root: &'a Root,
    pub(super) replaced: &'a Replaced,
}

impl Files<'_> {
    /// A file's text; `None` where it is not there.
    pub(super) fn text(&self, path: &Path) -> Result<Option<String>, RootError> {
        let resolved = self.root.resolve_new(path)?;
        match self.replaced.get(&resolved) {
            Some(text) => Ok(text.clone()),
            None => self.root.utf8_if_any(path),
        }
    }

    /// The names in a folder, sorted; none where there is no folder.
    ///
    /// # Errors
    ///
    /// That it cannot be listed.
    pub(super) fn names(&self, folder: &Path) -> Result<Vec<String>, RootError> {
        let resolved = match self.root.resolve_new(folder) {
            Err(error) if !error.is_unreadable() => return Ok(Vec::new()),
            resolved => resolved?,
        };
        let mut names: BTreeSet<String> = self.root.list_if_any(folder)?.into_iter().collect();
        for (path, text) in self.replaced.iter().filter(|(p, _)| p.parent() == Some(&resolved)) {
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
            match text {
                Some(_) => names.insert(name.to_owned()),
                None => names.remove(name),
            };
        }
        Ok(names.into_iter().collect())
    }

    /// What cannot be looked at counts as there: whoever reads it is told why it cannot be read.
    pub(super) fn is_there(&self, path: &Path) -> bool {
        let is_none_or_a_file = |path| self.root.look(path).is_ok_and(|found| found.is_none_or(|m| m.is_file()));
        self.text(path).is_ok_and(|t| t.is_some()) || !is_none_or_a_file(path)
    }
}
