//! Files that are written and taken back.
//!
//! What was written, and what stood there before, is kept in a state file below `/var/lib/kata-osinfo`, for root alone; it
//! is written before the first file is touched, with the old texts and the new ones, so that whatever a crash leaves is
//! known. Of a file that others have edited since only our own keys are taken back ([`super::keys`]).

pub use super::configured::Configured;
use super::configured::{Form, Older};
use super::keys;
use super::lock::Lock;
use super::today::{Today, taken, today};
use root::{Attributes, Held, MAX_CONFIGURATION, Place, Root, RootError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

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
    /// The state's form: 3. Up to form 2 there was one configuration.
    pub version: u32,
    /// Each of Kata's configurations, the last one last.
    pub configurations: Vec<Configured>,
    /// Every file that was written.
    pub files: Vec<Change>,
    /// Directories that were made, the outermost first.
    pub directories: Vec<PathBuf>,
    /// Owner, mode and attributes of files that were there before.
    #[serde(default)]
    pub attributes: BTreeMap<PathBuf, Attributes>,
    /// Texts that stood there when a change began that is not finished.
    #[serde(default)]
    pub earlier: BTreeMap<PathBuf, String>,
    /// Files of several names, which are being written in place: what stands there may be half of it.
    #[serde(default)]
    pub in_place: Vec<PathBuf>,
}

/// The form that is written.
const VERSION: u32 = 3;

/// Bytes of a state: it has several texts of each file.
const MAX_STATE: u64 = 64 << 20;

/// Something of ours that was not taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

/// What became of everything that was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reverted {
    /// Each as a change from what stood there to what stands there now; an empty `after` with the file gone.
    pub restored: Vec<Change>,
    /// What is still there.
    pub kept: Vec<Kept>,
}

/// Why files were not written or not taken back.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Below the root something cannot be read or written.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The state is not one of ours.
    #[error(
        "{STATE} is not a state of this program: {0}; `kata-osinfo unconfigure --force` takes back what says itself that it is ours"
    )]
    State(String),
    /// The state is of another version of this program.
    #[error("{STATE} has the form {0}, this program knows 1 to {VERSION}: use the kata-osinfo that wrote it")]
    Version(u32),
    /// A file of ours is not as this program left it.
    #[error(
        "{0} has been changed since kata-osinfo wrote it: move what was changed to a drop-in of your own and remove the file, or `kata-osinfo unconfigure --force`"
    )]
    Changed(PathBuf),
    /// A file is not as it was looked at.
    #[error("{0} was changed in the very moment: try again")]
    Meanwhile(PathBuf),
    /// Another one holds the lock.
    #[error("another kata-osinfo is configuring this machine, for more than {0} s now: wait for it or end it")]
    Locked(u64),
}

/// What was configured, if anything.
///
/// # Errors
///
/// That the state cannot be read.
pub fn state(root: &Root) -> Result<Option<State>, ChangeError> {
    let Some(held) = root.place_itself(Path::new(STATE))?.map(|p| p.read(MAX_STATE)).transpose()?.flatten() else {
        return Ok(None);
    };
    let broken = |e: serde_json::Error| ChangeError::State(e.to_string());
    let Form { version } = serde_json::from_slice(&held.bytes).map_err(broken)?;
    let state: State = match version {
        1 | 2 => serde_json::from_slice::<Older>(&held.bytes).map_err(broken)?.into(),
        VERSION => serde_json::from_slice(&held.bytes).map_err(broken)?,
        _ => return Err(ChangeError::Version(version)),
    };
    let paths = state.files.iter().map(|f| &f.path).chain(&state.directories);
    match paths.into_iter().find(|p| !is_plain(p)) {
        Some(odd) => Err(ChangeError::State(format!("{} is no plain absolute path", odd.display()))),
        None => Ok(Some(state)),
    }
}

pub(super) fn is_plain(path: &Path) -> bool {
    path.is_absolute() && path.components().skip(1).all(|c| matches!(c, Component::Normal(_)))
}

