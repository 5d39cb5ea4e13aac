//! What one side of a comparison knows: a run, or the record.

use crate::journal::CellId;
use crate::matrix::{CellReport, Matrix};
use crate::run::{RunEnding, TestRun, by_profile};
use crate::signature;
use crate::standing::{Recorded, Standings};
use crate::verdict::Judgement;
use crate::verdict::agreement::recorded_failure;
use model::package::{PackageName, PackageVersion};
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;
use suites::outcome::Outcome;

/// What one side knows of a cell under a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// What a run says of each capability that it has tests for; where the record stands, `Standings` say.
    pub(super) judged: BTreeMap<Capability, Judgement>,
    /// What the run was not asked for, and so says nothing of.
    pub(super) unasked: BTreeSet<Capability>,
    /// By signature, the tests that failed so.
    pub(super) failures: BTreeMap<String, BTreeSet<String>>,
    /// By signature, the tests that failed so and then passed.
    pub(super) flaky: BTreeMap<String, BTreeSet<String>>,
    /// By signature of what is so long that a record has it cut, those that it has there.
    cut: BTreeMap<String, BTreeSet<String>>,
    pub(super) passed: BTreeSet<String>,
    /// The tests that ended in error, or whose failure nobody believes.
    unjudged: BTreeSet<String>,
    /// The tests that ran at all.
    ran: BTreeSet<String>,
    /// Whether what did not run was not asked for: the run has a filter, and it and the cell came to their end.
    is_filtered: bool,
    /// Why the cell was lost, or did not come to its end.
    pub(super) lost: Option<String>,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// What people call it: a folder, or the record.
    pub(super) name: String,
    pub(super) known: BTreeMap<(CellId, String), Known>,
    pub(super) packages: BTreeMap<CellId, Packages>,
    /// Why a run cannot be believed to be complete, in words.
    pub(super) problems: Vec<String>,
}

/// What a side knows to be installed in a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packages {
    /// All of it, as an image's manifest has it.
    All(BTreeMap<String, PackageVersion>),
    /// The packages of components alone: of others nothing is known.
    Components(BTreeMap<String, PackageVersion>),
}

impl Side {
    /// What a run showed.
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
                // What a run without its end left out may have been asked for.
                let unasked = judgements.iter().filter(|(capability, judgement)| {
                    let is_known = is_whole || !cell.is_left_out(judgement);
                    is_known && cell.is_unasked(profile, **capability, judgement)
                });
                let unasked = unasked.map(|(capability, _)| *capability).collect();
                let mut known = Known { judged, unasked, is_filtered, lost: lost.clone(), ..Known::default() };
                for instance in runs.get(profile.as_str()).into_iter().flatten() {
                    known.add(cell, profile, instance);
                }
                side.known.insert((cell.cell.clone(), profile.clone()), known);
            }
            // Of a cell that was lost on the way to its packages nobody knows what they are.
            if cell.facts.is_some() || !cell.packages.is_empty() {
                side.packages.insert(cell.cell.clone(), Packages::of(cell));
            }
        }
        side
    }

    /// What the record says of a run's cells; it has component packages alone, and of each cause what fits in one line.
    ///
    /// Of its verdicts the standings themselves are asked.
    pub(super) fn of_record(standings: &Standings<'_>) -> Side {
        let mut side = Side::named("the record");
        for cell in &standings.cells {
            let id = &cell.report.cell;
            let mut components = BTreeMap::new();
            for (profile, standing) in &cell.profiles {
                // The first entry of a capability counts.
                let mut seen = BTreeSet::new();
                for entry in &standing.entries {
                    let known = side.known.entry((id.clone(), (*profile).to_owned())).or_default();
                    // What the run has no tests for has not failed, and was not mended.
                    let is_judged = |capability: &Capability| {
                        standing.capabilities.get(capability).is_some_and(|one| one.judgement.required > 0)
                    };
                    let said = entry
                        .capabilities
                        .iter()
                        .filter(|(capability, _)| is_judged(capability) && seen.insert(**capability));
                    for (test, signature) in said.flat_map(|(_, said)| said.failures()).filter_map(recorded_failure) {
                        known.failures.entry(signature).or_default().insert(test);
                    }
                    components.extend(by_text(&entry.versions));
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
        let mut seen = Vec::new();
        for failure in failures {
            let cut = signature::once_recorded(failure.component, &failure.observed, &instance.test);
            if cut != failure.signature {
                self.cut.entry(failure.signature.clone()).or_default().insert(cut);
            }
            seen.push(failure.signature.clone());
        }
        match &last.outcome {
            // What blames nobody is no finding.
            Outcome::Fail(failure) if cell.doubted(profile, &instance.test).is_none() => {
                self.failures.entry(failure.signature.clone()).or_default().insert(instance.test.clone());
            }
            Outcome::Pass => {
                for signature in seen {
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

    /// Whether this side says nothing of a test because something broke.
    pub(super) fn could_not_judge(&self, test: &str) -> bool {
        self.unjudged.contains(test) || (self.lost.is_some() && !self.ran.contains(test))
    }

    /// Whether the run was not asked for a test.
    pub(super) fn left_out(&self, test: &str) -> bool {
        self.is_filtered && !self.ran.contains(test)
    }

    /// Whether something failed so, be it that it then passed.
    fn has_failed(&self, signature: &str) -> bool {
        self.failures.contains_key(signature) || self.flaky.contains_key(signature)
    }

    /// Whether this side has seen a failure of another one, which a record may have cut.
    pub(super) fn knows(&self, other: &Known, signature: &str) -> bool {
        let mut cut = other.cut.get(signature).into_iter().flatten();
        self.has_failed(signature) || cut.any(|cut| self.has_failed(cut))
    }

    /// Whether this side shows what a record has, be it cut there.
    pub(super) fn shows(&self, recorded: &str) -> bool {
        self.has_failed(recorded) || self.cut.values().any(|cut| cut.contains(recorded))
    }
}

impl Packages {
    /// Everything that is installed, or the component packages where nobody kept the rest.
    fn of(cell: &CellReport) -> Packages {
        match cell.packages.is_empty() {
            false => Packages::All(cell.packages.iter().map(|p| (p.name.clone(), p.version.clone())).collect()),
            true => Packages::Components(cell.facts.iter().flat_map(|facts| by_text(&facts.versions)).collect()),
        }
    }

    pub(super) fn versions(&self) -> &BTreeMap<String, PackageVersion> {
        match self {
            Packages::All(versions) | Packages::Components(versions) => versions,
        }
    }

    /// Whether this side and another know whether a package is installed.
    pub(super) fn both_know(&self, other: &Packages, name: &str) -> bool {
        match (self, other) {
            (Packages::All(_), Packages::Components(few)) | (Packages::Components(few), Packages::All(_)) => {
                few.contains_key(name)
            }
            (Packages::All(_), Packages::All(_)) | (Packages::Components(_), Packages::Components(_)) => true,
        }
    }
}

/// Versions by names that are texts, as manifests have them.
fn by_text(versions: &BTreeMap<PackageName, PackageVersion>) -> impl Iterator<Item = (String, PackageVersion)> {
    versions.iter().map(|(name, version)| (name.to_string(), version.clone()))
}
