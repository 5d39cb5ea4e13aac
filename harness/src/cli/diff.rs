//! `kata-qualify diff`: two runs side by side, or a run beside the record.

use crate::cli::arguments::{DiffArguments, Format};
use crate::cli::{Exit, UsageError, print, records, report};
use model::database::Database;
use model::profile::Profile;
use reports::difference::{Difference, Side};
use reports::matrix::Matrix;
use reports::standing::Recorded;
use std::path::Path;

/// Runs the command: exit code 1 where a verdict is worse or a cause is new, else 3 where nobody knows whether one is.
pub(super) fn diff(what: &DiffArguments) -> anyhow::Result<Exit> {
    let database = records::database(what.records.as_deref())?;
    let judged = |dir: &Path| judged(dir, &database);
    let first = judged(&what.a)?;
    let of_run = |dir: &Path, matrix: &Matrix| Side::of_run(&dir.display().to_string(), matrix);
    let (before, after) = match &what.b {
        Some(second) => (of_run(&what.a, &first), of_run(second, &judged(second)?)),
        None => (Side::of_record(&first, &Recorded::of(database.records())), of_run(&what.a, &first)),
    };
    let difference = Difference::between(&before, &after);
    if difference.is_of_nothing(&after) {
        let why = match &what.b {
            Some(_) => "the runs have no cell and profile in common: there is nothing to compare",
            None => "the record has no entry of this run's cells and profiles: there is nothing to compare",
        };
        return Err(UsageError(why.to_owned()).into());
    }
    match what.format {
        Format::Json => print(&format!("{}\n", serde_json::to_string_pretty(&difference)?))?,
        Format::Human => print(&difference.text())?,
    }
    Ok(match (difference.is_worse(), difference.is_unjudged()) {
        (true, _) => Exit::Worse,
        (false, true) => Exit::Infrastructure,
        (false, false) => Exit::AsRecorded,
    })
}

/// A folder without a readable journal is bad input.
fn judged(dir: &Path, database: &Database) -> anyhow::Result<Matrix> {
    Ok(report::judged(dir, Profile::all(), Some(database)).map_err(|e| UsageError(format!("{e:#}")))?)
}