/// A file's text without what this program has put there: as it was before, with what others have edited since.
///
/// `None` where there is none.
///
/// # Errors
///
/// That it cannot be read, or is one of our own and was changed since.
pub fn original(root: &Root, state: Option<&State>, path: &Path) -> Result<Option<String>, ChangeError> {
    let now = root.utf8_if_any(path)?;
    let Some((state, ours)) = state.and_then(|s| Some((s, s.files.iter().find(|f| f.path == path)?))) else {
        // A file of ours that no state knows any more was not there before, either.
        return Ok(now.filter(|text| !keys::says_it_is_ours(text)));
    };
    match today(state, ours, now.as_deref()) {
        Today::Ours => Ok(ours.before.clone()),
        Today::Edited(taken) => Ok(taken.text),
        Today::Back | Today::Gone => Ok(now),
        Today::Foreign if keys::is_whole(ours) => Err(ChangeError::Changed(path.to_owned())),
        Today::Foreign => Ok(now),
    }
}

/// What some files of a state go back to when they are written no more; what was changed by hand stays.
pub(super) fn originals(
    root: &Root,
    state: &State,
    which: &dyn Fn(&PathBuf) -> bool,
) -> Result<BTreeMap<PathBuf, Option<String>>, ChangeError> {
    let mut all = BTreeMap::new();
    for file in state.files.iter().filter(|f| which(&f.path)) {
        let text = match original(root, Some(state), &file.path) {
            Err(ChangeError::Changed(path)) => root.utf8_if_any(&path)?,
            text => text?,
        };
        all.insert(file.path.clone(), text);
    }
    Ok(all)
}

/// A file on its way from one text to another.
struct Step {
    file: Change,
    /// What is to stand there.
    target: Option<String>,
    /// What stands there, by the folder that it lies in; `None` where that is missing.
    place: Option<Place>,
    now: Option<Held>,
    /// Whether something that is no file of ours stands in the way.
    blocked: bool,
}

impl Step {
    fn new(root: &Root, file: Change, target: Option<String>) -> Result<Step, RootError> {
        let place = root.place(&file.path)?;
        let now = place.as_ref().map(|p| p.read(MAX_CONFIGURATION)).transpose()?.flatten();
        Ok(Step { file, target, place, now, blocked: false })
    }

    /// The text of today, where it is one.
    fn text(&self) -> Option<&str> {
        self.now.as_ref().and_then(|n| str::from_utf8(&n.bytes).ok())
    }

    /// Whether what stands there is written over, for it has several names.
    fn is_in_place(&self) -> bool {
        self.target.is_some() && self.now.as_ref().is_some_and(|n| n.links > 1)
    }

    fn is_done(&self) -> bool {
        !self.blocked && self.now.as_ref().map(|n| n.bytes.as_slice()) == self.target.as_ref().map(String::as_bytes)
    }

    /// Writes what is to stand there; `was` is for a file that has gone.
    fn take(self, root: &Root, was: Option<&Attributes>) -> Result<(), ChangeError> {
        if self.is_done() {
            return Ok(());
        }
        if self.blocked {
            self.place.iter().try_for_each(Place::remove)?;
        }
        let Some(text) = &self.target else {
            return Ok(self.place.map_or(Ok(()), |place| place.remove())?);
        };
        let place = match self.place {
            Some(place) => place,
            None => root.make_place(&self.file.path)?,
        };
        if place.read(MAX_CONFIGURATION)? != self.now {
            return Err(ChangeError::Meanwhile(self.file.path));
        }
        Ok(place.write(text.as_bytes(), self.now.as_ref().map(|n| &n.attributes).or(was))?)
    }
}

/// Writes the files of a state, and the state that takes them back; files of the state before that are not in it and of
/// no configuration of it are restored.
///
/// Each file is replaced atomically. What was changed by hand in a file of our own that is no longer written stays, and
/// stays in the state.
///
/// # Errors
///
/// What could not be written; the state names everything that was, and what was to be.
pub fn apply(root: &Root, lock: &Lock, old: Option<&State>, mut new: State) -> Result<(), ChangeError> {
    new.version = VERSION;
    let mut steps = Vec::new();
    for file in &new.files {
        if original(root, old, &file.path)? != file.before {
            return Err(ChangeError::Meanwhile(file.path.clone()));
        }
        steps.push(Step::new(root, file.clone(), Some(file.after.clone()))?);
    }
    let before = old.iter().flat_map(|s| &s.files).filter(|f| !new.files.iter().any(|n| n.path == f.path));
    let (mut kept, dropped): (Vec<Change>, Vec<Change>) = before.cloned().partition(|f| new.owner(&f.path).is_some());
    let others: Vec<PathBuf> = kept.iter().map(|f| f.path.clone()).collect();
    for file in &dropped {
        match original(root, old, &file.path) {
            Err(ChangeError::Changed(_)) => kept.push(file.clone()),
            before => {
                let before = before?;
                steps.push(Step::new(root, Change { before: before.clone(), ..file.clone() }, before)?);
            }
        }
    }
    new.directories = old.map(|s| s.directories.clone()).unwrap_or_default();
    let mut missing = lock.made().to_vec();
    for file in &new.files {
        missing.extend(root.missing_folders(&file.path));
    }
    missing.retain(|folder| !new.directories.contains(folder));
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
    // What a crash left of other configurations is still to be known.
    if let Some(old) = old {
        new.earlier =
            old.earlier.iter().filter(|(p, _)| others.contains(p)).map(|(p, t)| (p.clone(), t.clone())).collect();
        new.in_place = old.in_place.iter().filter(|p| others.contains(p)).cloned().collect();
        both.earlier.clone_from(&new.earlier);
        both.in_place.clone_from(&new.in_place);
    }
    begin(&mut both, &steps);
    write_state(root, &both)?;
    for step in steps {
        let attributes = both.attributes.get(&step.file.path);
        step.take(root, attributes)?;
    }
    write_state(root, &new)
}

