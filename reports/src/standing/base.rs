//! Base runs: results of the unchanged release, against which candidates are judged.
//!
//! A failure that is in both runs is not the candidates' fault. A capability that the base run could not judge says
//! nothing about the candidates either way.

use super::{Change, Effect, Recorded, compare};
use crate::journal::CellId;
use crate::matrix::{CellReport, Matrix};
use crate::run::day;
use crate::verdict::{Cause, FinalOutcome, Judgement};
use jiff::civil::Date;
use model::distro::DistroId;
use model::profile::ProfileName;
use model::verified::{Basis, Verdict, VerifiedCapability, VerifiedEntry};
use std::collections::BTreeMap;
use suites::capability::Capability;
use suites::outcome::Outcome;

/// The results of a base run, as the reference for a run of candidates.
#[derive(Debug, Clone)]
pub struct BaseRun {
    matrix: Matrix,
    /// By distro.
    entries: BTreeMap<DistroId, Vec<VerifiedEntry>>,
}

impl BaseRun {
    /// Makes a base run of a matrix.
    pub fn new(matrix: Matrix) -> BaseRun {
        let mut entries: BTreeMap<DistroId, Vec<VerifiedEntry>> = BTreeMap::new();
        for report in &matrix.cells {
            let of_cell = report.judgements.keys().map(|profile| entry(&matrix, report, profile));
            entries.entry(report.cell.distro.clone()).or_default().extend(of_cell);
        }
        BaseRun { matrix, entries }
    }

    /// Returns the results for [`Standings::new`](super::Standings::new), in place of the records.
    pub fn recorded(&self) -> Recorded<'_> {
        Recorded::of_base(&self.matrix, &self.entries)
    }
}

/// Returns all results of a base run for a cell under a profile, including those that it could not judge.
fn entry(matrix: &Matrix, report: &CellReport, profile: &ProfileName) -> VerifiedEntry {
    let judgements = report.judgements.get(profile).into_iter().flatten();
    let day = report.finished.or(matrix.started).map(day);
    VerifiedEntry {
        release: report.cell.release.clone(),
        arch: report.cell.arch,
        profile: profile.clone(),
        environment: report.cell.environment,
        basis: report.basis().unwrap_or(Basis::Emulated),
        tested: day.unwrap_or(Date::MIN),
        harness: matrix.harness.clone(),
        test_set: matrix.test_set.clone(),
        shaped: matrix.shaped,
        kata: None,
        versions: report.facts.as_ref().map(|facts| facts.versions.clone()).unwrap_or_default(),
        capabilities: judgements.map(|(c, j)| (*c, VerifiedCapability::plain(j.verdict))).collect(),
    }
}

/// A cell of a base run; `None` if the base run does not have the cell.
pub(super) struct BaseCell<'a>(Option<&'a CellReport>);

