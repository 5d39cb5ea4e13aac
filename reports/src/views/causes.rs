//! Why capabilities are not supported, each cause once with all that it takes away.

use crate::matrix::CellReport;
use crate::verdict::{Flaky, ReasonSource, with_tests};
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;
use suites::outcome::Component;

/// Why some of a cell's capabilities are not supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explanation<'a> {
    /// Whom it blames; nobody, where nothing could be shown.
    pub(crate) blame: Option<Blame<'a>>,
    /// What happened; of a failing test it may have several lines.
    pub(crate) text: String,
    pub(crate) profiles: BTreeSet<&'a str>,
    pub(crate) capabilities: BTreeSet<Capability>,
}

/// A failing test, and the component at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blame<'a> {
    pub(crate) component: Component,
    pub(crate) test: &'a str,
}

/// What an explanation holds for.
#[derive(Default)]
struct Scope<'a> {
    profiles: BTreeSet<&'a str>,
    capabilities: BTreeSet<Capability>,
    tests: BTreeSet<&'a str>,
}

impl<'a> Scope<'a> {
    fn add(&mut self, profile: &'a str, capability: Capability, tests: &'a [String]) {
        self.profiles.insert(profile);
        self.capabilities.insert(capability);
        self.tests.extend(tests.iter().map(String::as_str));
    }
}

/// The explanations of a cell: failing tests first, then why the rest could not be shown.
///
/// Capabilities that no test exists for are left out: that holds for every distro.
/// What the cell's own error explains is left out too: the reports show the error itself.
pub(crate) fn explanations(cell: &CellReport) -> Vec<Explanation<'_>> {
    let mut failures: BTreeMap<(&str, Component, &str), Scope<'_>> = BTreeMap::new();
    let mut reasons: BTreeMap<&str, Scope<'_>> = BTreeMap::new();
    for (profile, judgements) in &cell.judgements {
        for (capability, judgement) in judgements.iter().filter(|(_, j)| j.required > 0) {
            for cause in &judgement.causes {
                let scope = failures.entry((cause.test.as_str(), cause.component, cause.message.as_str())).or_default();
                scope.add(profile, *capability, &[]);
            }
            for reason in judgement.reasons.iter().filter(|reason| reason.source != ReasonSource::Cell) {
                reasons.entry(&reason.why).or_default().add(profile, *capability, &reason.tests);
            }
        }
    }
    let failures = failures.into_iter().map(|((test, component, message), scope)| Explanation {
        blame: Some(Blame { component, test }),
        text: message.to_owned(),
        profiles: scope.profiles,
        capabilities: scope.capabilities,
    });
    let reasons = reasons.into_iter().map(|(why, scope)| Explanation {
        blame: None,
        text: with_tests(why, scope.tests.iter().copied()),
        profiles: scope.profiles,
        capabilities: scope.capabilities,
    });
    failures.chain(reasons).collect()
}

/// The tests of a cell that passed only when repeated, each once.
pub(crate) fn flaky(cell: &CellReport) -> BTreeSet<&Flaky> {
    cell.judgements.values().flat_map(|j| j.values()).flat_map(|j| &j.flaky).collect()
}

/// Notes of the cell's tests, each once: what pjdfstest saw differ, by name.
pub(crate) fn notes(cell: &CellReport) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for instance in &cell.instances {
        let notes = instance.attempts.iter().flat_map(|a| &a.notes).map(String::as_str);
        all.entry(&instance.test).or_default().extend(notes);
    }
    all.retain(|_, notes| !notes.is_empty());
    all
}

/// Names joined by commas.
pub(crate) fn names(capabilities: &BTreeSet<Capability>) -> String {
    capabilities.iter().map(|c| c.name()).collect::<Vec<_>>().join(", ")
}

/// Words joined by commas.
pub(crate) fn words(items: &BTreeSet<&str>) -> String {
    items.iter().copied().collect::<Vec<_>>().join(", ")
}
