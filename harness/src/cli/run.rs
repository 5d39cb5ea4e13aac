//! `kata-qualify run`: from arguments to a run, and from its journal to reports, record and exit code.

use crate::cli::arguments::{Format, RunArguments, RunFormat};
use crate::cli::prospect::{Here, NO_ENGINE};
use crate::cli::{Exit, base, prospect, records, report, request, runtime, shut_down, usage};
use crate::progress::{Progress, tell};
use crate::run::{self, BadRequest, CLEANING, Request, RunEnd};
use reports::journal::Environment;
use reports::standing::Standings;
use std::time::Duration;

/// Runs the command.
pub(super) fn run(arguments: &RunArguments) -> anyhow::Result<Exit> {
    let database = records::database(arguments.records.as_deref())?;
    let request = request::request(arguments, &database)?;
    let records = arguments.write_back.then(|| records::folder(arguments.records.as_deref())).transpose()?;
    let progress = Progress::new();
    let (out, profiles) = (request.out.clone(), request.profiles.clone());
    let before = base::request(arguments, &out, &database)?;
    let asked = !arguments.environments.is_empty();
    let runtime = runtime()?;
    let over = runtime.block_on(async {
        if let Some(before) = before {
            progress.say("first the base run: the releases without --with-packages");
            let over = bring_up(before, asked, &progress).await?;
            if over.0 != RunEnd::Finished {
                return Ok(over);
            }
            progress.say("now the candidates");
        }
        bring_up(request, asked, &progress).await
    });
    let left = over.as_ref().map_or(CLEANING, |(_, left)| *left);
    if !shut_down(runtime, left) {
        let seconds = CLEANING.as_secs();
        progress.say(&format!(
            "warning: cleaning up has not ended within {seconds} s and is given up: the next run removes what is left, \
             and so does `kata-qualify clean`"
        ));
    }
    let (ended, _) = over.map_err(|e| match e.downcast::<BadRequest>() {
        Ok(bad) => anyhow::Error::from(usage(&bad)),
        Err(other) => other,
    })?;
    if !out.join(reports::journal::FILE).exists() {
        // The base run did not come to its end.
        tell(format_args!("journal of the base run: {}", out.join(base::FOLDER).display()));
        return Ok(exit(ended).unwrap_or(Exit::Infrastructure));
    }
    let matrix = report::judged(&out, &profiles)?;
    let before = base::below(&out)?;
    let standings = Standings::new(&matrix, base::recorded(before.as_ref(), &database), arguments.strict);
    report::write(&standings, &out)?;
    match arguments.format {
        RunFormat::Human => report::print(&standings, Format::Human)?,
        RunFormat::Json => report::print(&standings, Format::Json)?,
        RunFormat::Ndjson => tell(report::plain(&standings)),
    }
    tell(format_args!("journal and reports: {}", out.display()));
    if let Some(folder) = records {
        records::write_back(&standings, &database, &folder)?;
    }
    Ok(exit(ended).unwrap_or_else(|| report::exit(&standings)))
}

/// The exit code of a run that did not come to its end.
fn exit(ended: RunEnd) -> Option<Exit> {
    match ended {
        RunEnd::Finished => None,
        RunEnd::Interrupted => Some(Exit::Interrupted),
        RunEnd::Broken => Some(Exit::Infrastructure),
    }
}

/// Runs what is asked for, once it is known that it can be brought up here.
///
/// # Errors
/// As [`run::run`], and that a release cannot be brought up.
pub(super) async fn bring_up(
    mut request: Request,
    asked: bool,
    progress: &Progress,
) -> anyhow::Result<(RunEnd, Duration)> {
    let mut docker = None;
    if !request.environments.contains(&Environment::Host) {
        let engine = prospect::engine().await;
        let settled = prospect::settle(&mut request.environments, asked, &engine);
        let here = Here::new(&request.environments, &request.images, &request.pinned, &engine);
        prospect::attainable(&request.releases, &here)?;
        drop(here);
        if settled? {
            tell(NO_ENGINE);
        }
        docker = engine.ok().filter(|_| request.environments.contains(&Environment::Container));
    }
    run::run(docker, request, progress.clone(), Exit::Interrupted as i32).await
}
