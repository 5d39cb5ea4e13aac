//! Files that are written.
//!
//! What was written, and what stood there before, is kept in the [`State`], for root alone; it is written before the first
//! file is touched, with the old texts and the new ones, so that whatever a crash leaves is known.

use super::added::{self, ForeignAdditions};
use super::containerd::migrated::{is_of_handler, to_mend};
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

/// A file's text without what this program has put there: as it was before, with what others have edited since.
///
/// `None` where there is none. It is for a file that is written again: of our handler only our own keys are gone.
///
/// # Errors
///
/// That it cannot be read, or is one of our own and was changed since.
pub(super) fn original(root: &Root, state: Option<&State>, path: &Path) -> Result<Option<String>, ChangeError> {
    without_ours(root, state, path, true)
}

/// The same, and of a file that is not written again (`again`) also an error where our handler was changed since: half a
/// handler starts nothing.
fn without_ours(root: &Root, state: Option<&State>, path: &Path, again: bool) -> Result<Option<String>, ChangeError> {
    let known = state.and_then(|s| Some((s, s.files.iter().find(|f| f.path == path)?)));
    let now = match text(root, state, path) {
        // containerd before 2.0 reads it all the same.
        Err(RootError::NotText { .. }) if known.is_some() => {
            return Err(ChangeError::NotToml { path: path.to_owned(), why: "expected UTF-8 text".to_owned() });
        }
        now => now?,
    };
    let Some((state, ours)) = known else {
        // A file of ours that no state knows any more was not there before, either.
        return Ok(now.filter(|text| !keys::says_it_is_ours(text)));
    };
    let now = now.map(|now| halfway(state, path, now.as_bytes()).map(str::to_owned).unwrap_or(now));
    match today(state, ours, now.as_deref()) {
        FileState::Ours => Ok(ours.before.clone()),
        FileState::Edited(taken) if taken.changed.iter().any(|key| is_of_handler(key)) => {
            let now = now.unwrap_or_default();
            match again.then(|| without_our_keys(state, ours, &now)) {
                Some(Ok(text)) => Ok(text),
                _ => Err(ChangeError::Handler { path: path.to_owned(), how: to_mend(&now, state, &taken.changed) }),
            }
        }
        FileState::Edited(taken) => Ok(taken.text),
        FileState::Back | FileState::Gone => Ok(now),
        FileState::Foreign if keys::is_whole(ours) => Err(added::changed(ours, now.as_deref().unwrap_or_default())),
        FileState::Foreign => Err(ChangeError::NotToml { path: path.to_owned(), why: not_toml(now.as_deref()) }),
        FileState::Torn => Err(ChangeError::Torn { path: path.to_owned() }),
    }
}

/// A file's text of today, or the one that stands there as soon as what others have added to our files has moved.
pub(super) fn text(root: &Root, state: Option<&State>, path: &Path) -> Result<Option<String>, RootError> {
    match state.and_then(|state| state.instead.get(path)) {
        Some(text) => Ok(Some(text.clone())),
        None => root.utf8_if_any(path),
    }
}

/// Why nobody can tell what in a text is ours.
pub(super) fn not_toml(now: Option<&str>) -> String {
    let read = now.map(|now| now.parse::<toml_edit::DocumentMut>().map(|document| LineEnds::of(now, &document)));
    match read {
        Some(Err(error)) => without_line(&error),
        Some(Ok(Err(error))) => error.to_string(),
        Some(Ok(Ok(_))) | None => "it cannot be kept as it is".to_owned(),
    }
}

/// That files of ours which no state knows hold nothing of others': it would be lost when they are written again. By force
/// it is, and what goes is returned in words.
///
/// # Errors
///
/// That one has keys that are not written now, or cannot be read.
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

/// The texts that files go back to when they are no longer written.
#[derive(Debug, Default)]
pub(super) struct Originals {
    /// Their texts; `None` is a file that goes.
    pub(super) texts: BTreeMap<PathBuf, Option<String>>,
    /// The files that were changed by hand, and stay as they are, each with what was changed.
    pub(super) kept: Vec<(PathBuf, ChangeError)>,
    /// The files of handlers that stay because a file of theirs was changed.
    pub(super) handler: Vec<PathBuf>,
}

/// Whether a file stays for that reason, and not the whole call ends.
fn stays(why: &ChangeError) -> bool {
    use ChangeError::{Changed, Handler, NotToml, Torn};
    matches!(why, Changed { .. } | Handler { .. } | NotToml { .. } | Torn { .. })
}

/// What some files of a state go back to when they are written no more; what was changed by hand stays.
pub(super) fn originals(
    root: &Root,
    state: &State,
    which: &dyn Fn(&PathBuf) -> bool,
) -> Result<Originals, ChangeError> {
    let mut all = Originals::default();
    for file in state.files.iter().filter(|f| which(&f.path)) {
        let path = file.path.clone();
        let left = match without_ours(root, Some(state), &path, false) {
            Err(why) if stays(&why) => {
                all.kept.push((path.clone(), why));
                match text(root, Some(state), &path) {
                    // The code that reads it reports this.
                    Err(RootError::NotText { .. }) => continue,
                    text => text?,
                }
            }
            left => left?,
        };
        all.texts.insert(path, left);
    }
    // A handler goes or stays as a whole, with whatever names it.
    let is_kept = |path: &PathBuf| all.kept.iter().any(|(kept, _)| kept == path);
    let whole = state.configurations.iter().filter(|c| c.handler.iter().any(is_kept)).flat_map(|c| &c.handler);
    let stays: Vec<PathBuf> = whole.filter(|path| all.texts.contains_key(*path) || is_kept(path)).cloned().collect();
    for path in &stays {
        if all.texts.contains_key(path) {
            all.texts.insert(path.clone(), text(root, Some(state), path)?);
        }
    }
    all.handler = stays;
    Ok(all)
}

