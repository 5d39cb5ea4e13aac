//! Comparison of each capability of each cell with the record.
//!
//! One pure function answers for all outputs: what is the verdict on a capability under a profile, on what basis, is
//! the capability required, what has changed against the record, since when, and how does it affect the exit code?
//! Terminal, Markdown, HTML, JUnit, JSON and the exit code read the answers here and decide nothing themselves.
//!
//! [`compare`] is the whole policy for one capability, [`ReleaseAnswer`] answers a reader's first question, and
//! [`Standings::changes`] are the changes that every output shows first.

mod answer;
mod base;
mod causes;
mod change;
mod changes;
mod held;
mod known;
mod need;
mod recorded;
mod tested;

pub use answer::{ReleaseAnswer, recorded_answer};
pub use base::BaseRun;
pub use change::{Change, Effect, compare};
pub use changes::ChangeRow;
pub(crate) use changes::by_profiles;
pub use held::Held;
pub(crate) use held::{MISSING, UNREAD};
pub use known::{IssueStanding, IssueState};
pub use need::{is_lacking, is_main, is_optional};
pub use recorded::Recorded;
pub use tested::TestWeight;

use crate::journal::CellId;
use crate::matrix::{CellReport, Matrix};
use crate::run::{RunEnding, day};
use crate::verdict::{Cause, Judgement, unrecorded};
use base::BaseCell;
use jiff::civil::Date;
use known::{Known, KnownTests};
use model::arch::Arch;
use model::distro::{DistroId, ReleaseVersion};
use model::known_issues::KnownIssue;
use model::profile::ProfileName;
use model::verified::{Basis, Verdict, VerifiedCapability, VerifiedCause, VerifiedEntry, same_tests};
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;

/// The exit code of a run that was interrupted, regardless of its results.
pub const INTERRUPTED: u8 = 130;

/// A run compared with the record.
#[derive(Debug, Clone)]
pub struct Standings<'m> {
    /// The results of the run.
    pub matrix: &'m Matrix,
    /// The earlier results that the run is compared with.
    pub recorded: Recorded<'m>,
    /// Whether everything that is required must be supported (`--strict`).
    pub strict: bool,
    /// The cells, in the matrix's order.
    pub cells: Vec<CellStanding<'m>>,
    /// The known issues about packages of the run.
    pub issues: Vec<IssueStanding<'m>>,
    /// The cells of each release, by distro, version and architecture.
    by_release: BTreeMap<(&'m DistroId, &'m ReleaseVersion, Arch), Vec<&'m CellReport>>,
    /// Whether the record speaks of the same packages: of candidates it says nothing.
    counts_record: bool,
    /// The pipeline's judgement of the run, if the run belongs to a pipeline.
    pub held: Option<Held>,
}

/// A cell compared with the record.
#[derive(Debug, Clone)]
pub struct CellStanding<'m> {
    /// The run's results for the cell.
    pub report: &'m CellReport,
    /// The comparison under each profile.
    pub profiles: BTreeMap<&'m ProfileName, ProfileStanding<'m>>,
}

/// A cell under one profile compared with the record.
#[derive(Debug, Clone)]
pub struct ProfileStanding<'m> {
    /// The record's entries for the cell and profile.
    pub entries: Vec<&'m VerifiedEntry>,
    /// The comparison of each capability.
    pub capabilities: BTreeMap<Capability, CapabilityStanding<'m>>,
    /// The tests whose failure is a known issue.
    pub known: BTreeMap<&'m str, &'m KnownIssue>,
}

/// A capability compared with the record.
#[derive(Debug, Clone, Copy)]
pub struct CapabilityStanding<'m> {
    /// The run's judgement: verdict, basis, causes.
    pub judgement: &'m Judgement,
    /// Whether `--strict` accepts a run without the capability.
    pub optional: bool,
    /// How the verdict compares with the record's.
    pub change: Change,
    /// How the change affects the exit code.
    pub effect: Effect,
    /// The recorded verdict.
    pub recorded: Option<Verdict>,
    /// The recorded failures of the capability.
    pub recorded_causes: &'m [VerifiedCause],
    /// The entry that holds the recorded verdict.
    pub entry: Option<&'m VerifiedEntry>,
    /// The day since which the verdict is known: the record's day if the recorded verdict is the same, else the run's.
    pub since: Option<Date>,
}

