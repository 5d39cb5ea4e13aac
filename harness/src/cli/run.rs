//! `kata-qualify run`: from arguments to a run, and from its journal to reports, record and exit code.

use crate::cli::arguments::{Format, RunArguments, RunFormat};
use crate::cli::prospect::{Here, NO_ENGINE};
use crate::cli::{Exit, prospect, records, report, request, runtime, shut_down, usage};
use crate::progress::{Progress, tell};
use crate::run::{self, BadRequest, CLEANING, RunEnd};
use reports::journal::Environment;

/// Runs the command.
pub(super) fn run(arguments: &RunArguments) -> anyhow::Result<Exit> {
    let database = records::database(arguments.records.as_deref())?;
    let request = request::request(arguments, &database)?;
    let records = arguments.write_back.then(|| records::folder(arguments.records.as_deref())).transpose()?;
    let progress = Progress::new();
    let (out, profiles) = (request.out.clone(), request.profiles.clone());
    let asked = !arguments.environments.is_empty();
    let runtime = runtime()?;
    let over = runtime.block_on(async {
        let mut request = request;
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
    let matrix = report::write(&out, &profiles)?;
    match arguments.format {
        RunFormat::Human => report::print(&matrix, Format::Human)?,
        RunFormat::Json => report::print(&matrix, Format::Json)?,
        RunFormat::Ndjson => tell(report::plain(&matrix)),
    }
    tell(format_args!("journal and reports: {}", out.display()));
    if let Some(folder) = records {
        records::write_back(&matrix, &database, &folder)?;
    }
    match ended {
        RunEnd::Finished => {}
        RunEnd::Interrupted => return Ok(Exit::Interrupted),
        RunEnd::Broken => return Ok(Exit::Infrastructure),
    }
    let summary = reports::views::compare::summary(&matrix, arguments.strict, |cell, profile| {
        let record = database.records().find(|record| record.distro == cell.cell.distro)?;
        reports::views::compare::entry_of(&record.verified, cell, profile)
    });
    Ok(match summary.exit_code() {
        0 => Exit::AsRecorded,
        1 => Exit::Worse,
        _ => Exit::Infrastructure,
    })
}
