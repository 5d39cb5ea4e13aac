//! The outcome of a run: of each cell and of each test.

mod clean;
mod contradicted;
mod facts;
mod fold;

pub use clean::redactor;
pub use contradicted::is_said_of_hardware;
pub use fold::fold;

use crate::journal::{CellFacts, CellId, Phase, RunFilter};
use crate::verdict::FinalOutcome;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::fmt;
use suites::outcome::Outcome;

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// The harness's version.
    pub harness: String,
    /// What made it.
    pub provenance: Provenance,
    /// The profiles asked for, in that order.
    pub profiles: Vec<String>,
    /// The test filter, if all tests were asked for in no cell: where several runs were merged, the last one's.
    pub filter: Option<RunFilter>,
    /// Whether something was laid over the distro or the records.
    pub candidate: bool,
    /// Whether keys, an image or records of the caller's vouched for packages.
    pub shaped: bool,
    /// Whether its exit code asked that all that is required is supported.
    pub strict: bool,
    /// Options that the results depend on, in words.
    pub options: Vec<String>,
    /// How often each test was run, where that is more than once.
    pub repeat: Option<u32>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When its last event was.
    pub finished: Option<Timestamp>,
    /// How it ended.
    pub ending: RunEnding,
    /// Its cells.
    pub cells: BTreeMap<CellId, CellRun>,
    /// The cells in the order asked for, which is the record's order of releases.
    pub order: Vec<CellId>,
    /// Where runs that were merged did not go together.
    pub conflicts: Vec<Conflict>,
}

/// Runs that were merged and did not go together in a cell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Conflict {
    /// The cell.
    pub cell: CellId,
    /// In what they differ, and which counts.
    pub what: String,
    /// Whether a whole run was left out for it, so that what that run has of the cell is not judged.
    pub refused: bool,
}

/// What made a run, and what it rests on; empty where the journal is of schema 2 or before.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Provenance {
    /// The commit that the harness was built of.
    pub commit: String,
    /// The command line.
    pub argv: Vec<String>,
    /// A digest of what the records said of the releases.
    pub records: String,
    /// A digest of what the catalogue required.
    pub catalogue: String,
    /// How many tests each cell was to run.
    pub planned: BTreeMap<CellId, u64>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunEnding {
    /// In order.
    Finished,
    /// Somebody stopped it.
    Interrupted,
    /// It has no end: it was killed, or still runs.
    Killed,
}

/// The outcome of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CellRun {
    /// What its verdicts rest on; `None` if it never got that far.
    pub facts: Option<CellFacts>,
    /// Why they count as emulated, though the journal calls them hardware.
    pub contradicted: Option<String>,
    /// The guests that it started.
    pub launches: Vec<GuestLaunch>,
    /// Why it could not go on.
    pub errors: Vec<CellFailure>,
    /// When work on it began.
    pub started: Option<Timestamp>,
    /// When its last event was.
    pub last: Option<Timestamp>,
    /// Whether work on it was completed.
    pub complete: bool,
    /// The test filter, if no run asked for all of its tests.
    pub filter: Option<RunFilter>,
    /// For how long nobody worked on it in between, in milliseconds: until a killed run was resumed.
    pub away: u64,
    /// How long each phase took, in milliseconds.
    pub phases: BTreeMap<Phase, u64>,
    /// Its tests, each for the profiles that share the configuration.
    pub instances: Vec<TestRun>,
}

impl CellRun {
    /// How long it took, in milliseconds.
    pub fn millis(&self) -> Option<u64> {
        Some(between(self.started?, self.last?).saturating_sub(self.away))
    }
}

/// Milliseconds from one time to a later one.
fn between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond().saturating_sub(from.as_millisecond())).unwrap_or(0)
}

/// A guest that was started.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct GuestLaunch {
    /// The profiles whose configuration it is.
    pub profiles: Vec<String>,
    /// The configuration's name.
    pub configuration: String,
    /// QEMU's arguments.
    pub argv: Vec<String>,
    /// The filesystem daemon's arguments.
    pub daemon: Vec<String>,
    /// Where they deviate from Kata's.
    pub deviations: Vec<String>,
    /// How many guests were started like this.
    pub times: u32,
    /// Their numbers in the cell, as far as the journal has some.
    pub guests: Vec<u32>,
}

/// Why a cell could not go on.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CellFailure {
    /// Where.
    pub phase: Phase,
    /// What happened.
    pub message: String,
}

impl fmt::Display for CellFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.phase, self.message)
    }
}

/// A test in one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRun {
    /// The profiles that the result counts for.
    pub profiles: Vec<String>,
    /// The test's id.
    pub test: String,
    /// At least one, in order.
    pub attempts: Vec<Attempt>,
}

/// A cell's tests by the profiles that their results count for.
pub(crate) fn by_profile(instances: &[TestRun]) -> BTreeMap<&str, Vec<&TestRun>> {
    let mut all: BTreeMap<&str, Vec<&TestRun>> = BTreeMap::new();
    for instance in instances {
        instance.profiles.iter().for_each(|profile| all.entry(profile).or_default().push(instance));
    }
    all
}

/// The day of a time, in UTC, as records have it.
pub(crate) fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// The last word on each of some tests, such as those of a profile: of one that ran in several configurations the worse.
pub(crate) fn last_words<'m>(instances: &[&'m TestRun]) -> BTreeMap<&'m str, FinalOutcome> {
    let mut all: BTreeMap<&str, FinalOutcome> = BTreeMap::new();
    for &instance in instances {
        let Some(last) = instance.final_outcome() else { continue };
        let last = match all.remove(instance.test.as_str()) {
            Some(other) => other.worse(last),
            None => last,
        };
        all.insert(&instance.test, last);
    }
    all
}

impl TestRun {
    /// Whether the result counts for a profile.
    pub fn counts_for(&self, profile: &str) -> bool {
        self.profiles.iter().any(|p| p == profile)
    }

    /// The last word on it; `None` without an attempt.
    pub fn final_outcome(&self) -> Option<FinalOutcome> {
        FinalOutcome::of(self.attempts.iter().map(|a| &a.outcome))
    }
}

/// One attempt at a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// In which virtual machine of the cell; 0 where there is none to speak of.
    pub machine: u32,
    /// The guests that it ran in or started, by their numbers in the cell.
    pub guests: Vec<u32>,
    /// The outcome of the attempt.
    pub outcome: Outcome,
    /// How long it took.
    pub millis: u64,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// Files beside the journal.
    pub artifacts: Vec<String>,
}

#[cfg(test)]
mod tests;
