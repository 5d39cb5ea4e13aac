//! kata-osinfo's leftovers on a machine without a state that records them: the state was removed, is damaged, or does
//! not list them.
//!
//! Files that are wholly kata-osinfo's say so in their first line and lie at the paths that it writes. A handler in
//! containerd's own file is kata-osinfo's if no other tool would have written it in this form. The earlier text of an
//! edited file is unknown, so the rest of the file stays.

mod copies;

pub(super) use copies::copies;

use super::containerd::{self, ContainerdConfig, ReadFiles, Replaced, Unread, migrated};
use super::edit::DROP_IN;
use super::keys::{is_marked_as_ours, is_whole};
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

/// New name of a damaged state that is set aside: the file still holds what remains of the old texts. Further ones get
/// a numeric suffix.
const DAMAGED: &str = "configured.json.damaged";

/// New name of a file that stood in the place of the state's directory.
const DAMAGED_FOLDER: &str = "kata-osinfo.damaged";

/// Names tried for a file that is set aside.
const MAX_ASIDE: usize = 100;

/// Maximum number of paths that are followed from a damaged state.
const MAX_NAMED: usize = 1000;

/// Limits of a cleanup without a state, as a message.
pub const UNKNOWN: &str = "without a state file the earlier contents are not known: values that were overridden in \
                           other tools' files, the configuration of a Kata before 2.5, and folders that were created \
                           stay as they are";

/// Leftovers of kata-osinfo that a search found.
#[derive(Debug, Default)]
pub struct Strays {
    /// The state that would have recorded the leftovers; it can be reverted like a real one.
    pub state: State,
    /// Files that may be kata-osinfo's, and stay.
    pub kept: Vec<NotReverted>,
    /// Files that may or may not contain something of kata-osinfo's, and stay.
    pub unclear: Vec<NotReverted>,
    /// Files that cannot be read and may be kata-osinfo's, or may name its files.
    pub unread: Vec<NotReverted>,
    /// Copies of kata-osinfo's drop-ins in the same directory, as editors make them; they are read like the drop-ins.
    pub copies: Vec<NotReverted>,
}

impl Strays {
    /// Returns whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.state.files.is_empty() && self.unwritten().next().is_none()
    }

    /// Returns the findings that are not part of [`Strays::state`].
    pub fn unwritten(&self) -> impl Iterator<Item = &NotReverted> {
        self.kept.iter().chain(&self.unclear).chain(&self.unread).chain(&self.copies)
    }

    /// Returns whether nothing was found for certain, but some files are unclear or cannot be read.
    pub fn is_unclear(&self) -> bool {
        self.state.files.is_empty() && self.kept.is_empty() && self.copies.is_empty() && !self.is_empty()
    }

    /// Returns every file with the reason why it is reported.
    pub fn not_reverted(&self) -> Vec<NotReverted> {
        self.state.files.iter().map(unknown).chain(self.unwritten().cloned()).collect()
    }
}

fn unknown(file: &FileChange) -> NotReverted {
    let why = "it is in effect, but no state file records it any more".to_owned();
    NotReverted { path: file.path.clone(), why, by_force: true }
}

