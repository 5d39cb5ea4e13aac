//! The choice of a failed test of a run, for commands about a single test.

use crate::cli::UsageError;
use crate::cli::arguments::FailedTestArguments;
use model::profile::ProfileName;
use model::test_id::TestId;
use reports::journal::CellId;
use reports::matrix::Matrix;
use suites::outcome::{Component, Outcome};

/// A test that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    /// The cell in which the test failed.
    pub(super) cell: CellId,
    /// The profile under which the test failed.
    pub(super) profile: ProfileName,
    /// The id of the test.
    pub(super) test: TestId,
    /// The signature of the failure.
    pub(super) signature: String,
    /// The component that the failure itself blames.
    pub(super) blames: Component,
}

/// Returns the failed test that the arguments name.
pub(super) fn chosen(matrix: &Matrix, arguments: &FailedTestArguments) -> Result<Case, UsageError> {
    let all = failed(matrix);
    let is_asked = |case: &&Case| {
        arguments.cell.as_ref().is_none_or(|cell| case.cell == *cell)
            && arguments.profile.as_ref().is_none_or(|profile| case.profile == *profile)
    };
    let requested: Vec<&Case> = all.iter().filter(is_asked).collect();
    let exact: Vec<&Case> = requested.iter().copied().filter(|case| case.test == *arguments.test).collect();
    let named: Vec<&Case> = match exact.is_empty() {
        true => requested.iter().copied().filter(|case| case.test.contains(&arguments.test)).collect(),
        false => exact,
    };
    let Some(first) = named.first() else {
        let mut tests: Vec<&str> = requested.iter().map(|case| case.test.as_str()).collect();
        tests.dedup();
        let failed = if tests.is_empty() { "none did".to_owned() } else { tests.join(", ") };
        return Err(UsageError(format!(
            "no failed test there has `{}` in its name; tests that failed: {failed}",
            arguments.test
        )));
    };
    let other = named.iter().find(|case| (&case.test, &case.cell) != (&first.test, &first.cell));
    match other {
        Some(other) if other.test != first.test => Err(UsageError(format!(
            "`{}` matches several failed tests: {}, {}; name one",
            arguments.test, first.test, other.test
        ))),
        Some(other) => Err(UsageError(format!(
            "{} failed in several cells: name one by --cell {} or --cell {}",
            first.test, first.cell, other.cell
        ))),
        None => Ok((*first).clone()),
    }
}

/// Returns all failed tests of a run, in the run's order.
fn failed(matrix: &Matrix) -> Vec<Case> {
    let mut all = Vec::new();
    for cell in &matrix.cells {
        for instance in &cell.instances {
            let Some(Outcome::Fail(failure)) = instance.final_outcome().map(|last| last.outcome) else { continue };
            all.extend(instance.profiles.iter().map(|profile| Case {
                cell: cell.cell.clone(),
                profile: profile.clone(),
                test: instance.test.clone(),
                signature: failure.signature.clone(),
                blames: failure.component,
            }));
        }
    }
    all
}
