//! Results that a run writes back into the records.

use crate::journal::CellFacts;
use crate::matrix::{CellReport, Matrix, RunKata};
use crate::redact;
use crate::run::{RunEnding, TestRun, day};
use crate::signature::{MAX_CAUSE, recorded_cause};
use crate::standing::{CapabilityStanding, ProfileStanding, Standings};
use crate::verdict::{Cause, FinalOutcome, Flaky, Judgement, Reason};
use jiff::Timestamp;
use jiff::civil::Date;
use model::distro::DistroId;
use model::profile::{ProfileName, Runtime};
use model::verified::{self, Verdict, VerifiedCapability, VerifiedCause, VerifiedEntry, VerifiedKata};
use model::words::form;
use std::collections::BTreeMap;
use std::fmt;
use suites::capability::{Area, Capability};
use suites::outcome::Outcome;

/// A reason why a run, or a cell of it, is not written back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// The cell; `None` for the whole run.
    pub cell: Option<crate::journal::CellId>,
    /// The reason, in words.
    pub reason: String,
}

/// The reason why no result of a shaped run is shown or recorded as the distro's.
pub(crate) const SHAPED: &str = "it is shaped: it may not be about the distro's own packages";

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cell {
            Some(cell) => write!(f, "{cell}: {}", self.reason),
            None => write!(f, "the whole run: {}", self.reason),
        }
    }
}

/// Returns why a run with an end in the future does not count: it would replace every run until that day. Its machine's
/// clock was wrong, or its journal is fabricated.
///
/// An entry with such a day counts as forged, and records that have one are refused.
pub fn future_end_reason(end: Option<Timestamp>) -> Option<String> {
    let day = end.map(day).filter(|day| verified::is_yet_to_come(*day))?;
    Some(format!("it ended on {day}, which is in the future: its clock or its journal is wrong"))
}

/// Returns the entries that a run may write, each with its distro, and the withheld results.
///
/// A capability is written if all its required tests ran, in a filtered run, too; the others stay in the record with
/// their day and versions.
/// An inconclusive capability is never written: the result of an older run must not get this run's day and versions.
/// A skipped capability is written as `untested` if no record decides it.
/// A capability whose tests were repeated (`--repeat`) and did not end alike each time is never written: the last time
/// decides what the run reports, but it may be one of ten. Attempts in error show nothing and do not count as another
/// end; if most of them are in error, the capability is inconclusive ([`FinalOutcome::of_repeated`]).
/// A capability without any test is left out; `not-applicable` is written, so that a reader can tell it from one that
/// nobody looked at.
/// Kata's own results have a separate entry, with the Kata and the components that were brought along; if there were
/// any, nothing else is written, because a record says what the distro ships.
/// Runs that are unfinished, about candidates, or end in the future write nothing, nor do cells in error.
pub fn verified_entries(standings: &Standings<'_>) -> (Vec<(DistroId, VerifiedEntry)>, Vec<Withheld>) {
    let matrix = standings.matrix;
    if let Some(reason) = withheld_run(matrix) {
        return (Vec::new(), vec![Withheld { cell: None, reason }]);
    }
    let (mut entries, mut withheld) = (Vec::new(), Vec::new());
    for cell in &standings.cells {
        let mut hold = |reason| withheld.push(Withheld { cell: Some(cell.report.cell.clone()), reason });
        if let Some(reason) = withheld_cell(cell.report) {
            hold(reason);
            continue;
        }
        for (profile, standing) in &cell.profiles {
            withheld_capabilities(profile, standing).into_iter().for_each(&mut hold);
            unsteady_capabilities(matrix, cell.report, profile, standing).into_iter().for_each(&mut hold);
            let written =
                [false, true].into_iter().filter_map(|katas| entry(matrix, cell.report, profile, standing, katas));
            entries.extend(written.map(|entry| (cell.report.cell.distro.clone(), entry)));
        }
    }
    (entries, withheld)
}

