//! Evidence on the capabilities that Kata needs.
//!
//! Who asks knows which results count as evidence: those of a run and the record's beside them, or the record's alone.
//! What follows from them is the same for all ([`RunEvidence::decide`]).

use super::{EvidenceSummary, Measured, VerifiedEntry, same_tests, test_set_of_today};
use crate::capability::Capability;
use crate::component::Component;
use crate::package_manager::PackageManager;
use crate::profile::Profile;
use std::collections::BTreeSet;

/// The evidence of one environment on a capability, and its source.
#[derive(Debug, Clone)]
pub struct Evidence<S> {
    /// What decides whether it counts.
    pub summary: EvidenceSummary,
    /// The components that it blames.
    pub blames: BTreeSet<Component>,
    /// The workaround that makes the capability work.
    pub workaround: Option<String>,
    /// The source, as the caller knows it.
    pub source: S,
}

/// The evidence on each capability that an answer is about ([`RunAnswer`](super::RunAnswer)).
#[derive(Debug, Clone)]
pub struct RunEvidence<S> {
    pub(super) needed: Vec<(Capability, Vec<Evidence<S>>)>,
    /// On the capabilities that Kata does not need, and that answers name if they are not supported.
    pub(super) beside: Vec<(Capability, Vec<Evidence<S>>)>,
}

impl<S> Evidence<S> {
    /// Returns the evidence of a record's entry on a capability; `None` if it has none. `test_set` is the digest of the
    /// tests that are required now.
    pub fn recorded(
        entry: &VerifiedEntry,
        capability: Capability,
        is_newest: bool,
        test_set: &str,
        source: S,
    ) -> Option<Evidence<S>> {
        let known = entry.capabilities.get(&capability)?;
        let summary = EvidenceSummary {
            environment: entry.environment,
            verdict: known.verdict,
            is_newest,
            is_by_older_tests: !same_tests(&entry.test_set, test_set, capability),
            day: Some(entry.tested),
            is_of_the_run: false,
        };
        let blames = known.failures().iter().filter_map(|cause| cause.component).collect();
        Some(Evidence { summary, blames, workaround: known.workaround.clone(), source })
    }
}

impl<S> RunEvidence<S> {
    /// Gathers the evidence on the capabilities that are asked about: of those that the profile has, or that tests can
    /// judge.
    pub fn gather(
        is_asked: impl Fn(Capability) -> bool,
        evidence: impl Fn(Capability) -> Vec<Evidence<S>>,
    ) -> RunEvidence<S> {
        let on = |is_meant: fn(Capability) -> bool| -> Vec<(Capability, Vec<Evidence<S>>)> {
            let meant = Capability::ALL.iter().copied().filter(|one| is_meant(*one) && is_asked(*one));
            meant.map(|one| (one, evidence(one))).collect()
        };
        RunEvidence { needed: on(Capability::is_needed), beside: on(Capability::is_shown_beside) }
    }

    /// Returns the evidence on all capabilities that Kata needs, whether it counts or not.
    pub fn on_needed(&self) -> impl Iterator<Item = &Evidence<S>> {
        self.needed.iter().flat_map(|(_, evidence)| evidence)
    }
}

impl<'e> RunEvidence<&'e VerifiedEntry> {
    /// Gathers what the record alone has on a release under a profile.
    ///
    /// Takes all its entries for the release and architecture, whatever their profile, because they show which packages
    /// are the newest that were measured.
    pub fn of_record(
        entries: &[&'e VerifiedEntry],
        profile: &Profile,
        manager: Option<PackageManager>,
    ) -> RunEvidence<&'e VerifiedEntry> {
        let all: Vec<Measured<'_>> = entries.iter().map(|entry| Measured::in_entry(entry)).collect();
        let own = entries.iter().copied().filter(|entry| entry.profile == profile.name);
        let own: Vec<(&'e VerifiedEntry, bool)> =
            own.map(|entry| (entry, Measured::in_entry(entry).is_newest_of(&all, manager))).collect();
        let evidence = |capability: Capability| -> Vec<Evidence<&'e VerifiedEntry>> {
            let of = |&(entry, is_newest): &(&'e VerifiedEntry, bool)| {
                Evidence::recorded(entry, capability, is_newest, test_set_of_today(), entry)
            };
            own.iter().filter_map(of).collect()
        };
        RunEvidence::gather(|capability| profile.has(capability), evidence)
    }
}
