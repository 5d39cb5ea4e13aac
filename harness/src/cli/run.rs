//! `kata-qualify run`: from arguments to a run, and from its journal to reports, record and exit code.

use crate::cli::arguments::{Format, RerunArguments, RunArguments, RunFormat};
use crate::cli::part::{self, Asked};
use crate::cli::prospect::{Here, NO_ENGINE};
use crate::cli::{Exit, prospect, records, report, runtime, shut_down, usage};
use crate::progress::{Progress, tell};
use crate::run::{self, BadRequest, CLEANING, RunEnd};
use reports::journal::Environment;
use reports::standing::{Recorded, Standings};

/// Runs the command.
pub(super) fn run(arguments: &RunArguments) -> anyhow::Result<Exit> {
    go(&part::asked(arguments)?)
}

/// Runs what another run did not show.
pub(super) fn rerun(arguments: &RerunArguments) -> anyhow::Result<Exit> {
    go(&part::again(arguments)?)
}

/// Runs what is asked for.
fn go(asked: &Asked) -> anyhow::Result<Exit> {
    let arguments = &asked.arguments;
    let database = records::database(arguments.records.as_deref())?;
    let request = asked.request(&database)?;
    let records = arguments.write_back.then(|| records::folder(arguments.records.as_deref())).transpose()?;
    let progress = Progress::new();
    let (out, profiles) = (request.out.clone(), request.profiles.clone());
    let is_named = !arguments.environments.is_empty();
    let runtime = runtime()?;
    let over = runtime.block_on(async {
        let mut request = request;
        let mut docker = None;
        if !request.environments.contains(&Environment::Host) {
            let engine = prospect::engine().await;
            let settled = prospect::settle(&mut request.environments, is_named, &engine);
            let here = Here::new(&request.environments, &request.images, &request.pinned, &engine);
            prospect::attainable(&request.releases, &here)?;
            drop(here);
            if settled? {
                tell(NO_ENGINE);
            }
            docker = engine.ok().filter(|_| request.environments.contains(&Environment::Container));
        }
        run::run(docker, request, progress.clone(), Exit::Interrupted as i32).await
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
    let matrix = report::judged(&out, &profiles)?;
    let standings = Standings::new(&matrix, Recorded::of(database.records()), arguments.strict);
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
    Ok(match ended {
        RunEnd::Finished => report::exit(&standings),
        RunEnd::Interrupted => Exit::Interrupted,
        RunEnd::Broken => Exit::Infrastructure,
    })
}
