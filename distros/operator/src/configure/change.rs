//! Writing of files.
//!
//! Old and new texts are recorded in the [`State`], which only root can read, before the first file is changed, so that
//! everything that a crash leaves behind is known.

use super::added::{self, ForeignAdditions};
use super::containerd::migrated::{is_of_handler, repair_instructions};
use super::edit::LineEnds;
use super::keys;
use super::lock::Lock;
use super::rollback::{Rollback, Written};
use super::state::{self, ChangeError, FileChange, State, VERSION};
use super::today::{FileState, halfway, today, without_our_keys};
use super::toml::without_line;
use root::{Attributes, FileContents, MAX_CONFIGURATION, PinnedPath, Root, RootError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Returns a file's text without kata-osinfo's part: the original text, with later edits of others.
///
/// `None` if there is no file. For a file that is written again: only kata-osinfo's own keys are removed from the
/// handler.
///
/// # Errors
///
/// The file cannot be read, or is wholly kata-osinfo's and was changed since.
pub(super) fn original(root: &Root, state: Option<&State>, path: &Path) -> Result<Option<String>, ChangeError> {
    without_ours(root, state, path, true)
}

/// Like [`original`]; for a file that is not written again (`again`), a handler that others changed is also an error,
/// because half a handler starts nothing.
fn without_ours(root: &Root, state: Option<&State>, path: &Path, again: bool) -> Result<Option<String>, ChangeError> {
    let known = state.and_then(|s| Some((s, s.files.iter().find(|f| f.path == path)?)));
    let now = match text(root, state, path) {
        // containerd before 2.0 accepts such a file, so it may be in effect.
        Err(RootError::NotText { .. }) if known.is_some() => {
            return Err(ChangeError::NotToml { path: path.to_owned(), why: "expected UTF-8 text".to_owned() });
        }
        now => now?,
    };
    let Some((state, ours)) = known else {
        // A file of kata-osinfo's that no state lists did not exist before, either.
        return Ok(now.filter(|text| !keys::is_marked_as_ours(text)));
    };
    let now = now.map(|now| halfway(state, path, now.as_bytes()).map(str::to_owned).unwrap_or(now));
    match today(state, ours, now.as_deref()) {
        FileState::Ours => Ok(ours.before.clone()),
        FileState::Edited(stripped) if stripped.changed.iter().any(|key| is_of_handler(key)) => {
            let now = now.unwrap_or_default();
            match again.then(|| without_our_keys(state, ours, &now)) {
                Some(Ok(text)) => Ok(text),
                _ => Err(ChangeError::Handler {
                    path: path.to_owned(),
                    how: repair_instructions(&now, state, &stripped.changed),
                }),
            }
        }
        FileState::Edited(stripped) => Ok(stripped.text),
        FileState::Back | FileState::Gone => Ok(now),
        FileState::Foreign if keys::is_whole(ours) => Err(added::changed(ours, now.as_deref().unwrap_or_default())),
        FileState::Foreign => Err(ChangeError::NotToml { path: path.to_owned(), why: not_toml(now.as_deref()) }),
        FileState::Torn => Err(ChangeError::Torn { path: path.to_owned() }),
    }
}

/// Returns a file's current text, or the one that it will have once others' additions to kata-osinfo's files have
/// moved.
pub(super) fn text(root: &Root, state: Option<&State>, path: &Path) -> Result<Option<String>, RootError> {
    match state.and_then(|state| state.instead.get(path)) {
        Some(text) => Ok(Some(text.clone())),
        None => root.utf8_if_any(path),
    }
}

/// Returns why kata-osinfo's part of a text cannot be determined.
pub(super) fn not_toml(now: Option<&str>) -> String {
    let read = now.map(|now| now.parse::<toml_edit::DocumentMut>().map(|document| LineEnds::of(now, &document)));
    match read {
        Some(Err(error)) => without_line(&error),
        Some(Ok(Err(error))) => error.to_string(),
        Some(Ok(Ok(_))) | None => "it cannot be kept as it is".to_owned(),
    }
}

/// Checks that kata-osinfo's files which no state lists hold nothing of others, because rewriting would lose it. With
/// `force` it is lost, and the losses are returned as messages.
///
/// # Errors
///
/// A file has keys that are not written now, or cannot be read.
pub(super) fn hold_only_ours(
    root: &Root,
    state: Option<&State>,
    changes: &[FileChange],
    force: bool,
) -> Result<Vec<String>, ChangeError> {
    let is_known = |change: &FileChange| state.is_some_and(|s| s.files.iter().any(|f| f.path == change.path));
    let mut forced = Vec::new();
    for change in changes.iter().filter(|change| change.before.is_none() && !is_known(change)) {
        if let Some(now) = root.utf8_if_any(&change.path)?
            && keys::has_others(&now, &change.after)
        {
            if !force {
                return Err(added::changed(change, &now));
            }
            forced.push(added::forced(change, &now));
        }
    }
    Ok(forced)
}

/// The texts that files are restored to when they are no longer written.
#[derive(Debug, Default)]
pub(super) struct Originals {
    /// The texts; `None` for a file that is removed.
    pub(super) texts: BTreeMap<PathBuf, Option<String>>,
    /// Files that were changed by hand and stay unchanged, each with the reason.
    pub(super) kept: Vec<(PathBuf, ChangeError)>,
    /// Files of handlers that stay because another file of the same handler was changed.
    pub(super) handler: Vec<PathBuf>,
}

/// Returns whether an error only keeps the file, instead of ending the whole call.
fn only_keeps_the_file(why: &ChangeError) -> bool {
    use ChangeError::{Changed, Handler, NotToml, Torn};
    matches!(why, Changed { .. } | Handler { .. } | NotToml { .. } | Torn { .. })
}

/// Returns the texts that some files of a state are restored to; files that were changed by hand stay.
pub(super) fn originals(
    root: &Root,
    state: &State,
    which: &dyn Fn(&PathBuf) -> bool,
) -> Result<Originals, ChangeError> {
    let mut all = Originals::default();
    for file in state.files.iter().filter(|f| which(&f.path)) {
        let path = file.path.clone();
        let remaining = match without_ours(root, Some(state), &path, false) {
            Err(error) if only_keeps_the_file(&error) => {
                all.kept.push((path.clone(), error));
                match text(root, Some(state), &path) {
                    // The code that reads it reports this.
                    Err(RootError::NotText { .. }) => continue,
                    text => text?,
                }
            }
            remaining => remaining?,
        };
        all.texts.insert(path, remaining);
    }
    // A handler is removed or kept as a whole, with every file that names it.
    let is_kept = |path: &PathBuf| all.kept.iter().any(|(kept, _)| kept == path);
    let handlers = state.configurations.iter().filter(|c| c.handler.iter().any(is_kept)).flat_map(|c| &c.handler);
    let handler_files: Vec<PathBuf> =
        handlers.filter(|path| all.texts.contains_key(*path) || is_kept(path)).cloned().collect();
    for path in &handler_files {
        if all.texts.contains_key(path) {
            all.texts.insert(path.clone(), text(root, Some(state), path)?);
        }
    }
    all.handler = handler_files;
    Ok(all)
}

/// A file on its way from one text to another.
pub(super) struct PendingFile {
    pub(super) file: FileChange,
    /// The file's content afterwards.
    pub(super) target: Option<String>,
    /// The file's directory; `None` if it is missing.
    pub(super) place: Option<PinnedPath>,
    /// The file's content now.
    pub(super) now: Option<FileContents>,
    /// Whether something that cannot be read, such as a FIFO or a huge file, stands in the way.
    pub(super) blocked: bool,
    /// Whether the current content is first saved next to the file.
    pub(super) aside: bool,
}

impl PendingFile {
    pub(super) fn new(root: &Root, file: FileChange, target: Option<String>) -> Result<PendingFile, RootError> {
        let place = root.pin(&file.path)?;
        let now = place.as_ref().map(|p| p.read(MAX_CONFIGURATION)).transpose()?.flatten();
        Ok(PendingFile { file, target, place, now, blocked: false, aside: false })
    }

    /// Returns the current text, if it is UTF-8.
    pub(super) fn text(&self) -> Option<&str> {
        self.now.as_ref().and_then(|n| str::from_utf8(&n.bytes).ok())
    }

    /// Returns whether the file is overwritten in place, because it has several hard links.
    pub(super) fn is_in_place(&self) -> bool {
        self.target.is_some() && self.now.as_ref().is_some_and(|n| n.links > 1)
    }

    pub(super) fn is_done(&self) -> bool {
        !self.blocked && self.now.as_ref().map(|n| n.bytes.as_slice()) == self.target.as_ref().map(String::as_bytes)
    }

    /// Saves the current content next to the file if `aside` is set; returns the path.
    pub(super) fn keep_aside(&self) -> Result<Option<PathBuf>, RootError> {
        match (&self.place, &self.now) {
            (Some(place), Some(now)) if self.aside => place.keep_aside(now).map(Some),
            _ => Ok(None),
        }
    }

    /// Writes the target; `was` holds the attributes for a file that no longer exists.
    pub(super) fn take(self, root: &Root, was: Option<&Attributes>) -> Result<(), ChangeError> {
        if self.is_done() {
            return Ok(());
        }
        if self.blocked {
            self.place.iter().try_for_each(PinnedPath::remove)?;
        }
        // Text that others have written since the file was read is not overwritten.
        let is_done = match (&self.target, self.place, &self.now) {
            (None, Some(place), Some(now)) => place.remove_seen(now)?,
            (None, ..) => true,
            (Some(text), place, now) => {
                let place = match place {
                    Some(place) => place,
                    None => root.make_pinned(&self.file.path)?,
                };
                place.write_over(now.as_ref(), text.as_bytes(), now.as_ref().map(|n| &n.attributes).or(was))?
            }
        };
        match is_done {
            true => Ok(()),
            false => Err(ChangeError::Meanwhile(self.file.path)),
        }
    }
}

/// Writes the files of a state, and the state itself. Files of the old state that the new one does not list and that
/// belong to no configuration in it are restored. Others' additions (`added`) move first.
///
/// Each file is replaced atomically. A file of kata-osinfo's that is no longer written and was changed by hand stays,
/// on disk and in the state.
///
/// # Errors
///
/// A file could not be written. Files written by then are restored, or named ([`ChangeError::Halfway`]); the state
/// lists everything that is left, and the intended texts.
pub(super) fn apply(
    root: &Root,
    lock: &Lock,
    old: Option<&State>,
    new: State,
    added: &[ForeignAdditions],
) -> Result<(), ChangeError> {
    let mut rollback = Rollback::begin(root)?;
    carry_out(root, lock, old, new, added, &mut rollback).map_err(|error| match rollback.undo(root) {
        remaining if remaining.is_empty() && rollback.is_empty() => error,
        remaining => ChangeError::Halfway { why: Box::new(error), left: remaining },
    })
}

/// Like [`apply`]; records written files and created directories in `rollback`.
fn carry_out(
    root: &Root,
    lock: &Lock,
    old: Option<&State>,
    mut new: State,
    added: &[ForeignAdditions],
    rollback: &mut Rollback,
) -> Result<(), ChangeError> {
    for added in added {
        if let Some(theirs) = added.theirs() {
            rollback.write(Written::new(root, &theirs.path, &theirs.after)?, || added.write(root))?;
        }
        if let Some(main) = added.import() {
            rollback.write(Written::new(root, &main.path, &main.after)?, || added.write_import(root).map(drop))?;
        }
    }
    new.version = VERSION;
    let mut steps = Vec::new();
    for file in &new.files {
        if original(root, old, &file.path)? != file.before {
            return Err(ChangeError::Meanwhile(file.path.clone()));
        }
        steps.push(PendingFile::new(root, file.clone(), Some(file.after.clone()))?);
    }
    let before = old.iter().flat_map(|s| &s.files).filter(|f| !new.files.iter().any(|n| n.path == f.path));
    let (mut kept, dropped): (Vec<FileChange>, Vec<FileChange>) =
        before.cloned().partition(|f| new.owner(&f.path).is_some());
    // A file that imports another is removed first: containerd does not start with an import of a missing file.
    for file in dropped.iter().rev() {
        match without_ours(root, old, &file.path, false) {
            Err(error) if only_keeps_the_file(&error) => kept.push(file.clone()),
            before => {
                let before = before?;
                steps.push(PendingFile::new(root, FileChange { before: before.clone(), ..file.clone() }, before)?);
            }
        }
    }
    let others: Vec<PathBuf> = kept.iter().map(|f| f.path.clone()).collect();
    new.directories = old.map(|s| s.directories.clone()).unwrap_or_default();
    let mut missing = lock.created().to_vec();
    for file in &new.files {
        missing.extend(root.missing_folders(&file.path));
    }
    missing.retain(|folder| !new.directories.contains(folder));
    rollback.folders.extend(missing.iter().filter(|folder| !lock.created().contains(folder)).cloned());
    new.directories.extend(missing);
    new.files.extend(kept);
    new.attributes = old.map(|s| s.attributes.clone()).unwrap_or_default();
    for step in steps.iter().filter(|s| s.file.before.is_some()) {
        if let Some(now) = &step.now {
            new.attributes.entry(step.file.path.clone()).or_insert_with(|| now.attributes.clone());
        }
    }
    // Until everything is written, the state holds the current, the original and the intended texts.
    let mut both = new.clone();
    let dropped = steps.iter().map(|s| &s.file).filter(|f| !new.files.iter().any(|n| n.path == f.path));
    both.files.extend(dropped.cloned());
    new.attributes.retain(|path, _| new.files.iter().any(|f| f.path == *path));
    // The leftovers of a crash in other configurations must stay recorded.
    if let Some(old) = old {
        new.earlier =
            old.earlier.iter().filter(|(p, _)| others.contains(p)).map(|(p, t)| (p.clone(), t.clone())).collect();
        new.in_place = old.in_place.iter().filter(|p| others.contains(p)).cloned().collect();
        new.halfway = old.halfway.iter().filter(|f| others.contains(&f.path)).cloned().collect();
        both.earlier.clone_from(&new.earlier);
        both.in_place.clone_from(&new.in_place);
        both.halfway.clone_from(&new.halfway);
    }
    begin(&mut both, &steps);
    state::write(root, &both)?;
    for step in steps {
        let attributes = both.attributes.get(&step.file.path);
        if !step.is_done() {
            let file = Written::over(&step.file.path, step.now.as_ref(), step.target.as_deref());
            rollback.write(file, || step.take(root, attributes))?;
        }
    }
    state::write(root, &new)
}

/// Records the current texts, all of which are known at this point, so that any remainder of a crash can be recognized.
fn begin(state: &mut State, steps: &[PendingFile]) {
    for step in steps.iter().filter(|s| !s.is_done()) {
        let path = step.file.path.clone();
        if step.is_in_place() {
            state.in_place.push(path.clone());
        }
        state.earlier.extend(step.text().map(|text| (path, text.to_owned())));
    }
}

#[cfg(test)]
mod tests;
