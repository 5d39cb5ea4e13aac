//! `results.json`: the matrix for programs.
//!
//! The document has a `schema`, which is raised when a field changes its meaning or is removed; new fields may be added
//! without that.
//! Words are those of the records: verdicts `supported`, `partial`, `offered`, `unsupported`, `not-applicable`,
//! `untested`, `inconclusive`; bases `hardware`, `emulated`; outcomes `pass`, `fail`, `skip`, `blocked`, `error`. Times
//! are RFC 3339 in UTC, durations are milliseconds.
//!
//! ```json
//! { "schema": 2, "exit-code": 1, "exit-reasons": ["new failure (1)"], "not-judged": [],
//!   "run": "…", "harness": "…", "test-set": "…", "ending": "finished",
//!   "changes": [{ "cell": "debian:13/x86_64/container", "change": "new-failure", "exit-code": 1,
//!     "capabilities": ["vmm.tdx"], "profiles": ["go-3.29"],
//!     "was": "offered", "recorded": "2026-11-21", "is": "unsupported", "why": ["qemu: … (smoke::…)"],
//!     "packages": [{ "name": "qemu-system-x86", "then": "…", "now": "…" }] }],
//!   "answers": [{ "distro": "debian", "release": "13", "arch": "x86_64", "profile": "go-3.29", "answer": "not-known",
//!     "words": "not known yet: incomplete, 6 of 8 (vsock, net)", "supported": 6, "needed": 8,
//!     "missing": ["vmm.vsock", "vmm.net"], "basis": "emulated" }],
//!   "known-issues": [{ "id": "…", "state": "expected", "package": "rust-virtiofsd", "url": "https://…",
//!     "owner": "…", "expires": "2027-03-01", "file": "distros/known-issues/debian.yaml", "line": 4,
//!     "tests": ["…"], "cells": ["…"] }],
//!   "profiles": [{ "name": "go-3.29", "range": "3.29 on", "maintained": true }],
//!   "cells": [{ "cell": "debian:13/x86_64/container", "basis": "emulated",
//!     "facts": { "versions": { "qemu-system-x86": "…" } },
//!     "verdicts": { "go-3.29": { "fs.virtio-fs": { "verdict": "unsupported", "basis": "emulated", "optional": false,
//!       "change": "known", "recorded": "unsupported", "since": "2026-11-21",
//!       "causes": [{ "test": "…", "component": "virtiofsd", "message": "…", "signature": "…",
//!         "asked-for": [], "by-share": [] }] } } },
//!     "tests": [{ "test": "…", "profiles": ["go-3.29"], "outcome": "pass",
//!       "attempts": [{ "outcome": { "outcome": "pass" }, "millis": 12 }] }] }] }
//! ```

mod change;

pub(crate) use change::{ChangeView, change};

use crate::journal::{CellFacts, CellId, Phase};
use crate::matrix::Matrix;
use crate::run::{CellFailure, Conflict, GuestLaunch, Provenance, RunEnding};
use crate::standing::{CapabilityStanding, CellStanding, Change, IssueStanding, IssueState, ReleaseAnswer, Standings};
use crate::verdict::{Cause, Flaky, Reason};
use crate::views::rates::Rate;
use crate::views::wording;
use jiff::Timestamp;
use jiff::civil::Date;
use model::arch::Arch;
use model::distro::{DistroId, ReleaseVersion};
use model::profile::ProfileName;
use model::verified::{Basis, Verdict};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use suites::capability::Capability;
use suites::outcome::Outcome;

