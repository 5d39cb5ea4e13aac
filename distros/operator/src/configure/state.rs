//! What this program has configured on a machine, and the file in which it says so.
//!
//! Each of Kata's configurations has its own profile, and its own files.

mod older;

use older::{Older, StateVersion};
use root::{Attributes, Root, RootError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Where the state of a machine is kept.
pub const STATE: &str = "/var/lib/kata-osinfo/configured.json";

/// The folder of the state, of which the lock is taken.
pub const FOLDER: &str = "/var/lib/kata-osinfo";

/// The form that is written.
pub(super) const VERSION: u32 = 3;

/// Bytes of a state: it has several texts of each file.
pub(super) const MAX_STATE: u64 = 64 << 20;

/// One file, as it was and as it is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileChange {
    /// Its path on the machine, with no links in it.
    pub path: PathBuf,
    /// The text before; `None` where there was no file.
    pub before: Option<String>,
    /// The text after.
    pub after: String,
}

/// Something of ours that was not taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotReverted {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub why: String,
    /// Whether `--force` takes it back.
    #[serde(skip)]
    pub by_force: bool,
}

impl FileChange {
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
    pub configurations: Vec<ManagedConfiguration>,
    /// Every file that was written.
    pub files: Vec<FileChange>,
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
    /// Files of several names that are being taken back in place: what stood there, with others' edits, and what is to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub halfway: Vec<FileChange>,
    /// Texts that stand there as soon as what others have added to our files has moved; never written down.
    #[serde(skip)]
    pub instead: BTreeMap<PathBuf, String>,
}

/// One of Kata's configurations that this program has configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagedConfiguration {
    /// Its file, with no links in it; from a state before form 3 its folder, where that is all that is known.
    pub config: PathBuf,
    /// The profile's name.
    pub profile: String,
    /// Whether it is fit for production.
    pub production: bool,
    /// Notes for the user about it.
    pub notes: Vec<String>,
    /// Every file that was written for it.
    pub files: Vec<PathBuf>,
    /// The files among them that make it the handler.
    pub handler: Vec<PathBuf>,
}

impl ManagedConfiguration {
    /// Whether it is that of a file.
    pub(super) fn is_of(&self, config: &Path) -> bool {
        self.config == config || config.parent() == Some(&self.config)
    }

    /// Lets go of files.
    pub(super) fn keep(&mut self, which: impl Fn(&PathBuf) -> bool) {
        self.files.retain(&which);
        self.handler.retain(&which);
    }
}

impl State {
    /// The configuration that a file was written for.
    pub(super) fn owner(&self, file: &Path) -> Option<&ManagedConfiguration> {
        self.configurations.iter().find(|c| c.files.iter().any(|f| f == file))
    }

    /// The state with one configuration in the place of what was written for it before, and its files.
    ///
    /// A file that is written for it is no other's any more, and there is one handler.
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

    /// The state for which some files are ours with a text that others have given them.
    pub(super) fn with_earlier(mut self, texts: &BTreeMap<PathBuf, String>, which: impl Fn(&Path) -> bool) -> State {
        let which = texts.iter().filter(|(path, _)| which(path));
        self.earlier.extend(which.map(|(path, text)| (path.clone(), text.clone())));
        self
    }

    /// What configurations lose to another one.
    pub(super) fn lost<'s>(&'s self, this: &'s ManagedConfiguration) -> impl Iterator<Item = String> + 's {
        // What was found without a state has no name.
        self.configurations.iter().filter(|c| !c.config.as_os_str().is_empty()).filter_map(|c| {
            let (config, profile) = (c.config.display(), &c.profile);
            if c.is_of(&this.config) {
                let differs = c.profile != this.profile;
                return differs.then(|| {
                    format!("what {config} was configured with for {profile} goes: this is for {}", this.profile)
                });
            }
            let loses = |files: &[PathBuf]| files.iter().any(|f| this.files.contains(f));
            match (this.handler.is_empty() || c.handler.is_empty(), loses(&c.files)) {
                (false, _) => {
                    Some(format!("the handler was {config}'s, configured for {profile}: it becomes this one's"))
                }
                (true, true) => {
                    Some(format!("{config}, configured for {profile}, has the same drop-ins: these become this one's"))
                }
                (true, false) => None,
            }
        })
    }
}

/// That nobody can tell what of a file of several names is missing, and what to do.
pub(super) const TORN: &str = "a call was cut short while it wrote this file, which has several names, and others have changed it since, so that nobody can tell what of it is missing: make it whole, with every line that stood in it before that call, or `kata-osinfo unconfigure --force` brings back what stood there before kata-osinfo wrote it, and keeps the text of today beside it";

