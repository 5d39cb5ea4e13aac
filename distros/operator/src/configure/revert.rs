//! Files that are taken back.
//!
//! Of a file that others have edited since only our own keys are taken back (`keys`).

mod remaining_state;

use super::added::{self, ForeignAdditions};
use super::change::{PendingFile, not_toml};
use super::containerd::Replaced;
use super::containerd::migrated::{is_of_handler, to_mend, without_half};
use super::dangling::{self, Dangling};
use super::keys::is_whole;
use super::lock::Lock;
use super::needed::{hold, needed};
use super::state::{self, ChangeError, FileChange, NotReverted, State, TORN, VERSION};
use super::today::{FileState, halfway, is_cut_short, taken, today};
use remaining_state::{keep_state, remove_folders, remove_state};
use root::{Root, may_be_half};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The result for everything that was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevertReport {
    /// Each as a change from what stood there to what stands there now; an empty `after` with the file gone.
    pub restored: Vec<FileChange>,
    /// The files that are still there.
    pub kept: Vec<NotReverted>,
    /// Additions of others to files of ours, which have moved.
    pub added: Vec<ForeignAdditions>,
    /// Changes of others that go by force, in words.
    pub forced: Vec<String>,
}

/// Why a file stays that an edit names.
const NAMED: &str = "what may name it is not taken back";

/// The message about a file that goes by force, and was torn.
const CUT_SHORT: &str = "a call was cut short while it wrote this file, and others have changed it since: their text goes, because it is forced";

/// Why a file stays whose handler does.
fn belongs(handler: &Path) -> String {
    format!("it belongs to the handler in {}, which stays", handler.display())
}

/// Takes everything back: whole files of ours that are as they were written, our keys in those that we edited. What others
/// have added to a file of ours moves to one of theirs first, also where it is forced.
///
/// What others changed of ours stays, and stays in the state, unless it is forced; what cannot be taken back does not
/// keep the rest from it, nor does a disk on which there is no space to note what is under way. It can be tried again.
/// Only what an edit that stays may name stays, too: containerd does not start with an import of a file that has gone, and
/// a handler starts nothing good without its configuration; that goes only by force.
///
/// # Errors
///
/// That a file which decides what others need cannot be read; nothing is taken back then, and by force it is.
pub fn revert(root: &Root, lock: Option<&Lock>, state: &State, force: bool) -> Result<RevertReport, ChangeError> {
    revert_but(root, lock, state, force, &[])
}

