//! Why capabilities are not supported, each cause told once with all that it takes away.

use crate::matrix::CellReport;
use crate::verdict::{Flaky, Reason};
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;

/// What kind of sentence it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A failing test: the distro's.
    Cause,
    /// Why it could not be shown.
    Reason,
}

/// One cause or reason in a cell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    pub(crate) kind: Kind,
    /// The component at fault, for a cause.
    pub(crate) component: Option<&'static str>,
    /// What happened; a cause may have several lines.
    pub(crate) text: String,
    /// The failing test, for a cause.
    pub(crate) test: Option<String>,
    pub(crate) profiles: BTreeSet<String>,
    pub(crate) capabilities: BTreeSet<Capability>,
}

/// The causes of a cell, then the reasons.
///
/// Capabilities that no test exists for are left out: that holds for every distro.
/// What the cell's own error explains is left out too: the error stands above.
pub(crate) fn told(cell: &CellReport) -> Vec<Told> {
    type Key = (Kind, Option<String>, Option<&'static str>, String);
    #[derive(Default)]
    struct Scope(BTreeSet<String>, BTreeSet<Capability>, BTreeSet<String>);
    let mut all: BTreeMap<Key, Scope> = BTreeMap::new();
    for (profile, judgements) in &cell.judgements {
        for (capability, judgement) in judgements.iter().filter(|(_, j)| j.required > 0) {
            let causes = judgement.causes.iter().map(|c| {
                let key = (Kind::Cause, Some(c.test.clone()), Some(c.component.name()), c.message.clone());
                (key, [].as_slice())
            });
            let reasons =
                judgement.reasons.iter().map(|r| ((Kind::Reason, None, None, r.why.clone()), r.tests.as_slice()));
            for (key, tests) in causes.chain(reasons) {
                if key.0 == Kind::Reason && cell.error().as_ref() == Some(&key.3) {
                    continue;
                }
                let scope = all.entry(key).or_default();
                scope.0.insert(profile.clone());
                scope.1.insert(*capability);
                scope.2.extend(tests.iter().cloned());
            }
        }
    }
    let told = all.into_iter().map(|((kind, test, component, why), Scope(profiles, capabilities, tests))| Told {
        kind,
        component,
        text: Reason { why, tests: tests.into_iter().collect() }.to_string(),
        test,
        profiles,
        capabilities,
    });
    told.collect()
}

/// The tests of a cell that passed only when repeated, each once.
pub(crate) fn flaky(cell: &CellReport) -> Vec<Flaky> {
    let all: BTreeSet<Flaky> =
        cell.judgements.values().flat_map(|j| j.values()).flat_map(|j| j.flaky.iter().cloned()).collect();
    all.into_iter().collect()
}

/// Notes of the cell's tests, each once: what pjdfstest saw differ, by name.
pub(crate) fn notes(cell: &CellReport) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for instance in &cell.instances {
        let notes = instance.attempts.iter().flat_map(|a| a.notes.iter().cloned());
        all.entry(instance.test.clone()).or_default().extend(notes);
    }
    all.retain(|_, notes| !notes.is_empty());
    all
}

/// Names joined by commas.
pub(crate) fn names(capabilities: &BTreeSet<Capability>) -> String {
    capabilities.iter().map(|c| c.name()).collect::<Vec<_>>().join(", ")
}

/// Words joined by commas.
pub(crate) fn words(items: &BTreeSet<String>) -> String {
    items.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