impl<'m> CapabilityStanding<'m> {
    /// Returns the causes behind the change: if other causes were recorded, only those that were not.
    pub fn telling_causes(&self) -> Vec<&'m Cause> {
        let new = match self.change {
            Change::NewFailure | Change::TestSetChanged => unrecorded(self.recorded_causes, &self.judgement.causes),
            Change::NewVerdict | Change::Unjudged | Change::Fixed | Change::Known | Change::Same => Vec::new(),
        };
        if new.is_empty() { self.judgement.causes.iter().collect() } else { new }
    }

    /// Checks whether the result is expected only because of a known issue, and not as recorded.
    pub fn is_excused(&self) -> bool {
        let is_recorded = self.recorded == Some(self.verdict())
            && unrecorded(self.recorded_causes, &self.judgement.causes).is_empty();
        self.change == Change::Known && !is_recorded
    }

    /// Checks whether the capability is listed among the changes: it is not as recorded, or affects the exit code.
    pub fn is_listed(&self) -> bool {
        let is_as_recorded = matches!(self.change, Change::Known | Change::Same) && !self.is_excused();
        self.effect != Effect::None || !is_as_recorded
    }

    /// Returns the run's verdict.
    pub fn verdict(&self) -> Verdict {
        self.judgement.verdict
    }

    /// Returns the basis of the verdict: hardware or emulated.
    pub fn basis(&self) -> Option<Basis> {
        self.judgement.basis
    }
}