/// Returns results that are in no entry because they are partial: capabilities whose required tests did not all run.
pub fn judged_in_part(standings: &Standings<'_>) -> Vec<Withheld> {
    let mut all = Vec::new();
    let cells = standings.cells.iter().filter(|cell| withheld_cell(cell.report).is_none());
    for cell in cells.filter(|_| withheld_run(standings.matrix).is_none()) {
        for (profile, standing) in &cell.profiles {
            // Without a Kata, its own results were not asked for.
            let is_not_requested = |one: Capability| one.area() == Area::Kata && cell.report.kata(profile).is_none();
            let in_part = standing.capabilities.iter();
            let in_part =
                in_part.filter(|(capability, one)| one.judgement.unrun > 0 && !is_not_requested(**capability));
            let (failed, rest): (Vec<_>, Vec<_>) = in_part.partition(|(_, one)| one.verdict().is_decided());
            let failed: Vec<&str> = failed.into_iter().map(|(capability, _)| capability.name()).collect();
            let mut reasons = Vec::new();
            if !failed.is_empty() {
                reasons
                    .push(format!("{profile}: {}: a test failed, and not all required tests ran", failed.join(", ")));
            }
            if !rest.is_empty() {
                let of = form(rest.len(), "capability", "capabilities");
                reasons.push(format!("{profile}: not all required tests of {} {of} ran", rest.len()));
            }
            all.extend(reasons.into_iter().map(|reason| Withheld { cell: Some(cell.report.cell.clone()), reason }));
        }
    }
    all
}

fn withheld_run(matrix: &Matrix) -> Option<String> {
    if let Some(why) = future_end_reason(matrix.finished) {
        return Some(why);
    }
    match (matrix.candidate, matrix.ending) {
        (true, _) => Some("the run tested candidates or used another record".to_owned()),
        (_, RunEnding::Interrupted) => Some("the run was interrupted".to_owned()),
        (_, RunEnding::Killed) => Some("the run is not finished".to_owned()),
        (false, RunEnding::Finished) => None,
    }
}

/// Returns why nothing of a cell is written back.
pub(crate) fn withheld_cell(cell: &CellReport) -> Option<String> {
    if let Some(error) = cell.errors.first() {
        return Some(format!("{}: {}", error.phase, error.message));
    }
    if cell.facts.is_none() {
        return Some("it is not known what it ran on".to_owned());
    }
    (!cell.complete).then(|| "it is not finished".to_owned())
}

/// Describes the capabilities that keep an older run's verdict, each day with its reason.
fn withheld_capabilities(profile: &str, standing: &ProfileStanding<'_>) -> Vec<String> {
    let mut by_day: BTreeMap<Date, Vec<&str>> = BTreeMap::new();
    for (capability, one) in &standing.capabilities {
        if let Some(entry) = one.entry.filter(|_| one.verdict() == Verdict::Inconclusive) {
            by_day.entry(entry.tested).or_default().push(capability.name());
        }
    }
    let line = |(day, names): (Date, Vec<&str>)| {
        format!("{profile}: {} could not be judged: the results of {day} stay", names.join(", "))
    };
    by_day.into_iter().map(line).collect()
}

/// Describes the capabilities that are not written because repeated tests did not end alike each time.
fn unsteady_capabilities(
    matrix: &Matrix,
    cell: &CellReport,
    profile: &str,
    standing: &ProfileStanding<'_>,
) -> Vec<String> {
    let mut by_rates: BTreeMap<Vec<String>, Vec<&str>> = BTreeMap::new();
    for (capability, one) in &standing.capabilities {
        let rates = unsteady_rates(matrix, cell, profile, one.judgement);
        if !rates.is_empty() {
            by_rates.entry(rates).or_default().push(capability.name());
        }
    }
    let line = |(rates, names): (Vec<String>, Vec<&str>)| {
        format!("{profile}: {} not written, because not every time ended alike: {}", names.join(", "), rates.join(", "))
    };
    by_rates.into_iter().map(line).collect()
}

/// Returns how often each test passed on which a verdict rests that is not written, because the test was repeated and
/// did not end alike each time: `smoke::guest_boots passed 1 of 10`. Empty if the verdict may be written.
///
/// A failure that nothing but such tests show is not written either.
fn unsteady_rates(matrix: &Matrix, cell: &CellReport, profile: &str, judgement: &Judgement) -> Vec<String> {
    if matrix.repeat.is_none() {
        return Vec::new();
    }
    if judgement.verdict != Verdict::Unsupported {
        let rate = |one: &Flaky| format!("{} passed {} of {}", one.test, one.passed, one.attempts);
        return judgement.flaky.iter().map(rate).collect();
    }
    let mut rates = Vec::new();
    for cause in &judgement.causes {
        let of_test = cell.instances.iter().filter(|one| one.test == cause.test && one.counts_for(profile));
        let failed: Vec<FinalOutcome> = of_test
            .filter_map(TestRun::final_outcome)
            .filter(|last| matches!(last.outcome, Outcome::Fail { .. }))
            .collect();
        // One cause that was seen each time is enough.
        if failed.iter().any(|last| last.passed == 0) {
            return Vec::new();
        }
        let rate = |last: FinalOutcome| format!("{} passed {} of {}", cause.test, last.passed, last.decided);
        rates.extend(failed.into_iter().map(rate));
    }
    rates
}