/// Why the state cannot be read, or files were not written or not taken back.
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
        "{path} has been changed since kata-osinfo wrote it ({how}): undo that there, and put what is to stay into a file of your own that is read after it, such as {to} where that is; or `kata-osinfo configure --force` writes it again without that, and `kata-osinfo unconfigure --force` takes all of it back"
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// The lines that differ.
        how: String,
        /// Where they could go.
        to: PathBuf,
    },
    /// A handler of ours in somebody's file is not as this program left it.
    #[error(
        "{path}: others have changed the handler that kata-osinfo wrote there: {how}, or `kata-osinfo unconfigure --force` takes all of it back, with what they changed"
    )]
    Handler {
        /// The file.
        path: PathBuf,
        /// What to do about each key, with its line.
        how: String,
    },
    /// A file that we edited is no TOML any more.
    #[error("{path} is not TOML any more, so that nobody can tell what of it kata-osinfo wrote: {why}: mend it")]
    NotToml {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        why: String,
    },
    /// A file of several names is neither what stood there nor what was to, and others have edited it.
    #[error("{path}: {TORN}")]
    Torn {
        /// The file.
        path: PathBuf,
    },
    /// A file of ours that others need would go.
    #[error("{path} would go: {why}")]
    Needed {
        /// The file.
        path: PathBuf,
        /// What needs it, and what to do.
        why: String,
    },
    /// A file is not as it was looked at.
    #[error("{0} was changed just now: try again")]
    Meanwhile(PathBuf),
    /// A call failed in the middle.
    #[error(
        "{why}; {}", match .left.as_slice() {
            [] => "what this call had written by then has been taken back, and nothing is changed".to_owned(),
            left => format!(
                "what this call had written by then is in effect, because it could not be taken back: {}: `kata-osinfo unconfigure` takes it back",
                left.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
            ),
        }
    )]
    Halfway {
        /// Why.
        why: Box<ChangeError>,
        /// What is still there of what was written.
        left: Vec<PathBuf>,
    },
    /// Another one holds the lock.
    #[error("another kata-osinfo is configuring this machine, for more than {0} s now: wait for it or end it")]
    Locked(u64),
}

/// What was configured, if anything, with every file where it is reached today.
///
/// # Errors
///
/// [`ChangeError::State`] where something else stands there, whatever it is; else that the state cannot be read.
pub fn read(root: &Root) -> Result<Option<State>, ChangeError> {
    check_folder(root)?;
    let read = root.pin_itself(Path::new(STATE)).and_then(|place| place.map(|p| p.read(MAX_STATE)).transpose());
    let Some(held) = read.map_err(no_state)?.flatten() else { return Ok(None) };
    let broken = |e: serde_json::Error| ChangeError::State(e.to_string());
    let StateVersion { version } = serde_json::from_slice(&held.bytes).map_err(broken)?;
    let state: State = match version {
        1 | 2 => serde_json::from_slice::<Older>(&held.bytes).map_err(broken)?.into(),
        VERSION => serde_json::from_slice(&held.bytes).map_err(broken)?,
        _ => return Err(ChangeError::Version(version)),
    };
    let paths = state.files.iter().map(|f| &f.path).chain(&state.directories);
    match paths.into_iter().find(|p| !is_plain(p)) {
        Some(odd) => Err(ChangeError::State(format!("{} is no plain absolute path", odd.display()))),
        None => Ok(Some(followed(root, state)?)),
    }
}

/// A state whose files others have moved, with links in their places: what a link leads to is what is edited.
fn followed(root: &Root, mut state: State) -> Result<State, RootError> {
    let mut moved: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let configs = state.configurations.iter().map(|c| &c.config).filter(|c| c.is_absolute());
    for path in state.files.iter().map(|f| &f.path).chain(configs) {
        match root.resolve_new(path) {
            Err(error) if error.is_unreadable() => return Err(error),
            Ok(now) if now != *path && !state.files.iter().any(|f| f.path == now) => {
                moved.insert(path.clone(), now);
            }
            // Where it leads nowhere, whoever takes it back says so.
            _ => {}
        }
    }
    // A folder of ours that has become a link is not ours any more.
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
    let at = |path: PathBuf| moved.get(&path).cloned().unwrap_or(path);
    state.attributes = state.attributes.into_iter().map(|(path, a)| (at(path), a)).collect();
    state.earlier = state.earlier.into_iter().map(|(path, text)| (at(path), text)).collect();
    Ok(state)
}

/// That nothing else stands where the state's folder is, or is to be made.
pub(super) fn check_folder(root: &Root) -> Result<(), ChangeError> {
    has_folder(root).map(|_| ())
}

/// Whether the folder of states is there.
///
/// # Errors
///
/// [`ChangeError::State`] where something else stands there, whatever it is; else that it cannot be told.
pub fn has_folder(root: &Root) -> Result<bool, ChangeError> {
    let folder = root.resolve_new(Path::new(FOLDER)).and_then(|path| root.look(&path));
    match folder.map_err(no_state)? {
        Some(other) if !other.is_dir() => Err(ChangeError::State(format!("{FOLDER} is not a folder"))),
        there => Ok(there.is_some()),
    }
}

/// Rights that are missing, or a device that fails, say nothing about the state; whatever else stands there is none.
fn no_state(error: RootError) -> ChangeError {
    match error {
        RootError::Read { .. } if error.is_unreadable() => error.into(),
        RootError::Read { source, .. } => ChangeError::State(source.to_string()),
        RootError::TooLarge { .. } => ChangeError::State(error.to_string()),
        error => error.into(),
    }
}

/// Whether a path is absolute, with no `..` in it.
pub(super) fn is_plain(path: &Path) -> bool {
    path.is_absolute() && path.components().skip(1).all(|c| matches!(c, Component::Normal(_)))
}

/// Writes the state, for root alone.
pub(super) fn write(root: &Root, state: &State) -> Result<(), ChangeError> {
    let mut text = serde_json::to_string_pretty(state).map_err(|e| ChangeError::State(e.to_string()))?;
    text.push('\n');
    let place = root.make_pinned_itself(Path::new(STATE))?;
    // What it holds may be secret, and whoever may not read the files may not read their copies either.
    let own = Attributes::private();
    if place.read(MAX_STATE)?.is_some_and(|old| old.bytes == text.as_bytes() && old.attributes.mode == own.mode) {
        return Ok(());
    }
    Ok(place.write(text.as_bytes(), Some(&own))?)
}
