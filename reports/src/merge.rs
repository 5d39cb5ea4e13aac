//! Merging of journals: of shards, of a run and its rerun, or of copies of the same run.
//!
//! Pure, and idempotent: a run that is given twice is merged once, and a merged journal can be merged again.
//! An event belongs to the run whose start precedes it; an attempt is identified by its run, its cell and its number.
//!
//! - Copies of one run become one run with all events that any copy has. If two copies contradict each other about an
//!   attempt, the copy with more events counts, and the conflict is named.
//! - A cell of several runs gets the attempts of all of them, the later after the earlier, if they rest on the same
//!   basis, package versions, kernel, candidates, vouching and tests. Otherwise only the run that ended last counts,
//!   and the conflict is named.
//! - A run that did not get as far as the facts about a cell is ignored if another run did.
//! - A run that cannot count at all is left out, and is a conflict in each of its cells.
//!
//! Conflicts are at the end of the merged journal, so that its reports show them.
//! File paths contain their run, so that no file replaces another run's.

use crate::digest;
use crate::journal::{Candidate, CellId, Event, Journal, JournalEntry};
use crate::package_change::{VersionChange, differing};
use crate::run::{Conflict, fold};
use jiff::Timestamp;
use model::kernel::KernelRelease;
use model::package::{PackageName, PackageVersion};
use model::profile::ProfileName;
use model::verified::Basis;
use std::collections::{BTreeMap, BTreeSet};
use suites::outcome::Component;

/// The directory of files by run, below the output directory of a merged run.
pub const FOLDER: &str = "runs";

/// The result of merging journals.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merged {
    /// All events, run by run; a run that began earlier comes first.
    pub journal: Journal,
    /// The conflicts, in words; the journal has them, too, so that its reports show them.
    pub conflicts: Vec<String>,
}

/// A journal that was given but cannot be merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The journal.
    pub journal: Journal,
    /// The reason, in words.
    pub why: String,
}

/// Merges journals.
pub fn merge(journals: &[Journal]) -> Merged {
    merge_without(journals, &[])
}

/// Merges journals, and records a conflict in each cell of the refused ones.
pub fn merge_without(journals: &[Journal], refused: &[Refused]) -> Merged {
    let mut conflicts: BTreeSet<Conflict> = journals.iter().flat_map(recorded_conflicts).collect();
    conflicts.extend(refused.iter().flat_map(left_out));
    let mut copies: BTreeMap<String, Vec<Vec<JournalEntry>>> = BTreeMap::new();
    for journal in journals {
        for (run, entries) in by_run(journal) {
            copies.entry(run).or_default().push(entries);
        }
    }
    let mut runs: Vec<(String, Vec<JournalEntry>)> =
        copies.into_iter().map(|(run, copies)| (run.clone(), union(&run, copies, &mut conflicts))).collect();
    leave_out(&mut runs, &mut conflicts);
    runs.sort_by(|(a, one), (b, other)| began(one).cmp(&began(other)).then_with(|| a.cmp(b)));
    let mut entries: Vec<JournalEntry> = runs.into_iter().flat_map(|(_, entries)| entries).collect();
    if let Some(at) = entries.iter().map(|entry| entry.at).max() {
        let event = |conflict: &Conflict| {
            let Conflict { cell, what, refused } = conflict.clone();
            Event::Conflict { cell, what, refused }
        };
        entries.extend(conflicts.iter().map(|conflict| JournalEntry { at, event: event(conflict) }));
    }
    let conflicts = conflicts.into_iter().map(|Conflict { cell, what, .. }| format!("{cell}: {what}")).collect();
    Merged { journal: Journal { entries, cut: false }, conflicts }
}

/// Returns the conflicts that a merged journal holds.
fn recorded_conflicts(journal: &Journal) -> impl Iterator<Item = Conflict> {
    journal.entries.iter().filter_map(|entry| match &entry.event {
        Event::Conflict { cell, what, refused } => {
            Some(Conflict { cell: cell.clone(), what: what.clone(), refused: *refused })
        }
        _ => None,
    })
}

/// Returns a conflict that says the run is left out, for each cell that it has or was asked for.
fn left_out(Refused { journal, why }: &Refused) -> impl Iterator<Item = Conflict> {
    let what = format!("run {} was skipped: {why}", runs(journal).join(", "));
    let cells: BTreeSet<CellId> = journal.entries.iter().flat_map(|entry| entry.event.cells()).cloned().collect();
    cells.into_iter().map(move |cell| Conflict { cell, what: what.clone(), refused: true })
}