/// Notes down what stands there, for whatever a crash leaves of the steps.
fn begin(state: &mut State, steps: &[Step]) {
    for step in steps.iter().filter(|s| !s.is_done()) {
        let path = step.file.path.clone();
        if step.is_in_place() {
            state.in_place.push(path.clone());
        }
        state.earlier.extend(step.text().map(|text| (path, text.to_owned())));
    }
}

/// Takes everything back: whole files of ours that are as they were written, our keys in those that we edited.
///
/// What others changed of ours stays, and stays in the state, unless it is forced; what cannot be taken back does not
/// keep the rest from it, nor does a disk on which there is no space to note what is under way. It can be tried again.
///
/// # Errors
///
/// That what is left of the state, or of our folders, cannot be removed.
pub fn revert(root: &Root, lock: Option<&Lock>, state: &State, force: bool) -> Result<Reverted, ChangeError> {
    let mut reverted = Reverted::default();
    let mut unwritten = Vec::new();
    let mut steps = Vec::new();
    for file in &state.files {
        let keep = |why: String| Kept { path: file.path.clone(), why };
        match back(root, state, file, force) {
            Ok((step, changed)) => {
                if !changed.is_empty() && !force {
                    reverted.kept.push(keep(format!("{} has another value by now", changed.join(", "))));
                }
                steps.push(step);
            }
            Err(why) => reverted.kept.push(keep(why)),
        }
    }
    let change = |step: &Step| Change {
        path: step.file.path.clone(),
        before: step.now.as_ref().map(|n| String::from_utf8_lossy(&n.bytes).into_owned()),
        after: step.target.clone().unwrap_or_default(),
    };
    if lock.is_none() {
        reverted.restored = steps.iter().filter(|s| !s.is_done()).map(change).collect();
        return Ok(reverted);
    }
    // Whoever names a file before it: containerd does not start with an import of a file that has gone.
    let is_handler = |step: &Step| state.configurations.iter().any(|c| c.handler.contains(&step.file.path));
    steps.reverse();
    steps.sort_by_key(|step| !is_handler(step));
    let mut carry_out = |step: Step| {
        let (path, restored) = (step.file.path.clone(), (!step.is_done()).then(|| change(&step)));
        let taken = step.take(root, state.attributes.get(&path));
        match &taken {
            Ok(()) => reverted.restored.extend(restored),
            Err(error) => reverted.kept.push(Kept { path, why: error.to_string() }),
        }
        taken.is_ok()
    };
    let note = |steps: &[Step]| {
        let mut left = state.clone();
        begin(&mut left, steps);
        let same = left == *state;
        // One of an earlier form, or of none, is written in this one.
        left.version = VERSION;
        if same { Ok(()) } else { write_state(root, &left) }
    };
    let mut noted = note(&steps);
    if noted.is_err() {
        // No space, perhaps. What only goes needs no note, and makes some.
        let (goes, rest): (Vec<Step>, Vec<Step>) =
            steps.into_iter().partition(|s| s.target.is_none() && !is_handler(s));
        for step in goes {
            carry_out(step);
        }
        steps = rest;
        noted = note(&steps);
    }
    let mut stuck = false;
    for step in steps {
        let (is_handler, in_place) = (is_handler(&step), step.is_in_place());
        let why = match &noted {
            // Half of it would be taken for somebody's edit.
            Err(error) if in_place => Some(error.to_string()),
            _ if stuck && is_handler && step.target.is_none() => Some("what may name it is not taken back".to_owned()),
            _ => None,
        };
        stuck |= match why {
            Some(why) => {
                unwritten.push(Kept { path: step.file.path, why });
                is_handler
            }
            None => !carry_out(step) && is_handler,
        };
    }
    reverted.kept.append(&mut unwritten);
    if !reverted.kept.is_empty() {
        // What others have made of a handler is compared with all files that it was written to.
        let of_one = |a: &PathBuf, b: &PathBuf| {
            state.configurations.iter().any(|c| c.handler.contains(a) && c.handler.contains(b))
        };
        let kept = |file: &Change| reverted.kept.iter().any(|k| k.path == file.path || of_one(&k.path, &file.path));
        let mut left = State { version: VERSION, earlier: BTreeMap::new(), in_place: Vec::new(), ..state.clone() };
        left.files.retain(kept);
        left.configurations.iter_mut().for_each(|c| c.keep(|path| left.files.iter().any(|f| f.path == *path)));
        left.configurations.retain(|c| !c.files.is_empty());
        if let Err(error) = write_state(root, &left) {
            // The one that is there knows of more than is left, and does no harm.
            reverted.kept.push(Kept { path: STATE.into(), why: error.to_string() });
        }
        return Ok(reverted);
    }
    let (above, others): (Vec<_>, Vec<_>) = state.directories.iter().partition(|d| Path::new(STATE).starts_with(d));
    for folder in others.iter().rev() {
        // Others may have put something there; then it stays.
        root.remove_empty_folder(folder)?;
    }
    if let Some(place) = root.place_itself(Path::new(STATE))? {
        place.remove()?;
    }
    let own = Path::new(STATE).parent().map(Path::to_owned);
    for folder in own.iter().chain(above.into_iter().rev()) {
        root.remove_empty_folder(folder)?;
    }
    Ok(reverted)
}