impl<'a> BaseCell<'a> {
    /// Returns the base run's results for a cell; `None` without a base run.
    pub(super) fn of(base: Option<&'a Matrix>, cell: &CellId) -> Option<BaseCell<'a>> {
        Some(BaseCell(base?.cells.iter().find(|report| report.cell == *cell)))
    }

    /// Compares a judgement of candidates with the base run's.
    ///
    /// Follows [`compare`], and in addition:
    ///
    /// - A capability that the base run did not decide, and that fails now, is unjudged: whose fault it is remains
    ///   unknown.
    /// - A test that passed in the base run and fails now is a new failure, even if the capability already failed in
    ///   the base run by another test; so is a test that failed in the base run, but never with this cause.
    pub(super) fn compare(
        &self,
        profile: &str,
        capability: Capability,
        found: &Judgement,
        not_requested: bool,
    ) -> (Change, Effect) {
        let before = self.0.and_then(|cell| cell.judgement(profile, capability)).map(|judgement| judgement.verdict);
        let is_new_failure = |cause: &Cause| {
            self.0.is_some_and(|cell| passed(cell, profile, &cause.test) || failed_otherwise(cell, profile, cause))
        };
        match (before, found.verdict) {
            (Some(Verdict::Unsupported), Verdict::Unsupported) if found.causes.iter().any(is_new_failure) => {
                (Change::NewFailure, Effect::Worse)
            }
            (None | Some(Verdict::Inconclusive | Verdict::Untested), Verdict::Unsupported) => {
                (Change::Unjudged, Effect::Unjudged)
            }
            // The base run could not judge it: whether anything was fixed is unknown.
            (Some(Verdict::Inconclusive), verdict) if verdict.is_decided() => (Change::Same, Effect::None),
            _ => compare(before, true, found, not_requested),
        }
    }
}

/// Checks whether a test's final outcome was a pass, in every configuration.
fn passed(cell: &CellReport, profile: &str, test: &str) -> bool {
    let runs = cell.instances.iter().filter(|instance| instance.test == test && instance.counts_for(profile));
    let last = runs.filter_map(|instance| instance.final_outcome());
    last.reduce(FinalOutcome::worse).is_some_and(|last| last.outcome == Outcome::Pass)
}

/// Checks whether the test of a cause failed, but neither this test nor another one by this cause: causes with equal
/// signatures are the same, whatever the test.
fn failed_otherwise(cell: &CellReport, profile: &str, cause: &Cause) -> bool {
    let runs = cell.instances.iter().filter(|instance| instance.counts_for(profile));
    let failures: Vec<(&str, String)> = runs
        .filter_map(|instance| match instance.final_outcome()?.outcome {
            // A failure that blames no component is no finding.
            Outcome::Fail(failure) if cell.doubted(profile, &instance.test).is_none() => {
                Some((instance.test.as_str(), failure.signature))
            }
            Outcome::Fail(_)
            | Outcome::Pass
            | Outcome::Skip { .. }
            | Outcome::Blocked { .. }
            | Outcome::Error { .. } => None,
        })
        .collect();
    failures.iter().any(|(test, _)| cause.test == *test)
        && !failures.iter().any(|(_, signature)| *signature == cause.signature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{BOOT, DAEMON, HOTPLUG, POSIX, QMP, RENAME, blocked, error, fail, judged, run};
    use crate::standing::{Standings, TestWeight};
    use suites::outcome::Component;

    /// Returns the result of candidates' comparison with a base run, each with its outcome of a test.
    fn compared_with_base(test: &str, base: &Outcome, candidate: &Outcome) -> (Change, Effect, u8) {
        let of = |outcome: &Outcome| judged(&run(|one| (one == test).then(|| outcome.clone())));
        let (base, matrix) = (BaseRun::new(of(base)), of(candidate));
        let standings = Standings::new(&matrix, base.recorded(), false);
        let one = standings.of(0, "go-3.29", Capability::VmmQmp).unwrap();
        (one.change, one.effect, standings.effect().exit_code())
    }

    #[test]
    fn each_pair_of_base_and_candidate_outcomes_gives_its_change() {
        use Change::{Fixed, Known, NewFailure, Same, Unjudged};
        let (pass, fails, lost) = (Outcome::Pass, fail(Component::Qemu, "no reply"), error("the line ended"));
        let otherwise = fail(Component::Qemu, "half a reply");
        for (base, candidate, change, exit) in [
            (&pass, &pass, Same, 0),
            (&pass, &fails, NewFailure, 1),
            (&pass, &lost, Unjudged, 3),
            (&fails, &fails, Known, 0),
            (&fails, &otherwise, NewFailure, 1),
            (&fails, &pass, Fixed, 0),
            (&lost, &fails, Unjudged, 3),
            (&lost, &pass, Same, 0),
            (&lost, &lost, Unjudged, 3),
        ] {
            let (found, _, code) = compared_with_base(QMP, base, candidate);
            assert_eq!((found, code), (change, exit), "{base:?} → {candidate:?}");
        }
    }

    #[test]
    fn a_failure_that_the_base_run_shares_is_known() {
        // This test fails in every run of the sample, so that it is not the candidates' fault.
        let (base, matrix) = (BaseRun::new(judged(&run(|_| None))), judged(&run(|_| None)));
        let standings = Standings::new(&matrix, base.recorded(), false);
        assert_eq!(standings.effect().exit_code(), 0);
        assert_eq!(standings.of(0, "go-3.29", Capability::VmmTdx).unwrap().change, Change::Known);
        assert!(standings.recorded.is_of_a_base_run());
    }

    #[test]
    fn a_further_failure_in_a_lost_capability_is_new_if_its_test_passed() {
        let outcome = |daemon: bool, rename: Outcome| {
            judged(&run(move |test| match test {
                DAEMON if daemon => Some(fail(Component::Virtiofsd, "unknown option")),
                RENAME => Some(rename.clone()),
                POSIX => Some(blocked(RENAME)),
                _ => None,
            }))
        };
        let change = |base: Matrix, matrix: Matrix| {
            let base = BaseRun::new(base);
            let standings = Standings::new(&matrix, base.recorded(), false);
            standings.of(0, "go-3.29", Capability::FsVirtioFs).unwrap().change
        };
        let fails = || fail(Component::Virtiofsd, "a reader saw neither name");
        // The base run never got that far: whether it is worse is unknown.
        assert_eq!(change(outcome(true, blocked(DAEMON)), outcome(false, fails())), Change::Known);
        assert_eq!(change(outcome(false, fails()), outcome(false, fails())), Change::Known);
        // The base run knows another cause of the test: this one is a new failure, as in `diff`.
        let other = fail(Component::Virtiofsd, "a reader saw both names");
        assert_eq!(change(outcome(false, fails()), outcome(false, other)), Change::NewFailure);
        // Three capabilities rest on one test, and each has a failing test of its own.
        let both = |hotplug: Outcome, boot: Outcome| {
            judged(&run(move |test| match test {
                HOTPLUG => Some(hotplug.clone()),
                BOOT => Some(boot.clone()),
                _ => None,
            }))
        };
        let lost = fail(Component::Qemu, "no dimm");
        let base = BaseRun::new(both(lost.clone(), Outcome::Pass));
        let matrix = both(blocked(BOOT), fail(Component::Kernel, "panic"));
        let standings = Standings::new(&matrix, base.recorded(), false);
        let hotplug = standings.of(0, "go-3.29", Capability::VmmHotplugMemory).unwrap();
        assert_eq!(hotplug.change, Change::NewFailure, "its cause is a test that passed before");
    }

    #[test]
    fn a_cell_missing_from_the_base_run_is_unjudged() {
        let matrix = judged(&run(|test| (test == QMP).then(|| fail(Component::Qemu, "no reply"))));
        let mut base = judged(&run(|_| None));
        base.cells.clear();
        let base = BaseRun::new(base);
        let standings = Standings::new(&matrix, base.recorded(), false);
        assert_eq!(standings.of(0, "go-3.29", Capability::VmmQmp).unwrap().change, Change::Unjudged);
        assert_eq!(standings.effect().exit_code(), 3);
        // The reason must not say that it was judged for the first time, as for a release without a record.
        let fails = FinalOutcome::of([&fail(Component::Qemu, "no reply")]).unwrap();
        let why = "the base run could not judge vmm.qmp, so it is not known whether the candidates caused this failure: no reply";
        assert_eq!(standings.cells[0].weight("go-3.29", QMP, &fails), TestWeight::Error(why.to_owned()));
    }
}