impl<'m> Standings<'m> {
    /// Compares a run with the record; `strict` demands that everything required is supported.
    pub fn new(matrix: &'m Matrix, recorded: Recorded<'m>, strict: bool) -> Standings<'m> {
        let Known { cells, issues } = known::of(matrix, &recorded);
        let cells = matrix.cells.iter().zip(cells);
        let cells = cells.map(|(report, known)| cell(matrix, &recorded, strict, report, known)).collect();
        let mut by_release: BTreeMap<_, Vec<&CellReport>> = BTreeMap::new();
        for report in &matrix.cells {
            let CellId { distro, release, arch, .. } = &report.cell;
            by_release.entry((distro, release, *arch)).or_default().push(report);
        }
        let has_candidates = |cell: &CellReport| cell.facts.as_ref().is_some_and(|f| !f.candidates.is_empty());
        let counts_record = !matrix.candidate && !matrix.cells.iter().any(has_candidates);
        Standings { matrix, recorded, strict, cells, issues, by_release, counts_record, held: None }
    }

    /// Returns the standing of a capability of a cell; `None` if the run judged no such profile.
    pub fn of(&self, cell: usize, profile: &str, capability: Capability) -> Option<&CapabilityStanding<'m>> {
        self.cells.get(cell)?.profile(profile)?.capabilities.get(&capability)
    }

    /// Returns the reasons why the whole run may be incomplete, each with a keyword.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        match self.matrix.ending {
            RunEnding::Finished => {}
            RunEnding::Interrupted => all.push(("ending", "the run was interrupted".to_owned())),
            RunEnding::Killed => all.push(("ending", "the run has no end: it was killed, or still runs".to_owned())),
        }
        for profile in &self.matrix.unknown_profiles {
            all.push(("profile", format!("profile {profile} is unknown to this version and not judged")));
        }
        if !self.matrix.unasked.is_empty() {
            all.push(("stale", self.matrix.unasked.join("; ")));
        }
        let mut refused: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for conflict in self.matrix.conflicts.iter().filter(|conflict| conflict.refused) {
            refused.entry(&conflict.what).or_default().push(conflict.cell.to_string());
        }
        all.extend(refused.into_iter().map(|(what, cells)| ("refused", format!("{what} ({})", cells.join(", ")))));
        all
    }

    /// Returns the effect of the whole run on the exit code. A result that is worse outranks one that could not be
    /// judged: the former is a finding, the latter a gap. For a run of a pipeline, the pipeline decides.
    pub fn effect(&self) -> Effect {
        if let Some(held) = &self.held {
            return held.effect;
        }
        let whole = if self.problems().is_empty() { Effect::None } else { Effect::Unjudged };
        let issues = self.issues.iter().any(IssueStanding::is_at_fault);
        let whole = if issues { Effect::Worse } else { whole };
        let cells = self.cells.iter().map(|cell| cell.effect(self.matrix));
        cells.fold(whole, Effect::max)
    }

    /// Returns the exit code of the process that judges the run: `report`, or `run` if the run ended or was
    /// interrupted.
    pub fn exit_code(&self) -> u8 {
        match (&self.held, self.matrix.ending) {
            (None, RunEnding::Interrupted) => INTERRUPTED,
            (Some(_), _) | (None, RunEnding::Finished | RunEnding::Killed) => self.effect().exit_code(),
        }
    }

    /// Describes what was not judged, in addition to the verdicts in [`changes`](Standings::changes): how the run
    /// ended, lost cells, tests in error, required tests that never ran.
    pub fn not_judged(&self) -> Vec<String> {
        let mut all: Vec<String> = self.problems().into_iter().map(|(_, words)| words).collect();
        for cell in &self.cells {
            let id = &cell.report.cell;
            all.extend(cell.problems().into_iter().map(|(phase, why)| format!("{id}: {phase}: {why}")));
            let errors: BTreeMap<&str, String> = cell.in_error(self.matrix).map(|(_, test, why)| (test, why)).collect();
            all.extend(errors.into_iter().map(|(test, why)| format!("{test} in {id} is in error: {why}")));
            let unrun = cell.unrun();
            if !unrun.is_empty() {
                let names: Vec<&str> = unrun.into_iter().map(Capability::name).collect();
                all.push(format!("not all required tests ran in {id} for {}", names.join(", ")));
            }
        }
        all
    }

    /// Describes differences between the record's verdicts and the run's beyond the verdicts themselves: other sets of
    /// tests.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for cell in &self.cells {
            let mut other: BTreeMap<(&str, Date), Vec<&str>> = BTreeMap::new();
            for (profile, standing) in &cell.profiles {
                for entry in standing.entries.iter().filter(|entry| !entry.is_by_tests_of(&self.matrix.test_set)) {
                    other.entry((entry.test_set.as_str(), entry.tested)).or_default().push(profile);
                }
            }
            for ((set, day), profiles) in other {
                notes.push(format!(
                    "{}: the record of {day} was judged with another set of tests ({set}, now {}): {}.",
                    cell.report.cell,
                    self.matrix.test_set,
                    profiles.join(", ")
                ));
            }
        }
        notes
    }
}

impl<'m> CellStanding<'m> {
    /// Returns the comparison under a profile; `None` if the run was not asked for it.
    pub fn profile(&self, name: &str) -> Option<&ProfileStanding<'m>> {
        self.profiles.iter().find(|(known, _)| **known == name).map(|(_, standing)| standing)
    }

    /// Returns the reasons why the cell is lost or has no end, each with the phase.
    pub fn problems(&self) -> Vec<(String, &'m str)> {
        let report: &'m CellReport = self.report;
        let mut all: Vec<(String, &str)> =
            report.errors.iter().map(|e| (e.phase.to_string(), e.message.as_str())).collect();
        if all.is_empty() && !report.complete {
            all.push(("end".to_owned(), "the journal has no end of this cell"));
        }
        all
    }

    /// Returns the capabilities that are untested, as recorded, because tests never ran although no filter or error
    /// explains it.
    fn unrun(&self) -> BTreeSet<Capability> {
        if self.report.filter.is_some() || !self.problems().is_empty() {
            return BTreeSet::new();
        }
        let mut all = BTreeSet::new();
        for (profile, standing) in &self.profiles {
            let unrun = standing.capabilities.iter().filter(|(capability, one)| {
                let is_not_requested = self.report.is_not_requested(profile, **capability, one.judgement);
                let is_unrun = one.judgement.unrun > 0 && one.verdict() == Verdict::Untested;
                is_unrun && !is_not_requested && one.effect == Effect::None
            });
            all.extend(unrun.map(|(capability, _)| *capability));
        }
        all
    }

    /// Returns the effect of the cell on the exit code.
    pub fn effect(&self, matrix: &Matrix) -> Effect {
        let lost = if self.problems().is_empty() { Effect::None } else { Effect::Unjudged };
        let all = self.profiles.values().flat_map(|p| p.capabilities.values()).map(|c| c.effect);
        let worst = all.fold(lost, Effect::max);
        match worst {
            Effect::None if self.has_a_test_in_error(matrix) => Effect::Unjudged,
            worst => worst,
        }
    }

    /// Checks whether everything in the cell that could not be judged is optional.
    pub fn lacks_only_what_is_optional(&self, matrix: &Matrix) -> bool {
        let all = self.profiles.values().flat_map(|profile| profile.capabilities.values());
        let mut unjudged = all.filter(|one| one.effect == Effect::Unjudged);
        self.problems().is_empty() && unjudged.all(|one| one.optional) && !self.has_an_error_in_what_is_needed(matrix)
    }
}

