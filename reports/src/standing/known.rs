//! Known issues, the entries of `distros/known-issues`, compared with a run.
//!
//! An issue excuses failures of its test or signature with packages in its range. It is at fault itself if it has
//! expired, if its test passes, or if a whole run that ran its test has no match.

use super::Recorded;
use crate::journal::CellId;
use crate::matrix::{CellReport, Matrix};
use crate::run::{TestRun, by_profile, day, last_words};
use crate::verdict::FinalOutcome;
use model::distro::DistroId;
use model::known_issues::{KnownFailure, KnownIssue};
use model::test_id::TestId;
use std::collections::{BTreeMap, BTreeSet};
use suites::outcome::Outcome;

/// The state of a known issue in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IssueState {
    /// Something failed as the issue describes.
    Expected,
    /// The issue's test passed.
    UnexpectedPass,
    /// The run is complete, but nothing in it matches the issue.
    Unmatched,
    /// The issue has expired and excuses nothing any more.
    Expired,
    /// The run did not reach the issue's tests or packages.
    Unjudged,
}

/// Cells, each with some of its profiles.
type Places<'m> = BTreeMap<&'m CellId, BTreeSet<&'m str>>;

/// A known issue about packages of the run, and its state in the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueStanding<'m> {
    /// The entry.
    pub issue: &'m KnownIssue,
    /// The state in the run.
    pub state: IssueState,
    /// The tests that failed as the issue describes.
    pub tests: BTreeSet<&'m str>,
    /// Where they failed, even if they then passed.
    pub failed: Places<'m>,
    /// Where the issue's test passed, each time.
    pub passed: Places<'m>,
}

impl<'m> IssueStanding<'m> {
    /// Checks whether the issue itself is wrong, which makes the exit code 1.
    pub fn is_at_fault(&self) -> bool {
        match self.state {
            IssueState::UnexpectedPass | IssueState::Unmatched | IssueState::Expired => true,
            IssueState::Expected | IssueState::Unjudged => false,
        }
    }

    /// Returns the cells where tests failed as the issue describes; if its test passed unexpectedly, the cells where it
    /// passed.
    pub fn cells(&self) -> impl Iterator<Item = &'m CellId> {
        let places = match self.state {
            IssueState::UnexpectedPass => &self.passed,
            IssueState::Expected | IssueState::Unmatched | IssueState::Expired | IssueState::Unjudged => &self.failed,
        };
        places.keys().copied()
    }

    /// Describes the issue with the address of its entry; `None` if the run says nothing about it.
    pub fn words(&self) -> Option<String> {
        let issue = self.issue;
        let cells = self.cells().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let place = format!("{}:{}", issue.origin.file, issue.origin.line);
        let text = match self.state {
            IssueState::Unjudged => return None,
            IssueState::Expected => {
                let tests: Vec<&str> = self.tests.iter().copied().collect();
                format!("expected failure of {} in {cells}", tests.join(", "))
            }
            IssueState::UnexpectedPass => {
                let passed = in_words(&self.passed);
                match self.failed.is_empty() {
                    true => format!("its test passes in {passed}: remove the entry or narrow its versions, {place}"),
                    false => {
                        let failed = in_words(&self.failed);
                        let narrow = "narrow its profiles, environments or versions";
                        format!("its test passes in {passed}, and fails in {failed}: {narrow}, {place}")
                    }
                }
            }
            IssueState::Unmatched => {
                format!("nothing in this unfiltered run matches it: correct or remove the entry, {place}")
            }
            IssueState::Expired => format!(
                "it has expired and no longer excuses failures: renew or remove the entry, \
                                            {place}"
            ),
        };
        Some(format!("{}: {text}", reason(issue)))
    }
}

/// Formats places: `debian:13/x86_64/container (go-3.29, rs-4.0)`.
fn in_words(places: &Places<'_>) -> String {
    let one = |(cell, profiles): (&&CellId, &BTreeSet<&str>)| {
        format!("{cell} ({})", profiles.iter().copied().collect::<Vec<_>>().join(", "))
    };
    places.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Formats an entry: `known issue virtiofsd-flags of rust-virtiofsd, https://… (owner somebody, until 2027-03-01)`.
pub(super) fn reason(issue: &KnownIssue) -> String {
    let KnownIssue { id, package, url, owner, expires, .. } = issue;
    format!("known issue {id} of {package}, {url} (owner {owner}, until {expires})")
}

/// By profile, the tests that failed as a known issue describes.
pub(super) type KnownTests<'m> = BTreeMap<&'m str, BTreeMap<&'m str, &'m KnownIssue>>;

/// The known issues behind a run's failures.
pub(super) struct Known<'m> {
    /// The excused tests by cell, in the matrix's order.
    pub(super) cells: Vec<KnownTests<'m>>,
    /// Every entry that is about packages of the run.
    pub(super) issues: Vec<IssueStanding<'m>>,
}

/// The observations about a known issue.
struct Seen<'m> {
    issue: &'m KnownIssue,
    tests: BTreeSet<&'m str>,
    failed: Places<'m>,
    passed: Places<'m>,
    /// Whether all tests ran that could have shown the issue.
    is_whole: bool,
}