/// Returns a journal without some of its cells, as if they had never been asked for.
pub fn without_cells(journal: &Journal, left_out: &BTreeSet<CellId>) -> Journal {
    let mut entries = journal.entries.clone();
    for entry in &mut entries {
        if let Event::RunStarted { cells, planned, .. } = &mut entry.event {
            cells.retain(|cell| !left_out.contains(cell));
            planned.retain(|cell, _| !left_out.contains(cell));
        }
    }
    // A start has only other cells now.
    entries.retain(|entry| entry.event.cells().iter().all(|cell| !left_out.contains(cell)));
    Journal { entries, cut: journal.cut }
}

/// Returns the path of a run's file in a merged directory.
pub fn place(run: &str, file: &str) -> String {
    let below = file.strip_prefix(FOLDER).is_some_and(|rest| rest.starts_with('/'));
    if below { file.to_owned() } else { format!("{FOLDER}/{}/{file}", folder_of(run)) }
}

/// Returns the name of a run's directory; an id that is no plain name, which the harness never generates, is replaced
/// by a digest.
pub fn folder_of(run: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    match !run.is_empty() && run.len() <= 64 && run.chars().all(is_plain) {
        true => run.to_owned(),
        false => format!("run-{}", digest::short(run)),
    }
}

/// Returns the ids of the runs of a journal, in order.
pub fn runs(journal: &Journal) -> Vec<String> {
    let mut runs: Vec<String> = Vec::new();
    for entry in &journal.entries {
        if let Event::RunStarted { run, .. } = &entry.event
            && !runs.contains(run)
        {
            runs.push(run.clone());
        }
    }
    runs
}

fn began(entries: &[JournalEntry]) -> Option<Timestamp> {
    entries.first().map(|entry| entry.at)
}

/// Returns the events of each run, with file paths of the merged directory. Events before the first run are dropped.
fn by_run(journal: &Journal) -> BTreeMap<String, Vec<JournalEntry>> {
    let mut all: BTreeMap<String, Vec<JournalEntry>> = BTreeMap::new();
    let mut current: Option<String> = None;
    for entry in &journal.entries {
        if let Event::RunStarted { run, .. } = &entry.event {
            current = Some(run.clone());
        }
        let Some(run) = &current else { continue };
        let mut entry = entry.clone();
        match &mut entry.event {
            // A conflict belongs to no run; conflicts are appended at the end.
            Event::Conflict { .. } => continue,
            Event::TestFinished { artifacts, .. } => artifacts.iter_mut().for_each(|file| *file = place(run, file)),
            Event::CellFacts { facts, .. } => facts.image_manifest.iter_mut().for_each(|file| *file = place(run, file)),
            _ => {}
        }
        all.entry(run.clone()).or_default().push(entry);
    }
    all
}

/// Returns a key for events that occur once in a run: the start or the end of an attempt.
fn attempt(event: &Event) -> Option<String> {
    let sorted = |profiles: &[ProfileName]| {
        let mut profiles = profiles.to_vec();
        profiles.sort();
        profiles.join("+")
    };
    match event {
        Event::TestStarted { cell, profiles, test, attempt } => {
            Some(format!("start of {cell} {test} {} {attempt}", sorted(profiles)))
        }
        Event::TestFinished { cell, profiles, test, attempt, machine, .. } => {
            Some(format!("end of {cell} {test} {} {machine} {attempt}", sorted(profiles)))
        }
        _ => None,
    }
}

/// Returns the combined events of the copies of one run.
fn union(run: &str, copies: Vec<Vec<JournalEntry>>, conflicts: &mut BTreeSet<Conflict>) -> Vec<JournalEntry> {
    let line = |entry: &JournalEntry| serde_json::to_string(entry).unwrap_or_default();
    let mut copies: Vec<(Vec<String>, Vec<JournalEntry>)> =
        copies.into_iter().map(|entries| (entries.iter().map(line).collect(), entries)).collect();
    // The copy with the most events comes first, so that the order of the journals does not matter.
    copies.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    let mut copies = copies.into_iter();
    let Some((lines, mut all)) = copies.next() else { return Vec::new() };
    let mut known: BTreeSet<String> = lines.into_iter().collect();
    let mut attempts: BTreeSet<String> = all.iter().filter_map(|entry| attempt(&entry.event)).collect();
    let before = all.len();
    for (lines, entries) in copies {
        for (line, entry) in lines.into_iter().zip(entries) {
            if !known.insert(line) {
                continue;
            }
            let is_known = attempt(&entry.event).is_some_and(|key| !attempts.insert(key));
            if !is_known {
                all.push(entry);
            } else if let Event::TestFinished { cell, test, attempt, .. } = &entry.event {
                let what = format!(
                    "{test}: two copies of run {run} differ in attempt {attempt}: the more complete one counts"
                );
                conflicts.insert(Conflict { cell: cell.clone(), what, refused: false });
            }
        }
    }
    if all.len() > before {
        all.sort_by_key(|entry| entry.at);
    }
    all
}