fn cell<'m>(
    matrix: &'m Matrix,
    recorded: &Recorded<'m>,
    strict: bool,
    report: &'m CellReport,
    mut known: KnownTests<'m>,
) -> CellStanding<'m> {
    let today = report.finished.map(day);
    let base = BaseCell::of(recorded.base(), &report.cell);
    let profiles = report.judgements.iter().map(|(profile, judgements)| {
        let entries = recorded.entries(matrix, report, profile);
        let known = known.remove(profile.as_str()).unwrap_or_default();
        let one = |capability: Capability, judgement: &'m Judgement| {
            let own = entries.iter().find_map(|e| Some((*e, e.capabilities.get(&capability)?)));
            // What another environment has shown to work is no first verdict.
            let is_news = base.is_none() && judgement.verdict == Verdict::Unsupported;
            let is_judged = own.is_some_and(|(_, known)| known.verdict.is_decided());
            let elsewhere = || recorded.supported_elsewhere(matrix, report, profile, capability);
            let found = if is_news && !is_judged { elsewhere().or(own) } else { own };
            let (entry, recorded_capability) = found.unzip();
            let recorded = recorded_capability.map(|recorded_capability| recorded_capability.verdict);
            let recorded_causes = recorded_capability.map(VerifiedCapability::failures).unwrap_or_default();
            let as_then = entry.is_none_or(|e: &VerifiedEntry| same_tests(&e.test_set, &matrix.test_set, capability));
            let not_requested = report.is_not_requested(profile, capability, judgement);
            let (mut change, mut effect) = match &base {
                None => compare(recorded, as_then, judgement, not_requested),
                Some(base) => base.compare(profile, capability, judgement, not_requested),
            };
            let causes = &judgement.causes;
            if base.is_none() && change == Change::Known {
                let excused = |test: &str| known.contains_key(test);
                (change, effect) = causes::compare(recorded_causes, as_then, causes, excused);
            }
            // A failure that is a known issue is expected, whatever the record says.
            if !causes.is_empty() && causes.iter().all(|cause| known.contains_key(cause.test.as_str())) {
                (change, effect) = (Change::Known, Effect::None);
            }
            // Under `--strict` every required capability must be supported. A test filter excuses gaps, but not
            // failures.
            let is_excused = report.filter.is_some() && judgement.unrun > 0 && causes.is_empty();
            if strict && effect == Effect::None && !is_excused && is_lacking(capability, judgement) {
                effect = Effect::Worse;
            }
            let before = entry.filter(|_| recorded == Some(judgement.verdict)).map(|e| e.tested);
            let optional = is_optional(capability, judgement);
            let since = before.or(today);
            CapabilityStanding { judgement, optional, change, effect, recorded, recorded_causes, entry, since }
        };
        let capabilities = judgements.iter().map(|(c, judgement)| (*c, one(*c, judgement))).collect();
        (profile, ProfileStanding { entries, capabilities, known })
    });
    CellStanding { report, profiles: profiles.collect() }
}

#[cfg(test)]
mod tests;