/// A file on its way from one text to another.
pub(super) struct PendingFile {
    pub(super) file: FileChange,
    /// The file's content afterwards.
    pub(super) target: Option<String>,
    /// The folder that it lies in; `None` where that is missing.
    pub(super) place: Option<PinnedPath>,
    /// The file's content now.
    pub(super) now: Option<FileContents>,
    /// Whether something that is no file of ours stands in the way.
    pub(super) blocked: bool,
    /// Whether what stands there is kept beside it first.
    pub(super) aside: bool,
}

impl PendingFile {
    pub(super) fn new(root: &Root, file: FileChange, target: Option<String>) -> Result<PendingFile, RootError> {
        let place = root.pin(&file.path)?;
        let now = place.as_ref().map(|p| p.read(MAX_CONFIGURATION)).transpose()?.flatten();
        Ok(PendingFile { file, target, place, now, blocked: false, aside: false })
    }

    /// The text of today, where it is one.
    pub(super) fn text(&self) -> Option<&str> {
        self.now.as_ref().and_then(|n| str::from_utf8(&n.bytes).ok())
    }

    /// Whether what stands there is written over, because it has several names.
    pub(super) fn is_in_place(&self) -> bool {
        self.target.is_some() && self.now.as_ref().is_some_and(|n| n.links > 1)
    }

    pub(super) fn is_done(&self) -> bool {
        !self.blocked && self.now.as_ref().map(|n| n.bytes.as_slice()) == self.target.as_ref().map(String::as_bytes)
    }

    /// Keeps what stands there beside it, where that is to be; returns where.
    pub(super) fn keep_aside(&self) -> Result<Option<PathBuf>, RootError> {
        match (&self.place, &self.now) {
            (Some(place), Some(now)) if self.aside => place.keep_aside(now).map(Some),
            _ => Ok(None),
        }
    }

    /// Writes what is to stand there; `was` is for a file that has gone.
    pub(super) fn take(self, root: &Root, was: Option<&Attributes>) -> Result<(), ChangeError> {
        if self.is_done() {
            return Ok(());
        }
        if self.blocked {
            self.place.iter().try_for_each(PinnedPath::remove)?;
        }
        // Text that others have written since the file was looked at stays.
        let taken = match (&self.target, self.place, &self.now) {
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
        match taken {
            true => Ok(()),
            false => Err(ChangeError::Meanwhile(self.file.path)),
        }
    }
}

/// Writes the files of a state, and the state that takes them back; files of the state before that are not in it and of
/// no configuration of it are restored. What others have `added` to ours moves first.
///
/// Each file is replaced atomically. What was changed by hand in a file of our own that is no longer written stays, and
/// stays in the state.
///
/// # Errors
///
/// What could not be written; what was by then is taken back, or named ([`ChangeError::Halfway`]). The state names
/// everything that is left, and what was to be.
pub(super) fn apply(
    root: &Root,
    lock: &Lock,
    old: Option<&State>,
    new: State,
    added: &[ForeignAdditions],
) -> Result<(), ChangeError> {
    let mut rollback = Rollback::begin(root)?;
    carry_out(root, lock, old, new, added, &mut rollback).map_err(|why| match rollback.undo(root) {
        left if left.is_empty() && rollback.is_empty() => why,
        left => ChangeError::Halfway { why: Box::new(why), left },
    })
}

/// The same; what is written, and the folders that are made for it, are noted down.
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
    // A file that imports another goes before it: containerd does not start with an import of a missing file.
    for file in dropped.iter().rev() {
        match without_ours(root, old, &file.path, false) {
            Err(why) if stays(&why) => kept.push(file.clone()),
            before => {
                let before = before?;
                steps.push(PendingFile::new(root, FileChange { before: before.clone(), ..file.clone() }, before)?);
            }
        }
    }
    let others: Vec<PathBuf> = kept.iter().map(|f| f.path.clone()).collect();
    new.directories = old.map(|s| s.directories.clone()).unwrap_or_default();
    let mut missing = lock.made().to_vec();
    for file in &new.files {
        missing.extend(root.missing_folders(&file.path));
    }
    missing.retain(|folder| !new.directories.contains(folder));
    rollback.folders.extend(missing.iter().filter(|folder| !lock.made().contains(folder)).cloned());
    new.directories.extend(missing);
    new.files.extend(kept);
    new.attributes = old.map(|s| s.attributes.clone()).unwrap_or_default();
    for step in steps.iter().filter(|s| s.file.before.is_some()) {
        if let Some(now) = &step.now {
            new.attributes.entry(step.file.path.clone()).or_insert_with(|| now.attributes.clone());
        }
    }
    // Until all is done the state knows what stands there, what stood there before, and what is to stand there.
    let mut both = new.clone();
    let dropped = steps.iter().map(|s| &s.file).filter(|f| !new.files.iter().any(|n| n.path == f.path));
    both.files.extend(dropped.cloned());
    new.attributes.retain(|path, _| new.files.iter().any(|f| f.path == *path));
    // The state must keep what a crash left of other configurations.
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

/// Notes down what stands there, which is all known by then, for whatever a crash leaves of the steps.
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
