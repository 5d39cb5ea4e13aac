//! Which configuration of Kata's a written file belongs to: each has its own profile, and its own files.

use super::change::{Change, State};
use super::edit::DROP_IN;
use super::own;
use root::Attributes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml_edit::Document;

/// One of Kata's configurations that this program has configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configured {
    /// Its file, with no links in it; from a state before form 3 its folder, where that is all that is known.
    pub config: PathBuf,
    /// The profile's name.
    pub profile: String,
    /// Whether it is fit for production.
    pub production: bool,
    /// What was to be known about it.
    pub notes: Vec<String>,
    /// Every file that was written for it.
    pub files: Vec<PathBuf>,
    /// Those of them that make it the handler.
    pub handler: Vec<PathBuf>,
}

impl Configured {
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
    pub(super) fn owner(&self, file: &Path) -> Option<&Configured> {
        self.configurations.iter().find(|c| c.files.iter().any(|f| f == file))
    }

    /// The state with one configuration in the place of what was written for it before, and its files.
    ///
    /// A file that is written for it is no other's any more, and there is one handler.
    pub(super) fn with(mut self, this: Configured, files: Vec<Change>) -> State {
        self.configurations.retain(|c| !c.is_of(&this.config));
        for other in &mut self.configurations {
            let handler = if this.handler.is_empty() { Vec::new() } else { other.handler.clone() };
            other.keep(|file| !this.files.contains(file) && !handler.contains(file));
        }
        self.configurations.retain(|c| !c.files.is_empty());
        self.configurations.push(this);
        State { configurations: self.configurations, files, ..State::default() }
    }

    /// What configurations lose to another one.
    pub(super) fn lost<'s>(&'s self, this: &'s Configured) -> impl Iterator<Item = String> + 's {
        self.configurations.iter().filter_map(|c| {
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

/// A state's form.
#[derive(Deserialize)]
#[serde(expecting = "an object with a version")]
pub(super) struct Form {
    pub(super) version: u32,
}

/// A state of the forms 1 and 2, of one configuration; of form 1 there were no attributes, and no texts of an unfinished
/// change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Older {
    version: u32,
    profile: String,
    production: bool,
    notes: Vec<String>,
    files: Vec<Change>,
    directories: Vec<PathBuf>,
    #[serde(default)]
    attributes: BTreeMap<PathBuf, Attributes>,
    #[serde(default)]
    earlier: BTreeMap<PathBuf, String>,
    #[serde(default)]
    in_place: Vec<PathBuf>,
}

impl From<Older> for State {
    fn from(older: Older) -> State {
        let Older { version, profile, production, notes, files, directories, attributes, earlier, in_place } = older;
        let config = files.iter().find_map(source).or_else(|| files.iter().find_map(folder));
        let handler = files.iter().filter(|f| folder(f).is_none()).map(|f| f.path.clone()).collect();
        let paths = files.iter().map(|f| f.path.clone()).collect();
        let configured = |config| Configured { config, profile, production, notes, files: paths, handler };
        let configurations = config.map(configured).into_iter().collect();
        State { version, configurations, files, directories, attributes, earlier, in_place }
    }
}

fn source(file: &Change) -> Option<PathBuf> {
    own::source(&file.after)
}

/// The configuration whose settings a file has, or its folder.
fn folder(file: &Change) -> Option<PathBuf> {
    if file.path.ends_with(Path::new("config.d").join(DROP_IN)) {
        return file.path.ancestors().nth(2).map(Path::to_owned);
    }
    let document = Document::parse(file.after.as_str()).ok()?;
    document.get("hypervisor").is_some().then(|| file.path.clone())
}
