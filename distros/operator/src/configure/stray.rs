//! What this program has left on a machine where no state says so: it was removed, is damaged, or does not know of it.
//!
//! Files that are wholly ours say so in their first line, and lie where this program writes them; a handler in
//! containerd's own file is ours where nobody else would have written it so. Nothing tells what an edited file said
//! before, so the rest stays.

mod copies;

pub(super) use copies::copies;

use super::containerd::{self, ContainerdConfig, ReadFiles, Replaced, Unread, migrated};
use super::edit::DROP_IN;
use super::keys::{is_whole, says_it_is_ours};
use super::lock::Lock;
use super::revert::{RevertReport, revert_but};
use super::state::{
    self, ChangeError, FOLDER, FileChange, MAX_STATE, ManagedConfiguration, NotReverted, STATE, State, check_folder,
    is_plain,
};
use super::{copy, crio, locate, own};
use root::{PinnedPath, Root, RootError};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What a damaged state is called once nothing depends on it: what there is of the old texts is in it. Another one has a
/// number behind it.
const DAMAGED: &str = "configured.json.damaged";

/// What is called so that stood where the state's folder is to be.
const DAMAGED_FOLDER: &str = "kata-osinfo.damaged";

/// Names that are tried for what is put aside.
const MAX_ASIDE: usize = 100;

/// Paths that are looked at of those that a damaged state names.
const MAX_NAMED: usize = 1000;

/// What cannot be known without a state.
pub const UNKNOWN: &str = "without a state nothing tells what stood there before: values that were overridden in others' \
                           files, the configuration of a Kata before 2.5, and folders that were made stay as they are";

/// What was found of ours.
#[derive(Debug, Default)]
pub struct Strays {
    /// What a state would have said of it, to be taken back as what a state says.
    pub state: State,
    /// What may be ours, and stays.
    pub kept: Vec<NotReverted>,
    /// What nobody can tell of whether anything of it is ours, and stays.
    pub unclear: Vec<NotReverted>,
    /// What cannot be read, and may be ours, or name it.
    pub unread: Vec<NotReverted>,
    /// Copies of drop-ins of ours beside them, as editors make them, which are read as these are.
    pub copies: Vec<NotReverted>,
}

impl Strays {
    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.state.files.is_empty() && self.unwritten().next().is_none()
    }

    /// What no state would have said.
    pub fn unwritten(&self) -> impl Iterator<Item = &NotReverted> {
        self.kept.iter().chain(&self.unclear).chain(&self.unread).chain(&self.copies)
    }

    /// Whether nothing was found, and there is something of which nobody can tell.
    pub fn is_unclear(&self) -> bool {
        self.state.files.is_empty() && self.kept.is_empty() && self.copies.is_empty() && !self.is_empty()
    }

    /// Every file, with why it is told.
    pub fn told(&self) -> Vec<NotReverted> {
        self.state.files.iter().map(unknown).chain(self.unwritten().cloned()).collect()
    }
}

fn unknown(file: &FileChange) -> NotReverted {
    let why = "it is in effect, and no state knows it any more".to_owned();
    NotReverted { path: file.path.clone(), why, by_force: true }
}

