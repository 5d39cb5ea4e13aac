//! Results of a run for one cell, with queries.

use super::{Doubts, Judgements};
use crate::installed::{InstalledPackage, source_version};
use crate::journal::{CellFacts, CellId, Phase, RunFilter};
use crate::run::{CellFailure, GuestLaunch, TestRun, day};
use crate::verdict::{Judgement, NEVER_RAN, Reason};
use jiff::Timestamp;
use model::kata_version::KataVersion;
use model::package::PackageVersion;
use model::profile::ProfileName;
use model::test_id::TestId;
use model::verified::{Basis, Measured, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::{Area, Capability};

/// The results of a run for one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellReport {
    /// The cell.
    pub cell: CellId,
    /// The facts that the verdicts rest on.
    pub facts: Option<CellFacts>,
    /// Why the verdicts count as emulated, although the journal calls them hardware.
    pub contradicted: Option<String>,
    /// Why the cell could not go on.
    pub errors: Vec<CellFailure>,
    /// The guests that the cell started.
    pub launches: Vec<GuestLaunch>,
    /// When work on the cell began.
    pub started: Option<Timestamp>,
    /// When the cell's last event was.
    pub finished: Option<Timestamp>,
    /// Whether work on the cell was completed.
    pub complete: bool,
    /// The test filter, if no run asked for all tests of the cell.
    pub filter: Option<RunFilter>,
    /// The tests that the filter chooses, with those that can block them; `None` if their names do not tell.
    pub chosen: Option<BTreeSet<TestId>>,
    /// How long the cell took, in milliseconds.
    pub millis: Option<u64>,
    /// How long each phase took, in milliseconds.
    pub phases: BTreeMap<Phase, u64>,
    /// The cell's tests.
    pub instances: Vec<TestRun>,
    /// Profile → the Kata that the containers ran under.
    pub katas: BTreeMap<ProfileName, RunKata>,
    /// The judgements of the cell's capabilities.
    pub judgements: Judgements,
    /// Profile → test → why its failure blames no component.
    pub doubts: Doubts,
    /// All installed packages, if the image's manifest is kept next to the journal.
    pub packages: Vec<InstalledPackage>,
}

/// The Kata that containers ran under, according to the facts of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunKata {
    /// The version; `None` if the evidence does not begin with one.
    pub version: Option<KataVersion>,
    /// The evidence: `3.30.0 (Go, sha256 …)`.
    pub words: String,
}

impl RunKata {
    pub(super) fn of(words: &str) -> RunKata {
        let version = words.split(' ').next().and_then(|word| word.parse().ok());
        RunKata { version, words: words.to_owned() }
    }
}

impl CellReport {
    /// Returns the basis, hardware or emulated; `None` if the cell never got far enough to know.
    pub fn basis(&self) -> Option<Basis> {
        self.facts.as_ref().map(|f| f.basis)
    }

    /// Returns why the cell could not go on, as the verdicts put it.
    pub fn error(&self) -> Option<String> {
        self.errors.first().map(CellFailure::to_string)
    }

    /// Returns the Kata that the containers of a profile ran under.
    pub fn kata(&self, profile: &str) -> Option<&RunKata> {
        self.katas.get(profile)
    }

    /// Returns the version of a source package; without the image's manifest, that of the component package with this
    /// name.
    pub fn source_version(&self, source: &str) -> Option<&PackageVersion> {
        let component = || self.facts.as_ref()?.versions.get(source);
        source_version(&self.packages, source).or_else(component)
    }

    /// Describes the components that replaced the distro's own: `virtiofsd mine`.
    pub fn supplied_components(&self) -> Vec<String> {
        let candidates = self.facts.iter().flat_map(|facts| &facts.candidates);
        candidates.map(|(component, what)| format!("{component} {what}")).collect()
    }

    /// Returns the cell's packages; `None` if it never had any.
    pub(crate) fn measured(&self) -> Option<Measured<'_>> {
        Some(Measured::in_run(&self.facts.as_ref()?.versions, self.finished.map(day)))
    }

    /// Returns the judgement of a capability under a profile.
    pub fn judgement(&self, profile: &str, capability: Capability) -> Option<&Judgement> {
        self.judgements.get(profile)?.get(&capability)
    }

    /// Checks whether a capability is untested because of a filter: the filter left tests out, and all others passed.
    ///
    /// A required test that was asked for and then skipped, or blocked, is not a gap caused by the filter.
    pub fn is_left_out(&self, judgement: &Judgement) -> bool {
        let was_tried = judgement.required > judgement.passed + judgement.unrun;
        let has_filtered = self.filter.is_some() && judgement.unrun > 0;
        judgement.verdict == Verdict::Untested && has_filtered && !was_tried
    }

    /// Returns the tests that a reason applies to, without those that never ran because the filter left them out.
    pub(crate) fn asked<'r>(&self, reason: &'r Reason) -> Vec<&'r TestId> {
        let is_unasked = |test: &TestId| match (&self.filter, &self.chosen) {
            (None, _) => false,
            (Some(_), Some(chosen)) => !chosen.contains(test),
            // Only a cell that came to its end ran everything that it was asked for.
            (Some(_), None) => self.complete,
        };
        reason.tests.iter().filter(|test| reason.why != NEVER_RAN || !is_unasked(test)).collect()
    }

    /// Checks whether the filter left out some of the tests that a capability requires.
    pub(crate) fn lacks_tests(&self, judgement: &Judgement) -> bool {
        judgement.reasons.iter().any(|reason| self.asked(reason).len() < reason.tests.len())
    }

    /// Checks whether the filter left out all tests that a capability requires.
    pub(crate) fn is_unchosen(&self, judgement: &Judgement) -> bool {
        let is_unrun = judgement.verdict == Verdict::Untested && judgement.required == judgement.unrun;
        is_unrun && self.lacks_tests(judgement) && judgement.reasons.iter().all(|reason| self.asked(reason).is_empty())
    }

    /// Checks whether a capability is untested because it was not asked for: the filter left it out, or it is Kata's
    /// own and there is no Kata.
    pub fn is_not_requested(&self, profile: &str, capability: Capability, judgement: &Judgement) -> bool {
        let lacks_kata = capability.area() == Area::Kata && self.kata(profile).is_none();
        self.is_left_out(judgement) || (lacks_kata && judgement.verdict == Verdict::Untested)
    }

    /// Returns why the failure of a test blames no component under a profile, if that is so.
    pub fn doubted(&self, profile: &str, test: &str) -> Option<&str> {
        self.doubts.get(profile)?.get(test).map(String::as_str)
    }
}
