//! What is left when files are taken back: the state of those that were not, else nothing, nor the folders.

use super::super::state::{self, FOLDER, FileChange, NotReverted, STATE, State, VERSION};
use super::RevertReport;
use root::{PinnedPath, Root, RootError};
use std::path::{Path, PathBuf};

/// Writes a state of what was not taken back, and of files to which links are left (`led_to`); what the one that is there
/// (`recorded`) knows of a call that was cut short still holds for files that are as they were.
pub(super) fn keep_state(
    root: &Root,
    (state, recorded): (&State, &State),
    led_to: &[PathBuf],
    reverted: &mut RevertReport,
) {
    // What others have made of a handler is compared with all files that it was written to.
    let of_one =
        |a: &PathBuf, b: &PathBuf| state.configurations.iter().any(|c| c.handler.contains(a) && c.handler.contains(b));
    let is_kept = |file: &FileChange| reverted.kept.iter().any(|k| k.path == file.path || of_one(&k.path, &file.path));
    let kept = |file: &FileChange| is_kept(file) || led_to.contains(&file.path);
    let State { earlier, in_place, halfway, .. } = recorded.clone();
    let mut left = State { version: VERSION, earlier, in_place, halfway, ..state.clone() };
    left.files.retain(kept);
    let is_as_it_was = |path: &Path| {
        left.files.iter().any(|f| f.path == path) && !reverted.restored.iter().any(|change| change.path == path)
    };
    left.earlier.retain(|path, _| is_as_it_was(path));
    left.in_place.retain(|path| is_as_it_was(path));
    left.halfway.retain(|f| is_as_it_was(&f.path));
    left.configurations.iter_mut().for_each(|c| c.keep(|path| left.files.iter().any(|f| f.path == *path)));
    left.configurations.retain(|c| !c.files.is_empty());
    if let Err(error) = state::write(root, &left) {
        // The one that is there knows of more than is left, and does no harm.
        reverted.kept.push(NotReverted { path: STATE.into(), why: error.to_string(), by_force: false });
    }
}

/// Removes the folders that were made, but those of the state; returns those that cannot be removed.
pub(super) fn remove_folders(root: &Root, state: &State) -> Vec<NotReverted> {
    let others = state.directories.iter().rev().filter(|folder| !holds_state(folder));
    // Others may have put something there; then it stays.
    let failed = others.filter_map(|folder| Some((folder, root.remove_empty_folder(folder).err()?)));
    failed.map(|(folder, error)| not_removed(folder, &error)).collect()
}

/// Removes the state, and its folders; returns it where it cannot be removed.
pub(super) fn remove_state(root: &Root, state: &State) -> Option<NotReverted> {
    let place = root.pin_itself(Path::new(STATE));
    if let Err(error) = place.and_then(|place| place.iter().try_for_each(PinnedPath::remove)) {
        return Some(not_removed(Path::new(STATE), &error));
    }
    let above = state.directories.iter().rev().filter(|folder| holds_state(folder)).map(PathBuf::as_path);
    for folder in std::iter::once(Path::new(FOLDER)).chain(above) {
        // It is empty, and harms nobody.
        let _ = root.remove_empty_folder(folder);
    }
    None
}

fn holds_state(folder: &Path) -> bool {
    Path::new(STATE).starts_with(folder)
}

fn not_removed(path: &Path, error: &RootError) -> NotReverted {
    NotReverted { path: path.to_owned(), why: error.to_string(), by_force: false }
}
