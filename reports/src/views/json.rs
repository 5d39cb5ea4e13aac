//! `results.json`: the matrix for programs.
//!
//! The document has a `schema`, raised whenever a field changes its meaning or goes; new fields may come without.
//! Words are those of the records: verdicts `supported`, `partial`, `offered`, `unsupported`, `not-applicable`, `untested`, `inconclusive`; bases `hardware`, `emulated`; outcomes `pass`, `fail`, `skip`, `blocked`, `error`.
//! Times are RFC 3339 in UTC, durations are milliseconds.
//!
//! ```json
//! { "schema": 2, "run": "…", "harness": "…", "test-set": "…", "ending": "finished",
//!   "profiles": [{ "name": "go-3.29", "range": "3.29 on", "maintained": true }],
//!   "cells": [{ "cell": "debian:13/x86_64/container", "basis": "emulated",
//!     "facts": { "versions": { "qemu-system-x86": "…" } },
//!     "verdicts": { "go-3.29": { "fs.virtio-fs": { "verdict": "unsupported", "basis": "emulated",
//!       "causes": [{ "test": "…", "component": "virtiofsd", "message": "…", "signature": "…", "asked-for": [] }] } } },
//!     "tests": [{ "test": "…", "profiles": ["go-3.29"], "outcome": "pass", "attempts": [{ "outcome": { "outcome": "pass" }, "millis": 12 }] }] }] }
//! ```

use crate::journal::{CellFacts, CellId, Phase};
use crate::matrix::{CellReport, Matrix};
use crate::run::{CellFailure, GuestLaunch, Provenance, RunEnding};
use crate::verdict::{Cause, FinalOutcome, Flaky, Judgement, Reason};
use jiff::Timestamp;
use model::verified::{Basis, Verdict};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use suites::capability::Capability;
use suites::outcome::Outcome;

/// The version of the document.
pub const SCHEMA: u32 = 2;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Document<'a> {
    schema: u32,
    run: &'a str,
    harness: &'a str,
    provenance: &'a Provenance,
    test_set: &'a str,
    #[schemars(with = "Option<String>")]
    started: Option<Timestamp>,
    #[schemars(with = "Option<String>")]
    finished: Option<Timestamp>,
    ending: RunEnding,
    /// The test filter; null when all tests were asked for.
    filter: Option<&'a str>,
    /// Whether something was laid over the distro or the records.
    candidate: bool,
    /// Whether keys of the caller's vouched for packages.
    shaped: bool,
    options: &'a [String],
    profiles: Vec<Profile<'a>>,
    /// Profiles in the journal that cannot be judged, being unknown here.
    unknown_profiles: &'a [String],
    cells: Vec<Cell<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct Profile<'a> {
    name: &'a str,
    range: &'a str,
    maintained: bool,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct Cell<'a> {
    cell: &'a CellId,
    /// Null if the cell never got far enough to know.
    basis: Option<Basis>,
    #[schemars(with = "Option<String>")]
    started: Option<Timestamp>,
    millis: Option<u64>,
    /// Whether work on it was completed.
    complete: bool,
    /// Milliseconds by phase.
    phases: &'a BTreeMap<Phase, u64>,
    /// Why it could not go on; never the distro's fault.
    errors: &'a [CellFailure],
    facts: Option<&'a CellFacts>,
    /// Verdicts by profile and capability.
    verdicts: BTreeMap<&'a str, BTreeMap<Capability, JudgementView<'a>>>,
    tests: Vec<TestView<'a>>,
    launches: &'a [GuestLaunch],
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct JudgementView<'a> {
    verdict: Verdict,
    basis: Option<Basis>,
    /// Every independent cause of `unsupported`.
    causes: &'a [Cause],
    /// Why it could not be shown.
    reasons: &'a [Reason],
    workaround: Option<&'a str>,
    flaky: &'a [Flaky],
    /// Required tests, how many of them passed, and how many never ran.
    required: usize,
    passed: usize,
    unrun: usize,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct TestView<'a> {
    test: &'a str,
    /// The profiles that the result counts for.
    profiles: &'a [String],
    /// The last word of its attempts.
    outcome: Option<&'static str>,
    flaky: bool,
    attempts: Vec<AttemptView<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct AttemptView<'a> {
    outcome: &'a Outcome,
    /// The guests that it ran in or started, by their numbers in the cell.
    guests: &'a [u32],
    millis: u64,
    notes: &'a [String],
    artifacts: &'a [String],
}

/// Renders the matrix as `results.json`, on one line: indented, a run of many cells would be twice as long.
///
/// # Errors
/// When it cannot be encoded, which no input is known to cause.
pub fn render(matrix: &Matrix) -> serde_json::Result<String> {
    let mut text = serde_json::to_string(&document(matrix))?;
    text.push('\n');
    Ok(text)
}

fn document(matrix: &Matrix) -> Document<'_> {
    Document {
        schema: SCHEMA,
        run: &matrix.run,
        harness: &matrix.harness,
        provenance: &matrix.provenance,
        test_set: &matrix.test_set,
        started: matrix.started,
        finished: matrix.finished,
        ending: matrix.ending,
        filter: matrix.filter.as_deref(),
        candidate: matrix.candidate,
        shaped: matrix.shaped,
        options: &matrix.options,
        profiles: matrix
            .profiles
            .iter()
            .map(|p| Profile { name: &p.name, range: &p.range, maintained: p.maintained })
            .collect(),
        unknown_profiles: &matrix.unknown_profiles,
        cells: matrix.cells.iter().map(cell).collect(),
    }
}

fn cell(cell: &CellReport) -> Cell<'_> {
    Cell {
        cell: &cell.cell,
        basis: cell.basis(),
        started: cell.started,
        millis: cell.millis,
        complete: cell.complete,
        phases: &cell.phases,
        errors: &cell.errors,
        facts: cell.facts.as_ref(),
        verdicts: cell
            .judgements
            .iter()
            .map(|(p, all)| (p.as_str(), all.iter().map(|(c, j)| (*c, judgement(j))).collect()))
            .collect(),
        tests: cell
            .instances
            .iter()
            .map(|instance| {
                let standing = FinalOutcome::of(instance.attempts.iter().map(|a| &a.outcome));
                TestView {
                    test: &instance.test,
                    profiles: &instance.profiles,
                    outcome: standing.as_ref().map(|s| s.outcome.name()),
                    flaky: standing.is_some_and(|s| s.is_flaky()),
                    attempts: instance
                        .attempts
                        .iter()
                        .map(|a| AttemptView {
                            outcome: &a.outcome,
                            guests: &a.guests,
                            millis: a.millis,
                            notes: &a.notes,
                            artifacts: &a.artifacts,
                        })
                        .collect(),
                }
            })
            .collect(),
        launches: &cell.launches,
    }
}

fn judgement(judgement: &Judgement) -> JudgementView<'_> {
    JudgementView {
        verdict: judgement.verdict,
        basis: judgement.basis,
        causes: &judgement.causes,
        reasons: &judgement.reasons,
        workaround: judgement.workaround.as_deref(),
        flaky: &judgement.flaky,
        required: judgement.required,
        passed: judgement.passed,
        unrun: judgement.unrun,
    }
}

#[cfg(test)]
mod tests;
