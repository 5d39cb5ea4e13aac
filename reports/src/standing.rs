//! Where each capability of each cell stands, beside the record.
//!
//! One pure question, asked by every face: what is the verdict on a capability under a profile, on what basis, is it
//! required, what has changed against the record, since when, and what does that do to the exit code?
//! Terminal, Markdown, HTML, JUnit, JSON and the exit code read the answers here and decide nothing themselves.
//!
//! [`compare`] is the whole policy for one capability, [`Answer`] the answer to a reader's first question, and
//! [`Standings::changes`] what every face shows first.

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

pub use answer::{Answer, ReleaseAnswer, recorded_answer};
pub use base::BaseRun;
pub use change::{Change, Effect, compare};
pub use changes::ChangeRow;
pub(crate) use changes::by_profiles;
pub use held::Held;
pub(crate) use held::{MISSING, UNREAD};
pub use known::{IssueStanding, IssueState};
pub use need::{is_lacking, is_main, is_optional};
pub use recorded::Recorded;
pub use tested::Weight;

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
use model::verified::{Basis, Verdict, VerifiedCapability, VerifiedCause, VerifiedEntry, same_tests};
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;

/// The exit code where somebody ended the run, whatever it has found.
const INTERRUPTED: u8 = 130;

/// A run beside the record.
#[derive(Debug, Clone)]
pub struct Standings<'m> {
    /// What the run showed.
    pub matrix: &'m Matrix,
    /// What was known before.
    pub recorded: Recorded<'m>,
    /// Whether everything that is required must be supported.
    pub strict: bool,
    /// The cells, in the matrix's order.
    pub cells: Vec<CellStanding<'m>>,
    /// The known issues that are about packages of the run.
    pub issues: Vec<IssueStanding<'m>>,
    /// The cells of each release, by distro, version and architecture.
    by_release: BTreeMap<(&'m DistroId, &'m ReleaseVersion, Arch), Vec<&'m CellReport>>,
    /// Whether the record speaks of the same packages: of candidates it says nothing.
    counts_record: bool,
    /// What a pipeline makes of it, if it is one's.
    pub held: Option<Held>,
}

/// A cell beside the record.
#[derive(Debug, Clone)]
pub struct CellStanding<'m> {
    /// What the run showed of it.
    pub report: &'m CellReport,
    /// By profile.
    pub profiles: BTreeMap<&'m str, ProfileStanding<'m>>,
}

/// A cell under one profile beside the record.
#[derive(Debug, Clone)]
pub struct ProfileStanding<'m> {
    /// What the record has of it.
    pub entries: Vec<&'m VerifiedEntry>,
    /// By capability.
    pub capabilities: BTreeMap<Capability, CapabilityStanding<'m>>,
    /// The tests that failed as a known issue says.
    pub known: BTreeMap<&'m str, &'m KnownIssue>,
}

/// A capability beside the record.
#[derive(Debug, Clone, Copy)]
pub struct CapabilityStanding<'m> {
    /// What the run says: verdict, basis, causes.
    pub judgement: &'m Judgement,
    /// Whether `--strict` does without it.
    pub optional: bool,
    /// How the verdict compares with the record's.
    pub change: Change,
    /// What that does to the exit code.
    pub effect: Effect,
    /// What the record said.
    pub recorded: Option<Verdict>,
    /// The failures that the record has of it.
    pub recorded_causes: &'m [VerifiedCause],
    /// Where it says so.
    pub entry: Option<&'m VerifiedEntry>,
    /// Since when the verdict is known: the record's day, if it says the same, else the run's.
    pub since: Option<Date>,
}

impl<'m> CapabilityStanding<'m> {
    /// The causes that make it what it comes to: where others were recorded, those that were not.
    pub fn telling_causes(&self) -> Vec<&'m Cause> {
        let new = match self.change {
            Change::NewFailure | Change::TestSetChanged => unrecorded(self.recorded_causes, &self.judgement.causes),
            Change::NewVerdict | Change::Unjudged | Change::Fixed | Change::Known | Change::Same => Vec::new(),
        };
        if new.is_empty() { self.judgement.causes.iter().collect() } else { new }
    }

    /// Whether only a known issue makes it expected: the record does not have it so.
    pub fn is_excused(&self) -> bool {
        let is_recorded = self.recorded == Some(self.verdict())
            && unrecorded(self.recorded_causes, &self.judgement.causes).is_empty();
        self.change == Change::Known && !is_recorded
    }

    /// Whether it is told among the changes: it is not as recorded, or makes the exit code.
    pub fn is_told(&self) -> bool {
        let is_as_recorded = matches!(self.change, Change::Known | Change::Same) && !self.is_excused();
        self.effect != Effect::None || !is_as_recorded
    }

    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        self.judgement.verdict
    }

    /// What it was found on.
    pub fn basis(&self) -> Option<Basis> {
        self.judgement.basis
    }
}

