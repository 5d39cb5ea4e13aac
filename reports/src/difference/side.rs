//! What one side of a comparison knows: a run, or the record.

use crate::journal::CellId;
use crate::matrix::{CellReport, Matrix};
use crate::run::{TestRun, by_profile};
use crate::signature;
use crate::standing::Recorded;
use crate::verdict::agreement::recorded_failure;
use crate::verdict::{Cause, unrecorded};
use model::package::{PackageName, PackageVersion};
use model::verified::{Verdict, VerifiedCause};
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;
use suites::outcome::Outcome;

/// What one side knows of a cell under a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) verdicts: BTreeMap<Capability, Verdict>,
    /// What the run was not asked for, and so says nothing of.
    pub(super) unasked: BTreeSet<Capability>,
    /// By signature, the tests that failed so.
    pub(super) failures: BTreeMap<String, BTreeSet<String>>,
    /// By signature, the tests that failed so and then passed.
    pub(super) flaky: BTreeMap<String, BTreeSet<String>>,
    /// The causes of what a run calls unsupported.
    causes: BTreeMap<Capability, Vec<Cause>>,
    /// The causes of what the record calls unsupported.
    unsupported: BTreeMap<Capability, Vec<VerifiedCause>>,
    /// By signature of what is so long that a record has it cut, those that it has there.
    cut: BTreeMap<String, BTreeSet<String>>,
    pub(super) passed: BTreeSet<String>,
    /// The tests that ended in error, or whose failure nobody believes.
    unjudged: BTreeSet<String>,
    /// The tests that ran at all.
    ran: BTreeSet<String>,
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
        let mut side = Side { name: name.to_owned(), known: BTreeMap::new(), packages: BTreeMap::new() };
        for cell in &matrix.cells {
            let runs = by_profile(&cell.instances);
            for (profile, judgements) in &cell.judgements {
                let judged = judgements.iter().filter(|(_, judgement)| judgement.required > 0);
                let verdicts = judged.map(|(capability, judgement)| (*capability, judgement.verdict)).collect();
                let unasked = judgements.iter().filter(|(c, judgement)| cell.is_unasked(profile, **c, judgement));
                let unasked = unasked.map(|(capability, _)| *capability).collect();
                let causes = judgements.iter().filter(|(_, judgement)| !judgement.causes.is_empty());
                let causes = causes.map(|(capability, judgement)| (*capability, judgement.causes.clone())).collect();
                let lost = cell.error().or_else(|| (!cell.complete).then(|| "it has no end".to_owned()));
                let mut known = Known { verdicts, unasked, causes, lost, ..Known::default() };
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
    pub fn of_record(matrix: &Matrix, recorded: &Recorded<'_>) -> Side {
        let mut side = Side { name: "the record".to_owned(), known: BTreeMap::new(), packages: BTreeMap::new() };
        for cell in &matrix.cells {
            let mut components = BTreeMap::new();
            for profile in &matrix.profiles {
                for entry in recorded.entries(matrix, cell, &profile.name) {
                    let known = side.known.entry((cell.cell.clone(), profile.name.clone())).or_default();
                    // What the run has no tests for is not compared.
                    let is_judged = |capability: Capability| {
                        cell.judgement(&profile.name, capability).is_some_and(|judgement| judgement.required > 0)
                    };
                    for (capability, said) in entry.capabilities.iter().filter(|(c, _)| is_judged(**c)) {
                        if known.verdicts.contains_key(capability) {
                            continue;
                        }
                        known.verdicts.insert(*capability, said.verdict);
                        if said.verdict == Verdict::Unsupported {
                            known.unsupported.insert(*capability, said.causes.clone());
                        }
                        for (test, signature) in said.failures().iter().filter_map(recorded_failure) {
                            known.failures.entry(signature).or_default().insert(test);
                        }
                    }
                    components.extend(by_text(&entry.versions));
                }
            }
            if !components.is_empty() {
                side.packages.insert(cell.cell.clone(), Packages::Components(components));
            }
        }
        side
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

    /// Whether something failed so, be it that it then passed.
    fn has_failed(&self, signature: &str) -> bool {
        self.failures.contains_key(signature) || self.flaky.contains_key(signature)
    }

    /// Whether a failure of the later side is none of this one's.
    ///
    /// Of what the record calls unsupported that is what every report says of it ([`unrecorded`]).
    pub(super) fn lacks(&self, later: &Known, signature: &str) -> bool {
        let is_it = |cause: &Cause| cause.signature == signature;
        let judged = later.causes.iter().filter(|(_, causes)| causes.iter().any(is_it));
        let is_new = judged.map(|(capability, causes)| match self.unsupported.get(capability) {
            Some(recorded) => unrecorded(recorded, causes).into_iter().any(is_it),
            None => !self.knows(later, signature),
        });
        is_new.reduce(|one, other| one || other).unwrap_or_else(|| !self.knows(later, signature))
    }

    /// Whether this side has seen a failure of another one, which a record may have cut.
    fn knows(&self, other: &Known, signature: &str) -> bool {
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
