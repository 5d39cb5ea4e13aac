//! States in earlier formats, with one configuration each.

use super::super::copy;
use super::super::edit::DROP_IN;
use super::{FileChange, ManagedConfiguration, State};
use root::Attributes;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml_edit::Document;

/// The version of a state's format.
#[derive(Deserialize)]
#[serde(expecting = "an object with a version")]
pub(super) struct StateVersion {
    pub(super) version: u32,
}

/// A state of format 1 or 2, with one configuration. Format 1 has no attributes and no texts of an unfinished change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Older {
    version: u32,
    profile: String,
    production: bool,
    notes: Vec<String>,
    files: Vec<FileChange>,
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
        let configured = |config| ManagedConfiguration { config, profile, production, notes, files: paths, handler };
        let configurations = config.map(configured).into_iter().collect();
        State { version, configurations, files, directories, attributes, earlier, in_place, ..State::default() }
    }
}

fn source(file: &FileChange) -> Option<PathBuf> {
    copy::source(&file.after)
}

/// Returns the configuration whose settings a file has, or its directory.
fn folder(file: &FileChange) -> Option<PathBuf> {
    if file.path.ends_with(Path::new("config.d").join(DROP_IN)) {
        return file.path.ancestors().nth(2).map(Path::to_owned);
    }
    let document = Document::parse(file.after.as_str()).ok()?;
    document.get("hypervisor").is_some().then(|| file.path.clone())
}
