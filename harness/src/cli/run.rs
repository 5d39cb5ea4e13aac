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
        return go(&resolved::of_arguments(arguments)?, &database);
    }
    let StaleCells { cells, is_unknown } = stale::cells(arguments, &database)?;
    let ended = match cells.is_empty() {
        false => go(&resolved::of_chosen(arguments, &cells), &database)?,
        true => {
            let known = if is_unknown { "no entry is known to be stale" } else { "nothing is stale" };
            tell(format_args!("{known}: nothing to run"));
            Exit::AsRecorded
        }
    };
    Ok(with_unknown(ended, is_unknown))
}

/// Adjusts the exit code if a mirror could not be asked for stale packages, as `stale` does.
fn with_unknown(ended: Exit, is_unknown: bool) -> Exit {
    if is_unknown && ended == Exit::AsRecorded { Exit::Infrastructure } else { ended }
}

/// Runs again the tests that did not pass in another run, or have no result there.
pub(super) fn rerun(arguments: &RerunArguments) -> anyhow::Result<Exit> {
    let database = records::database(arguments.options.records.as_deref())?;
    go(&resolved::of_rerun(arguments)?, &database)
}

/// Runs what the arguments request.
fn go(resolved: &ResolvedRun, database: &Database) -> anyhow::Result<Exit> {
    let arguments = &resolved.arguments;
    let request = resolved.request(database)?;
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
        return Ok(exit(ended).unwrap_or(Exit::Infrastructure));
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
    let ended = match arguments.blame && ended == RunEnd::Finished {
        true => blame::new_failures(&standings, arguments, &out, database).unwrap_or_else(|e| {
            // The run's own findings remain valid.
            tell(format_args!("warning: blame: {}", redact(&format!("{e:#}"))));
            RunEnd::Finished
        }),
        false => ended,
    };
    Ok(exit(ended).unwrap_or_else(|| report::exit(&standings)))
}

/// Returns the exit code of a run that did not finish.
fn exit(ended: RunEnd) -> Option<Exit> {
    match ended {
        RunEnd::Finished => None,
        RunEnd::Interrupted => Some(Exit::Interrupted),
        RunEnd::Broken => Some(Exit::Infrastructure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run, its base run or a step of blaming that somebody ended has a separate exit code, whatever the finished
    /// parts found.
    #[test]
    fn unfinished_runs_have_their_own_exit_codes() {
        assert_eq!(exit(RunEnd::Finished), None);
        assert_eq!(exit(RunEnd::Interrupted), Some(Exit::Interrupted));
        assert_eq!(exit(RunEnd::Broken), Some(Exit::Infrastructure));
        assert_eq!(Exit::Interrupted as i32, 130);
    }

    #[test]
    fn a_green_run_with_unknown_staleness_is_an_infrastructure_error() {
        assert_eq!(with_unknown(Exit::AsRecorded, true), Exit::Infrastructure);
        assert_eq!(with_unknown(Exit::AsRecorded, false), Exit::AsRecorded);
        assert_eq!(with_unknown(Exit::Worse, true), Exit::Worse);
    }
}