impl<'m> Standings<'m> {
    /// Compares a run with the record; `strict` asks that all that is required is supported.
    pub fn new(matrix: &'m Matrix, recorded: Recorded<'m>, strict: bool) -> Standings<'m> {
        let Known { cells, issues } = known::of(matrix, &recorded);
        let cells = matrix.cells.iter().zip(cells);
        let cells = cells.map(|(report, known)| cell(matrix, &recorded, strict, report, known)).collect();
        let mut by_release: BTreeMap<_, Vec<&CellReport>> = BTreeMap::new();
        for report in &matrix.cells {
            let CellId { distro, release, arch, .. } = &report.cell;
            by_release.entry((distro, release, *arch)).or_default().push(report);
        }
        let brought = |cell: &CellReport| cell.facts.as_ref().is_some_and(|f| !f.candidates.is_empty());
        let counts_record = !matrix.candidate && !matrix.cells.iter().any(brought);
        Standings { matrix, recorded, strict, cells, issues, by_release, counts_record, held: None }
    }

    /// What a capability of a cell comes to; `None` where the run judged no such profile.
    pub fn of(&self, cell: usize, profile: &str, capability: Capability) -> Option<&CapabilityStanding<'m>> {
        self.cells.get(cell)?.profiles.get(profile)?.capabilities.get(&capability)
    }

    /// Why the whole run cannot be believed to be complete, each with a word for it.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        match self.matrix.ending {
            RunEnding::Finished => {}
            RunEnding::Interrupted => all.push(("ending", "the run was interrupted".to_owned())),
            RunEnding::Killed => all.push(("ending", "the run has no end: it was killed, or still runs".to_owned())),
        }
        for profile in &self.matrix.unknown_profiles {
            all.push(("profile", format!("profile {profile} is not known here, so that it is not judged")));
        }
        let mut refused: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for conflict in self.matrix.conflicts.iter().filter(|conflict| conflict.refused) {
            refused.entry(&conflict.what).or_default().push(conflict.cell.to_string());
        }
        all.extend(refused.into_iter().map(|(what, cells)| ("refused", format!("{what} ({})", cells.join(", ")))));
        all
    }

    /// What the whole run comes to: what is worse counts before what could not be judged, because the first is a finding
    /// and the second a gap. Of a pipeline's run it is what the pipeline makes of it.
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

    /// The exit code of the process that judges the run: `report`, and `run` where it came to its end or was interrupted.
    pub fn exit_code(&self) -> u8 {
        match (&self.held, self.matrix.ending) {
            (None, RunEnding::Interrupted) => INTERRUPTED,
            (Some(_), _) | (None, RunEnding::Finished | RunEnding::Killed) => self.effect().exit_code(),
        }
    }

    /// What was not judged, in words, beside the verdicts that [`changes`](Standings::changes) has: how the run ended, cells
    /// that are lost, tests in error, required tests that never ran.
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
                all.push(format!("not all tests ran in {id} that are required for {}", names.join(", ")));
            }
        }
        all
    }

    /// What distinguishes the verdicts of the record from the run's beyond what they say, in words.
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
                    "{}: the record of {day} was judged by another set of tests ({set}, now {}): {}.",
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
    /// Why the cell is lost or has no end, each with the word for where.
    pub fn problems(&self) -> Vec<(String, &'m str)> {
        let report: &'m CellReport = self.report;
        let mut all: Vec<(String, &str)> =
            report.errors.iter().map(|e| (e.phase.to_string(), e.message.as_str())).collect();
        if all.is_empty() && !report.complete {
            all.push(("end".to_owned(), "the journal has no end of this cell"));
        }
        all
    }

    /// The capabilities that are as untested as they were, because tests never ran that nobody left out and nothing broke.
    fn unrun(&self) -> BTreeSet<Capability> {
        if self.report.filter.is_some() || !self.problems().is_empty() {
            return BTreeSet::new();
        }
        let mut all = BTreeSet::new();
        for (profile, standing) in &self.profiles {
            let unrun = standing.capabilities.iter().filter(|(capability, one)| {
                let is_unasked = self.report.is_unasked(profile, **capability, one.judgement);
                let is_unrun = one.judgement.unrun > 0 && one.verdict() == Verdict::Untested;
                is_unrun && !is_unasked && one.effect == Effect::None
            });
            all.extend(unrun.map(|(capability, _)| *capability));
        }
        all
    }

    /// What the cell does to the exit code.
    pub fn effect(&self, matrix: &Matrix) -> Effect {
        let lost = if self.problems().is_empty() { Effect::None } else { Effect::Unjudged };
        let all = self.profiles.values().flat_map(|p| p.capabilities.values()).map(|c| c.effect);
        let worst = all.fold(lost, Effect::max);
        match worst {
            Effect::None if self.has_a_test_in_error(matrix) => Effect::Unjudged,
            worst => worst,
        }
    }

    /// Whether all that could not be judged of the cell is optional.
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
            let found = entries.iter().find_map(|e| Some((*e, e.capabilities.get(&capability)?)));
            let (entry, said) = found.unzip();
            let recorded = said.map(|said| said.verdict);
            let recorded_causes = said.map(VerifiedCapability::failures).unwrap_or_default();
            let as_then = entry.is_none_or(|e: &VerifiedEntry| same_tests(&e.test_set, &matrix.test_set, capability));
            let unasked = report.is_unasked(profile, capability, judgement);
            let (mut change, mut effect) = match &base {
                None => compare(recorded, as_then, judgement, unasked),
                Some(base) => base.compare(profile, capability, judgement, unasked),
            };
            let causes = &judgement.causes;
            if base.is_none() && change == Change::Known {
                let excused = |test: &str| known.contains_key(test);
                (change, effect) = causes::compare(recorded_causes, as_then, causes, excused);
            }
            // What fails as is known is expected, whatever was known before.
            if !causes.is_empty() && causes.iter().all(|cause| known.contains_key(cause.test.as_str())) {
                (change, effect) = (Change::Known, Effect::None);
            }
            // Under `--strict` a gap is a gap: what is required must be supported. What failed is no gap of the filter's.
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
        (profile.as_str(), ProfileStanding { entries, capabilities, known })
    });
    CellStanding { report, profiles: profiles.collect() }
}

#[cfg(test)]
mod tests;