/// Reverts what a state records, and looks for other leftovers of kata-osinfo that are in effect.
///
/// A main file of containerd that the state does not list may hold the content of the state's files, in the form that
/// `containerd config migrate` writes: that content is removed. Every other leftover that no state lists is reported,
/// and is removed only with `force`.
///
/// # Errors
///
/// An unreadable place among those searched is an error, and nothing is reverted. With `force` it is reported instead,
/// and everything that it may affect stays: its own text, and a drop-in that it may import. Otherwise as
/// [`revert`](super::revert::revert).
pub fn take_back(root: &Root, lock: Option<&Lock>, state: &State, force: bool) -> Result<RevertReport, ChangeError> {
    let mut closed = Vec::new();
    let mut report = |path: &Path, error: RootError| unread(force, &mut closed, path, error);
    let places = containerd::each(root, &mut report)?;
    let mains = migrated::mains(root, &places, &mut report)?;
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
    let mut held_back: Vec<NotReverted> = Vec::new();
    for file in &all.files {
        let is_handler = all.configurations.iter().any(|c| c.handler.contains(&file.path));
        // Every drop-in lies in a subdirectory next to its main file.
        let may_name = |main: &Path| is_handler && file.path.ancestors().nth(2) == main.parent();
        let of_it = closed.iter().find(|kept| followed(kept) == file.path);
        let beside = closed.iter().chain(&more).find(|kept| may_name(&followed(kept)) || may_name(&kept.path));
        let why = match (of_it, beside) {
            (Some(kept), _) => kept.why.clone(),
            (None, Some(kept)) => format!("a file that may refer to it cannot be read: {}", kept.why),
            (None, None) => continue,
        };
        held_back.push(NotReverted { path: file.path.clone(), why, by_force: false });
    }
    let mut reverted = revert_but(root, lock, &all, force, &held_back)?;
    for kept in closed.into_iter().chain(more) {
        let path = followed(&kept);
        // With `force`, a file of kata-osinfo's may have been removed.
        let has_gone = reverted.restored.iter().any(|file| file.path == path);
        if !has_gone && !reverted.kept.iter().any(|k| k.path == kept.path) {
            reverted.kept.push(kept);
        }
    }
    reverted.kept.extend(others.iter().map(unknown));
    for copy in copies {
        // A copy that is a link to a file of kata-osinfo's was removed together with that file.
        let path = followed(&copy);
        let is_reported = all.files.iter().any(|f| f.path == path) || reverted.kept.iter().any(|k| k.path == copy.path);
        if !is_reported {
            reverted.kept.push(copy);
        }
    }
    let texts: Replaced = reverted.restored.iter().map(|f| (f.path.clone(), Some(f.after.clone()))).collect();
    let mut remaining = migrated::remaining_handlers(&mains, state, &texts);
    remaining.retain(|handler| !reverted.kept.iter().any(|kept| kept.path == handler.path));
    reverted.kept.extend(remaining);
    Ok(reverted)
}

/// Builds the entry for a configuration that no state lists.
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

/// Fails if a file cannot be read, or with `force` records the file; other errors are ignored, because such a file
/// cannot be a configuration and has no effect.
fn unread(force: bool, reported: &mut Vec<NotReverted>, path: &Path, error: RootError) -> Result<(), RootError> {
    match error.is_unreadable() {
        true if !force => return Err(error),
        true if !reported.iter().any(|k| k.path == path) => {
            reported.push(NotReverted { path: path.to_owned(), why: error.to_string(), by_force: false });
        }
        _ => {}
    }
    Ok(())
}

/// Looks for leftovers in all places that kata-osinfo writes to, and in those that a damaged state names.
///
/// # Errors
///
/// One of the places cannot be read, unless `force` is set.
pub fn strays(root: &Root, force: bool) -> Result<Strays, RootError> {
    let mut closed = Vec::new();
    let places = containerd::each(root, &mut |path, error| unread(force, &mut closed, path, error))?;
    strays_of(root, &places, &State::default(), closed, force)
}

