//! `kata-qualify report`: rewrites all reports from a run's journal, which is the only truth.

use crate::cli::arguments::{Format, MatrixArguments, ReportArguments};
use crate::cli::{Exit, UsageError};
use crate::progress::tell;
use anyhow::Context as _;
use model::profile::Profile;
use reports::journal::Journal;
use reports::matrix::Matrix;
use std::io::IsTerminal as _;
use std::path::Path;
use suites::catalogue;

/// Runs the command.
pub(super) fn report(what: &ReportArguments) -> anyhow::Result<Exit> {
    // A folder without a readable journal is bad input; nothing is written then.
    let journal = read(&what.dir).map_err(|e| UsageError(format!("{e:#}")))?;
    let matrix = write_from(&journal, Profile::all(), &what.dir)?;
    print(&matrix, what.format)?;
    tell(format_args!("reports: {}", what.dir.display()));
    Ok(Exit::AsRecorded)
}

/// Prints what the records say was verified.
pub(super) fn matrix(what: &MatrixArguments) -> anyhow::Result<Exit> {
    let database = crate::cli::records::database(what.records.as_deref())?;
    crate::cli::print(&reports::views::published::render(database.records(), Profile::all()))?;
    Ok(Exit::AsRecorded)
}

/// Reads a run's journal and writes every report beside it.
pub(super) fn write(dir: &Path, profiles: &[Profile]) -> anyhow::Result<Matrix> {
    write_from(&read(dir)?, profiles, dir)
}

fn write_from(journal: &Journal, profiles: &[Profile], dir: &Path) -> anyhow::Result<Matrix> {
    reports::views::write::write_all(journal, catalogue::tests(), profiles, dir).context("writing the reports")
}

fn read(dir: &Path) -> anyhow::Result<Journal> {
    reports::journal::read(&dir.join(reports::journal::FILE)).context("reading the run")
}

/// The matrix, or the results as JSON, on standard output.
pub(super) fn print(matrix: &Matrix, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => crate::cli::print(&format!("{}\n", reports::views::json::render(matrix)?)),
        Format::Human => {
            let terminal = std::io::stdout().is_terminal();
            let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            let width = terminal_width().filter(|_| terminal).unwrap_or(100);
            crate::cli::print(&reports::views::terminal::terminal(matrix, width, colour))
        }
    }
}

/// The matrix as text without colour.
pub(super) fn plain(matrix: &Matrix) -> String {
    reports::views::terminal::terminal(matrix, 100, false)
}

fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}
