//! One side of a comparison: a run, or the record.

use crate::journal::CellId;
use crate::matrix::{CellReport, Matrix};
use crate::run::{RunEnding, TestRun, by_profile};
use crate::signature;
use crate::standing::{Recorded, Standings};
use crate::verdict::Judgement;
use crate::verdict::agreement::recorded_failure;
use model::package::{PackageName, PackageVersion};
use model::profile::ProfileName;
use model::test_id::TestId;
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;
use suites::outcome::Outcome;

/// One side's results for a cell under a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The run's judgement of each capability that it has tests for; for the record, `Standings` has the verdicts.
    pub(super) judged: BTreeMap<Capability, Judgement>,
    /// The capabilities that the run was not asked for, so that it says nothing about them.
    pub(super) not_requested: BTreeSet<Capability>,
    /// The tests that failed, by signature.
    pub(super) failures: BTreeMap<String, BTreeSet<TestId>>,
    /// The tests that failed and then passed, by signature.
    pub(super) flaky: BTreeMap<String, BTreeSet<TestId>>,
    /// By signature of a failure that is too long for a record, the signatures that it has once the record has cut it.
    cut: BTreeMap<String, BTreeSet<String>>,
    pub(super) passed: BTreeSet<TestId>,
    /// The tests that ended in error, or whose failure is not credible.
    unjudged: BTreeSet<TestId>,
    /// The tests that ran at all.
    ran: BTreeSet<TestId>,
    /// Whether tests that did not run were not asked for: the run has a filter, and both run and cell came to their
    /// end.
    is_filtered: bool,
    /// Why the cell was lost, or did not come to its end.
    pub(super) lost: Option<String>,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The side's name for people: a directory, or the record.
    pub(super) name: String,
    pub(super) known: BTreeMap<(CellId, ProfileName), Known>,
    pub(super) packages: BTreeMap<CellId, Packages>,
    /// Why a run may be incomplete, in words.
    pub(super) problems: Vec<String>,
}

/// The packages that a side knows to be installed in a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packages {
    /// All packages, from an image's manifest.
    All(BTreeMap<PackageName, PackageVersion>),
    /// Only the packages of components: nothing is known about others.
    Components(BTreeMap<PackageName, PackageVersion>),
}

impl Side {
    /// Collects the results of a run.
    pub fn of_run(name: &str, matrix: &Matrix) -> Side {
        let mut side = Side::named(name);
        let problems = Standings::new(matrix, Recorded::default(), false).problems();
        side.problems = problems.into_iter().map(|(_, words)| words).collect();
        for cell in &matrix.cells {
            let lost = cell.error().or_else(|| (!cell.complete).then(|| "it has no end".to_owned()));
            let is_whole = matrix.ending == RunEnding::Finished && lost.is_none();
            let is_filtered = cell.filter.is_some() && is_whole;
            let runs = by_profile(&cell.instances);
            for (profile, judgements) in &cell.judgements {
                let judged = judgements.iter().filter(|(_, judgement)| judgement.required > 0);
                let judged = judged.map(|(capability, judgement)| (*capability, judgement.clone())).collect();
                // Tests that a run without an end left out may have been asked for.
                let not_requested = judgements.iter().filter(|(capability, judgement)| {
                    let is_known = is_whole || !cell.is_left_out(judgement);
                    is_known && cell.is_not_requested(profile, **capability, judgement)
                });
                let not_requested = not_requested.map(|(capability, _)| *capability).collect();
                let mut known = Known { judged, not_requested, is_filtered, lost: lost.clone(), ..Known::default() };
                for instance in runs.get(profile.as_str()).into_iter().flatten() {
                    known.add(cell, profile, instance);
                }
                side.known.insert((cell.cell.clone(), profile.clone()), known);
            }
            // The packages of a cell that was lost before its facts were recorded are unknown.
            if cell.facts.is_some() || !cell.packages.is_empty() {
                side.packages.insert(cell.cell.clone(), Packages::of(cell));
            }
        }
        side
    }