/// Compares a run's failures with the known issues.
pub(super) fn of<'m>(matrix: &'m Matrix, recorded: &Recorded<'m>) -> Known<'m> {
    let today = matrix.finished.map(day);
    let is_expired = |issue: &KnownIssue| today.is_some_and(|today| issue.is_expired(today));
    let mut observations: BTreeMap<(&DistroId, &str), Seen<'m>> = BTreeMap::new();
    let mut cells = Vec::new();
    for cell in &matrix.cells {
        let mut known: KnownTests<'m> = BTreeMap::new();
        let issues = recorded.issues(cell);
        let runs = if issues.is_empty() { BTreeMap::new() } else { by_profile(&cell.instances) };
        for profile in &matrix.profiles {
            let profile = profile.name.as_str();
            let instances = runs.get(profile).map(Vec::as_slice).unwrap_or_default();
            let last = last_words(instances);
            for &issue in issues.iter().filter(|issue| issue.is_of(profile, cell.cell.environment)) {
                let (tests, failed, passed) = Default::default();
                let fresh = Seen { issue, tests, failed, passed, is_whole: false };
                let all = observations.entry((&cell.cell.distro, issue.id.as_str())).or_insert(fresh);
                if is_expired(issue) {
                    continue;
                }
                let is_failure = |test: &str, last: &FinalOutcome| match &last.outcome {
                    Outcome::Fail(failure) => {
                        issue.is(test, &failure.signature) && cell.doubted(profile, test).is_none()
                    }
                    _ => false,
                };
                for (&test, _) in last.iter().filter(|(test, last)| is_failure(test, last)) {
                    all.tests.insert(test);
                    all.failed.entry(&cell.cell).or_default().insert(profile);
                    known.entry(profile).or_default().entry(test).or_insert(issue);
                }
                // A failure of a test that then passed is not excused, but shows that the issue still exists.
                for &instance in instances.iter().filter(|instance| is_flaky_as(issue, instance)) {
                    all.tests.insert(&instance.test);
                    all.failed.entry(&cell.cell).or_default().insert(profile);
                }
                if is_unexpected_pass(issue, &last) {
                    all.passed.entry(&cell.cell).or_default().insert(profile);
                }
                all.is_whole |= is_whole(cell, issue, &last);
            }
        }
        cells.push(known);
    }
    let standing = |observed: Seen<'m>| {
        let Seen { issue, tests, failed, passed, is_whole } = observed;
        let state = match (is_expired(issue), passed.is_empty(), failed.is_empty()) {
            (true, _, _) => IssueState::Expired,
            (false, false, _) => IssueState::UnexpectedPass,
            (false, true, false) => IssueState::Expected,
            (false, true, true) if is_whole => IssueState::Unmatched,
            (false, true, true) => IssueState::Unjudged,
        };
        IssueStanding { issue, state, tests, failed, passed }
    };
    Known { cells, issues: observations.into_values().map(standing).collect() }
}

/// Checks whether a test failed as an issue describes, and then passed.
fn is_flaky_as(issue: &KnownIssue, instance: &TestRun) -> bool {
    let is_it = |outcome: &Outcome| match outcome {
        Outcome::Fail(failure) => issue.is(&instance.test, &failure.signature),
        Outcome::Pass | Outcome::Skip { .. } | Outcome::Blocked { .. } | Outcome::Error { .. } => false,
    };
    let is_flaky = instance.final_outcome().is_some_and(|last| last.is_flaky());
    is_flaky && instance.attempts.iter().any(|attempt| is_it(&attempt.outcome))
}

/// Checks whether the test of an issue passed, each time.
fn is_unexpected_pass(issue: &KnownIssue, last: &BTreeMap<&TestId, FinalOutcome>) -> bool {
    let KnownFailure::Test(test) = &issue.failure else { return false };
    last.get(test).is_some_and(|last| last.outcome == Outcome::Pass && !last.is_flaky())
}

/// Checks whether all tests ran in a cell that could have shown an issue.
fn is_whole(cell: &CellReport, issue: &KnownIssue, last: &BTreeMap<&TestId, FinalOutcome>) -> bool {
    let hides = |last: &FinalOutcome| match (&last.outcome, &issue.failure) {
        (Outcome::Pass | Outcome::Fail(_), _) => false,
        (Outcome::Error { .. } | Outcome::Blocked { .. }, _) => true,
        // A skipped test hides an issue about this test, but not an issue about a signature, which other tests can
        // show.
        (Outcome::Skip { .. }, KnownFailure::Test(_)) => true,
        (Outcome::Skip { .. }, KnownFailure::Signature(_)) => false,
    };
    let is_hidden = match &issue.failure {
        // A test that does not run in this environment, or was never reached, shows nothing about an issue.
        KnownFailure::Test(test) => last.get(test).is_none_or(hides),
        KnownFailure::Signature(_) => last.values().any(hides),
    };
    cell.filter.is_none() && cell.complete && cell.errors.is_empty() && !is_hidden
}

#[cfg(test)]
mod tests;