/// Takes back what a state says, and looks for what else of ours is in effect.
///
/// A main file of containerd's that the state does not know may have what the state's files say, as
/// `containerd config migrate` writes it: that goes. Everything else that no state knows is told, and goes by force.
///
/// # Errors
///
/// That one of the places that are looked at cannot be read: nothing is taken back then. By force this is told, and what it
/// may be about stays: its own text, and a drop-in that it may import. Else as [`revert`](super::revert::revert).
pub fn take_back(root: &Root, lock: Option<&Lock>, state: &State, force: bool) -> Result<RevertReport, ChangeError> {
    let mut closed = Vec::new();
    let mut tell = |path: &Path, error: RootError| unread(force, &mut closed, path, error);
    let places = containerd::each(root, &mut tell)?;
    let mains = migrated::mains(root, &places, &mut tell)?;
    let state = &migrated::adopted_of(root, state.clone(), &mains)?;
    let mut added = migrated::unknown_mains(&mains, state);
    let Strays { state: found, unread: more, copies, .. } = strays_of(root, &places, state, Vec::new(), force)?;
    let is_known = |path: &Path| state.files.iter().chain(&added).any(|f| f.path == path);
    let mut others: Vec<FileChange> = found.files.iter().filter(|f| !is_known(&f.path)).cloned().collect();
    let mut handler: Vec<PathBuf> = added.iter().map(|f| f.path.clone()).collect();
    let mut all = state.clone();
    if force && !others.is_empty() {
        let of_found = found.configurations.iter().flat_map(|c| &c.handler);
        handler.extend(of_found.filter(|path| others.iter().any(|f| f.path == **path)).cloned());
        let folders = found.directories.into_iter().filter(|folder| !state.directories.contains(folder));
        all.directories.extend(folders);
        added.append(&mut others);
    }
    if !added.is_empty() {
        let files = added.iter().map(|f| f.path.clone()).collect();
        all.configurations.push(unnamed(files, handler));
        all.files.extend(added);
    }
    let followed = |kept: &NotReverted| root.resolve_new(&kept.path).unwrap_or_else(|_| kept.path.clone());
    let mut held: Vec<NotReverted> = Vec::new();
    for file in &all.files {
        let is_handler = all.configurations.iter().any(|c| c.handler.contains(&file.path));
        // Every drop-in lies in a folder beside its main file.
        let may_name = |main: &Path| is_handler && file.path.ancestors().nth(2) == main.parent();
        let of_it = closed.iter().find(|kept| followed(kept) == file.path);
        let beside = closed.iter().chain(&more).find(|kept| may_name(&followed(kept)) || may_name(&kept.path));
        let why = match (of_it, beside) {
            (Some(kept), _) => kept.why.clone(),
            (None, Some(kept)) => format!("what may name it cannot be read: {}", kept.why),
            (None, None) => continue,
        };
        held.push(NotReverted { path: file.path.clone(), why, by_force: false });
    }
    let mut reverted = revert_but(root, lock, &all, force, &held)?;
    for kept in closed.into_iter().chain(more) {
        let path = followed(&kept);
        // One of ours has gone by force.
        let has_gone = reverted.restored.iter().any(|file| file.path == path);
        if !has_gone && !reverted.kept.iter().any(|k| k.path == kept.path) {
            reverted.kept.push(kept);
        }
    }
    reverted.kept.extend(others.iter().map(unknown));
    for copy in copies {
        // One that is ours by a link has gone with it.
        let path = followed(&copy);
        let is_told = all.files.iter().any(|f| f.path == path) || reverted.kept.iter().any(|k| k.path == copy.path);
        if !is_told {
            reverted.kept.push(copy);
        }
    }
    let texts: Replaced = reverted.restored.iter().map(|f| (f.path.clone(), Some(f.after.clone()))).collect();
    let mut remaining = migrated::remaining_handlers(&mains, state, &texts);
    remaining.retain(|handler| !reverted.kept.iter().any(|kept| kept.path == handler.path));
    reverted.kept.extend(remaining);
    Ok(reverted)
}

/// What was found of a configuration that no state knows.
fn unnamed(files: Vec<PathBuf>, handler: Vec<PathBuf>) -> ManagedConfiguration {
    ManagedConfiguration {
        config: PathBuf::new(),
        profile: String::new(),
        production: false,
        notes: Vec::new(),
        files,
        handler,
    }
}

/// Ends the call where nobody can tell what a file says, or by force notes it; what is no file of a configuration has no
/// effect.
fn unread(force: bool, told: &mut Vec<NotReverted>, path: &Path, error: RootError) -> Result<(), RootError> {
    match error.is_unreadable() {
        true if !force => return Err(error),
        true if !told.iter().any(|k| k.path == path) => {
            told.push(NotReverted { path: path.to_owned(), why: error.to_string(), by_force: false });
        }
        _ => {}
    }
    Ok(())
}

/// Looks for what is ours in all the places that this program writes to, and that a damaged state names.
///
/// # Errors
///
/// That something there cannot be read, unless it is forced.
pub fn strays(root: &Root, force: bool) -> Result<Strays, RootError> {
    let mut closed = Vec::new();
    let places = containerd::each(root, &mut |path, error| unread(force, &mut closed, path, error))?;
    strays_of(root, &places, &State::default(), closed, force)
}

