//! Reverting of written files.
//!
//! In a file that others have edited since, only kata-osinfo's own keys are reverted (`keys`).

mod remaining_state;

use super::added::{self, ForeignAdditions};
use super::change::{PendingFile, not_toml};
use super::containerd::Replaced;
use super::containerd::migrated::{is_of_handler, repair_instructions, without_half};
use super::dangling::{self, Dangling};
use super::keys::is_whole;
use super::lock::Lock;
use super::needed::{keep_all_files, needed};
use super::state::{self, ChangeError, FileChange, NotReverted, State, TORN, VERSION};
use super::today::{FileState, halfway, is_cut_short, stripped, today};
use remaining_state::{keep_state, remove_folders, remove_state};
use root::{Root, may_be_half};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The result of a revert.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevertReport {
    /// Each change from the previous content to the current one; `after` is empty if the file was removed.
    pub restored: Vec<FileChange>,
    /// The files that remain.
    pub kept: Vec<NotReverted>,
    /// Additions of others to kata-osinfo's files, which have moved.
    pub added: Vec<ForeignAdditions>,
    /// Messages about others' changes that are lost by force.
    pub forced: Vec<String>,
}

/// Reason why a file stays that an edit in another file names.
const NAMED: &str = "a file that may refer to it is not reverted";

/// Message about a torn file that is reverted by force.
const CUT_SHORT: &str = "a kata-osinfo call was interrupted while it wrote this file, and others have changed it since: --force replaces their text";

/// Returns the reason why a file stays together with its handler.
fn kept_with_handler(handler: &Path) -> String {
    format!("it belongs to the handler in {}, which is not reverted", handler.display())
}

/// Reverts everything: kata-osinfo's own files that are unchanged, and its keys in files that it edited. Additions of
/// others to kata-osinfo's files move to separate files first, also with `force`.
///
/// Others' changes to kata-osinfo's parts stay, on disk and in the state, unless forced. A file that cannot be reverted
/// does not stop the others, nor does a disk without space for a record of the progress; the revert can be repeated. If
/// an edit stays, files that it may name stay, too: containerd does not start with an import of a missing file, and a
/// handler is useless without its configuration; only `force` removes them.
///
/// # Errors
///
/// A file that shows what others need cannot be read; nothing is reverted then, unless forced.
pub fn revert(root: &Root, lock: Option<&Lock>, state: &State, force: bool) -> Result<RevertReport, ChangeError> {
    revert_but(root, lock, state, force, &[])
}

