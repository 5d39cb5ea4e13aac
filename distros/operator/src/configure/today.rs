//! What stands in a written file today, seen against what was written.

use super::containerd::migrated;
use super::edit::EditError;
use super::keys::{self, Taken};
use super::state::{Change, State};

/// What became of a file that this program wrote.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Today {
    /// As it was written, or as a crash left it.
    Ours,
    /// As it was before.
    Back,
    /// Removed by hand; it was there before.
    Gone,
    /// Edited by others: our keys can be told from theirs.
    Edited(Taken),
    /// Something else altogether.
    Foreign,
}

/// Compares a file's text with all that are known of it.
pub(super) fn today(state: &State, file: &Change, now: Option<&str>) -> Today {
    let earlier = state.earlier.get(&file.path);
    let Some(now) = now else {
        return if file.before.is_none() { Today::Back } else { Today::Gone };
    };
    if file.before.as_deref() == Some(now) {
        return Today::Back;
    }
    if now == file.after || earlier.is_some_and(|e| e == now) || state.in_place.contains(&file.path) {
        return Today::Ours;
    }
    if keys::is_whole(file) {
        return Today::Foreign;
    }
    // A crash and an edit: what was ours then is not ours any more.
    let text = match earlier.map(|e| keys::take_back(now, file.before.as_deref(), e, false)) {
        Some(Ok(Taken { text: Some(text), .. })) => text,
        _ => now.to_owned(),
    };
    match taken(state, file, &text, false) {
        Ok(taken) => Today::Edited(taken),
        Err(_) => Today::Foreign,
    }
}

/// A file's text of today without what is ours in it, also where `containerd config migrate` has put that.
pub(super) fn taken(state: &State, file: &Change, now: &str, force: bool) -> Result<Taken, EditError> {
    let before = file.before.as_deref();
    let mut taken = keys::take_back(now, before, &file.after, force)?;
    if let Some(text) = taken.text.take() {
        let moved = migrated::take_back(&text, before, &file.after, &migrated::handlers(state), force)?;
        taken.text = moved.text;
        taken.changed.extend(moved.changed);
    }
    Ok(taken)
}
