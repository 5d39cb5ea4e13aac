//! Rollback of a call that fails in the middle, because half of its changes must not stay in effect.

use super::state::{ChangeError, MAX_STATE, STATE};
use root::{FileContents, MAX_CONFIGURATION, Root, RootError, may_be_half};
use std::path::{Path, PathBuf};

/// A file that was written, or is being written.
pub(super) struct Written {
    path: PathBuf,
    before: Option<FileContents>,
    after: Option<Vec<u8>>,
}

impl Written {
    /// Records that a file is about to be replaced; `None` is no file.
    pub(super) fn over(path: &Path, before: Option<&FileContents>, after: Option<&str>) -> Written {
        let after = after.map(|text| text.as_bytes().to_vec());
        Written { path: path.to_owned(), before: before.cloned(), after }
    }

    /// Records that a text is about to be written at a path.
    ///
    /// # Errors
    ///
    /// The current file cannot be read.
    pub(super) fn new(root: &Root, path: &Path, text: &str) -> Result<Written, RootError> {
        let before = root.pin(path)?.map(|place| place.read(MAX_CONFIGURATION)).transpose()?.flatten();
        Ok(Written::over(path, before.as_ref(), Some(text)))
    }

    /// Restores the old content; returns whether the file has the old content now, or always had it.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written.
    fn undo(&self, root: &Root) -> Result<bool, RootError> {
        let bytes = |held: &Option<FileContents>| held.as_ref().map(|held| held.bytes.clone());
        let Some(place) = root.pin(&self.path)? else { return Ok(self.before.is_none()) };
        let now = place.read(MAX_CONFIGURATION)?;
        if bytes(&now) == bytes(&self.before) {
            return Ok(true);
        }
        if bytes(&now) != self.after && !self.is_half(now.as_ref()) {
            // Others have changed the file in the meantime.
            return Ok(false);
        }
        match (&self.before, &now) {
            (Some(before), now) => place.write_over(now.as_ref(), &before.bytes, Some(&before.attributes)),
            (None, Some(now)) => place.remove_seen(now),
            (None, None) => Ok(true),
        }
    }

    /// Returns whether a file with several hard links may hold a partial write.
    fn is_half(&self, now: Option<&FileContents>) -> bool {
        let (Some(now), Some(before), Some(after)) = (now, &self.before, &self.after) else { return false };
        now.links > 1 && may_be_half(&now.bytes, &before.bytes, after)
    }
}

/// Everything that a call has written so far, with the old contents.
pub(super) struct Rollback {
    /// The state file's exact content.
    state: Option<FileContents>,
    written: Vec<Written>,
    /// Directories created by the call, the outermost first.
    pub(super) folders: Vec<PathBuf>,
}

impl Rollback {
    /// Begins the record of a call.
    ///
    /// # Errors
    ///
    /// The state cannot be read.
    pub(super) fn begin(root: &Root) -> Result<Rollback, RootError> {
        let place = root.pin_itself(Path::new(STATE))?;
        let state = place.map(|place| place.read(MAX_STATE)).transpose()?.flatten();
        Ok(Rollback { state, written: Vec::new(), folders: Vec::new() })
    }

    /// Writes a file and records it; a file that others changed in the same moment is not recorded.
    ///
    /// # Errors
    ///
    /// Those of `write`.
    pub(super) fn write(
        &mut self,
        file: Written,
        write: impl FnOnce() -> Result<(), ChangeError>,
    ) -> Result<(), ChangeError> {
        match write() {
            Err(theirs @ ChangeError::Meanwhile(_)) => Err(theirs),
            written => {
                self.written.push(file);
                written
            }
        }
    }

    /// Returns whether nothing was written.
    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// Undoes everything, the last file first, and removes the directories that the call created.
    ///
    /// Returns the files that could not be restored; in this case the state stays, and lists them.
    pub(super) fn undo(&self, root: &Root) -> Vec<PathBuf> {
        let mut remaining: Vec<PathBuf> = Vec::new();
        for file in self.written.iter().rev() {
            if !file.undo(root).unwrap_or_default() {
                remaining.push(file.path.clone());
            }
        }
        if remaining.is_empty() {
            for folder in self.folders.iter().rev() {
                // An empty directory that cannot be removed does no harm.
                let _ = root.remove_empty_folder(folder);
            }
            if self.restore_state(root).is_err() {
                remaining.push(STATE.into());
            }
        }
        remaining
    }

    fn restore_state(&self, root: &Root) -> Result<(), RootError> {
        let Some(place) = root.pin_itself(Path::new(STATE))? else { return Ok(()) };
        if place.read(MAX_STATE)? == self.state {
            return Ok(());
        }
        match &self.state {
            Some(before) => place.write(&before.bytes, Some(&before.attributes)),
            None => place.remove(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undo_restores_our_files_and_keeps_those_that_others_changed() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        for name in ["edited", "theirs", "linked", "whole"] {
            write(name, "before, and more");
        }
        std::fs::hard_link(dir.path().join("linked"), dir.path().join("other")).unwrap();
        let names = ["edited", "theirs", "linked", "whole", "new"];
        let written = |name: &str| Written::new(&root, &Path::new("/").join(name), "ours").unwrap();
        let mut rollback = Rollback::begin(&root).unwrap();
        for name in names {
            rollback.write(written(name), || Ok(())).unwrap();
        }
        rollback.folders.push("/made".into());
        for name in ["edited", "new"] {
            write(name, "ours");
        }
        write("theirs", "ours, and theirs");
        // As an interrupted call leaves it.
        write("linked", "oursre, and more");
        std::fs::create_dir(dir.path().join("made")).unwrap();
        assert_eq!(rollback.undo(&root), [PathBuf::from("/theirs")]);
        let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        for name in ["edited", "linked", "other", "whole"] {
            assert_eq!(text(name), "before, and more", "{name}");
        }
        assert_eq!(text("theirs"), "ours, and theirs");
        assert!(!dir.path().join("new").exists());
        assert!(dir.path().join("made").exists(), "it is what the state knows of");
        write("theirs", "ours");
        assert!(rollback.undo(&root).is_empty());
        assert!(!dir.path().join("made").exists());
    }

    /// The same for a rewritten file and a new one.
    #[test]
    fn undo_does_not_list_a_file_that_others_wrote_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        std::fs::write(dir.path().join("edited"), "before").unwrap();
        for name in ["edited", "new"] {
            let path = Path::new("/").join(name);
            for (is_theirs, expected) in [(true, Vec::new()), (false, vec![path.clone()])] {
                let mut rollback = Rollback::begin(&root).unwrap();
                let file = Written::new(&root, &path, "ours").unwrap();
                let written = rollback.write(file, || {
                    std::fs::write(dir.path().join(name), format!("theirs, {is_theirs}")).unwrap();
                    if is_theirs { Err(ChangeError::Meanwhile(path.clone())) } else { Ok(()) }
                });
                assert_eq!((written.is_err(), rollback.is_empty()), (is_theirs, is_theirs));
                assert_eq!(rollback.undo(&root), expected, "{name}");
                assert_eq!(std::fs::read_to_string(dir.path().join(name)).unwrap(), format!("theirs, {is_theirs}"));
            }
        }
    }
}
