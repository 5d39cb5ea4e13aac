//! The record of what this program has configured on a machine, and the file that holds it.
//!
//! Each of Kata's configurations has its own profile, and its own files.

mod older;

use older::{Older, StateVersion};
use root::{Attributes, Root, RootError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Path of the state file.
pub const STATE: &str = "/var/lib/kata-osinfo/configured.json";

/// Directory of the state file; the lock is taken on it.
pub const FOLDER: &str = "/var/lib/kata-osinfo";

/// Version of the state's format that is written.
pub(super) const VERSION: u32 = 3;

/// Maximum size of a state file, which holds several texts of each file.
pub(super) const MAX_STATE: u64 = 64 << 20;

/// One file with its old and its new text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileChange {
    /// Its path on the machine, with links resolved.
    pub path: PathBuf,
    /// The text before; `None` if there was no file.
    pub before: Option<String>,
    /// The text after.
    pub after: String,
}

/// A file of kata-osinfo's that was not reverted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotReverted {
    /// The file.
    pub path: PathBuf,
    /// The reason.
    pub why: String,
    /// Whether `--force` reverts it.
    #[serde(skip)]
    pub by_force: bool,
}

impl FileChange {
    /// Returns a unified diff, empty if nothing changes.
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

/// The record of everything that this program has configured on a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Version of the format: 3. Up to version 2 there was one configuration.
    pub version: u32,
    /// Each of Kata's configurations, the last one last.
    pub configurations: Vec<ManagedConfiguration>,
    /// Every file that was written.
    pub files: Vec<FileChange>,
    /// Directories that were made, the outermost first.
    pub directories: Vec<PathBuf>,
    /// Owner, mode and attributes of files that were there before.
    #[serde(default)]
    pub attributes: BTreeMap<PathBuf, Attributes>,
    /// Texts of files when the unfinished change began.
    #[serde(default)]
    pub earlier: BTreeMap<PathBuf, String>,
    /// Files with several hard links that are being written in place: such a file may be half written.
    #[serde(default)]
    pub in_place: Vec<PathBuf>,
    /// Files with several hard links that are being reverted in place: the text with others' edits, and the target
    /// text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub halfway: Vec<FileChange>,
    /// Texts that files will have once others' additions to kata-osinfo's files have moved; never stored.
    #[serde(skip)]
    pub instead: BTreeMap<PathBuf, String>,
}

/// One of Kata's configurations that this program has configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagedConfiguration {
    /// Its file, with links resolved; in a state from before version 3 its directory, if only that is known.
    pub config: PathBuf,
    /// The name of the profile.
    pub profile: String,
    /// Whether the configuration is fit for production.
    pub production: bool,
    /// Notes about the configuration for the user.
    pub notes: Vec<String>,
    /// Every file that was written for the configuration.
    pub files: Vec<PathBuf>,
    /// The subset of `files` that makes Kata a handler with this configuration.
    pub handler: Vec<PathBuf>,
}

impl ManagedConfiguration {
    /// Returns whether this is the configuration in a file.
    pub(super) fn is_of(&self, config: &Path) -> bool {
        self.config == config || config.parent() == Some(&self.config)
    }

    /// Drops all files except those selected by `which`.
    pub(super) fn keep(&mut self, which: impl Fn(&PathBuf) -> bool) {
        self.files.retain(&which);
        self.handler.retain(&which);
    }
}

impl State {
    /// Returns the configuration that a file was written for.
    pub(super) fn owner(&self, file: &Path) -> Option<&ManagedConfiguration> {
        self.configurations.iter().find(|c| c.files.iter().any(|f| f == file))
    }

    /// Returns the state with `this` and its files in place of what was written for the same configuration before.
    ///
    /// Files of `this` no longer belong to other configurations, and there is only one handler.
    pub(super) fn with(mut self, this: ManagedConfiguration, files: Vec<FileChange>) -> State {
        self.configurations.retain(|c| !c.is_of(&this.config));
        for other in &mut self.configurations {
            let handler = if this.handler.is_empty() { Vec::new() } else { other.handler.clone() };
            other.keep(|file| !this.files.contains(file) && !handler.contains(file));
        }
        self.configurations.retain(|c| !c.files.is_empty());
        self.configurations.push(this);
        State { configurations: self.configurations, files, ..State::default() }
    }

    /// Returns the state in which some files also count as kata-osinfo's with the texts that others have given them.
    pub(super) fn with_earlier(mut self, texts: &BTreeMap<PathBuf, String>, which: impl Fn(&Path) -> bool) -> State {
        let which = texts.iter().filter(|(path, _)| which(path));
        self.earlier.extend(which.map(|(path, text)| (path.clone(), text.clone())));
        self
    }