/// The data that the verdicts of a cell rest on in a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Basics {
    basis: Option<Basis>,
    versions: BTreeMap<PackageName, PackageVersion>,
    kernel: Option<KernelRelease>,
    candidates: BTreeMap<Component, Candidate>,
    candidate: bool,
    shaped: bool,
    /// The digest of the tests' requirements; empty in older journals.
    catalogue: String,
    /// The commit that the program was built from.
    commit: String,
    /// When the cell's last event was.
    last: Option<Timestamp>,
}

impl Basics {
    /// Describes the differences to another run.
    fn differences(&self, other: &Basics) -> Vec<String> {
        let mut all = Vec::new();
        let basis = |basics: &Basics| basics.basis.map_or("unknown", Basis::name);
        if self.basis != other.basis {
            all.push(format!("{} and {}", basis(self), basis(other)));
        }
        for VersionChange { name, then, now } in differing(&self.versions, &other.versions) {
            let [then, now] = [then, now].map(|version| version.map_or("none", PackageVersion::as_str));
            all.push(format!("{name} {then} and {now}"));
        }
        for (differ, what) in [
            (self.kernel != other.kernel, "kernels"),
            (self.candidates != other.candidates, "replaced or added components"),
            (self.candidate != other.candidate, "candidates"),
            (self.shaped != other.shaped, "who vouches for packages"),
        ] {
            if differ {
                all.push(what.to_owned());
            }
        }
        // Programs of two commits with the same tests add up.
        if self.catalogue != other.catalogue {
            let named = |text: &str| if text.is_empty() { "unknown".to_owned() } else { text.to_owned() };
            all.push(format!("sets of tests {} and {}", named(&self.catalogue), named(&other.catalogue)));
            if self.commit != other.commit {
                all.push(format!("commits {} and {}", named(&self.commit), named(&other.commit)));
            }
        }
        all
    }
}

/// Drops cells from the runs that do not count for them.
fn leave_out(runs: &mut [(String, Vec<JournalEntry>)], conflicts: &mut BTreeSet<Conflict>) {
    let all: Vec<BTreeMap<CellId, Basics>> = runs.iter_mut().map(|(_, entries)| basics(entries)).collect();
    let cells: BTreeSet<CellId> = all.iter().flat_map(|cells| cells.keys().cloned()).collect();
    for cell in cells {
        let of_cell = |number: &usize| all.get(*number).and_then(|cells| cells.get(&cell));
        let has_facts = |number: &usize| of_cell(number).is_some_and(|basics| basics.basis.is_some());
        let newest = (0..runs.len()).filter(has_facts).max_by_key(|number| {
            (of_cell(number).and_then(|basics| basics.last), runs.get(*number).map(|run| run.0.clone()))
        });
        let Some(newest) = newest else { continue };
        let Some((counts, winner)) = of_cell(&newest).cloned().zip(runs.get(newest).map(|run| run.0.clone())) else {
            continue;
        };
        for (number, (run, entries)) in runs.iter_mut().enumerate() {
            let Some(basics) = of_cell(&number).filter(|_| number != newest) else { continue };
            if basics.basis.is_some() {
                let differences = basics.differences(&counts);
                if differences.is_empty() {
                    continue;
                }
                let what = format!(
                    "run {run} does not count, because run {winner} ended later and differs: {}",
                    differences.join(", ")
                );
                conflicts.insert(Conflict { cell: cell.clone(), what, refused: false });
            }
            entries.retain(|entry| {
                matches!(entry.event, Event::RunStarted { .. }) || !entry.event.cells().contains(&cell)
            });
        }
    }
}

/// Returns the data that the verdicts of each cell rest on in a run, as the fold has them: it does not trust all facts.
fn basics(entries: &mut Vec<JournalEntry>) -> BTreeMap<CellId, Basics> {
    let mut all: BTreeMap<CellId, Basics> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !matches!(entry.event, Event::RunStarted { .. })) {
        for cell in entry.event.cells() {
            all.entry(cell.clone()).or_default().last = Some(entry.at);
        }
    }
    let journal = Journal { entries: std::mem::take(entries), cut: false };
    let mut run = fold(&journal);
    *entries = journal.entries;
    for (cell, basics) in &mut all {
        (basics.candidate, basics.shaped) = (run.candidate, run.shaped);
        (basics.catalogue, basics.commit) = (run.provenance.catalogue.clone(), run.provenance.commit.clone());
        let Some(facts) = run.cells.remove(cell).and_then(|cell| cell.facts) else { continue };
        basics.basis = Some(facts.basis);
        (basics.versions, basics.candidates, basics.kernel) = (facts.versions, facts.candidates, facts.kernel);
    }
    all
}

#[cfg(test)]
mod tests;
