//! Texts of others that are in no place of their own: a call was cut short in the moment in which they wrote.
//!
//! Every call names them as long as they lie there. One that was put aside, because others have written to its place since,
//! is for somebody to merge; one that nobody has put back or aside yet is out of its place.

use super::edit::DROP_IN;
use super::state::{self, State};
use super::{Problem, containerd, crio, stray};
use root::{DisplacedText, Root};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A text of others that is in no place of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Displaced {
    /// Where it lies.
    pub path: PathBuf,
    /// Whether it was put there for somebody to merge.
    pub is_aside: bool,
    /// The file whose place it had, where that is known.
    place: Option<PathBuf>,
    /// Whether a state knows that file, so that the next call looks after it.
    is_known: bool,
}

impl Displaced {
    /// What it is, and what to do about it.
    fn message(&self) -> String {
        let moment = "in the moment in which a call that was cut short wrote";
        match (&self.place, self.is_aside) {
            (_, true) => format!(
                "others wrote this {moment} the file that it is of, here or in a folder below, and once more since: merge it into that file, and remove this one"
            ),
            (Some(place), false) => {
                let place = place.display();
                let what = match self.is_known {
                    true => "the next call that is no dry run brings it back".to_owned(),
                    false => format!("put what is to stay of it into {place}, and remove this file"),
                };
                format!("{place} was changed by others {moment} it, and this is what they wrote: {what}")
            }
            (None, false) => format!(
                "others wrote this {moment} the file whose place it had, here or in a folder below: put what is to stay of it into that file, and remove this one"
            ),
        }
    }

    /// It as what is wrong.
    pub fn problem(&self) -> Problem {
        Problem { file: self.path.clone(), line: None, message: self.message() }
    }

    /// On one line.
    pub fn words(&self) -> String {
        format!("{}: {}", self.path.display(), self.message())
    }
}

/// All of them, with the state that is there.
pub fn displaced_now(root: &Root) -> Vec<Displaced> {
    // A broken one is told by whoever needs it.
    displaced(root, &state::read(root).ok().flatten().unwrap_or_default())
}

/// All of them, where files lie that a state knows, that a damaged one names, and that this program writes to.
///
/// What cannot be looked at is told by whoever needs it.
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
            for text in place.taken_out_of_others().unwrap_or_default() {
                if let Some(text) = all.get_mut(&text) {
                    text.is_known = known.contains(&path);
                    text.place = Some(path.clone());
                }
            }
        }
    }
    all.into_values().collect()
}

/// Where a text may lie that was taken out of a place: in its folder or, where every name in that is read, in the one
/// above.
fn folders(place: &Path) -> impl Iterator<Item = &Path> {
    let is_read_whole = place.parent().and_then(Path::extension).is_some_and(|extension| extension == "d");
    place.ancestors().skip(1).take(if is_read_whole { 2 } else { 1 })
}

/// Files that this program writes to, or may have written to, with no links in their paths.
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
    // Beside a link's own path there may be some, too.
    all.extend(named);
    all
}
