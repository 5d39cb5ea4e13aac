//! Outcome of a run, of each cell and of each test.

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
use model::profile::ProfileName;
use model::test_id::TestId;
use std::collections::BTreeMap;
use std::fmt;
use suites::outcome::Outcome;

/// How the id of merged runs begins.
pub(crate) const MERGED: &str = "merged-";

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// The harness's version.
    pub harness: String,
    /// The origin of the run.
    pub provenance: Provenance,
    /// The profiles asked for, in that order.
    pub profiles: Vec<ProfileName>,
    /// The test filter, if no cell was asked for all tests; of merged runs, that of the last one.
    pub filter: Option<RunFilter>,
    /// Whether the distro or the records were overlaid.
    pub candidate: bool,
    /// Whether the caller's own keys, image or records vouched for packages.
    pub shaped: bool,
    /// Whether the run was `--strict`: its exit code demanded that everything required is supported.
    pub strict: bool,
    /// Options that the results depend on, in words.
    pub options: Vec<String>,
    /// How often each test was run, if more than once.
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
    /// Conflicts between runs that were merged.
    pub conflicts: Vec<Conflict>,
    /// The mirrors that could not be asked what is stale, so that cells may be missing, each with the reason.
    pub unasked: Vec<String>,
}

/// A conflict between merged runs in a cell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Conflict {
    /// The cell.
    pub cell: CellId,
    /// How the runs differ, and which of them counts.
    pub what: String,
    /// Whether a whole run was left out because of the conflict, so that its results for the cell are not judged.
    pub refused: bool,
}

/// The origin of a run and the data it rests on; empty if the journal is of schema 2 or older.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Provenance {
    /// The commit that the harness was built from.
    pub commit: String,
    /// The command line.
    pub argv: Vec<String>,
    /// A digest of the records of the releases.
    pub records: String,
    /// A digest of the requirements in the catalogue.
    pub catalogue: String,
    /// The number of tests planned for each cell.
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
    /// The journal has no end of the run: it was killed, or still runs.
    Killed,
}

/// The outcome of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CellRun {
    /// The facts that the cell's verdicts rest on; `None` if the cell never got that far.
    pub facts: Option<CellFacts>,
    /// Why the verdicts count as emulated, although the journal calls them hardware.
    pub contradicted: Option<String>,
    /// The guests that the cell started.
    pub launches: Vec<GuestLaunch>,
    /// Why the cell could not go on.
    pub errors: Vec<CellFailure>,
    /// When work on the cell began.
    pub started: Option<Timestamp>,
    /// When the cell's last event was.
    pub last: Option<Timestamp>,
    /// Whether work on the cell was completed.
    pub complete: bool,
    /// The test filter, if no run asked for all tests of the cell.
    pub filter: Option<RunFilter>,
    /// Time in which nobody worked on the cell, in milliseconds: from a run being killed until it was resumed.
    pub away: u64,
    /// How long each phase took, in milliseconds.
    pub phases: BTreeMap<Phase, u64>,
    /// The cell's tests, each for the profiles that share the configuration.
    pub instances: Vec<TestRun>,
}

impl CellRun {
    /// Returns how long the cell took, in milliseconds.
    pub fn millis(&self) -> Option<u64> {
        Some(between(self.started?, self.last?).saturating_sub(self.away))
    }
}

/// Returns the milliseconds from one time to a later one.
fn between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond().saturating_sub(from.as_millisecond())).unwrap_or(0)
}

/// A guest that was started.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct GuestLaunch {
    /// The profiles that share the configuration.
    pub profiles: Vec<ProfileName>,
    /// The configuration's name.
    pub configuration: String,
    /// QEMU's arguments.
    pub argv: Vec<String>,
    /// The filesystem daemon's arguments.
    pub daemon: Vec<String>,
    /// Deviations of the arguments from Kata's.
    pub deviations: Vec<String>,
    /// How many guests were started with these arguments.
    pub times: u32,
    /// Numbers of these guests in the cell, as far as the journal has them.
    pub guests: Vec<u32>,
}

/// Why a cell could not go on.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CellFailure {
    /// The phase.
    pub phase: Phase,
    /// The error message.
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
    pub profiles: Vec<ProfileName>,
    /// The test's id.
    pub test: TestId,
    /// The attempts, in order; at least one.
    pub attempts: Vec<Attempt>,
    /// Whether the test was run several times whatever its outcome (`--repeat`), and not only after a failure.
    pub is_repeated: bool,
}

/// Groups a cell's tests by the profiles that their results count for.
pub(crate) fn by_profile(instances: &[TestRun]) -> BTreeMap<&str, Vec<&TestRun>> {
    let mut all: BTreeMap<&str, Vec<&TestRun>> = BTreeMap::new();
    for instance in instances {
        instance.profiles.iter().for_each(|profile| all.entry(profile).or_default().push(instance));
    }
    all
}

/// Returns the day of a time, in UTC, as records have it.
pub(crate) fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// Returns the final outcome of each test; if a test ran in several configurations, the worse one.
pub(crate) fn last_words<'m>(instances: &[&'m TestRun]) -> BTreeMap<&'m TestId, FinalOutcome> {
    let mut all: BTreeMap<&TestId, FinalOutcome> = BTreeMap::new();
    for &instance in instances {
        let Some(last) = instance.final_outcome() else { continue };
        let last = match all.remove(&instance.test) {
            Some(other) => other.worse(last),
            None => last,
        };
        all.insert(&instance.test, last);
    }
    all
}

impl TestRun {
    /// Checks whether the result counts for a profile.
    pub fn counts_for(&self, profile: &str) -> bool {
        self.profiles.iter().any(|p| p == profile)
    }

    /// Returns the final outcome; `None` without an attempt.
    pub fn final_outcome(&self) -> Option<FinalOutcome> {
        let outcomes = self.attempts.iter().map(|a| &a.outcome);
        if self.is_repeated { FinalOutcome::of_repeated(outcomes) } else { FinalOutcome::of(outcomes) }
    }
}

/// One attempt at a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Number of the virtual machine in the cell; 0 if no machine is involved.
    pub machine: u32,
    /// The guests that the attempt ran in or started, by their numbers in the cell.
    pub guests: Vec<u32>,
    /// The outcome of the attempt.
    pub outcome: Outcome,
    /// How long the attempt took, in milliseconds.
    pub millis: u64,
    /// Notes for the reader.
    pub notes: Vec<String>,
    /// Files stored next to the journal.
    pub artifacts: Vec<String>,
}

#[cfg(test)]
mod tests;