/// Like [`strays`], for the given containerds and in addition to a known state; `closed` lists files that cannot be
/// read.
fn strays_of(
    root: &Root,
    places: &[ContainerdConfig],
    known: &State,
    mut closed: Vec<NotReverted>,
    force: bool,
) -> Result<Strays, RootError> {
    let mut report = |path: &Path, error: RootError| unread(force, &mut closed, path, error);
    let read = containerd::read_files(root, places, &mut report)?;
    let named = configurations(root, &read);
    let of_kata = of_kata(root, &named, &mut report)?;
    let marked = |config: &Path| {
        let path = root.resolve_new(config).unwrap_or_else(|_| config.to_owned());
        let drop_in = path.with_file_name("config.d").join(DROP_IN);
        of_kata.iter().any(|change| change.path == path || change.path == drop_in)
    };
    let containerd::stray::ContainerdStrays { changes: mut handler, kept, unclear } =
        containerd::stray::strays(root, places, &marked, &mut report)?;
    handler.extend(our_file(root, &crio::drop_in(), &mut report)?);
    let paths = |changes: &[FileChange]| changes.iter().map(|c| c.path.clone()).collect::<Vec<_>>();
    let this = unnamed([paths(&of_kata), paths(&handler)].concat(), paths(&handler));
    let files: Vec<FileChange> = of_kata.into_iter().chain(handler).collect();
    let configurations = if files.is_empty() { Vec::new() } else { vec![this] };
    let directories = own::FOLDERS.map(PathBuf::from).to_vec();
    let state = State { configurations, files, directories, ..State::default() };
    let copies = copies::among(root, &named, known, &read, &mut report)?;
    Ok(Strays { state, kept, unclear, unread: closed, copies })
}

/// Returns the recorded state. If there is none and a `handler` is to be written, handlers of kata-osinfo's in other
/// tools' files are adopted, with a message in `warnings`: `configure` must not take them for text that was there
/// before.
///
/// # Errors
///
/// The state, or a file that may be kata-osinfo's, cannot be read.
pub(super) fn recorded(root: &Root, handler: bool, warnings: &mut Vec<String>) -> Result<Option<State>, ChangeError> {
    if let Some(state) = state::read(root)? {
        return Ok(Some(migrated::adopted(root, state)?));
    }
    if !handler {
        return Ok(None);
    }
    let mut files = strays(root, false)?.state.files;
    // Files that are wholly kata-osinfo's say so themselves, and may have additions by now.
    files.retain(|file| !is_whole(file));
    warnings.extend(files.iter().map(|file| {
        let path = file.path.display();
        format!("{path} has a handler of kata-osinfo's that no state file records any more: `kata-osinfo unconfigure` reverts it")
    }));
    let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    let configurations = vec![unnamed(paths.clone(), paths)];
    Ok((!files.is_empty()).then(|| State { configurations, files, ..State::default() }))
}

/// Sets aside a damaged state, or any other file of this name, so that findings can be recorded in its place.
///
/// Returns its new name, in the same directory.
///
/// # Errors
///
/// The file cannot be renamed.
pub fn set_aside(root: &Root, _lock: &Lock) -> Result<Option<String>, ChangeError> {
    Ok(root.pin_itself(Path::new(STATE))?.map(|place| renamed(&place, DAMAGED)).transpose()?)
}

/// Sets aside a non-directory that stands in the place of the state's directory: without it the lock cannot be taken.
///
/// Returns its new name, in the same directory.
///
/// # Errors
///
/// The file cannot be renamed.
pub fn set_folder_aside(root: &Root) -> Result<Option<String>, ChangeError> {
    match check_folder(root) {
        Err(ChangeError::State(_)) => {}
        sound => return sound.map(|()| None),
    }
    // If it is a link, the link itself is renamed.
    Ok(root.pin_itself(Path::new(FOLDER))?.map(|place| renamed(&place, DAMAGED_FOLDER)).transpose()?)
}

/// Renames a file of any kind; adds a number if the name is taken, because the existing file may be an earlier rescue.
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

/// Returns existing and former places of Kata configurations, of all containerds that can be read.
pub(super) fn configurations_of(root: &Root) -> BTreeSet<PathBuf> {
    let mut ignore_error = |_: &Path, _: RootError| Ok(());
    let places = containerd::each(root, &mut ignore_error).unwrap_or_default();
    configurations(root, &containerd::read_files(root, &places, &mut ignore_error).unwrap_or_default())
}

