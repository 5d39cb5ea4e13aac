//! `kata-qualify run`: from arguments to a run, and from its journal to reports, the record and the exit code.

use crate::cli::arguments::{Format, RerunArguments, RunArguments, RunFormat};
use crate::cli::bring_up::bring_up;
use crate::cli::resolved::{self, ResolvedRun};
use crate::cli::stale::StaleCells;
use crate::cli::{Exit, base, blame, records, redact, report, runtime, shut_down, stale, times, usage};
use crate::progress::{Progress, tell};
use crate::run::{BadRequest, CLEANING, RunEnd};
use model::database::Database;
use model::shell::quoted;
use reports::standing::Standings;
use reports::views::closing::closing;

/// Runs the command.
pub(super) fn run(arguments: &RunArguments) -> anyhow::Result<Exit> {
    let database = records::database(arguments.records.as_deref())?;
    if !arguments.stale {
        return go(&resolved::of_arguments(arguments)?, &database, &[]);
    }
    let StaleCells { cells, unasked } = stale::cells(arguments, &database)?;
    if !cells.is_empty() {
        // The journal says what could not be asked, so that the reports and the exit code agree.
        return go(&resolved::of_chosen(arguments, &cells), &database, &unasked);
    }
    let known = if unasked.is_empty() { "nothing is stale" } else { "no entry is known to be stale" };
    tell(format_args!("{known}: nothing to run"));
    Ok(without_cells(&unasked))
}

/// Returns the exit code if nothing is known to be stale, as that of `stale`.
fn without_cells(unasked: &[String]) -> Exit {
    if unasked.is_empty() { Exit::AsRecorded } else { Exit::Infrastructure }
}

/// Runs again the tests that did not pass in another run, or have no result there.
pub(super) fn rerun(arguments: &RerunArguments) -> anyhow::Result<Exit> {
    let database = records::database(arguments.options.records.as_deref())?;
    go(&resolved::of_rerun(arguments)?, &database, &[])
}

/// Runs what the arguments request; `unasked` says which mirrors could not be asked what is stale.
fn go(resolved: &ResolvedRun, database: &Database, unasked: &[String]) -> anyhow::Result<Exit> {
    let arguments = &resolved.arguments;
    let mut request = resolved.request(database)?;
    request.facts.unasked = unasked.to_vec();
    let records = arguments.write_back.then(|| records::folder(arguments.records.as_deref())).transpose()?;
    let progress = Progress::new();
    progress.expect(times::minutes(&request, arguments.cells.as_deref(), &arguments.times_of)?);
    let (out, profiles) = (request.out.clone(), request.profiles.clone());
    let before = resolved.base_request(&request, database)?;
    let is_named = !arguments.environments.is_empty();
    let runtime = runtime()?;
    let over = runtime.block_on(async {
        if let Some(before) = before {
            progress.say("first the base run: the releases without --with-packages");
            let over = bring_up(before, is_named, &progress).await?;
            if over.0 != RunEnd::Finished {
                return Ok(over);
            }
            progress.say("now the candidates");
        }
        bring_up(request, is_named, &progress).await
    });
    let grace = over.as_ref().map_or(CLEANING, |(_, grace)| *grace);
    if !shut_down(runtime, grace) {
        let seconds = CLEANING.as_secs();
        progress.say(&format!(
            "warning: cleanup timed out after {seconds} s: the next run or `kata-qualify clean` removes what is left"
        ));
    }
    let (ended, _) = over.map_err(|e| match e.downcast::<BadRequest>() {
        Ok(bad) => anyhow::Error::from(usage(&bad)),
        Err(other) => other,
    })?;
    if !out.join(reports::journal::FILE).exists() {
        // The base run did not finish.
        tell(format_args!("journal of the base run: {}", out.join(base::FOLDER).display()));
        return Ok(without_run(ended));
    }
    let matrix = report::judged(&out, &profiles, Some(database))?;
    let before = base::below(&out)?;
    // A resumed run stays strict if it was started so.
    let strict = arguments.strict || matrix.strict;
    let standings = Standings::new(&matrix, base::recorded(before.as_ref(), database), strict);
    report::write(&standings, database, &out)?;
    match arguments.format {
        RunFormat::Human => report::print(&standings, Format::Human)?,
        RunFormat::Json => report::print(&standings, Format::Json)?,
        RunFormat::Ndjson => tell(report::plain(&standings)),
    }
    tell(format_args!("journal and reports: {}", out.display()));
    closing(&standings, &quoted(&out.display().to_string())).iter().for_each(tell);
    if let Some(folder) = records {
        records::write_back(&standings, database, &folder)?;
    }
    if ended == RunEnd::Dismissed {
        tell("note: a signal came after the last test: the exit code is that of the results");
    }
    // The run's own findings remain valid, however the search for the component at fault ends.
    if arguments.blame && ended == RunEnd::Finished {
        match blame::new_failures(&standings, arguments, &out, database) {
            Ok(RunEnd::Finished) => {}
            Ok(RunEnd::Interrupted | RunEnd::Dismissed | RunEnd::Broken) => {
                tell("note: blame was interrupted: the exit code is that of the run's results");
            }
            Err(e) => tell(format_args!("warning: blame: {}", redact(&format!("{e:#}")))),
        }
    }
    // The journal has everything that decides, also that a run was interrupted or has no end: the process's exit code
    // is the one in its reports.
    Ok(report::exit(&standings))
}

/// Returns the exit code if the base run ended early, so that the candidates' run has not begun.
fn without_run(ended: RunEnd) -> Exit {
    match ended {
        RunEnd::Interrupted | RunEnd::Dismissed => Exit::Interrupted,
        RunEnd::Finished | RunEnd::Broken => Exit::Infrastructure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After a signal during the base run, even during its cleanup, the candidates are not started.
    #[test]
    fn a_base_run_that_somebody_ended_is_an_interrupted_run() {
        assert_eq!(without_run(RunEnd::Interrupted), Exit::Interrupted);
        assert_eq!(without_run(RunEnd::Dismissed), Exit::Interrupted);
        assert_eq!(without_run(RunEnd::Broken), Exit::Infrastructure);
        assert_eq!(Exit::Interrupted as i32, 130);
    }

    #[test]
    fn unknown_staleness_without_a_stale_cell_is_an_infrastructure_error() {
        assert_eq!(without_cells(&["debian:13: no answer".to_owned()]), Exit::Infrastructure);
        assert_eq!(without_cells(&[]), Exit::AsRecorded);
    }
}
