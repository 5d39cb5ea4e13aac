//! Files that are written and taken back.
//!
//! What was written, and what stood there before, is kept in a state file below `/var/lib/kata-osinfo`; it is written
//! before the first file is touched, so that a crash in between can be taken back too.

use crate::root::{MAX_CONFIGURATION, Root, RootError};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where the state of a machine is kept.
pub const STATE: &str = "/var/lib/kata-osinfo/configured.json";

/// One file, as it was and as it is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Its path on the machine, with no links in it.
    pub path: PathBuf,
    /// The text before; `None` where there was no file.
    pub before: Option<String>,
    /// The text after.
    pub after: String,
}

impl Change {
    /// A unified diff, empty where nothing changes.
    pub fn diff(&self) -> String {
        let before = self.before.as_deref().unwrap_or_default();
        let path = self.path.display();
        let old = match self.before {
            Some(_) => format!("a{path}"),
            None => "/dev/null".to_owned(),
        };
        similar::TextDiff::from_lines(before, &self.after)
            .unified_diff()
            .context_radius(3)
            .header(&old, &format!("b{path}"))
            .to_string()
    }
}

/// What this program has configured on a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The state's form: 1.
    pub version: u32,
    /// The profile's name.
    pub profile: String,
    /// Whether the configuration is fit for production.
    pub production: bool,
    /// What was to be known about it.
    pub notes: Vec<String>,
    /// Every file that was written.
    pub files: Vec<Change>,
    /// Directories that were made, the outermost first.
    pub directories: Vec<PathBuf>,
}

/// Why files were not written or not taken back.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Below the root something cannot be read.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The state is not one of ours.
    #[error("{STATE} is not a state of this program: {0}; look at it, then remove it")]
    State(#[from] serde_json::Error),
    /// The state is of another version of this program.
    #[error("{STATE} has the form {0}, this program knows 1: use the kata-osinfo that wrote it")]
    Version(u32),
    /// A file is not as this program left it.
    #[error(
        "{0} has been changed since kata-osinfo wrote it: move what was changed to a drop-in of your own, then `kata-osinfo unconfigure --force`"
    )]
    Changed(PathBuf),
}

/// What was configured, if anything.
///
/// # Errors
///
/// That the state cannot be read.
pub fn state(root: &Root) -> Result<Option<State>, ChangeError> {
    let Some(text) = root.utf8_if_any(Path::new(STATE))? else { return Ok(None) };
    let state: State = serde_json::from_str(&text)?;
    match state.version {
        1 => Ok(Some(state)),
        other => Err(ChangeError::Version(other)),
    }
}

/// A file's text as it was before this program touched it; `None` where there was none.
///
/// # Errors
///
/// That it cannot be read, or has been changed since.
pub fn original(root: &Root, state: Option<&State>, path: &Path) -> Result<Option<String>, ChangeError> {
    let now = root.utf8_if_any(path)?;
    let Some(ours) = state.and_then(|s| s.files.iter().find(|f| f.path == path)) else { return Ok(now) };
    match now {
        Some(text) if text == ours.after => Ok(ours.before.clone()),
        // Never written, or taken back by hand.
        now if now == ours.before => Ok(now),
        // A drop-in that was removed by hand.
        None => Ok(None),
        Some(_) => Err(ChangeError::Changed(path.to_owned())),
    }
}

/// Writes files and the state that takes them back; files of the state before that are no longer in it are restored.
///
/// Each file is replaced atomically.
///
/// # Errors
///
/// What could not be written; the state names everything that was, and what was to be.
pub fn apply(root: &Root, old: Option<&State>, mut new: State) -> Result<(), ChangeError> {
    let dropped: Vec<Change> =
        old.iter().flat_map(|s| &s.files).filter(|f| !new.files.iter().any(|n| n.path == f.path)).cloned().collect();
    for file in &dropped {
        original(root, old, &file.path)?;
    }
    new.directories = old.map(|s| s.directories.clone()).unwrap_or_default();
    for path in new.files.iter().map(|f| f.path.as_path()).chain([Path::new(STATE)]) {
        for folder in root.missing_folders(&root.resolve_new(path)?) {
            if !new.directories.contains(&folder) {
                new.directories.push(folder);
            }
        }
    }
    // Until all is done the state knows both.
    let both = State { files: new.files.iter().chain(&dropped).cloned().collect(), ..new.clone() };
    write_state(root, &both)?;
    for file in &dropped {
        put(root, &file.path, file.before.as_deref())?;
    }
    for file in &new.files {
        put(root, &file.path, Some(&file.after))?;
    }
    write_state(root, &new)
}

