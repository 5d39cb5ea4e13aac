//! What a run showed of one cell, and what is asked of that.

use super::{Doubts, Judgements};
use crate::installed::{InstalledPackage, source_version};
use crate::journal::{CellFacts, CellId, Phase, RunFilter};
use crate::run::{CellFailure, GuestLaunch, TestRun, day};
use crate::verdict::Judgement;
use jiff::Timestamp;
use model::kata_version::KataVersion;
use model::verified::{Basis, Measured, Verdict};
use std::collections::BTreeMap;
use suites::capability::{Area, Capability};

/// What a run showed of one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellReport {
    /// Which.
    pub cell: CellId,
    /// What the verdicts rest on.
    pub facts: Option<CellFacts>,
    /// Why they count as emulated, though the journal calls them hardware.
    pub contradicted: Option<String>,
    /// Why it could not go on.
    pub errors: Vec<CellFailure>,
    /// The guests that it started.
    pub launches: Vec<GuestLaunch>,
    /// When work on it began.
    pub started: Option<Timestamp>,
    /// When its last event was.
    pub finished: Option<Timestamp>,
    /// Whether work on it was completed.
    pub complete: bool,
    /// The test filter, if no run asked for all of its tests.
    pub filter: Option<RunFilter>,
    /// How long it took, in milliseconds.
    pub millis: Option<u64>,
    /// How long each phase took, in milliseconds.
    pub phases: BTreeMap<Phase, u64>,
    /// Its tests.
    pub instances: Vec<TestRun>,
    /// Profile → the Kata that its containers ran under.
    pub katas: BTreeMap<String, RunKata>,
    /// The judgements of its capabilities.
    pub judgements: Judgements,
    /// Profile → test → why its failure blames nobody.
    pub doubts: Doubts,
    /// Everything that is installed, where the image's manifest is kept beside the journal.
    pub packages: Vec<InstalledPackage>,
}

/// A Kata that containers ran under, as the evidence has it among the facts of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunKata {
    /// `None` where the evidence does not begin with one.
    pub version: Option<KataVersion>,
    /// `3.30.0 (Go, sha256 …)`.
    pub words: String,
}

impl RunKata {
    pub(super) fn of(words: &str) -> RunKata {
        let version = words.split(' ').next().and_then(|word| word.parse().ok());
        RunKata { version, words: words.to_owned() }
    }
}

impl CellReport {
    /// Hardware or emulated; `None` if the cell never got far enough to know.
    pub fn basis(&self) -> Option<Basis> {
        self.facts.as_ref().map(|f| f.basis)
    }

    /// Why it could not go on, as the verdicts say it.
    pub fn error(&self) -> Option<String> {
        self.errors.first().map(CellFailure::to_string)
    }

    /// The Kata that its containers ran under, of a profile.
    pub fn kata(&self, profile: &str) -> Option<&RunKata> {
        self.katas.get(profile)
    }

    /// The version of a source package; without the image's manifest, that of the component package of that name.
    pub fn source_version(&self, source: &str) -> Option<&str> {
        let component = || Some(self.facts.as_ref()?.versions.get(source)?.as_str());
        source_version(&self.packages, source).or_else(component)
    }

    /// What took the place of the distro's own components, in words: `virtiofsd mine`.
    pub fn brought(&self) -> Vec<String> {
        let candidates = self.facts.iter().flat_map(|facts| &facts.candidates);
        candidates.map(|(component, what)| format!("{component} {what}")).collect()
    }

    /// The packages that it had; none where it never had any.
    pub(crate) fn measured(&self) -> Option<Measured<'_>> {
        Some(Measured::in_run(&self.facts.as_ref()?.versions, self.finished.map(day)))
    }

    /// The judgement of a capability under a profile.
    pub fn judgement(&self, profile: &str, capability: Capability) -> Option<&Judgement> {
        self.judgements.get(profile)?.get(&capability)
    }

    /// Whether a filter is why a capability is untested: it left tests out, and no other one showed nothing.
    ///
    /// A required test that was asked for and then skipped, or blocked, is no gap of the filter's.
    pub fn is_left_out(&self, judgement: &Judgement) -> bool {
        let was_tried = judgement.required > judgement.passed + judgement.unrun;
        let has_filtered = self.filter.is_some() && judgement.unrun > 0;
        judgement.verdict == Verdict::Untested && has_filtered && !was_tried
    }

    /// Whether a capability is untested because nobody asked for it: the filter left it out, or it is Kata's own and there
    /// is no Kata.
    pub fn is_unasked(&self, profile: &str, capability: Capability, judgement: &Judgement) -> bool {
        let lacks_kata = capability.area() == Area::Kata && self.kata(profile).is_none();
        self.is_left_out(judgement) || (lacks_kata && judgement.verdict == Verdict::Untested)
    }

    /// Why the failure of a test blames nobody under a profile, if it does not.
    pub fn doubted(&self, profile: &str, test: &str) -> Option<&str> {
        self.doubts.get(profile)?.get(test).map(String::as_str)
    }
}