/// The version of the document's format.
pub const SCHEMA: u32 = 2;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Document<'a> {
    schema: u32,
    /// The exit code of `run`, and of `report` with the same records.
    exit_code: u8,
    /// The reasons for the exit code: changes by their titles, known issues at fault, planned results that a pipeline
    /// is missing.
    exit_reasons: Vec<String>,
    /// Everything that was not judged, except for the verdicts among `changes`.
    not_judged: Vec<String>,
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
    filter: Option<String>,
    /// Whether the distro or the records were overlaid.
    candidate: bool,
    /// Whether the caller's own keys, image or records vouched for packages.
    shaped: bool,
    options: &'a [String],
    /// The changes against the record, and everything else that affects the exit code.
    changes: Vec<ChangeView<'a>>,
    /// Whether Kata can run on each release, by profile.
    answers: Vec<AnswerView<'a>>,
    /// The known issues about packages of the run.
    known_issues: Vec<IssueView<'a>>,
    profiles: Vec<Profile<'a>>,
    /// Profiles in the journal that cannot be judged, because they are unknown here.
    unknown_profiles: &'a [ProfileName],
    /// Conflicts between runs that were merged, and which run counts.
    conflicts: &'a [Conflict],
    cells: Vec<Cell<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AnswerView<'a> {
    distro: &'a DistroId,
    release: &'a ReleaseVersion,
    arch: Arch,
    profile: &'a str,
    /// `yes`, `with`, `no` or `not-known`.
    answer: &'static str,
    words: String,
    supported: usize,
    needed: usize,
    /// The capabilities that no run has judged with the newest packages that were measured.
    missing: Vec<Capability>,
    /// The missing capabilities that worked with other packages, which says nothing about the newest.
    outdated: Vec<Capability>,
    /// The capabilities that only older tests showed to be supported.
    older_tests: Vec<Capability>,
    basis: Option<Basis>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct IssueView<'a> {
    id: &'a str,
    /// The state of the issue in the run.
    state: IssueState,
    /// The source package.
    package: &'a str,
    url: &'a str,
    owner: &'a str,
    /// The last day on which the issue excuses anything.
    #[schemars(with = "String")]
    expires: Date,
    file: &'a str,
    line: usize,
    /// The tests that failed as the issue describes.
    tests: Vec<&'a str>,
    /// The cells where these tests failed; if the issue's test passed unexpectedly, the cells where it passed.
    cells: Vec<&'a CellId>,
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
    /// The basis; null if the cell never got far enough to know.
    basis: Option<Basis>,
    #[schemars(with = "Option<String>")]
    started: Option<Timestamp>,
    millis: Option<u64>,
    /// Whether work on the cell was completed.
    complete: bool,
    /// The filter of the cell's tests; null when all were asked for. In a merged run cells can differ in it.
    filter: Option<String>,
    /// Milliseconds by phase.
    phases: &'a BTreeMap<Phase, u64>,
    /// Why the cell could not go on; never the distro's fault.
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
    /// Whether Kata runs without the capability.
    optional: bool,
    /// The kind of change against the record.
    change: Change,
    /// The recorded verdict.
    recorded: Option<Verdict>,
    /// Since when the verdict is known.
    #[schemars(with = "Option<String>")]
    since: Option<Date>,
    /// Every independent cause of `unsupported`.
    causes: &'a [Cause],
    /// The reasons why support could not be shown.
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
    profiles: &'a [ProfileName],
    /// The final outcome.
    outcome: Option<&'static str>,
    flaky: bool,
    /// How often the test passed, if `--repeat` was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<Rate>,
    attempts: Vec<AttemptView<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct AttemptView<'a> {
    outcome: &'a Outcome,
    /// The guests that the attempt ran in or started, by their numbers in the cell.
    guests: &'a [u32],
    millis: u64,
    notes: &'a [String],
    artifacts: &'a [String],
}

/// Renders a run as `results.json`, on one line: indented, a run of many cells would be twice as long.
///
/// # Errors
/// If it cannot be encoded, which no input is known to cause.
pub fn render(standings: &Standings<'_>) -> serde_json::Result<String> {
    let mut text = serde_json::to_string(&document(standings))?;
    text.push('\n');
    Ok(text)
}