/// The same of these containerds, beside what a state knows; `closed` are files that cannot be read.
fn strays_of(
    root: &Root,
    places: &[ContainerdConfig],
    known: &State,
    mut closed: Vec<NotReverted>,
    force: bool,
) -> Result<Strays, RootError> {
    let mut tell = |path: &Path, error: RootError| unread(force, &mut closed, path, error);
    let read = containerd::read_files(root, places, &mut tell)?;
    let named = configurations(root, &read);
    let of_kata = of_kata(root, &named, &mut tell)?;
    let marked = |config: &Path| {
        let path = root.resolve_new(config).unwrap_or_else(|_| config.to_owned());
        let drop_in = path.with_file_name("config.d").join(DROP_IN);
        of_kata.iter().any(|change| change.path == path || change.path == drop_in)
    };
    let containerd::stray::ContainerdStrays { changes: mut handler, kept, unclear } =
        containerd::stray::strays(root, places, &marked, &mut tell)?;
    handler.extend(ours(root, &crio::drop_in(), &mut tell)?);
    let paths = |changes: &[FileChange]| changes.iter().map(|c| c.path.clone()).collect::<Vec<_>>();
    let this = unnamed([paths(&of_kata), paths(&handler)].concat(), paths(&handler));
    let files: Vec<FileChange> = of_kata.into_iter().chain(handler).collect();
    let configurations = if files.is_empty() { Vec::new() } else { vec![this] };
    let directories = own::FOLDERS.map(PathBuf::from).to_vec();
    let state = State { configurations, files, directories, ..State::default() };
    let copies = copies::among(root, &named, known, &read, &mut tell)?;
    Ok(Strays { state, kept, unclear, unread: closed, copies })
}

/// What was configured. Where no state says so any more, and a `handler` is to be written, a handler of ours in others'
/// files is taken over, and that is told: what `configure` finds of its own there did not stand there before.
///
/// # Errors
///
/// That the state, or something that may be ours, cannot be read.
pub(super) fn recorded(root: &Root, handler: bool, told: &mut Vec<String>) -> Result<Option<State>, ChangeError> {
    if let Some(state) = state::read(root)? {
        return Ok(Some(migrated::adopted(root, state)?));
    }
    if !handler {
        return Ok(None);
    }
    let mut files = strays(root, false)?.state.files;
    // What is wholly ours says so itself, and may have more by now.
    files.retain(|file| !is_whole(file));
    told.extend(files.iter().map(|file| {
        let path = file.path.display();
        format!("{path} has a handler of kata-osinfo's that no state knows any more: `kata-osinfo unconfigure` takes it back")
    }));
    let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    let configurations = vec![unnamed(paths.clone(), paths)];
    Ok((!files.is_empty()).then(|| State { configurations, files, ..State::default() }))
}

/// Puts a damaged state aside, or whatever else has its name, so that what is found of ours can be noted down in its
/// place.
///
/// Returns its new name, in the same folder.
///
/// # Errors
///
/// That it cannot be renamed.
pub fn set_aside(root: &Root, _lock: &Lock) -> Result<Option<String>, ChangeError> {
    Ok(root.pin_itself(Path::new(STATE))?.map(|place| renamed(&place, DAMAGED)).transpose()?)
}

/// Puts aside what stands where the state's folder is to be and is no folder: the lock cannot be taken before.
///
/// Returns its new name, in the same folder.
///
/// # Errors
///
/// That it cannot be renamed.
pub fn set_folder_aside(root: &Root) -> Result<Option<String>, ChangeError> {
    match check_folder(root) {
        Err(ChangeError::State(_)) => {}
        sound => return sound.map(|()| None),
    }
    // The link itself, where it is one.
    Ok(root.pin_itself(Path::new(FOLDER))?.map(|place| renamed(&place, DAMAGED_FOLDER)).transpose()?)
}

/// Gives a file of any kind another name; one that is taken gets a number, because what has it may be an earlier rescue.
fn renamed(place: &PinnedPath, name: &str) -> Result<String, RootError> {
    let is_taken = |error: &RootError| {
        let RootError::Write { source, .. } = error else { return false };
        source.kind() == ErrorKind::AlreadyExists
    };
    let mut number = 1;
    let mut name_now = name.to_owned();
    loop {
        match place.rename(&name_now) {
            Err(error) if is_taken(&error) && number < MAX_ASIDE => {
                number += 1;
                name_now = format!("{name}.{number}");
            }
            renamed => return renamed.map(|()| name_now),
        }
    }
}

/// Where configurations of Kata are, or may have been, of all containerds that can be looked at.
pub(super) fn configurations_of(root: &Root) -> BTreeSet<PathBuf> {
    let mut untold = |_: &Path, _: RootError| Ok(());
    let places = containerd::each(root, &mut untold).unwrap_or_default();
    configurations(root, &containerd::read_files(root, &places, &mut untold).unwrap_or_default())
}

