//! What stands in a written file today, seen against what was written.

use super::comments;
use super::containerd::migrated::{self, Changed};
use super::edit::EditError;
use super::keys::{self, StrippedText};
use super::state::{FileChange, State};
use std::path::Path;

/// What became of a file that this program wrote.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileState {
    /// As it was written, or as a crash left it.
    Ours,
    /// As it was before.
    Back,
    /// Removed by hand; it was there before.
    Gone,
    /// Edited by others: our keys can be told from theirs.
    Edited(StrippedText),
    /// Something else altogether.
    Foreign,
}

/// Compares a file's text with all that are known of it.
pub(super) fn today(state: &State, file: &FileChange, now: Option<&str>) -> FileState {
    let earlier = state.earlier.get(&file.path);
    let Some(now) = now else {
        return if file.before.is_none() { FileState::Back } else { FileState::Gone };
    };
    let now = halfway(state, &file.path, now.as_bytes()).unwrap_or(now);
    if file.before.as_deref() == Some(now) {
        return FileState::Back;
    }
    if now == file.after || earlier.is_some_and(|e| e == now) || state.in_place.contains(&file.path) {
        return FileState::Ours;
    }
    if keys::is_whole(file) {
        return FileState::Foreign;
    }
    match edited(state, file, now, Changed::Stays) {
        Ok(taken) => FileState::Edited(taken),
        Err(_) => FileState::Foreign,
    }
}

/// What others have edited without what is ours in it.
fn edited(state: &State, file: &FileChange, now: &str, how: Changed) -> Result<StrippedText, EditError> {
    // A crash and an edit: what was ours then is not ours any more.
    let as_it_was = state.earlier.get(&file.path).map(|e| FileChange { after: e.clone(), ..file.clone() });
    let text = match as_it_was.map(|then| taken_as(state, &then, now, how)) {
        Some(Ok(StrippedText { text: Some(text), .. })) => text,
        _ => now.to_owned(),
    };
    taken_as(state, file, &text, how)
}

/// The text of a file in which others have changed our handler, without our own keys: they are written again.
///
/// # Errors
///
/// That the text cannot be kept as it is.
pub(super) fn without_our_keys(state: &State, file: &FileChange, now: &str) -> Result<Option<String>, EditError> {
    Ok(edited(state, file, now, Changed::KeepsTheirs)?.text)
}

/// What stood in a file of several names when taking it back began, where that was cut short: some of the new bytes, and
/// behind them what was there before.
pub(super) fn halfway<'s>(state: &'s State, path: &Path, now: &[u8]) -> Option<&'s str> {
    let of = state.halfway.iter().find(|f| f.path == path)?;
    let (was, new) = (of.before.as_deref()?, of.after.as_bytes());
    let written = now.iter().zip(new).take_while(|(a, b)| a == b).count();
    (now.get(written..) == Some(was.as_bytes().get(written..).unwrap_or_default())).then_some(was)
}

/// A file's text of today without what is ours in it, also where `containerd config migrate` has put that.
pub(super) fn taken(state: &State, file: &FileChange, now: &str, force: bool) -> Result<StrippedText, EditError> {
    taken_as(state, file, now, if force { Changed::Goes } else { Changed::Stays })
}

fn taken_as(state: &State, file: &FileChange, now: &str, how: Changed) -> Result<StrippedText, EditError> {
    let before = file.before.as_deref();
    let taken = migrated::take_back(now, before, &file.after, &migrated::handlers(state), how)?;
    Ok(StrippedText { text: comments::kept(now, before, &file.after, taken.text), ..taken })
}