    /// Collects the record's results for a run's cells; it has only component packages, and of each cause the text that
    /// fits in one line.
    ///
    /// The verdicts come from the standings themselves.
    pub(super) fn of_record(standings: &Standings<'_>) -> Side {
        let mut side = Side::named("the record");
        for cell in &standings.cells {
            let id = &cell.report.cell;
            let mut components = BTreeMap::new();
            for (profile, standing) in &cell.profiles {
                // The first entry with a capability counts.
                let mut seen = BTreeSet::new();
                for entry in &standing.entries {
                    let known = side.known.entry((id.clone(), (*profile).clone())).or_default();
                    // A capability that the run has no tests for has neither failed nor been fixed.
                    let is_judged = |capability: &Capability| {
                        standing.capabilities.get(capability).is_some_and(|one| one.judgement.required > 0)
                    };
                    let recorded = entry
                        .capabilities
                        .iter()
                        .filter(|(capability, _)| is_judged(capability) && seen.insert(**capability));
                    for (test, signature) in
                        recorded.flat_map(|(_, recorded)| recorded.failures()).filter_map(recorded_failure)
                    {
                        known.failures.entry(signature).or_default().insert(test);
                    }
                    components.extend(entry.versions.clone());
                }
            }
            if !components.is_empty() {
                side.packages.insert(id.clone(), Packages::Components(components));
            }
        }
        side
    }

    fn named(name: &str) -> Side {
        let (known, packages) = (BTreeMap::new(), BTreeMap::new());
        Side { name: name.to_owned(), known, packages, problems: Vec::new() }
    }
}

impl Known {
    fn add(&mut self, cell: &CellReport, profile: &str, instance: &TestRun) {
        let Some(last) = instance.final_outcome() else { return };
        self.ran.insert(instance.test.clone());
        let failures = instance.attempts.iter().filter_map(|attempt| match &attempt.outcome {
            Outcome::Fail(failure) => Some(failure),
            Outcome::Pass | Outcome::Skip { .. } | Outcome::Blocked { .. } | Outcome::Error { .. } => None,
        });
        let mut signatures = Vec::new();
        for failure in failures {
            let cut = signature::once_recorded(failure.component, &failure.observed, &instance.test);
            if cut != failure.signature {
                self.cut.entry(failure.signature.clone()).or_default().insert(cut);
            }
            signatures.push(failure.signature.clone());
        }
        match &last.outcome {
            // A failure that blames no component is no finding.
            Outcome::Fail(failure) if cell.doubted(profile, &instance.test).is_none() => {
                self.failures.entry(failure.signature.clone()).or_default().insert(instance.test.clone());
            }
            Outcome::Pass => {
                for signature in signatures {
                    self.flaky.entry(signature).or_default().insert(instance.test.clone());
                }
                self.passed.insert(instance.test.clone());
            }
            Outcome::Fail(_) | Outcome::Error { .. } => {
                self.unjudged.insert(instance.test.clone());
            }
            Outcome::Skip { .. } | Outcome::Blocked { .. } => {}
        }
    }

    /// Checks whether this side has no result of a test because something broke.
    pub(super) fn could_not_judge(&self, test: &str) -> bool {
        self.unjudged.contains(test) || (self.lost.is_some() && !self.ran.contains(test))
    }

    /// Checks whether the run was not asked for a test.
    pub(super) fn left_out(&self, test: &str) -> bool {
        self.is_filtered && !self.ran.contains(test)
    }

    /// Checks whether anything failed with a signature, even if it then passed.
    fn has_failed(&self, signature: &str) -> bool {
        self.failures.contains_key(signature) || self.flaky.contains_key(signature)
    }

    /// Checks whether this side has seen a failure of the other side, which a record may have cut.
    pub(super) fn knows(&self, other: &Known, signature: &str) -> bool {
        let mut cut = other.cut.get(signature).into_iter().flatten();
        self.has_failed(signature) || cut.any(|cut| self.has_failed(cut))
    }

    /// Checks whether this side has a recorded failure, which the record may have cut.
    pub(super) fn shows(&self, recorded: &str) -> bool {
        self.has_failed(recorded) || self.cut.values().any(|cut| cut.contains(recorded))
    }
}

impl Packages {
    /// Returns all installed packages, or only those of components if there is no manifest.
    fn of(cell: &CellReport) -> Packages {
        match cell.packages.is_empty() {
            false => Packages::All(cell.packages.iter().map(|p| (p.name.clone(), p.version.clone())).collect()),
            true => Packages::Components(cell.facts.as_ref().map(|facts| facts.versions.clone()).unwrap_or_default()),
        }
    }

    pub(super) fn versions(&self) -> &BTreeMap<PackageName, PackageVersion> {
        match self {
            Packages::All(versions) | Packages::Components(versions) => versions,
        }
    }

    /// Checks whether both sides know if a package is installed.
    pub(super) fn both_know(&self, other: &Packages, name: &PackageName) -> bool {
        match (self, other) {
            (Packages::All(_), Packages::Components(few)) | (Packages::Components(few), Packages::All(_)) => {
                few.contains_key(name)
            }
            (Packages::All(_), Packages::All(_)) | (Packages::Components(_), Packages::Components(_)) => true,
        }
    }
}
