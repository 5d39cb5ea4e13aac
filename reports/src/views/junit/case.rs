//! JUnit cases for single tests.

use super::{RunFiles, clean};
use crate::run::{Attempt, TestRun, last_words};
use crate::standing::{CellStanding, Effect, TestWeight};
use crate::verdict::FinalOutcome;
use crate::views::wording::{self, relevant};
use model::test_id::TestId;
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestRerun};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use suites::outcome::Outcome;

/// The cases of a suite.
pub(super) struct Cases<'a> {
    cell: &'a CellStanding<'a>,
    profile: &'a str,
    /// The final outcome of each test.
    last: BTreeMap<&'a TestId, FinalOutcome>,
    run_files: RunFiles<'a>,
    /// Whether results that could not be judged leave the exit code alone.
    tolerates_gaps: bool,
}

impl<'a> Cases<'a> {
    pub(super) fn new(
        cell: &'a CellStanding<'a>,
        profile: &'a str,
        instances: &[&'a TestRun],
        run_files: RunFiles<'a>,
        tolerates_gaps: bool,
    ) -> Cases<'a> {
        Cases { cell, profile, last: last_words(instances), run_files, tolerates_gaps }
    }

    /// Returns the case of a test.
    pub(super) fn of(&self, instance: &TestRun, class: &str) -> TestCase {
        let Some(last) = instance.final_outcome() else {
            return case(&instance.test, class, skipped("untested", "never ran"), 0);
        };
        let mut status = match (self.cell.weight(self.profile, &instance.test, &last), &last.outcome) {
            (TestWeight::Failure, Outcome::Fail(failure)) => {
                let message = format!("{}\n{}", failure.observed, self.turns(&instance.test));
                non_success(NonSuccessKind::Failure, failure.component.name(), &message)
            }
            (TestWeight::Error(why), _) => unjudged("error", &why, self.tolerates_gaps),
            (TestWeight::Excused(why), outcome) => excused(&why, &wording::detail(outcome)),
            (_, Outcome::Skip { reason }) => skipped("skip", reason),
            (_, Outcome::Blocked { by }) => skipped("blocked", &self.blocked(by)),
            (TestWeight::Nothing | TestWeight::Failure, _) => TestCaseStatus::success(),
        };
        // The attempt that counts is the status itself; other unsuccessful attempts are its reruns.
        let counts = instance.attempts.iter().rposition(|a| a.outcome == last.outcome);
        if !matches!(status, TestCaseStatus::Skipped { .. }) {
            for (place, attempt) in instance.attempts.iter().enumerate().filter(|(i, _)| Some(*i) != counts) {
                if let Some(rerun) = rerun(attempt, place + 1) {
                    status.add_rerun(rerun);
                }
            }
        }
        let output = self.output(instance, &status, &last.outcome);
        let millis = instance.attempts.iter().fold(0u64, |sum, a| sum.saturating_add(a.millis));
        let mut case = case(&instance.test, class, status, millis);
        if !output.is_empty() {
            case.set_system_out(clean(&output));
        }
        case
    }

    /// Describes the capabilities that a failing test makes worse: `fs.virtio-fs was supported (2026-11-21), is
    /// unsupported`.
    fn turns(&self, test: &str) -> String {
        let Some(standing) = self.cell.profile(self.profile) else { return String::new() };
        let worse = standing.capabilities.iter().filter(|(_, one)| {
            one.effect == Effect::Worse && one.judgement.causes.iter().any(|cause| cause.test == test)
        });
        let turns = worse.map(|(capability, one)| format!("{}: {capability} {}", one.title(), one.turn()));
        turns.collect::<Vec<_>>().join("\n")
    }

    /// Names the test at the root of a block, and its message.
    fn blocked(&self, by: &TestId) -> String {
        let (mut root, mut seen) = (by, BTreeSet::new());
        while seen.insert(root) {
            match self.last.get(root).map(|last| &last.outcome) {
                Some(Outcome::Blocked { by }) => root = by,
                Some(outcome) => return format!("blocked by {root}: {}", wording::detail(outcome)),
                None => return format!("blocked by {root}, which never ran"),
            }
        }
        format!("blocked by {by}")
    }

    /// Returns the notes of a test; if it was not successful, also the end of the most informative log, and its files.
    fn output(&self, instance: &TestRun, status: &TestCaseStatus, outcome: &Outcome) -> String {
        let mut lines: Vec<String> = instance.attempts.iter().flat_map(|a| &a.notes).cloned().collect();
        if !matches!(status, TestCaseStatus::NonSuccess { .. }) {
            return lines.join("\n");
        }
        let files: BTreeSet<&str> = instance.attempts.iter().flat_map(|a| &a.artifacts).map(String::as_str).collect();
        let blamed = match outcome {
            Outcome::Fail(failure) => Some(failure.component),
            _ => None,
        };
        if let Some((file, tail)) = relevant(&files, blamed).and_then(|file| Some((file, (self.run_files.tail)(file)?)))
        {
            lines.push(format!("the end of {file}:\n{tail}"));
        }
        // Jenkins and GitLab expect each attachment on a line of its own.
        lines.extend(files.iter().map(|file| format!("[[ATTACHMENT|{}]]", self.run_files.folder.join(file).display())));
        lines.join("\n")
    }
}

fn rerun(attempt: &Attempt, number: usize) -> Option<TestRerun> {
    let (kind, ty, message) = match &attempt.outcome {
        Outcome::Fail(failure) => (NonSuccessKind::Failure, failure.component.name(), &failure.observed),
        Outcome::Error { message } => (NonSuccessKind::Error, "error", message),
        Outcome::Pass | Outcome::Skip { .. } | Outcome::Blocked { .. } => return None,
    };
    let mut rerun = TestRerun::new(kind);
    rerun.set_type(ty).set_message(head(message)).set_description(clean(&format!("attempt {number}: {message}")));
    Some(rerun)
}

pub(super) fn case(name: &str, class: &str, status: TestCaseStatus, millis: u64) -> TestCase {
    let mut case = TestCase::new(clean(name), status);
    case.set_classname(class);
    case.set_time(Duration::from_millis(millis));
    case
}

pub(super) fn non_success(kind: NonSuccessKind, ty: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(ty).set_message(head(message)).set_description(clean(message));
    status
}

/// Returns the status of a result that could not be judged: an error, or skipped if a pipeline tolerates it.
pub(super) fn unjudged(ty: &str, message: &str, is_tolerated: bool) -> TestCaseStatus {
    if is_tolerated { skipped("unjudged", message) } else { non_success(NonSuccessKind::Error, ty, message) }
}

pub(super) fn skipped(ty: &str, reason: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_type(ty).set_message(head(reason));
    status
}

/// Returns the status of a failure without effect, with the reason and the observation.
fn excused(why: &str, detail: &str) -> TestCaseStatus {
    let mut status = skipped("excused", why);
    status.set_description(clean(detail));
    status
}

/// Returns the first line, for an attribute.
fn head(text: &str) -> String {
    clean(text.trim().lines().next().unwrap_or_default())
}