/// Checks whether a run may write its verdict on a capability.
fn is_written(one: &CapabilityStanding<'_>, is_filtered: bool) -> bool {
    match one.verdict() {
        Verdict::Inconclusive => false,
        // Nothing ran for the capability, which only means something if everything was asked for.
        Verdict::NotApplicable => !is_filtered,
        Verdict::Untested => {
            let is_known = one.recorded.is_some_and(Verdict::is_decided);
            one.judgement.required > 0 && one.judgement.unrun == 0 && !is_known
        }
        Verdict::Supported | Verdict::Partial | Verdict::Offered | Verdict::Unsupported => one.judgement.unrun == 0,
    }
}

/// Returns the entry that a run may write for a cell under a profile: with Kata's own results, or with all others.
fn entry(
    matrix: &Matrix,
    cell: &CellReport,
    profile: &ProfileName,
    standing: &ProfileStanding<'_>,
    katas: bool,
) -> Option<VerifiedEntry> {
    let facts = cell.facts.as_ref()?;
    let kata = cell.kata(profile).filter(|_| katas).and_then(|kata| verified_kata(kata, profile, facts));
    // Without a Kata, its own results are untested like any others.
    let is_katas = |capability: Capability| capability.area() == Area::Kata && cell.kata(profile).is_some();
    if (katas && kata.is_none()) || (!katas && !facts.candidates.is_empty()) {
        return None;
    }
    let is_filtered = cell.filter.is_some();
    let written = standing.capabilities.iter().filter(|(c, one)| {
        let is_steady = unsteady_rates(matrix, cell, profile, one.judgement).is_empty();
        is_katas(**c) == katas && is_steady && is_written(one, is_filtered)
    });
    let capabilities: BTreeMap<_, _> = written.map(|(c, one)| (*c, capability_of(one.judgement))).collect();
    if capabilities.is_empty() {
        return None;
    }
    Some(VerifiedEntry {
        release: cell.cell.release.clone(),
        arch: cell.cell.arch,
        profile: profile.clone(),
        environment: cell.cell.environment,
        basis: facts.basis,
        tested: day(cell.finished?),
        harness: matrix.harness.clone(),
        test_set: matrix.test_set.clone(),
        shaped: matrix.shaped,
        kata,
        versions: facts.versions.clone(),
        capabilities,
    })
}

fn verified_kata(kata: &RunKata, profile: &str, facts: &CellFacts) -> Option<VerifiedKata> {
    let version = kata.version?;
    let brought = facts.candidates.iter().map(|(component, what)| (*component, what.to_string())).collect();
    Some(VerifiedKata { version, runtime: Runtime::of_profile(profile)?, brought })
}

fn capability_of(judgement: &Judgement) -> VerifiedCapability {
    let blaming = |c: &Cause| recorded_cause(c.component, &c.message, &c.test);
    let of_nobody = |r: &Reason| match r.tests.as_slice() {
        [test] => VerifiedCause::of_nobody(redact::one_line(&r.why, MAX_CAUSE)).shown_by(test.clone()),
        // The words name some of the tests, and count the others.
        _ => VerifiedCause::of_nobody(redact::one_line(&r.to_string(), MAX_CAUSE)),
    };
    VerifiedCapability {
        verdict: judgement.verdict,
        flaky: judgement.verdict.has_passed() && !judgement.flaky.is_empty(),
        causes: match judgement.verdict {
            Verdict::Unsupported | Verdict::Partial => judgement.causes.iter().map(blaming).collect(),
            Verdict::Untested => judgement.reasons.iter().map(of_nobody).collect(),
            Verdict::Supported | Verdict::Offered | Verdict::NotApplicable | Verdict::Inconclusive => Vec::new(),
        },
        workaround: judgement.workaround.clone(),
    }
}

#[cfg(test)]
mod tests;