    /// Describes what the recorded configurations, including an earlier form of the same one, lose to `this`.
    pub(super) fn warnings_for<'s>(&'s self, this: &'s ManagedConfiguration) -> impl Iterator<Item = String> + 's {
        // A configuration that was found without a state has no path.
        self.configurations.iter().filter(|c| !c.config.as_os_str().is_empty()).filter_map(|c| {
            let (config, profile) = (c.config.display(), &c.profile);
            if c.is_of(&this.config) {
                let differs = c.profile != this.profile;
                return differs.then(|| {
                    format!("{config} was configured for {profile}: these settings are replaced by those for {}", this.profile)
                });
            }
            let shares_files = |files: &[PathBuf]| files.iter().any(|f| this.files.contains(f));
            match (this.handler.is_empty() || c.handler.is_empty(), shares_files(&c.files)) {
                (false, _) => {
                    Some(format!("the handler used {config}, configured for {profile}: it will use this configuration instead"))
                }
                (true, true) => {
                    Some(format!("{config}, configured for {profile}, reads the same drop-ins: they will have this configuration's settings"))
                }
                (true, false) => None,
            }
        })
    }
}

/// Message about a file with several hard links whose missing part cannot be determined, with the remedy.
pub(super) const TORN: &str = "a kata-osinfo call was interrupted while it wrote this file, which has several hard links, and others have changed it since, so it cannot be determined what is missing: restore every line that was in the file before that call, or run `kata-osinfo unconfigure --force`, which restores the text from before kata-osinfo wrote it and keeps the current text beside it";

/// Reasons why the state cannot be read, or files were not written or not reverted.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// A file below the root cannot be read or written.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The state file is not a state of this program.
    #[error(
        "{STATE} is not a valid state file: {0}; `kata-osinfo unconfigure --force` reverts what is marked as written by kata-osinfo"
    )]
    State(String),
    /// The state was written by another version of this program.
    #[error(
        "{STATE} has format version {0}, but this program supports 1 to {VERSION}: use the kata-osinfo that wrote it"
    )]
    Version(u32),
    /// A file of kata-osinfo's was changed by others.
    #[error(
        "{path} was changed after kata-osinfo wrote it ({how}): undo the change, and put your own settings into a file that is read later, such as {to} (if that directory is read); or discard the change with `kata-osinfo configure --force`, or revert everything with `kata-osinfo unconfigure --force`"
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// The lines that differ.
        how: String,
        /// A file of the admin's to which these lines could move.
        to: PathBuf,
    },
    /// kata-osinfo's handler in a file of others was changed by others.
    #[error(
        "{path}: the handler was changed after kata-osinfo wrote it: {how}; or revert all of it, including the change, with `kata-osinfo unconfigure --force`"
    )]
    Handler {
        /// The file.
        path: PathBuf,
        /// The remedy for each key, with its line.
        how: String,
    },
    /// A file that kata-osinfo edited is no longer TOML.
    #[error("{path} is no longer valid TOML, so kata-osinfo cannot find the parts that it wrote: {why}: fix the file")]
    NotToml {
        /// The file.
        path: PathBuf,
        /// The fault, and its place.
        why: String,
    },
    /// A file with several hard links has neither its old text nor its new one, and others have edited it.
    #[error("{path}: {TORN}")]
    Torn {
        /// The file.
        path: PathBuf,
    },
    /// A file of kata-osinfo's that others need would be removed.
    #[error("{path} would be removed: {why}")]
    Needed {
        /// The file.
        path: PathBuf,
        /// Who needs the file, and the remedy.
        why: String,
    },
    /// A file was changed after it was read.
    #[error("{0} was changed while kata-osinfo was working on it: try again")]
    Meanwhile(PathBuf),
    /// A call failed in the middle.
    #[error(
        "{why}; {}", match .left.as_slice() {
            [] => "the files written before this error were restored, so nothing has changed".to_owned(),
            left => format!(
                "these files were written before this error, could not be restored, and are in effect: {}: run `kata-osinfo unconfigure` to revert them",
                left.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
            ),
        }
    )]
    Halfway {
        /// The failure.
        why: Box<ChangeError>,
        /// Files that were written and could not be reverted.
        left: Vec<PathBuf>,
    },
    /// Another process holds the lock.
    #[error(
        "another kata-osinfo has been configuring this machine for more than {0} s: wait until it finishes, or stop it"
    )]
    Locked(u64),
}