/// Returns existing and former places of Kata configurations.
fn configurations(root: &Root, read: &[ReadFiles<'_>]) -> BTreeSet<PathBuf> {
    let mut named: BTreeSet<PathBuf> = locate::places().chain(own::OWN.map(Path::new)).map(Path::to_owned).collect();
    named.extend(containerd::config_paths(read).into_iter().map(|(_, path)| PathBuf::from(path)));
    named.extend(named_by_a_damaged_state(root));
    named.retain(|path| path.is_absolute());
    named
}

/// Finds copies of Kata's configurations, and the drop-ins next to them.
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

/// Finds a copy at one configuration's path, and the drop-ins next to it.
fn of_one(root: &Root, config: &Path, unread: &mut Unread<'_>) -> Result<Vec<FileChange>, RootError> {
    // Kata reads the drop-ins next to a link's target; if the link is dangling, there may still be some next to the
    // link.
    let Some(path) = target(root, config, unread)? else { return Ok(Vec::new()) };
    let beside = [config, &path].map(|file| file.with_file_name("config.d").join(DROP_IN));
    let copy = our_file(root, &path, unread)?.filter(|change| copy::source(&change.after).is_some());
    Ok([copy, our_file(root, &beside[0], unread)?, our_file(root, &beside[1], unread)?].into_iter().flatten().collect())
}

/// Returns the file if it is marked as kata-osinfo's.
fn our_file(root: &Root, path: &Path, unread: &mut Unread<'_>) -> Result<Option<FileChange>, RootError> {
    let Some(path) = target(root, path, unread)? else { return Ok(None) };
    match root.text_if_any(&path) {
        Ok(text) => Ok(text.filter(|t| is_marked_as_ours(t)).map(|after| FileChange { path, before: None, after })),
        Err(error) => unread(&path, error).map(|()| None),
    }
}

/// Resolves a path.
fn target(root: &Root, path: &Path, unread: &mut Unread<'_>) -> Result<Option<PathBuf>, RootError> {
    match root.resolve_new(path) {
        Ok(path) => Ok(Some(path)),
        Err(error) => unread(path, error).map(|()| None),
    }
}

/// Returns configurations that a damaged state may name; callers accept only files that say they are kata-osinfo's.
fn named_by_a_damaged_state(root: &Root) -> Vec<PathBuf> {
    // The path of a drop-in is mapped to its configuration's path.
    let config = |path: PathBuf| match path.ends_with(Path::new("config.d").join(DROP_IN)) {
        true => beside(&path),
        false => path,
    };
    paths_in(root, Path::new(STATE)).into_iter().map(config).collect()
}

/// Returns files that a damaged state names, current or set aside.
pub(super) fn named_by_damaged_states(root: &Root) -> Vec<PathBuf> {
    let sound = state::read(root).is_ok();
    let now = Some(PathBuf::from(STATE)).filter(|_| !sound);
    let names = root.list_if_any(Path::new(FOLDER)).unwrap_or_default();
    let aside = names.iter().filter(|name| name.starts_with(DAMAGED)).map(|name| Path::new(FOLDER).join(name));
    now.into_iter().chain(aside).flat_map(|state| paths_in(root, &state)).take(MAX_NAMED).collect()
}

/// Returns every quoted text that looks like a path.
fn paths_in(root: &Root, state: &Path) -> Vec<PathBuf> {
    let place = root.pin_itself(state).ok().flatten();
    let contents = place.and_then(|place| place.read(MAX_STATE).ok().flatten());
    let text = contents.map(|contents| String::from_utf8_lossy(&contents.bytes).into_owned()).unwrap_or_default();
    let paths = text.split('"').filter(|word| word.starts_with('/') && word.len() < 4096).map(PathBuf::from);
    paths.filter(|path| is_plain(path)).collect()
}

fn beside(drop_in: &Path) -> PathBuf {
    drop_in.ancestors().nth(2).unwrap_or(drop_in).join("configuration.toml")
}