/// Like [`revert`], without the files that are `held_back`.
///
/// # Errors
///
/// As [`revert`].
pub(super) fn revert_but(
    root: &Root,
    lock: Option<&Lock>,
    state: &State,
    force: bool,
    held_back: &[NotReverted],
) -> Result<RevertReport, ChangeError> {
    let mut added = added::all(root, state, &|_| force);
    added.retain(|a| !held_back.iter().any(|kept| kept.path == a.ours()));
    let recorded = state;
    let state = &added::noted(root, recorded, &added);
    let forced = added.iter().filter_map(ForeignAdditions::forced_words).collect();
    let mut reverted = RevertReport { forced, ..RevertReport::default() };
    let mut unwritten = Vec::new();
    let mut steps = Vec::new();
    let is_handler = |path: &Path| state.configurations.iter().any(|c| c.handler.iter().any(|file| file == path));
    // Whether an edit stays that may name other files, and whether `force` would remove it together with them.
    let mut names = None;
    for file in &state.files {
        let outcome = match held_back.iter().find(|kept| kept.path == file.path) {
            Some(kept) => Err(kept.clone()),
            None => revert_step(root, state, file, force),
        };
        match outcome {
            Ok((step, changed)) => {
                let keys = changed.join(", ");
                if step.aside && lock.is_none() {
                    reverted.forced.push(format!("{}: {CUT_SHORT}, which is kept beside it", file.path.display()));
                }
                match changed.iter().any(|key| is_of_handler(key)) {
                    _ if step.blocked => {
                        reverted
                            .forced
                            .push(format!("{}: it cannot be read, and is reverted too", file.path.display()));
                    }
                    _ if changed.is_empty() => {}
                    _ if force => {
                        let path = file.path.display();
                        reverted.forced.push(format!("{path}: {keys} had been changed, and is reverted too"));
                    }
                    in_handler => {
                        let why = match in_handler {
                            true => {
                                let how = repair_instructions(step.text().unwrap_or_default(), state, &changed);
                                format!(
                                    "the handler was changed after kata-osinfo wrote it, so none of it is reverted: {how}"
                                )
                            }
                            false => format!("{keys} has another value now"),
                        };
                        reverted.kept.push(NotReverted { path: file.path.clone(), why, by_force: true });
                    }
                }
                steps.push(step);
            }
            Err(kept) => {
                if is_handler(&file.path) && !is_whole(file) {
                    names = Some(kept.by_force && names != Some(false));
                }
                reverted.kept.push(kept);
            }
        }
    }
    if let Some(by_force) = names {
        let is_removed = |step: &PendingFile| !step.is_done() && step.target.is_none() && is_handler(&step.file.path);
        let (named, rest): (Vec<PendingFile>, Vec<PendingFile>) = steps.into_iter().partition(is_removed);
        let kept = named.into_iter().map(|step| NotReverted { path: step.file.path, why: NAMED.to_owned(), by_force });
        reverted.kept.extend(kept);
        steps = rest;
    }
    // A handler is removed or kept as a whole, with the configuration that it names.
    if !force {
        let mut all = reverted.kept.clone();
        for configured in &state.configurations {
            if let Some(kept) = all.iter().find(|k| configured.handler.contains(&k.path)) {
                let why = kept_with_handler(&kept.path);
                keep_all_files(&mut all, configured, &why);
            }
        }
        // A state that was tampered with may list other files.
        all.retain(|kept| state.files.iter().any(|f| f.path == kept.path));
        if all.len() > reverted.kept.len() {
            all.retain(|kept| !held_back.contains(kept));
            return revert_but(root, lock, recorded, force, &[held_back, &all].concat());
        }
    }
    let mut planned: Replaced = steps.iter().map(|step| (step.file.path.clone(), step.target.clone())).collect();
    planned.extend(added.iter().filter_map(ForeignAdditions::theirs).map(|c| (c.path.clone(), Some(c.after.clone()))));
    let mut needed = match needed(root, state, &added, &planned, None) {
        Err(error) if force => {
            reverted.forced.push(format!("cannot tell whether other files need what is removed: {error}"));
            Vec::new()
        }
        needed => needed?,
    };
    needed.retain(|kept| !held_back.iter().any(|h| h.path == kept.path));
    if !needed.is_empty() && !force {
        return revert_but(root, lock, recorded, force, &[held_back, &needed].concat());
    }
    for NotReverted { why, .. } in needed {
        if !reverted.forced.contains(&why) {
            reverted.forced.push(why);
        }
    }
    let change = |step: &PendingFile| FileChange {
        path: step.file.path.clone(),
        before: step.now.as_ref().map(|n| String::from_utf8_lossy(&n.bytes).into_owned()),
        after: step.target.clone().unwrap_or_default(),
    };
    if lock.is_none() {
        let theirs = added.iter().filter_map(ForeignAdditions::theirs).cloned();
        reverted.restored = theirs.chain(steps.iter().filter(|s| !s.is_done()).map(change)).collect();
        reverted.added = added;
        return Ok(reverted);
    }
    // The changes start from the contents before others' lines move.
    let mut changes: BTreeMap<PathBuf, FileChange> =
        steps.iter().filter(|s| !s.is_done()).map(|s| (s.file.path.clone(), change(s))).collect();
    let mut unmoved = Vec::new();
    for added in added {
        let main = steps.iter_mut().find(|step| Some(step.file.path.as_path()) == added.imported_by());
        // The import is written before the removal of kata-osinfo's file is recorded: after a crash, the next call
        // takes the file for kata-osinfo's alone.
        let moved = added.write(root).and_then(|()| {
            if let Some(step) = main {
                step.now = added.write_import(root)?;
            }
            Ok(())
        });
        match moved {
            Ok(()) => {
                reverted.restored.extend(added.theirs().cloned());
                reverted.added.push(added);
            }
            Err(error) => {
                // The file that imports it stays unchanged, too.
                steps.retain(|step| {
                    step.file.path != added.ours() && Some(step.file.path.as_path()) != added.imported_by()
                });
                let path = added.ours().to_owned();
                unmoved.push(path.clone());
                reverted.kept.push(NotReverted { path, why: error.to_string(), by_force: false });
            }
        }
    }
    // A file that imports another is removed first: containerd does not start with an import of a missing file.
    let is_handler = |step: &PendingFile| is_handler(&step.file.path);
    steps.reverse();
    steps.sort_by_key(|step| !is_handler(step));
    let mut carry_out = |step: PendingFile| {
        let path = step.file.path.clone();
        let outcome = step.keep_aside().map_err(ChangeError::from).and_then(|aside| {
            reverted.forced.extend(aside.map(|aside| {
                format!("{}: {CUT_SHORT}, which is now in {} for you to merge", path.display(), aside.display())
            }));
            step.take(root, state.attributes.get(&path))
        });
        match &outcome {
            Ok(()) => reverted.restored.extend(changes.remove(&path)),
            Err(error) => reverted.kept.push(NotReverted { path, why: error.to_string(), by_force: false }),
        }
        outcome.is_ok()
    };
    // The state already allows for a partial write of this step, and on a full disk nothing more could be recorded.
    let is_noted = |step: &PendingFile| {
        let (path, Some(now), Some(target)) = (&step.file.path, &step.now, &step.target) else { return false };
        let is_again = |f: &FileChange| {
            let was = f.before.as_deref().unwrap_or_default();
            f.after == *target && may_be_half(&now.bytes, was.as_bytes(), target.as_bytes())
        };
        recorded.halfway.iter().find(|f| f.path == *path).is_some_and(is_again)
            || recorded.halfway.iter().all(|f| f.path != *path)
                && recorded.in_place.contains(path)
                && recorded.earlier.get(path) == Some(target)
                && halfway(recorded, path, &now.bytes).is_some()
    };
    let note = |steps: &[PendingFile]| {
        if steps.iter().all(PendingFile::is_done) {
            return Ok(());
        }
        // After a crash, a file is classified by its text and by the recorded texts: neither changes before the state
        // is written.
        let mut remaining = State { version: VERSION, ..state.clone() };
        remaining.earlier.retain(|path, _| !unmoved.contains(path));
        let removed = steps.iter().filter(|step| step.target.is_none());
        remaining.earlier.extend(removed.filter_map(|step| Some((step.file.path.clone(), step.text()?.to_owned()))));
        for step in steps.iter().filter(|s| s.is_in_place() && !s.is_done() && !is_noted(s)) {
            // The current text is compared with the result of this call first, and then with those of earlier calls.
            match (step.text().or_else(|| effective_text(state, step)), &step.target) {
                (Some(was), Some(target)) => remaining.halfway.insert(
                    0,
                    FileChange { path: step.file.path.clone(), before: Some(was.to_owned()), after: target.clone() },
                ),
                _ => remaining.in_place.push(step.file.path.clone()),
            }
        }
        state::write(root, &remaining)
    };
    let mut noted = note(&steps);
    if noted.is_err() {
        // The disk may be full. Removing a file needs no record, and frees space.
        let (removals, rest): (Vec<PendingFile>, Vec<PendingFile>) =
            steps.into_iter().partition(|s| s.target.is_none() && !is_handler(s));
        for step in removals {
            carry_out(step);
        }
        steps = rest;
        noted = note(&steps);
    }
    let mut stuck: Vec<PathBuf> = Vec::new();
    for step in steps {
        let is_handler = is_handler(&step);
        let in_place = step.is_in_place() && !is_noted(&step);
        let path = step.file.path.clone();
        let of_one = |handler: &&PathBuf| {
            state.configurations.iter().any(|c| c.handler.contains(handler) && c.files.contains(&path))
        };
        let its_handler = stuck.iter().find(of_one).filter(|_| !force && !is_handler);
        let why = match &noted {
            // A partial write would be taken for an edit of others.
            Err(error) if in_place => Some(error.to_string()),
            _ if !stuck.is_empty() && is_handler && step.target.is_none() => Some(NAMED.to_owned()),
            _ => its_handler.map(|handler| kept_with_handler(handler)),
        };
        let is_stuck = match why {
            Some(why) => {
                unwritten.push(NotReverted { path: step.file.path, why, by_force: false });
                true
            }
            None => !carry_out(step),
        };
        if is_stuck && is_handler {
            stuck.push(path);
        }
    }
    reverted.kept.append(&mut unwritten);
    let mut led_to = Vec::new();
    for Dangling { link, file } in dangling::remove(root, state) {
        reverted.kept.push(link);
        led_to.push(file);
    }
    if reverted.kept.is_empty() {
        reverted.kept.extend(remove_folders(root, state));
    }
    match reverted.kept.is_empty() {
        true => reverted.kept.extend(remove_state(root, state)),
        false => keep_state(root, (state, recorded), &led_to, &mut reverted),
    }
    Ok(reverted)
}

