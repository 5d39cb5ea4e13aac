//! Leftovers of a revert: the state of files that stay; otherwise neither the state nor its directories remain.

use super::super::state::{self, FOLDER, FileChange, NotReverted, STATE, State, VERSION};
use super::RevertReport;
use root::{PinnedPath, Root, RootError};
use std::path::{Path, PathBuf};

/// Writes a state of the files that were not reverted, and of files to which links remain (`led_to`). Records of
/// interrupted calls in the current state (`recorded`) are kept for files that are unchanged.
pub(super) fn keep_state(
    root: &Root,
    (state, recorded): (&State, &State),
    led_to: &[PathBuf],
    reverted: &mut RevertReport,
) {
    // To recognize others' changes in a handler, all files to which it was written are needed.
    let of_one =
        |a: &PathBuf, b: &PathBuf| state.configurations.iter().any(|c| c.handler.contains(a) && c.handler.contains(b));
    let is_kept = |file: &FileChange| reverted.kept.iter().any(|k| k.path == file.path || of_one(&k.path, &file.path));
    let is_recorded = |file: &FileChange| is_kept(file) || led_to.contains(&file.path);
    let State { earlier, in_place, halfway, .. } = recorded.clone();
    let mut remaining = State { version: VERSION, earlier, in_place, halfway, ..state.clone() };
    remaining.files.retain(is_recorded);
    let is_as_it_was = |path: &Path| {
        remaining.files.iter().any(|f| f.path == path) && !reverted.restored.iter().any(|change| change.path == path)
    };
    remaining.earlier.retain(|path, _| is_as_it_was(path));
    remaining.in_place.retain(|path| is_as_it_was(path));
    remaining.halfway.retain(|f| is_as_it_was(&f.path));
    remaining.configurations.iter_mut().for_each(|c| c.keep(|path| remaining.files.iter().any(|f| f.path == *path)));
    remaining.configurations.retain(|c| !c.files.is_empty());
    if let Err(error) = state::write(root, &remaining) {
        // The existing state lists more than what is left, which does no harm.
        reverted.kept.push(NotReverted { path: STATE.into(), why: error.to_string(), by_force: false });
    }
}

/// Removes created directories, except for those of the state; returns those that cannot be removed.
pub(super) fn remove_folders(root: &Root, state: &State) -> Vec<NotReverted> {
    let others = state.directories.iter().rev().filter(|folder| !holds_state(folder));
    // A directory in which others have put something stays.
    let failed = others.filter_map(|folder| Some((folder, root.remove_empty_folder(folder).err()?)));
    failed.map(|(folder, error)| not_removed(folder, &error)).collect()
}

/// Removes the state and its directories; returns the state if it cannot be removed.
pub(super) fn remove_state(root: &Root, state: &State) -> Option<NotReverted> {
    let place = root.pin_itself(Path::new(STATE));
    if let Err(error) = place.and_then(|place| place.iter().try_for_each(PinnedPath::remove)) {
        return Some(not_removed(Path::new(STATE), &error));
    }
    let above = state.directories.iter().rev().filter(|folder| holds_state(folder)).map(PathBuf::as_path);
    for folder in std::iter::once(Path::new(FOLDER)).chain(above) {
        // An empty directory that cannot be removed does no harm.
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