fn document<'a>(standings: &'a Standings<'_>) -> Document<'a> {
    let matrix = standings.matrix;
    Document {
        schema: SCHEMA,
        exit_code: standings.exit_code(),
        exit_reasons: wording::exit_reasons(standings),
        not_judged: standings.not_judged(),
        run: &matrix.run,
        harness: &matrix.harness,
        provenance: &matrix.provenance,
        test_set: &matrix.test_set,
        started: matrix.started,
        finished: matrix.finished,
        ending: matrix.ending,
        filter: matrix.filter.as_ref().map(ToString::to_string),
        candidate: matrix.candidate,
        shaped: matrix.shaped,
        options: &matrix.options,
        changes: changes(standings),
        answers: answers(standings),
        known_issues: standings.issues.iter().map(issue).collect(),
        profiles: matrix
            .profiles
            .iter()
            .map(|p| Profile { name: &p.name, range: &p.range, maintained: p.maintained })
            .collect(),
        unknown_profiles: &matrix.unknown_profiles,
        conflicts: &matrix.conflicts,
        cells: standings.cells.iter().map(|one| cell(matrix, one)).collect(),
    }
}

fn changes<'a>(standings: &'a Standings<'_>) -> Vec<ChangeView<'a>> {
    standings.changes().into_iter().map(|row| change(standings, row)).collect()
}

fn answers<'a>(standings: &'a Standings<'_>) -> Vec<AnswerView<'a>> {
    let profiles = &standings.matrix.profiles;
    let of_release = |id: &'a CellId| profiles.iter().map(move |p| answer(id, &p.name, standings.answer(id, &p.name)));
    standings.releases().into_iter().flat_map(of_release).collect()
}

/// Returns the answer for a cell's release, for programs.
pub(crate) fn answer<'a>(id: &'a CellId, profile: &'a str, answer: ReleaseAnswer) -> AnswerView<'a> {
    AnswerView {
        distro: &id.distro,
        release: &id.release,
        arch: id.arch,
        profile,
        answer: answer.name(),
        words: answer.words(),
        supported: answer.answer.supported,
        needed: answer.answer.needed,
        basis: answer.basis,
        missing: answer.answer.missing,
        outdated: answer.answer.outdated,
        older_tests: answer.answer.older_tests,
    }
}

fn issue<'a>(standing: &'a IssueStanding<'_>) -> IssueView<'a> {
    let issue = standing.issue;
    IssueView {
        id: &issue.id,
        state: standing.state,
        package: issue.package.as_str(),
        url: &issue.url,
        owner: &issue.owner,
        expires: issue.expires,
        file: &issue.origin.file,
        line: issue.origin.line,
        tests: standing.tests.iter().copied().collect(),
        cells: standing.cells().collect(),
    }
}

fn cell<'a>(matrix: &Matrix, standing: &'a CellStanding<'_>) -> Cell<'a> {
    let cell = standing.report;
    Cell {
        cell: &cell.cell,
        basis: cell.basis(),
        started: cell.started,
        millis: cell.millis,
        complete: cell.complete,
        filter: cell.filter.as_ref().map(ToString::to_string),
        phases: &cell.phases,
        errors: &cell.errors,
        facts: cell.facts.as_ref(),
        verdicts: standing
            .profiles
            .iter()
            .map(|(p, all)| (p.as_str(), all.capabilities.iter().map(|(c, one)| (*c, judgement(one))).collect()))
            .collect(),
        tests: cell
            .instances
            .iter()
            .map(|instance| {
                let standing = instance.final_outcome();
                TestView {
                    test: &instance.test,
                    profiles: &instance.profiles,
                    outcome: standing.as_ref().map(|s| s.outcome.name()),
                    flaky: standing.is_some_and(|s| s.is_flaky()),
                    rate: Rate::of(matrix, instance),
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

fn judgement<'a>(standing: &'a CapabilityStanding<'_>) -> JudgementView<'a> {
    let judgement = standing.judgement;
    JudgementView {
        verdict: standing.verdict(),
        basis: standing.basis(),
        optional: standing.optional,
        change: standing.change,
        recorded: standing.recorded,
        since: standing.since,
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