/// Takes everything back; with `force` also files that were changed since.
///
/// Returns what was restored, each as a change from what stood there to what stands there now (an empty `after` with
/// the file gone).
///
/// # Errors
///
/// That a file was changed since, or could not be written; then nothing, or not everything, was taken back and it can
/// be tried again.
pub fn revert(root: &Root, state: &State, force: bool, dry_run: bool) -> Result<Vec<Change>, ChangeError> {
    let mut restored = Vec::new();
    for file in &state.files {
        let now = root.utf8_if_any(&file.path)?;
        if !force {
            original(root, Some(state), &file.path)?;
        }
        if now != file.before {
            let after = file.before.clone().unwrap_or_default();
            restored.push(Change { path: file.path.clone(), before: now, after });
        }
    }
    if dry_run {
        return Ok(restored);
    }
    for file in &state.files {
        put(root, &file.path, file.before.as_deref())?;
    }
    put(root, Path::new(STATE), None)?;
    for folder in state.directories.iter().rev() {
        // Others may have put something there; then it stays.
        root.remove_empty_folder(folder)?;
    }
    Ok(restored)
}

fn write_state(root: &Root, state: &State) -> Result<(), ChangeError> {
    let mut text = serde_json::to_string_pretty(state)?;
    text.push('\n');
    put(root, Path::new(STATE), Some(&text))
}

/// A file with this text, or no file.
fn put(root: &Root, path: &Path, text: Option<&str>) -> Result<(), ChangeError> {
    let Some(text) = text else {
        return Ok(root.place(path)?.map_or(Ok(()), |place| place.remove())?);
    };
    let place = root.make_place(path)?;
    let old = place.read(MAX_CONFIGURATION)?;
    // Nothing to do is done without a new inode.
    if old.as_ref().is_some_and(|old| old.bytes == text.as_bytes()) {
        return Ok(());
    }
    Ok(place.write(text.as_bytes(), old.map(|o| o.attributes).as_ref())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &str, before: Option<&str>, after: &str) -> Change {
        Change { path: path.into(), before: before.map(str::to_owned), after: after.to_owned() }
    }

    fn new(files: Vec<Change>) -> State {
        State { version: 1, profile: "p".into(), production: true, notes: Vec::new(), files, directories: Vec::new() }
    }

    /// Every path below a folder, with its text.
    fn tree(dir: &Path) -> Vec<(PathBuf, Option<String>)> {
        let mut all = Vec::new();
        let mut todo = vec![dir.to_owned()];
        while let Some(folder) = todo.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    todo.push(path.clone());
                }
                all.push((path.clone(), std::fs::read_to_string(path).ok()));
            }
        }
        all.sort();
        all
    }

    #[test]
    fn what_was_written_is_taken_back_to_the_byte() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/main"), "old\r\nno newline").unwrap();
        let before = tree(dir.path());
        let first = vec![change("/etc/main", Some("old\r\nno newline"), "new\n"), change("/etc/a/b/c", None, "x\n")];
        apply(&root, None, new(first)).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("etc/main")).unwrap(), "new\n");
        // A second time, with other files: originals stay what they were, files no longer wanted go.
        let old = state(&root).unwrap().unwrap();
        let again = original(&root, Some(&old), Path::new("/etc/main")).unwrap();
        assert_eq!(again.as_deref(), Some("old\r\nno newline"));
        apply(&root, Some(&old), new(vec![change("/etc/main", again.as_deref(), "newer\n")])).unwrap();
        assert!(!dir.path().join("etc/a/b/c").exists());
        let last = state(&root).unwrap().unwrap();
        let restored = revert(&root, &last, false, true).unwrap();
        assert_eq!(restored.len(), 1);
        assert!(restored[0].diff().contains("-newer"), "{}", restored[0].diff());
        assert_ne!(tree(dir.path()), before, "a dry run takes nothing back");
        revert(&root, &last, false, false).unwrap();
        assert_eq!(tree(dir.path()), before);
        assert!(state(&root).unwrap().is_none());
    }

    #[test]
    fn what_others_changed_is_not_overwritten_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        apply(&root, None, new(vec![change("/f", None, "ours\n")])).unwrap();
        std::fs::write(dir.path().join("f"), "ours\ntheirs\n").unwrap();
        let old = state(&root).unwrap().unwrap();
        assert!(matches!(original(&root, Some(&old), Path::new("/f")), Err(ChangeError::Changed(_))));
        assert!(matches!(revert(&root, &old, false, false), Err(ChangeError::Changed(_))));
        assert!(dir.path().join("f").exists());
        revert(&root, &old, true, false).unwrap();
        assert!(!dir.path().join("f").exists());
    }

    #[test]
    fn a_state_of_another_form_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        std::fs::create_dir_all(dir.path().join("var/lib/kata-osinfo")).unwrap();
        std::fs::write(dir.path().join(&STATE[1..]), "{}").unwrap();
        assert!(matches!(state(&root), Err(ChangeError::State(_))));
        let next = State { version: 2, ..State::default() };
        std::fs::write(dir.path().join(&STATE[1..]), serde_json::to_string(&next).unwrap()).unwrap();
        assert!(matches!(state(&root), Err(ChangeError::Version(2))));
    }

    #[test]
    fn a_diff_names_new_files_as_new() {
        insta::assert_snapshot!(change("/etc/x", None, "a\nb\n").diff(), @r"
        --- /dev/null
        +++ b/etc/x
        @@ -0,0 +1,2 @@
        +a
        +b
        ");
    }
}
