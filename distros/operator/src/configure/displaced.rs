//! Texts of others that are not at their path, because a call was interrupted in the moment in which others wrote them.
//!
//! Every call names them as long as they exist. A text that was set aside, because others have written to its path
//! again, is for the admin to merge; any other one is simply out of its place.

use super::edit::DROP_IN;
use super::state::{self, State};
use super::{Problem, containerd, crio, stray};
use root::{DisplacedText, Root};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A text of others that is not at its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Displaced {
    /// The current path of the text.
    pub path: PathBuf,
    /// Whether the text was set aside for the admin to merge.
    pub is_aside: bool,
    /// The path to which the text belongs, if known.
    place: Option<PathBuf>,
    /// Whether a state lists that path, so that the next call restores the text.
    is_known: bool,
}

impl Displaced {
    /// Returns a description with the remedy.
    fn message(&self) -> String {
        let moment = "while an interrupted kata-osinfo call was writing";
        match (&self.place, self.is_aside) {
            (_, true) => format!(
                "another process wrote this text {moment} the file that it belongs to, in this folder or below, and that file was changed again since: merge this text into it, then remove this file"
            ),
            (Some(place), false) => {
                let place = place.display();
                let what = match self.is_known {
                    true => "the next call without --dry-run restores it".to_owned(),
                    false => format!("merge what you need into {place}, then remove this file"),
                };
                format!(
                    "{place} was changed by another process {moment} it, and this file has the text of that process: {what}"
                )
            }
            (None, false) => format!(
                "another process wrote this text {moment} the file that it belongs to, in this folder or below: merge what you need into that file, then remove this one"
            ),
        }
    }

    /// Returns the text as a problem.
    pub fn problem(&self) -> Problem {
        Problem { file: self.path.clone(), line: None, message: self.message() }
    }

    /// Returns a one-line message.
    pub fn words(&self) -> String {
        format!("{}: {}", self.path.display(), self.message())
    }
}

/// Returns all displaced texts, according to the current state.
pub fn displaced_now(root: &Root) -> Vec<Displaced> {
    // A damaged state is reported by the code that needs it.
    displaced(root, &state::read(root).ok().flatten().unwrap_or_default())
}

/// Returns all displaced texts near files that the state lists, that a damaged state names, or that this program writes
/// to.
///
/// Unreadable places are reported by the code that needs them.
pub fn displaced(root: &Root, state: &State) -> Vec<Displaced> {
    let known: BTreeSet<PathBuf> = state.files.iter().map(|file| file.path.clone()).collect();
    let places = places(root, state);
    let mut all: BTreeMap<PathBuf, Displaced> = BTreeMap::new();
    let folders = places.iter().flat_map(|place| folders(place)).filter_map(|folder| root.resolve_new(folder).ok());
    for folder in folders.collect::<BTreeSet<PathBuf>>() {
        for DisplacedText { path, is_aside } in root.displaced_in(&folder).unwrap_or_default() {
            all.insert(path.clone(), Displaced { path, is_aside, place: None, is_known: false });
        }
    }
    if all.values().any(|text| !text.is_aside) {
        for place in places.iter().filter_map(|place| root.pin(place).ok().flatten()) {
            let path = place.path().to_owned();
            for text in place.displaced_texts_of_others().unwrap_or_default() {
                if let Some(text) = all.get_mut(&text) {
                    text.is_known = known.contains(&path);
                    text.place = Some(path.clone());
                }
            }
        }
    }
    all.into_values().collect()
}

/// Returns the directories in which a text taken from a path may lie: the path's directory or, if every file in that
/// one is read, its parent.
fn folders(place: &Path) -> impl Iterator<Item = &Path> {
    let is_read_whole = place.parent().and_then(Path::extension).is_some_and(|extension| extension == "d");
    place.ancestors().skip(1).take(if is_read_whole { 2 } else { 1 })
}

/// Returns files that this program writes to, or may have written to, with links in their paths resolved.
fn places(root: &Root, state: &State) -> BTreeSet<PathBuf> {
    let mut all: BTreeSet<PathBuf> = state.files.iter().map(|file| file.path.clone()).collect();
    let configs = state.configurations.iter().map(|c| c.config.clone()).chain(stray::configurations_of(root));
    let drop_in = |config: &Path| config.with_file_name("config.d").join(DROP_IN);
    let mut named: BTreeSet<PathBuf> = configs.flat_map(|config| [drop_in(&config), config]).collect();
    named.extend(stray::named_by_damaged_states(root));
    named.extend(containerd::written_to(root));
    named.insert(crio::drop_in());
    named.retain(|path| path.is_absolute());
    all.extend(named.iter().filter_map(|path| root.resolve_new(path).ok()));
    // Texts may also lie next to a link itself.
    all.extend(named);
    all
}
