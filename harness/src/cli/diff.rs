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
    let second = what.b.as_deref().map(|dir| judged(dir).map(|matrix| (dir, matrix))).transpose()?;
    let difference = match &second {
        Some((dir, second)) => Difference::between(&of_run(&what.a, &first), &of_run(dir, second)),
        // As strict as the run was asked to be.
        None => {
            let standings = Standings::new(&first, Recorded::of(database.records()), first.strict);
            Difference::beside_record(&standings, &what.a.display().to_string())
        }
    };
    if difference.is_of_nothing() {
        let why = match &second {
            Some(_) => "the runs have no cell and profile in common: there is nothing to compare",
            None => "the record has no entry of this run's cells and profiles: there is nothing to compare",
        };
        let runs = [(what.a.as_path(), &first)].into_iter().chain(second.iter().map(|(dir, second)| (*dir, second)));
        let unknown: String = runs.map(|(dir, matrix)| unknown_profiles(dir, matrix)).collect();
        return Err(UsageError(format!("{why}{unknown}")).into());
    }
    match what.format {
        Format::Json => print(&format!("{}\n", serde_json::to_string_pretty(&difference)?))?,
        Format::Human => print(&difference.text())?,
    }
    Ok(match (&second, first.ending) {
        (None, RunEnding::Interrupted) => Exit::Interrupted,
        _ => report::exit_of(difference.effect()),
    })
}

/// Says which of a run's profiles this version does not know, and what knows them; nothing if it knows all.
fn unknown_profiles(dir: &Path, matrix: &Matrix) -> String {
    let unknown = matrix.unknown_profiles.iter().filter_map(|name| Profile::find(name.as_str()).err());
    let mut text: String = unknown.map(|error| format!("\n{}: {error}", dir.display())).collect();
    if !text.is_empty() {
        text.push_str("\nhint: compare it with the kata-qualify that made this run, or with a newer one");
    }
    text
}

/// Reads and judges a run; a directory without a readable journal is bad input.
fn judged(dir: &Path, database: &Database) -> anyhow::Result<Matrix> {
    Ok(report::judged(dir, Profile::all(), Some(database)).map_err(|e| UsageError(format!("{e:#}")))?)
}
