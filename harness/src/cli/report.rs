//! `kata-qualify report`: rewrites all reports from a run's journal, which is the only source of truth.

use crate::cli::arguments::{Format, MatrixArguments, ReportArguments};
use crate::cli::{Exit, UsageError, base, records};
use crate::progress::{is_dumb, tell};
use anyhow::Context as _;
use model::database::Database;
use model::profile::Profile;
use model::record::Record;
use reports::journal::Journal;
use reports::matrix::Matrix;
use reports::standing::{Effect, INTERRUPTED, Standings};
use reports::views::rates::rates;
use reports::views::side_by_side::side_by_side;
use std::io::IsTerminal as _;
use std::path::Path;
use suites::catalogue;

/// Runs the command: writes the reports again, and returns the exit code that `run` would have with these records.
pub(super) fn report(what: &ReportArguments) -> anyhow::Result<Exit> {
    let database = records::database(what.judged.records.as_deref())?;
    // A directory without a readable journal is bad input, and nothing is written.
    let journal = read(&what.dir).map_err(|e| UsageError(format!("{e:#}")))?;
    reports_of(&journal, &database, &what.dir, what.judged.strict, what.judged.format)
}

/// Writes the reports of a journal into its directory, and returns the exit code that its run would have.
pub(super) fn reports_of(
    journal: &Journal,
    database: &Database,
    folder: &Path,
    strict: bool,
    format: Format,
) -> anyhow::Result<Exit> {
    let matrix = matrix_in(journal, Profile::all(), Some(database), folder);
    let before = base::below(folder).map_err(|e| UsageError(format!("{e:#}")))?;
    // As strict as the run was asked to be.
    let strict = strict || matrix.strict;
    let standings = Standings::new(&matrix, base::recorded(before.as_ref(), database), strict);
    write(&standings, database, folder)?;
    print(&standings, format)?;
    tell(format_args!("reports: {}", folder.display()));
    Ok(exit(&standings))
}

/// Returns the exit code of a run: the one that its reports state.
pub(super) fn exit(standings: &Standings<'_>) -> Exit {
    match standings.exit_code() {
        INTERRUPTED => Exit::Interrupted,
        _ => exit_of(standings.effect()),
    }
}

/// Returns the exit code for an effect.
pub(super) fn exit_of(effect: Effect) -> Exit {
    match effect {
        Effect::None => Exit::AsRecorded,
        Effect::Worse => Exit::Worse,
        Effect::Unjudged => Exit::Infrastructure,
    }
}

/// Prints the verdicts of the records.
pub(super) fn matrix(what: &MatrixArguments) -> anyhow::Result<Exit> {
    let database = records::database(what.records.as_deref())?;
    crate::cli::print(&reports::views::published::render(database.records(), Profile::all()))?;
    Ok(Exit::AsRecorded)
}

/// Reads a run's journal and judges it, alone or combined with the records' verdicts for containers.
pub(super) fn judged(dir: &Path, profiles: &[Profile], database: Option<&Database>) -> anyhow::Result<Matrix> {
    Ok(matrix_in(&read(dir)?, profiles, database, dir))
}

/// Judges a journal that has already been read, like [`judged`].
pub(super) fn matrix_in(journal: &Journal, profiles: &[Profile], database: Option<&Database>, dir: &Path) -> Matrix {
    let records: Vec<&Record> = database.into_iter().flat_map(|database| database.records()).collect();
    reports::views::write::matrix_in(journal, catalogue::tests(), profiles, &records, dir)
}

/// Writes every report next to a run's journal.
pub(super) fn write(standings: &Standings<'_>, database: &Database, dir: &Path) -> anyhow::Result<()> {
    write_as(standings, database, dir, dir)
}

/// Writes the same reports for readers who will find the directory under the path `named`.
pub(super) fn write_as(standings: &Standings<'_>, database: &Database, dir: &Path, named: &Path) -> anyhow::Result<()> {
    let records: Vec<&Record> = database.records().collect();
    reports::views::write::write_all(standings, &records, catalogue::tests(), dir, named).context("writing the reports")
}

pub(super) fn read(dir: &Path) -> anyhow::Result<Journal> {
    reports::journal::read(&dir.join(reports::journal::FILE)).context("reading the run")
}

/// Prints the matrix, or the results as JSON, on standard output.
pub(super) fn print(standings: &Standings<'_>, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => crate::cli::print(&format!("{}\n", reports::views::json::render(standings)?)),
        Format::Human => {
            let terminal = std::io::stdout().is_terminal();
            let colour = terminal && !is_dumb() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            let width = terminal_width().filter(|_| terminal).unwrap_or(100);
            crate::cli::print(&with_more(reports::views::terminal::terminal(standings, width, colour), standings))
        }
    }
}

/// Renders the matrix as text without colour.
pub(super) fn plain(standings: &Standings<'_>) -> String {
    with_more(reports::views::terminal::terminal(standings, 100, false), standings)
}

/// Appends to the matrix how often repeated tests passed, and the base run next to its candidates.
fn with_more(matrix: String, standings: &Standings<'_>) -> String {
    let more = [rates(standings), side_by_side(standings)].into_iter().flatten();
    more.fold(matrix, |text, part| format!("{text}\n{part}"))
}

fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}
