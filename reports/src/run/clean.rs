//! Removal of mirrors' hosts, credentials and control characters from a journal's texts.
//!
//! Every text of a run passes through here once, so that reports need not do it.

use crate::journal::{Candidate, CellFacts, Event, Journal, ProbeAnswer, RunFilter};
use crate::redact::{self, Redactor};
use crate::signature::signed;
use std::collections::BTreeSet;
use suites::outcome::{Failure, FailureDetail, Outcome};

/// Builds a redactor that knows every host that the journal reveals.
pub fn redactor(journal: &Journal) -> Redactor {
    // Cut before searching: a report shows no more of a text than this anyway.
    let cut = |text: &str| {
        let may_have_one = text.contains("://") || text.contains(' ');
        may_have_one.then(|| redact::without_controls(text, redact::MAX_TEXT))
    };
    // A test's message may refer to a web page; in other events, an address shows where the machine downloads from.
    let (mut messages, mut fetched): (BTreeSet<String>, BTreeSet<String>) = Default::default();
    for entry in &journal.entries {
        match &entry.event {
            Event::RunStarted { options, argv, .. } => {
                fetched.extend(options.iter().chain(argv).filter_map(|t| cut(t)))
            }
            Event::CellFacts { facts, .. } => {
                fetched.extend(facts.notes.iter().chain(&facts.image_options).filter_map(|t| cut(t)));
                fetched.extend(facts.suites.values().filter_map(|t| cut(t)));
                fetched.extend(facts.environment.values().filter_map(|answer| cut(answer.words())));
                fetched.extend(facts.candidates.values().filter_map(|what| cut(&what.to_string())));
                fetched.extend(cut(&facts.image));
            }
            Event::CellError { message, .. } => fetched.extend(cut(message)),
            Event::TestFinished { outcome, notes, .. } => {
                messages.extend(match outcome {
                    Outcome::Fail(failure) => cut(&failure.observed),
                    Outcome::Error { message } => cut(message),
                    Outcome::Skip { reason } => cut(reason),
                    Outcome::Pass | Outcome::Blocked { .. } => None,
                });
                messages.extend(notes.iter().filter_map(|t| cut(t)));
            }
            _ => {}
        }
    }
    let mut redactor = Redactor::new(messages.iter().map(String::as_str));
    fetched.iter().for_each(|text| redactor.learn_all(text));
    redactor
}

/// Returns an outcome with its texts cleaned.
pub(super) fn clean_outcome(outcome: &Outcome, redactor: &Redactor) -> Outcome {
    match outcome {
        Outcome::Pass => Outcome::Pass,
        // The signature is computed again: an older journal has none, or one by other rules.
        Outcome::Fail(failure) => Outcome::Fail(signed(Failure {
            component: failure.component,
            expected: redactor.line(&failure.expected),
            observed: redactor.text(&failure.observed),
            asked_for: failure.asked_for.iter().map(|source| redactor.line(source)).collect(),
            grounds: failure.grounds,
            detail: clean_detail(&failure.detail, redactor),
            signature: String::new(),
        })),
        Outcome::Skip { reason } => Outcome::Skip { reason: redactor.text(reason) },
        Outcome::Blocked { by } => Outcome::Blocked { by: by.clone() },
        Outcome::Error { message } => Outcome::Error { message: redactor.text(message) },
    }
}

/// Returns a failure's detail with its texts cleaned; hosts that it reveals are in the observation, too.
fn clean_detail(detail: &FailureDetail, redactor: &Redactor) -> FailureDetail {
    let mut clean = detail.clone();
    clean.texts_mut().into_iter().for_each(|text| *text = redactor.text(text));
    clean
}

/// Returns a filter with its text cleaned.
pub(super) fn clean_filter(filter: &RunFilter, redactor: &Redactor) -> RunFilter {
    match filter {
        RunFilter::Matching(text) => RunFilter::Matching(redactor.line(text)),
        RunFilter::RerunOf(run) => RunFilter::RerunOf(redactor.line(run)),
    }
}

/// Returns facts with their texts cleaned.
pub(super) fn clean_facts(facts: &CellFacts, redactor: &Redactor) -> CellFacts {
    // Versions are the evidence itself: no host that was learnt elsewhere may change a digit of them.
    let own = Redactor::default();
    let list = |items: &[String]| items.iter().map(|i| redactor.line(i)).collect();
    CellFacts {
        basis: facts.basis,
        accelerator: redactor.line(facts.accelerator.name()).into(),
        versions: facts.versions.clone(),
        suites: facts.suites.iter().map(|(package, suite)| (package.clone(), redactor.line(suite))).collect(),
        kernel: facts.kernel.as_ref().and_then(|kernel| own.line(kernel.as_str()).parse().ok()),
        image: redactor.line(&facts.image),
        image_made: facts.image_made,
        image_cached: facts.image_cached,
        image_manifest: facts.image_manifest.as_ref().map(|file| redactor.line(file)),
        image_options: list(&facts.image_options),
        environment: facts
            .environment
            .iter()
            .map(|(k, v)| (own.line(k), ProbeAnswer::from(redactor.line(v.words()))))
            .collect(),
        candidates: facts
            .candidates
            .iter()
            .map(|(one, what)| (*one, Candidate::from(redactor.line(&what.to_string()))))
            .collect(),
        notes: list(&facts.notes),
    }
}
