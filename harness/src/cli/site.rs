//! `kata-qualify site`: the records and runs as static pages.

use crate::bundle::open;
use crate::cli::arguments::SiteArguments;
use crate::cli::{Exit, UsageError, records, report, usage};
use crate::progress::tell;
use anyhow::Context as _;
use model::database::Database;
use model::profile::Profile;
use model::record::Record;
use reports::matrix::Matrix;
use reports::views::site::{self, SiteError, WrittenSite};
use std::path::Path;
use suites::catalogue;

/// Runs the command.
pub(super) fn site(what: &SiteArguments) -> anyhow::Result<Exit> {
    let database = records::database(what.records.as_deref())?;
    let mut runs: Vec<Matrix> = Vec::new();
    for run in &what.runs {
        let matrix = read(run, &database).map_err(|e| UsageError(format!("{}: {e:#}", run.display())))?;
        // A journal is large, so only its matrix is kept; a run that is named twice counts once.
        if runs.iter().all(|known| known.run != matrix.run) {
            runs.push(matrix);
        }
    }
    let records: Vec<&Record> = database.records().collect();
    let written = site::write(&records, &runs, catalogue::tests(), Profile::all(), &what.out);
    let WrittenSite { files, releases, withheld } = written.map_err(|e| match e {
        SiteError::Foreign { .. } => anyhow::Error::from(usage(&e)),
        SiteError::Write(..) => e.into(),
    })?;
    if withheld > 0 {
        tell(format_args!("note: {withheld} of {} runs do not count, or only in part: see runs.html", runs.len()));
    }
    tell(format_args!("site: {} ({files} files, {releases} releases)", what.out.join("index.html").display()));
    Ok(Exit::AsRecorded)
}

/// Returns the results of a run, from its output directory or its bundle.
fn read(run: &Path, database: &Database) -> anyhow::Result<Matrix> {
    if run.is_dir() {
        return report::judged(run, Profile::all(), Some(database));
    }
    let folder = tempfile::tempdir().context("creating a folder")?;
    open(run, folder.path()).map_err(|e| UsageError(e.to_string()))?;
    report::judged(folder.path(), Profile::all(), Some(database))
}