/// Reads the state, if there is one, with the current path of every file.
///
/// # Errors
///
/// [`ChangeError::State`] if the state file, or what stands in its place, is not a state; otherwise the state cannot be
/// read.
pub fn read(root: &Root) -> Result<Option<State>, ChangeError> {
    check_folder(root)?;
    let read = root.pin_itself(Path::new(STATE)).and_then(|place| place.map(|p| p.read(MAX_STATE)).transpose());
    let Some(contents) = read.map_err(no_state)?.flatten() else { return Ok(None) };
    let broken = |e: serde_json::Error| ChangeError::State(e.to_string());
    let StateVersion { version } = serde_json::from_slice(&contents.bytes).map_err(broken)?;
    let state: State = match version {
        1 | 2 => serde_json::from_slice::<Older>(&contents.bytes).map_err(broken)?.into(),
        VERSION => serde_json::from_slice(&contents.bytes).map_err(broken)?,
        _ => return Err(ChangeError::Version(version)),
    };
    let paths = state.files.iter().map(|f| &f.path).chain(&state.directories);
    match paths.into_iter().find(|p| !is_plain(p)) {
        Some(odd) => Err(ChangeError::State(format!("{} is not a plain absolute path", odd.display()))),
        None => Ok(Some(with_links_resolved(root, state)?)),
    }
}

/// Updates the paths of files that others have moved and replaced by links: the link's target is the file to edit.
fn with_links_resolved(root: &Root, mut state: State) -> Result<State, RootError> {
    let mut moved: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let configs = state.configurations.iter().map(|c| &c.config).filter(|c| c.is_absolute());
    for path in state.files.iter().map(|f| &f.path).chain(configs) {
        match root.resolve_new(path) {
            Err(error) if error.is_unreadable() => return Err(error),
            Ok(now) if now != *path && !state.files.iter().any(|f| f.path == now) => {
                moved.insert(path.clone(), now);
            }
            // A path that leads nowhere is reported by the code that reverts it.
            _ => {}
        }
    }
    // A directory of kata-osinfo's that has become a link does not belong to kata-osinfo any more.
    for folder in &state.directories {
        if let (Some(above), Some(name)) = (folder.parent(), folder.file_name())
            && let Ok(above) = root.resolve_new(above)
        {
            moved.insert(folder.clone(), above.join(name));
        }
    }
    let follow = |path: &mut PathBuf| {
        if let Some(now) = moved.get(path) {
            path.clone_from(now);
        }
    };
    for configured in &mut state.configurations {
        follow(&mut configured.config);
        configured.files.iter_mut().chain(&mut configured.handler).for_each(follow);
    }
    state.files.iter_mut().for_each(|f| follow(&mut f.path));
    state.halfway.iter_mut().for_each(|f| follow(&mut f.path));
    state.directories.iter_mut().chain(&mut state.in_place).for_each(follow);
    let moved_path = |path: PathBuf| moved.get(&path).cloned().unwrap_or(path);
    state.attributes = state.attributes.into_iter().map(|(path, a)| (moved_path(path), a)).collect();
    state.earlier = state.earlier.into_iter().map(|(path, text)| (moved_path(path), text)).collect();
    Ok(state)
}

/// Checks that nothing but a directory stands at the path of the state's directory.
pub(super) fn check_folder(root: &Root) -> Result<(), ChangeError> {
    has_folder(root).map(|_| ())
}

/// Returns whether the state's directory exists.
///
/// # Errors
///
/// [`ChangeError::State`] if it is not a directory; otherwise this cannot be determined.
pub fn has_folder(root: &Root) -> Result<bool, ChangeError> {
    let folder = root.resolve_new(Path::new(FOLDER)).and_then(|path| root.look(&path));
    match folder.map_err(no_state)? {
        Some(other) if !other.is_dir() => Err(ChangeError::State(format!("{FOLDER} is not a folder"))),
        found => Ok(found.is_some()),
    }
}

/// Converts an error: missing rights or a failing device say nothing about the state; on other errors there is no valid
/// state.
fn no_state(error: RootError) -> ChangeError {
    match error {
        RootError::Read { .. } if error.is_unreadable() => error.into(),
        RootError::Read { source, .. } => ChangeError::State(source.to_string()),
        RootError::TooLarge { .. } => ChangeError::State(error.to_string()),
        error => error.into(),
    }
}

/// Returns whether a path is absolute, without `..`.
pub(super) fn is_plain(path: &Path) -> bool {
    path.is_absolute() && path.components().skip(1).all(|c| matches!(c, Component::Normal(_)))
}

/// Writes the state, readable by root alone.
pub(super) fn write(root: &Root, state: &State) -> Result<(), ChangeError> {
    let mut text = serde_json::to_string_pretty(state).map_err(|e| ChangeError::State(e.to_string()))?;
    text.push('\n');
    let place = root.make_pinned_itself(Path::new(STATE))?;
    // The texts may be secret, and a user who cannot read the files must not read their copies either.
    let own = Attributes::private();
    if place.read(MAX_STATE)?.is_some_and(|old| old.bytes == text.as_bytes() && old.attributes.mode == own.mode) {
        return Ok(());
    }
    Ok(place.write(text.as_bytes(), Some(&own))?)
}
