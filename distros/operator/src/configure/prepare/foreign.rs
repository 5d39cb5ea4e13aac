//! Content of others in the files that are to be wholly kata-osinfo's.

use super::super::added;
use super::super::keys::{is_blank, is_marked_as_ours, is_whole};
use super::super::state::{FileChange, State};
use root::{Root, RootError};
use std::path::{Path, PathBuf};

/// Returns messages about files of kata-osinfo's that no state lists and whose current settings are overwritten: others
/// may have changed them, which cannot be determined.
pub(super) fn unknown_words(
    root: &Root,
    recorded: Option<&State>,
    changes: &[FileChange],
) -> Result<Vec<String>, RootError> {
    let is_known = |path: &Path| recorded.is_some_and(|old| old.files.iter().any(|f| f.path == path));
    let mut all = Vec::new();
    for change in changes.iter().filter(|c| is_whole(c) && !is_known(&c.path)) {
        all.extend(root.utf8_if_any(&change.path)?.and_then(|now| added::unknown(change, &now)));
    }
    Ok(all)
}

/// Returns files of others in the place of files that are to be wholly kata-osinfo's; a blank file holds nothing of
/// theirs.
pub(super) fn foreign(root: &Root, changes: &[FileChange]) -> Result<Vec<PathBuf>, RootError> {
    let mut found = Vec::new();
    for change in changes.iter().filter(|c| is_whole(c)) {
        if root.utf8_if_any(&change.path)?.is_some_and(|now| !is_marked_as_ours(&now) && !is_blank(&now)) {
            found.push(change.path.clone());
        }
    }
    Ok(found)
}
