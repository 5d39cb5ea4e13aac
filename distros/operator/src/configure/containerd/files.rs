//! The files that a containerd reads, with planned changes applied.

use root::{Root, RootError};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Planned texts of files by their paths, with links resolved; `None` is a file that is removed.
pub(in super::super) type Replaced = BTreeMap<PathBuf, Option<String>>;

/// The files of a root, with planned changes applied.
#[derive(Clone, Copy)]
pub(super) struct Files<'a> {
    pub(super) root: &'a Root,
    pub(super) replaced: &'a Replaced,
}

impl Files<'_> {
    /// Returns a file's text; `None` if it does not exist.
    pub(super) fn text(&self, path: &Path) -> Result<Option<String>, RootError> {
        let resolved = self.root.resolve_new(path)?;
        match self.replaced.get(&resolved) {
            Some(text) => Ok(text.clone()),
            None => self.root.utf8_if_any(path),
        }
    }

    /// Returns the names in a directory, sorted; none if the directory does not exist.
    ///
    /// # Errors
    ///
    /// The directory cannot be listed.
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

    /// Returns whether a path exists; an unreadable file does, so that its reader reports the error.
    pub(super) fn is_there(&self, path: &Path) -> bool {
        match self.text(path) {
            Ok(text) => text.is_some(),
            Err(_) => !matches!(self.root.look(path), Ok(None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use root::MAX_CONFIGURATION;
    use std::fs::File;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_with_unreadable_content_counts_as_present() {
        let dir = tempfile::tempdir().unwrap();
        let path_of = |name: &str| dir.path().join(name);
        std::fs::write(path_of("sound"), "version = 3\n").unwrap();
        std::fs::write(path_of("junk"), [0xff]).unwrap();
        File::create(path_of("huge")).unwrap().set_len(MAX_CONFIGURATION + 1).unwrap();
        std::fs::create_dir(path_of("folder")).unwrap();
        symlink("circle", path_of("circle")).unwrap();
        let root = Root::new(dir.path()).unwrap();
        let replaced = Replaced::from([("/goes".into(), None), ("/comes".into(), Some(String::new()))]);
        std::fs::write(path_of("goes"), "").unwrap();
        let files = Files { root: &root, replaced: &replaced };
        let present = ["sound", "junk", "huge", "folder", "comes"];
        for name in present.into_iter().chain(["none", "circle", "goes"]) {
            assert_eq!(files.is_there(&Path::new("/").join(name)), present.contains(&name), "{name}");
        }
    }
}