/// The same without files that are `held`.
///
/// # Errors
///
/// As [`revert`].
pub(super) fn revert_but(
    root: &Root,
    lock: Option<&Lock>,
    state: &State,
    force: bool,
    held: &[NotReverted],
) -> Result<RevertReport, ChangeError> {
    let mut added = added::all(root, state, &|_| force);
    added.retain(|a| !held.iter().any(|kept| kept.path == a.ours()));
    let recorded = state;
    let state = &added::noted(root, recorded, &added);
    let forced = added.iter().filter_map(ForeignAdditions::forced_words).collect();
    let mut reverted = RevertReport { forced, ..RevertReport::default() };
    let mut unwritten = Vec::new();
    let mut steps = Vec::new();
    let is_handler = |path: &Path| state.configurations.iter().any(|c| c.handler.iter().any(|file| file == path));
    // Whether an edit that stays may name other files, and goes by force with them.
    let mut names = None;
    for file in &state.files {
        let taken = match held.iter().find(|kept| kept.path == file.path) {
            Some(kept) => Err(kept.clone()),
            None => back(root, state, file, force),
        };
        match taken {
            Ok((step, changed)) => {
                let keys = changed.join(", ");
                if step.aside && lock.is_none() {
                    reverted.forced.push(format!("{}: {CUT_SHORT}, and is kept beside it", file.path.display()));
                }
                match changed.iter().any(|key| is_of_handler(key)) {
                    _ if step.blocked => {
                        reverted.forced.push(format!("{}: it cannot be read, and goes too", file.path.display()));
                    }
                    _ if changed.is_empty() => {}
                    _ if force => {
                        let path = file.path.display();
                        reverted.forced.push(format!("{path}: {keys} had been changed, and goes too"));
                    }
                    in_handler => {
                        let why = match in_handler {
                            true => {
                                let how = to_mend(step.text().unwrap_or_default(), state, &changed);
                                format!("others have changed the handler, which stays whole: {how}")
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
        let goes = |step: &PendingFile| !step.is_done() && step.target.is_none() && is_handler(&step.file.path);
        let (named, rest): (Vec<PendingFile>, Vec<PendingFile>) = steps.into_iter().partition(goes);
        let kept = named.into_iter().map(|step| NotReverted { path: step.file.path, why: NAMED.to_owned(), by_force });
        reverted.kept.extend(kept);
        steps = rest;
    }
    // A handler goes or stays as a whole, with the configuration that it names.
    if !force {
        let mut all = reverted.kept.clone();
        for configured in &state.configurations {
            if let Some(kept) = all.iter().find(|k| configured.handler.contains(&k.path)) {
                let why = belongs(&kept.path);
                hold(&mut all, configured, &why);
            }
        }
        // A state that was meddled with may name others.
        all.retain(|kept| state.files.iter().any(|f| f.path == kept.path));
        if all.len() > reverted.kept.len() {
            all.retain(|kept| !held.contains(kept));
            return revert_but(root, lock, recorded, force, &[held, &all].concat());
        }
    }
    let mut then: Replaced = steps.iter().map(|step| (step.file.path.clone(), step.target.clone())).collect();
    then.extend(added.iter().filter_map(ForeignAdditions::theirs).map(|c| (c.path.clone(), Some(c.after.clone()))));
    let mut needed = match needed(root, state, &added, &then, None) {
        Err(error) if force => {
            reverted.forced.push(format!("whether others need what goes is not known: {error}"));
            Vec::new()
        }
        needed => needed?,
    };
    needed.retain(|kept| !held.iter().any(|h| h.path == kept.path));
    if !needed.is_empty() && !force {
        return revert_but(root, lock, recorded, force, &[held, &needed].concat());
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
    // From what stood there before others' lines move.
    let mut changes: BTreeMap<PathBuf, FileChange> =
        steps.iter().filter(|s| !s.is_done()).map(|s| (s.file.path.clone(), change(s))).collect();
    let mut unmoved = Vec::new();
    for added in added {
        let main = steps.iter_mut().find(|step| Some(step.file.path.as_path()) == added.imported_by());
        // Imported before it is noted that ours may go: whoever is called after a crash takes it for ours alone then.
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
                // Nor does what imports it change.
                steps.retain(|step| {
                    step.file.path != added.ours() && Some(step.file.path.as_path()) != added.imported_by()
                });
                let path = added.ours().to_owned();
                unmoved.push(path.clone());
                reverted.kept.push(NotReverted { path, why: error.to_string(), by_force: false });
            }
        }
    }
    // A file that imports another goes before it: containerd does not start with an import of a missing file.
    let is_handler = |step: &PendingFile| is_handler(&step.file.path);
    steps.reverse();
    steps.sort_by_key(|step| !is_handler(step));
    let mut carry_out = |step: PendingFile| {
        let path = step.file.path.clone();
        let taken = step.keep_aside().map_err(ChangeError::from).and_then(|aside| {
            reverted.forced.extend(aside.map(|aside| {
                format!("{}: {CUT_SHORT}, and lies in {} now, for you to merge", path.display(), aside.display())
            }));
            step.take(root, state.attributes.get(&path))
        });
        match &taken {
            Ok(()) => reverted.restored.extend(changes.remove(&path)),
            Err(error) => reverted.kept.push(NotReverted { path, why: error.to_string(), by_force: false }),
        }
        taken.is_ok()
    };
    // Half of it is what the state knows already, and on a full disk nothing more could be noted.
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
        // What a file is taken for follows from its text and from what is known of it, also after a crash: neither changes
        // before it is written.
        let mut left = State { version: VERSION, ..state.clone() };
        left.earlier.retain(|path, _| !unmoved.contains(path));
        let goes = steps.iter().filter(|step| step.target.is_none());
        left.earlier.extend(goes.filter_map(|step| Some((step.file.path.clone(), step.text()?.to_owned()))));
        for step in steps.iter().filter(|s| s.is_in_place() && !s.is_done() && !is_noted(s)) {
            // The text that is there is compared with what this call makes of it, and then with what the calls
            // before have made.
            match (step.text().or_else(|| standing(state, step)), &step.target) {
                (Some(was), Some(target)) => left.halfway.insert(
                    0,
                    FileChange { path: step.file.path.clone(), before: Some(was.to_owned()), after: target.clone() },
                ),
                _ => left.in_place.push(step.file.path.clone()),
            }
        }
        state::write(root, &left)
    };
    let mut noted = note(&steps);
    if noted.is_err() {
        // No space, perhaps. What only goes needs no note, and makes some.
        let (goes, rest): (Vec<PendingFile>, Vec<PendingFile>) =
            steps.into_iter().partition(|s| s.target.is_none() && !is_handler(s));
        for step in goes {
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
            // Half of it would be taken for somebody's edit.
            Err(error) if in_place => Some(error.to_string()),
            _ if !stuck.is_empty() && is_handler && step.target.is_none() => Some(NAMED.to_owned()),
            _ => its_handler.map(|handler| belongs(handler)),
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

/// The text of a file, or that of which half is written over.
fn standing<'a>(state: &'a State, step: &'a PendingFile) -> Option<&'a str> {
    let now = step.now.as_ref()?;
    halfway(state, &step.file.path, &now.bytes).or_else(|| step.text())
}

/// What takes a file back, and the keys that were changed by others; or why it stays.
fn back(root: &Root, state: &State, file: &FileChange, force: bool) -> Result<(PendingFile, Vec<String>), NotReverted> {
    let stays = |why: String, by_force: bool| NotReverted { path: file.path.clone(), why, by_force };
    let mut step = match PendingFile::new(root, file.clone(), None) {
        Ok(step) => step,
        // A FIFO, something huge: the folder is the same, and what stands there is replaced.
        Err(error) if force => {
            let place = root.pin(&file.path).map_err(|e| stays(e.to_string(), false))?;
            let place = place.ok_or_else(|| stays(error.to_string(), false))?;
            let target = file.before.clone();
            let step =
                PendingFile { file: file.clone(), target, place: Some(place), now: None, blocked: true, aside: false };
            return Ok((step, Vec::new()));
        }
        Err(error) => {
            // A folder is not replaced, nor what cannot be looked at.
            let is_replaced = root.look(&file.path).is_ok_and(|found| found.is_some_and(|f| !f.is_dir()));
            return Err(stays(error.to_string(), is_replaced));
        }
    };
    let imported = state.instead.get(&file.path).map(String::as_str);
    let text = imported.or_else(|| standing(state, &step)).map(str::to_owned);
    let is_cut_short = is_cut_short(state, &file.path);
    if step.now.is_some() && text.is_none() && !force && !is_cut_short {
        return Err(stays("expected UTF-8 text".to_owned(), is_whole(file)));
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
            let forced = taken(state, file, &now, true);
            (forced.map_err(|e| stays(e.to_string(), false))?.text, edited.changed)
        }
        FileState::Torn if !force => {
            return Err(stays(TORN.to_owned(), true));
        }
        // The parts of others in it would go with ours.
        FileState::Foreign if !is_whole(file) => {
            let why = not_toml(text.as_deref());
            let why = format!("it is not TOML any more, so nobody can see what in it is ours: {why}: mend it");
            return Err(stays(why, false));
        }
        FileState::Foreign if !force => {
            return Err(stays(added::changed_words(file, text.as_deref().unwrap_or_default()), true));
        }
        FileState::Gone | FileState::Foreign | FileState::Torn => {
            step.aside = is_cut_short && step.now.is_some();
            (file.before.clone(), Vec::new())
        }
    };
    // By a `configure` of later others' keys in our handler have become part of what stood there before.
    if force
        && !is_whole(file)
        && let Some((left, keys)) = target.as_deref().and_then(without_half)
    {
        let keys: Vec<String> = keys.iter().map(|path| path.join(".")).filter(|key| !changed.contains(key)).collect();
        changed.extend(keys);
        target = Some(left);
    }
    step.target = target;
    Ok((step, changed))
}