/// Where configurations of Kata are, or may have been.
fn configurations(root: &Root, read: &[ReadFiles<'_>]) -> BTreeSet<PathBuf> {
    let mut named: BTreeSet<PathBuf> = locate::places().chain(own::OWN.map(Path::new)).map(Path::to_owned).collect();
    named.extend(containerd::config_paths(read).into_iter().map(|(_, path)| PathBuf::from(path)));
    named.extend(named_by_a_damaged_state(root));
    named.retain(|path| path.is_absolute());
    named
}

/// Copies of Kata's configurations, and drop-ins beside these.
fn of_kata(root: &Root, named: &BTreeSet<PathBuf>, unread: &mut Unread<'_>) -> Result<Vec<FileChange>, RootError> {
    let mut found: Vec<FileChange> = Vec::new();
    for config in named {
        for change in of_one(root, config, unread)? {
            if !found.contains(&change) {
                found.push(change);
            }
        }
    }
    Ok(found)
}

/// A copy at a configuration's path, and drop-ins beside it.
fn of_one(root: &Root, config: &Path, unread: &mut Unread<'_>) -> Result<Vec<FileChange>, RootError> {
    // A link's target has the drop-ins that are read; where it leads nowhere any more there may be some beside it.
    let Some(path) = target(root, config, unread)? else { return Ok(Vec::new()) };
    let beside = [config, &path].map(|file| file.with_file_name("config.d").join(DROP_IN));
    let copy = ours(root, &path, unread)?.filter(|change| copy::source(&change.after).is_some());
    Ok([copy, ours(root, &beside[0], unread)?, ours(root, &beside[1], unread)?].into_iter().flatten().collect())
}

/// A file that says that it is ours.
fn ours(root: &Root, path: &Path, unread: &mut Unread<'_>) -> Result<Option<FileChange>, RootError> {
    let Some(path) = target(root, path, unread)? else { return Ok(None) };
    match root.text_if_any(&path) {
        Ok(text) => Ok(text.filter(|t| says_it_is_ours(t)).map(|after| FileChange { path, before: None, after })),
        Err(error) => unread(&path, error).map(|()| None),
    }
}

/// Where a path leads to.
fn target(root: &Root, path: &Path, unread: &mut Unread<'_>) -> Result<Option<PathBuf>, RootError> {
    match root.resolve_new(path) {
        Ok(path) => Ok(Some(path)),
        Err(error) => unread(path, error).map(|()| None),
    }
}

/// Configurations that a damaged state may name: only what says itself that it is ours is taken.
fn named_by_a_damaged_state(root: &Root) -> Vec<PathBuf> {
    // A drop-in's own path stands for its configuration's.
    let config = |path: PathBuf| match path.ends_with(Path::new("config.d").join(DROP_IN)) {
        true => beside(&path),
        false => path,
    };
    paths_in(root, Path::new(STATE)).into_iter().map(config).collect()
}

/// Files that a damaged state names, or one that was put aside.
pub(super) fn named_by_damaged_states(root: &Root) -> Vec<PathBuf> {
    let sound = state::read(root).is_ok();
    let now = Some(PathBuf::from(STATE)).filter(|_| !sound);
    let names = root.list_if_any(Path::new(FOLDER)).unwrap_or_default();
    let aside = names.iter().filter(|name| name.starts_with(DAMAGED)).map(|name| Path::new(FOLDER).join(name));
    now.into_iter().chain(aside).flat_map(|state| paths_in(root, &state)).take(MAX_NAMED).collect()
}

/// Whatever looks like a path between quotes.
fn paths_in(root: &Root, state: &Path) -> Vec<PathBuf> {
    let place = root.pin_itself(state).ok().flatten();
    let held = place.and_then(|place| place.read(MAX_STATE).ok().flatten());
    let text = held.map(|held| String::from_utf8_lossy(&held.bytes).into_owned()).unwrap_or_default();
    let paths = text.split('"').filter(|word| word.starts_with('/') && word.len() < 4096).map(PathBuf::from);
    paths.filter(|path| is_plain(path)).collect()
}

fn beside(drop_in: &Path) -> PathBuf {
    drop_in.ancestors().nth(2).unwrap_or(drop_in).join("configuration.toml")
}
