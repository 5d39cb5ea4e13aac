//! Undoing what a call has written that fails in the middle: half of it would be in effect.

use super::state::{MAX_STATE, STATE};
use root::{FileContents, MAX_CONFIGURATION, Root, RootError};
use std::path::{Path, PathBuf};

/// A file that was written, or is being written.
pub(super) struct Written {
    path: PathBuf,
    before: Option<FileContents>,
    after: Option<Vec<u8>>,
}

impl Written {
    /// What is about to take the place of a file; `None` is no file.
    pub(super) fn over(path: &Path, before: Option<&FileContents>, after: Option<&str>) -> Written {
        let after = after.map(|text| text.as_bytes().to_vec());
        Written { path: path.to_owned(), before: before.cloned(), after }
    }

    /// A text that is about to be written at a path.
    ///
    /// # Errors
    ///
    /// That what stands there cannot be read.
    pub(super) fn new(root: &Root, path: &Path, text: &str) -> Result<Written, RootError> {
        let before = root.pin(path)?.map(|place| place.read(MAX_CONFIGURATION)).transpose()?.flatten();
        Ok(Written::over(path, before.as_ref(), Some(text)))
    }

    /// Brings back what stood there; whether it stands there now, or never went.
    ///
    /// # Errors
    ///
    /// That it cannot be read or written.
    fn undo(&self, root: &Root) -> Result<bool, RootError> {
        let bytes = |held: &Option<FileContents>| held.as_ref().map(|held| held.bytes.clone());
        let Some(place) = root.pin(&self.path)? else { return Ok(self.before.is_none()) };
        let now = place.read(MAX_CONFIGURATION)?;
        if bytes(&now) == bytes(&self.before) {
            return Ok(true);
        }
        if bytes(&now) != self.after && !self.is_half(now.as_ref()) {
            // Somebody else's by now.
            return Ok(false);
        }
        match (&self.before, &now) {
            (Some(before), now) => place.write_over(now.as_ref(), &before.bytes, Some(&before.attributes)),
            (None, Some(now)) => place.remove_seen(now),
            (None, None) => Ok(true),
        }
    }

    /// Whether a file of several names has some of the new bytes, and behind them what was there before.
    fn is_half(&self, now: Option<&FileContents>) -> bool {
        let (Some(now), Some(before), Some(after)) = (now, &self.before, &self.after) else { return false };
        let written = now.bytes.iter().zip(after).take_while(|(a, b)| a == b).count();
        now.links > 1 && now.bytes.get(written..) == Some(before.bytes.get(written..).unwrap_or_default())
    }
}

/// The state as it stood before, to the byte.
pub(super) struct StateBefore(Option<FileContents>);

impl StateBefore {
    /// As it stands now.
    ///
    /// # Errors
    ///
    /// That it cannot be read.
    pub(super) fn read(root: &Root) -> Result<StateBefore, RootError> {
        let place = root.pin_itself(Path::new(STATE))?;
        Ok(StateBefore(place.map(|place| place.read(MAX_STATE)).transpose()?.flatten()))
    }

    fn bring_back(&self, root: &Root) -> Result<(), RootError> {
        let Some(place) = root.pin_itself(Path::new(STATE))? else { return Ok(()) };
        if place.read(MAX_STATE)? == self.0 {
            return Ok(());
        }
        match &self.0 {
            Some(before) => place.write(&before.bytes, Some(&before.attributes)),
            None => place.remove(),
        }
    }
}

/// Undoes everything that was written, the last first, and removes the folders that were made for it.
///
/// Returns the files that could not be brought back; the state stays then, and knows of them.
pub(super) fn undo(root: &Root, written: &[Written], folders: &[PathBuf], state: &StateBefore) -> Vec<PathBuf> {
    let mut left: Vec<PathBuf> = Vec::new();
    for file in written.iter().rev() {
        if !file.undo(root).unwrap_or_default() {
            left.push(file.path.clone());
        }
    }
    if left.is_empty() {
        for folder in folders.iter().rev() {
            // It is empty, and harms nobody.
            let _ = root.remove_empty_folder(folder);
        }
        if state.bring_back(root).is_err() {
            left.push(STATE.into());
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_goes_back_and_what_others_have_made_of_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        for name in ["edited", "theirs", "linked", "whole"] {
            write(name, "before, and more");
        }
        std::fs::hard_link(dir.path().join("linked"), dir.path().join("other")).unwrap();
        let names = ["edited", "theirs", "linked", "whole", "new"];
        let written: Vec<Written> =
            names.iter().map(|name| Written::new(&root, &Path::new("/").join(name), "ours").unwrap()).collect();
        for name in ["edited", "new"] {
            write(name, "ours");
        }
        write("theirs", "ours, and theirs");
        // As a call leaves it that is cut short.
        write("linked", "oursre, and more");
        std::fs::create_dir(dir.path().join("made")).unwrap();
        let state = StateBefore::read(&root).unwrap();
        let left = undo(&root, &written, &["/made".into()], &state);
        assert_eq!(left, [PathBuf::from("/theirs")]);
        let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        for name in ["edited", "linked", "other", "whole"] {
            assert_eq!(text(name), "before, and more", "{name}");
        }
        assert_eq!(text("theirs"), "ours, and theirs");
        assert!(!dir.path().join("new").exists());
        assert!(dir.path().join("made").exists(), "it is what the state knows of");
        assert!(undo(&root, &written[..1], &["/made".into()], &state).is_empty());
        assert!(!dir.path().join("made").exists());
    }
}
