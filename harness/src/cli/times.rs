//! Durations of cells in earlier runs, for the estimates of `plan` and `run`.

use crate::cli::{UsageError, history, resolved};
use crate::run::RunRequest;
use crate::shards::{self, ExpectedCell, MinutesFrom};
use model::diagnostic::error_chain;
use reports::journal::{CellId, Environment, FILE, read};
use reports::run::{Run, fold};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Number of latest runs that are read if none is named.
const LAST: usize = 5;
/// Size limit for the journal of such a run: reading it must not delay the user for a mere estimate.
const MAX_JOURNAL: u64 = 32 << 20;

/// Returns the named runs.
///
/// # Errors
/// If a run cannot be read.
pub(super) fn runs(named: &[PathBuf]) -> Result<Vec<Run>, UsageError> {
    let one = |folder: &PathBuf| -> Result<Run, UsageError> {
        let failed = |why: String| UsageError(format!("--times-of {}: {why}", folder.display()));
        Ok(fold(&read(&folder.join(FILE)).map_err(|e| failed(error_chain(&e)))?))
    };
    named.iter().map(one).collect()
}

/// Returns the expected minutes of a run's cells: from the plan that names the cells, or from earlier runs. Mere
/// guesses are left out.
///
/// # Errors
/// If a named run cannot be read.
pub(super) fn minutes(
    request: &RunRequest,
    plan: Option<&Path>,
    named: &[PathBuf],
) -> Result<BTreeMap<CellId, u64>, UsageError> {
    let planned = plan.and_then(|file| shards::planned(&resolved::read(file).ok()?).ok());
    let expected = match planned {
        Some(planned) if named.is_empty() => planned,
        _ => shards::expected(&cells(request), &if named.is_empty() { last_runs() } else { runs(named)? }),
    };
    Ok(known(expected))
}

fn known(expected: Vec<ExpectedCell>) -> BTreeMap<CellId, u64> {
    let known = expected.into_iter().filter(|one| one.minutes_from != MinutesFrom::Guess);
    known.map(|one| (one.cell, one.minutes)).collect()
}

/// Returns the cells that a request may have: its environments are only known after the engine was asked.
fn cells(request: &RunRequest) -> Vec<CellId> {
    let of = |release: &model::release::Release, environment: &Environment| CellId {
        distro: release.distro.clone(),
        release: release.version.clone(),
        arch: release.arch,
        environment: *environment,
    };
    request.releases.iter().flat_map(|one| Environment::ALL.iter().map(move |place| of(one, place))).collect()
}

/// Returns the latest runs in the default directory; unreadable ones are skipped.
fn last_runs() -> Vec<Run> {
    let all = history::runs(&[]);
    let last = all.iter().rev().take(LAST).map(|folder| folder.join(FILE));
    let small = last.filter(|file| std::fs::metadata(file).is_ok_and(|found| found.len() <= MAX_JOURNAL));
    small.filter_map(|file| read(&file).ok()).map(|journal| fold(&journal)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessed_minutes_are_left_out_of_the_estimates() {
        let one = |name: &str, minutes_from| ExpectedCell { cell: name.parse().unwrap(), minutes: 7, minutes_from };
        let expected = vec![
            one("debian:13/x86_64/vm", MinutesFrom::Cell),
            one("debian:12/x86_64/vm", MinutesFrom::Environment),
            one("debian:13/x86_64/container", MinutesFrom::Guess),
        ];
        let names: Vec<String> = known(expected).keys().map(ToString::to_string).collect();
        assert_eq!(names, ["debian:12/x86_64/vm", "debian:13/x86_64/vm"]);
    }

    #[test]
    fn a_named_run_must_exist() {
        let refused = runs(&[PathBuf::from("nowhere")]).unwrap_err().to_string();
        assert!(refused.starts_with("--times-of nowhere: "), "{refused}");
        assert_eq!(runs(&[]).unwrap(), []);
    }
}
