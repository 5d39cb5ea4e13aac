//! `kata-qualify diff`: compares two runs, or a run with the record.

use crate::cli::arguments::{DiffArguments, Format};
use crate::cli::{Exit, UsageError, print, records, report};
use model::database::Database;
use model::profile::Profile;
use reports::difference::{Difference, Side};
use reports::matrix::Matrix;
use reports::run::RunEnding;
use reports::standing::{Recorded, Standings};
use std::path::Path;

/// Runs the command. For two runs the exit code is 1 if a verdict is worse or a cause is new, else 3 if this cannot be
/// known; compared with the record, the exit code is that of `report`.
pub(super) fn diff(what: &DiffArguments) -> anyhow::Result<Exit> {
    let database = records::database(what.records.as_deref())?;
    let judged = |dir: &Path| judged(dir, &database);
    let first = judged(&what.a)?;
    let of_run = |dir: &Path, matrix: &Matrix| Side::of_run(&dir.display().to_string(), matrix);
    let difference = match &what.b {
        Some(second) => Difference::between(&of_run(&what.a, &first), &of_run(second, &judged(second)?)),
        // As strict as the run was asked to be.
        None => {
            let standings = Standings::new(&first, Recorded::of(database.records()), first.strict);
            Difference::beside_record(&standings, &what.a.display().to_string())
        }
    };
    if difference.is_of_nothing() {
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
    Ok(match (&what.b, first.ending) {
        (None, RunEnding::Interrupted) => Exit::Interrupted,
        _ => report::exit_of(difference.effect()),
    })
}

/// Reads and judges a run; a directory without a readable journal is bad input.
fn judged(dir: &Path, database: &Database) -> anyhow::Result<Matrix> {
    Ok(report::judged(dir, Profile::all(), Some(database)).map_err(|e| UsageError(format!("{e:#}")))?)
}