/// What takes a file back, and the keys that were changed by others; or why it stays.
fn back(root: &Root, state: &State, file: &Change, force: bool) -> Result<(Step, Vec<String>), String> {
    let mut step = match Step::new(root, file.clone(), None) {
        Ok(step) => step,
        // A FIFO, something huge: the folder is the same, and what stands there is replaced.
        Err(error) if force => {
            let place = root.place(&file.path).map_err(|e| e.to_string())?.ok_or_else(|| error.to_string())?;
            let target = file.before.clone();
            let step = Step { file: file.clone(), target, place: Some(place), now: None, blocked: true };
            return Ok((step, Vec::new()));
        }
        Err(error) => return Err(error.to_string()),
    };
    if step.now.is_some() && step.text().is_none() && !force {
        return Err("expected UTF-8 text".to_owned());
    }
    let text = step.text().map(str::to_owned);
    let found = match &step.now {
        Some(_) if text.is_none() => Today::Foreign,
        _ => today(state, file, text.as_deref()),
    };
    let (target, changed) = match found {
        Today::Ours => (file.before.clone(), Vec::new()),
        Today::Gone if !force => (None, Vec::new()),
        Today::Back => (text, Vec::new()),
        Today::Edited(edited) if !force || edited.changed.is_empty() => (edited.text, edited.changed),
        Today::Edited(_) => {
            let now = text.unwrap_or_default();
            let forced = taken(state, file, &now, true);
            (forced.map_err(|e| e.to_string())?.text, Vec::new())
        }
        Today::Foreign if !force => return Err("it has been changed since kata-osinfo wrote it".to_owned()),
        Today::Gone | Today::Foreign => (file.before.clone(), Vec::new()),
    };
    step.target = target;
    Ok((step, changed))
}

fn write_state(root: &Root, state: &State) -> Result<(), ChangeError> {
    let mut text = serde_json::to_string_pretty(state).map_err(|e| ChangeError::State(e.to_string()))?;
    text.push('\n');
    let place = root.make_place_itself(Path::new(STATE))?;
    // What it holds may be secret, and whoever may not read the files may not read their copies either.
    let own = Attributes::private();
    if place.read(MAX_STATE)?.is_some_and(|old| old.bytes == text.as_bytes() && old.attributes.mode == own.mode) {
        return Ok(());
    }
    Ok(place.write(text.as_bytes(), Some(&own))?)
}

#[cfg(test)]
mod tests;