/// Returns the text of a file; for a partial write the text that was being overwritten.
fn effective_text<'a>(state: &'a State, step: &'a PendingFile) -> Option<&'a str> {
    let now = step.now.as_ref()?;
    halfway(state, &step.file.path, &now.bytes).or_else(|| step.text())
}

/// Returns the step that reverts a file, and the keys that others have changed; or why the file stays.
fn revert_step(
    root: &Root,
    state: &State,
    file: &FileChange,
    force: bool,
) -> Result<(PendingFile, Vec<String>), NotReverted> {
    let not_reverted = |why: String, by_force: bool| NotReverted { path: file.path.clone(), why, by_force };
    let mut step = match PendingFile::new(root, file.clone(), None) {
        Ok(step) => step,
        // For a FIFO or a huge file: the directory is the same, and the file is replaced.
        Err(error) if force => {
            let place = root.pin(&file.path).map_err(|e| not_reverted(e.to_string(), false))?;
            let place = place.ok_or_else(|| not_reverted(error.to_string(), false))?;
            let target = file.before.clone();
            let step =
                PendingFile { file: file.clone(), target, place: Some(place), now: None, blocked: true, aside: false };
            return Ok((step, Vec::new()));
        }
        Err(error) => {
            // A directory is not replaced, nor a file that cannot be examined.
            let is_replaced = root.look(&file.path).is_ok_and(|found| found.is_some_and(|f| !f.is_dir()));
            return Err(not_reverted(error.to_string(), is_replaced));
        }
    };
    let imported = state.instead.get(&file.path).map(String::as_str);
    let text = imported.or_else(|| effective_text(state, &step)).map(str::to_owned);
    let is_cut_short = is_cut_short(state, &file.path);
    if step.now.is_some() && text.is_none() && !force && !is_cut_short {
        return Err(not_reverted("expected UTF-8 text".to_owned(), is_whole(file)));
    }
    let found = match &step.now {
        Some(_) if text.is_none() && is_cut_short && !is_whole(file) => FileState::Torn,
        Some(_) if text.is_none() => FileState::Foreign,
        _ => today(state, file, text.as_deref()),
    };
    let (mut target, mut changed) = match found {
        FileState::Ours => (file.before.clone(), Vec::new()),
        FileState::Gone if !force => (None, Vec::new()),
        FileState::Back => (text, Vec::new()),
        FileState::Edited(edited) if !force || edited.changed.is_empty() => (edited.text, edited.changed),
        FileState::Edited(edited) => {
            let now = text.unwrap_or_default();
            let forced = stripped(state, file, &now, true);
            (forced.map_err(|e| not_reverted(e.to_string(), false))?.text, edited.changed)
        }
        FileState::Torn if !force => {
            return Err(not_reverted(TORN.to_owned(), true));
        }
        // Others' parts of the file would be lost with kata-osinfo's.
        FileState::Foreign if !is_whole(file) => {
            let why = not_toml(text.as_deref());
            let why = format!(
                "it is no longer valid TOML, so kata-osinfo cannot find the parts that it wrote: {why}: fix the file"
            );
            return Err(not_reverted(why, false));
        }
        FileState::Foreign if !force => {
            return Err(not_reverted(added::changed_words(file, text.as_deref().unwrap_or_default()), true));
        }
        FileState::Gone | FileState::Foreign | FileState::Torn => {
            step.aside = is_cut_short && step.now.is_some();
            (file.before.clone(), Vec::new())
        }
    };
    // After a later `configure`, others' keys in the handler count as part of the original text.
    if force
        && !is_whole(file)
        && let Some((remaining, keys)) = target.as_deref().and_then(without_half)
    {
        let keys: Vec<String> = keys.iter().map(|path| path.join(".")).filter(|key| !changed.contains(key)).collect();
        changed.extend(keys);
        target = Some(remaining);
    }
    step.target = target;
    Ok((step, changed))
}
