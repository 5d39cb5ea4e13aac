//! Takes mirrors' hosts, credentials and control characters out of a journal's texts.
//!
//! Every text of a run passes through here once, so that no report needs to think of it.

use crate::journal::{CellFacts, Event, Journal};
use crate::redact::{self, Redactor};
use crate::signature::signed;
use std::collections::BTreeSet;
use suites::outcome::{Failure, Outcome};

/// Knows every host that anything in the journal gives away.
pub fn redactor(journal: &Journal) -> Redactor {
    // Cut before searching: a report shows no more of a text than this anyway.
    let mut texts: BTreeSet<String> = BTreeSet::new();
    let mut add = |text: &str| {
        if text.contains("://") || text.contains(' ') {
            texts.insert(redact::without_controls(text, redact::MAX_TEXT));
        }
    };
    for entry in &journal.entries {
        match &entry.event {
            Event::RunStarted { options, argv, .. } => options.iter().chain(argv).for_each(|t| add(t)),
            Event::CellFacts { facts, .. } => {
                facts.notes.iter().chain(&facts.image_options).for_each(|t| add(t));
                let values = facts.environment.values().chain(facts.candidates.values());
                values.chain(facts.suites.values()).for_each(|t| add(t));
                add(&facts.image);
            }
            Event::CellError { message, .. } => add(message),
            Event::TestFinished { outcome, notes, .. } => {
                match outcome {
                    Outcome::Fail(failure) => add(&failure.observed),
                    Outcome::Error { message } => add(message),
                    Outcome::Skip { reason } => add(reason),
                    Outcome::Pass | Outcome::Blocked { .. } => {}
                }
                notes.iter().for_each(|t| add(t));
            }
            _ => {}
        }
    }
    Redactor::new(texts.iter().map(String::as_str))
}

/// An outcome with its texts cleaned.
pub(super) fn clean_outcome(outcome: &Outcome, redactor: &Redactor) -> Outcome {
    match outcome {
        Outcome::Pass => Outcome::Pass,
        // Signed again: an older journal has no signature, or one by other rules.
        Outcome::Fail(failure) => Outcome::Fail(signed(Failure {
            component: failure.component,
            expected: redactor.line(&failure.expected),
            observed: redactor.text(&failure.observed),
            asked_for: failure.asked_for.iter().map(|source| redactor.line(source)).collect(),
            grounds: failure.grounds,
            signature: String::new(),
        })),
        Outcome::Skip { reason } => Outcome::Skip { reason: redactor.text(reason) },
        Outcome::Blocked { by } => Outcome::Blocked { by: redactor.line(by) },
        Outcome::Error { message } => Outcome::Error { message: redactor.text(message) },
    }
}

/// Facts with their texts cleaned.
pub(super) fn clean_facts(facts: &CellFacts, redactor: &Redactor) -> CellFacts {
    // Versions are the evidence itself: no host learnt elsewhere may change a digit of them.
    let own = Redactor::default();
    let list = |items: &[String]| items.iter().map(|i| redactor.line(i)).collect();
    CellFacts {
        basis: facts.basis,
        accelerator: redactor.line(&facts.accelerator),
        versions: facts.versions.clone(),
        suites: facts.suites.iter().map(|(package, suite)| (package.clone(), redactor.line(suite))).collect(),
        kernel: facts.kernel.as_ref().map(|k| own.line(k)),
        image: redactor.line(&facts.image),
        image_made: facts.image_made,
        image_cached: facts.image_cached,
        image_manifest: facts.image_manifest.as_ref().map(|file| redactor.line(file)),
        image_options: list(&facts.image_options),
        environment: facts.environment.iter().map(|(k, v)| (own.line(k), redactor.line(v))).collect(),
        candidates: facts.candidates.iter().map(|(one, what)| (*one, redactor.line(what))).collect(),
        notes: list(&facts.notes),
    }
}
