//! `kata-qualify blame`, and `run --blame`: repeats a failed test with components of a release where the test passes.
//!
//! [`crate::blame`] decides what to run next and what the results prove; each step is a separate run, in a directory
//! below the failed run's, by a command that a person can type.

use crate::blame::{self, Failed, Finding, Next, Seen, TIMES};
use crate::cli::arguments::{Arguments, BlameArguments, Command, In, RunArguments, RunFormat};
use crate::cli::bring_up::bring_up;
use crate::cli::chosen::{Case, chosen};
use crate::cli::{Exit, UsageError, print, records, report, request, runtime, shut_down, usage};
use crate::donor::Donation;
use crate::progress::{Progress, tell};
use crate::run::{CLEANING, RunEnd};
use anyhow::Context as _;
use clap::Parser as _;
use model::database::Database;
use model::distro::Target;
use model::profile::Profile;
use model::target;
use reports::journal::{CellId, Environment};
use reports::matrix::CellReport;
use reports::standing::{Change, Effect, Standings};
use std::path::{Path, PathBuf};
use suites::catalogue::{self, Test};
use suites::outcome::Component;
use words::{command, named, report_text, step_name};

mod words;

/// The directory of the steps, below a run's directory.
pub(super) const FOLDER: &str = "blame";
/// The file with the conclusion of the steps.
pub(super) const FILE: &str = "blame.txt";
/// Number of new failures of one run that are examined; each takes minutes.
const MOST: usize = 5;

/// How the examination of a case ended.
enum Ended {
    /// The examination ended with this finding.
    Found(Finding),
    /// Ctrl-C or SIGTERM.
    Interrupted,
}

/// Runs the command.
pub(super) fn blame(arguments: &BlameArguments) -> anyhow::Result<Exit> {
    let database = records::database(arguments.records.as_deref())?;
    let matrix = report::judged(&arguments.failed.dir, Profile::all(), Some(&database))
        .map_err(|e| UsageError(format!("{e:#}")))?;
    let case = chosen(&matrix, &arguments.failed)?;
    let like = like(arguments)?;
    let folder = free_folder(&arguments.failed.dir.join(FOLDER), &case)?;
    let found = examine_cases(&[(case, folder)], &like, arguments.from.as_deref(), &database)?;
    Ok(match found.first() {
        Some(Ended::Found(finding)) if finding.is_verdict() => Exit::AsRecorded,
        Some(Ended::Interrupted) => Exit::Interrupted,
        Some(Ended::Found(_)) | None => Exit::Infrastructure,
    })
}

/// Examines the new failures of a finished run, with the run's arguments; returns whether the examination finished or
/// was interrupted.
///
/// # Errors
/// If a step cannot be run.
pub(super) fn new_failures(
    standings: &Standings<'_>,
    arguments: &RunArguments,
    out: &Path,
    database: &Database,
) -> anyhow::Result<RunEnd> {
    let cases = new(standings);
    if cases.is_empty() {
        tell("blame: there is no new failure");
        return Ok(RunEnd::Finished);
    }
    if cases.len() > MOST {
        tell(format_args!("blame: the first {MOST} of {} new failures are looked into", cases.len()));
    }
    let mut chosen = Vec::new();
    for case in cases.into_iter().take(MOST) {
        let folder = free_folder(&out.join(FOLDER), &case)?;
        chosen.push((case, folder));
    }
    Ok(end_of(&examine_cases(&chosen, arguments, None, database)?))
}

/// Combines the ends of all examined cases.
fn end_of(cases: &[Ended]) -> RunEnd {
    match cases.iter().any(|ended| matches!(ended, Ended::Interrupted)) {
        true => RunEnd::Interrupted,
        false => RunEnd::Finished,
    }
}

/// Returns the tests behind the verdicts that have become worse, each test once per cell.
fn new(standings: &Standings<'_>) -> Vec<Case> {
    let mut all: Vec<Case> = Vec::new();
    for cell in &standings.cells {
        for (profile, standing) in &cell.profiles {
            let worse = standing.capabilities.values().filter(|one| {
                one.effect == Effect::Worse && matches!(one.change, Change::NewFailure | Change::TestSetChanged)
            });
            for cause in worse.flat_map(|one| one.telling_causes()) {
                let is_known = |case: &Case| case.cell == cell.report.cell && case.test == cause.test;
                if !all.iter().any(is_known) {
                    all.push(Case {
                        cell: cell.report.cell.clone(),
                        profile: (*profile).clone(),
                        test: cause.test.clone(),
                        signature: cause.signature.clone(),
                        blames: cause.component,
                    });
                }
            }
        }
    }
    all
}

/// Returns the arguments of a run with the options that the command was given.
fn like(arguments: &BlameArguments) -> anyhow::Result<RunArguments> {
    // All other options have the defaults of `run`.
    let words = ["kata-qualify", "run", "all"];
    let Command::Run(mut like) = Arguments::try_parse_from(words).context("making the arguments of a run")?.command
    else {
        return Err(UsageError("`run` is no longer a command".to_owned()).into());
    };
    like.images = arguments.images.clone();
    like.kata.clone_from(&arguments.kata);
    like.records.clone_from(&arguments.records);
    (like.offline, like.vm_memory) = (arguments.offline, arguments.vm_memory);
    Ok(*like)
}

/// Makes a new directory for a case.
fn free_folder(below: &Path, case: &Case) -> anyhow::Result<PathBuf> {
    let name: String = case.test.rsplit("::").next().unwrap_or(&case.test).to_owned();
    let names = (1..1000).map(|number| below.join(format!("{number:03}-{name}")));
    names.into_iter().find(|folder| make(folder)).with_context(|| format!("making a folder below {}", below.display()))
}

fn make(folder: &Path) -> bool {
    folder.parent().is_some_and(|below| std::fs::create_dir_all(below).is_ok()) && std::fs::create_dir(folder).is_ok()
}

/// Examines cases, one after the other, and prints each finding; stops at the first case that is interrupted.
fn examine_cases(
    cases: &[(Case, PathBuf)],
    like: &RunArguments,
    from: Option<&str>,
    database: &Database,
) -> anyhow::Result<Vec<Ended>> {
    let progress = Progress::new();
    let runtime = runtime()?;
    let mut all = Vec::new();
    let found = runtime.block_on(async {
        for (case, folder) in cases {
            let ended = examine_case(case, like, from, folder, database, &progress).await?;
            all.push(ended);
            if end_of(&all) == RunEnd::Interrupted {
                break;
            }
        }
        anyhow::Ok(())
    });
    if !shut_down(runtime, CLEANING) {
        progress.say("warning: cleanup timed out: `kata-qualify clean` removes what is left");
    }
    found.map(|()| all)
}

async fn examine_case(
    case: &Case,
    like: &RunArguments,
    from: Option<&str>,
    folder: &Path,
    database: &Database,
    progress: &Progress,
) -> anyhow::Result<Ended> {
    let test = catalogue::find(&case.test)
        .ok_or_else(|| UsageError(format!("this version of kata-qualify no longer has the test {}", case.test)))?;
    let Some(from) = donor(case, like, from, test, database)? else {
        // The next case may have a donor.
        return ended(Finding::NoDonor, &report_text(case, "", &[], &Finding::NoDonor), folder, like.format);
    };
    let from = from.to_string();
    let arch = case.cell.arch;
    let is_given = |part: &Component| {
        Donation::parse(&format!("{part}@{from}"), database, arch).is_some_and(|donation| donation.is_ok())
    };
    let parts: Vec<Component> = blame::parts(test).into_iter().filter(is_given).collect();
    let swaps = blame::swaps(&parts);
    let mut seen: Vec<(Vec<Component>, String, Seen)> = Vec::new();
    let finding = loop {
        let known: Vec<Seen> = seen.iter().map(|(_, _, seen)| seen.clone()).collect();
        let swap = match blame::next(&swaps, &case.signature, &known) {
            Next::Done(finding) => break finding,
            Next::Run(swap) => swap,
        };
        let out = folder.join(step_name(&swap));
        let arguments = step(like, case, &swap, &from, out.clone());
        progress.say(&format!("blame: {} of {} with {}", case.test, case.cell, named(&swap, &from)));
        let request = request::request(&arguments, database)?;
        match bring_up(request, true, progress).await?.0 {
            RunEnd::Finished => {}
            RunEnd::Interrupted | RunEnd::Dismissed => return Ok(Ended::Interrupted),
            RunEnd::Broken => anyhow::bail!("the journal in {} could not be written completely", out.display()),
        }
        let matrix = report::judged(&out, Profile::all(), Some(database))?;
        let one = matrix.cells.iter().find(|cell| cell.cell == case.cell);
        seen.push((swap, command(&arguments), one.map_or_else(|| Seen::of([]), |cell| of_cell(cell, case))));
    };
    let text = report_text(case, &from, &seen, &finding);
    ended(finding, &text, folder, like.format)
}

/// Writes down and prints the finding of a case.
fn ended(finding: Finding, report: &str, folder: &Path, format: RunFormat) -> anyhow::Result<Ended> {
    std::fs::write(folder.join(FILE), report).with_context(|| format!("writing {}", folder.join(FILE).display()))?;
    match is_for_people(format) {
        true => print(report)?,
        false => tell(report.trim_end()),
    }
    Ok(Ended::Found(finding))
}

/// Checks whether standard output is for people; otherwise it carries only the results or events, for programs.
fn is_for_people(format: RunFormat) -> bool {
    match format {
        RunFormat::Human => true,
        RunFormat::Json | RunFormat::Ndjson => false,
    }
}

/// Returns the release that components are taken from, if there is one. The donor of candidates is their own release as
/// it is shipped.
fn donor(
    case: &Case,
    like: &RunArguments,
    from: Option<&str>,
    test: &Test,
    database: &Database,
) -> Result<Option<Target>, UsageError> {
    let images = &like.images;
    let has_candidates = !images.with_packages.is_empty() || !images.install.is_empty() || images.overlay.is_some();
    if let Some(from) = from {
        return match &target::parse(from, database).map_err(|e| usage(&e))?[..] {
            [one] => Ok(Some(one.clone())),
            _ => Err(UsageError(format!("--from {from}: expected one release, for example debian:13"))),
        };
    }
    if has_candidates {
        return Ok(Some(case.cell.target()));
    }
    let CellId { distro, release, arch, environment } = &case.cell;
    let failed = Failed { distro, release, arch: *arch, environment: *environment, profile: &case.profile };
    Ok(blame::donor(database.records(), test, failed))
}

/// Returns the arguments of one step: those of the run, but for this test, in its cell, with these components of
/// another release.
fn step(like: &RunArguments, case: &Case, swap: &[Component], from: &str, out: PathBuf) -> RunArguments {
    let mut one = like.clone();
    one.targets = match case.cell.environment {
        Environment::Host => Vec::new(),
        Environment::Container | Environment::Vm => vec![case.cell.target().to_string()],
    };
    one.environments = vec![In::from(case.cell.environment)];
    one.arch = Some(case.cell.arch);
    if case.cell.environment != Environment::Vm {
        // Kata's own containers run in virtual machines only, and a run without a virtual machine refuses `--kata`.
        one.kata.clear();
    }
    one.profiles = vec![case.profile.to_string()];
    one.filters = vec![case.test.to_string()];
    let is_swapped = |text: &String| {
        let name = text.split(['=', '@']).next().unwrap_or_default();
        swap.iter().any(|component| component.name() == name)
    };
    one.components.retain(|text| !is_swapped(text));
    one.components.extend(swap.iter().map(|component| format!("{component}@{from}")));
    one.out = Some(out);
    one.repeat = TIMES;
    one.no_base = true;
    one.format = RunFormat::Human;
    (one.write_back, one.strict, one.keep, one.blame) = (false, false, false, false);
    one.keep_failed = false;
    one
}

/// Combines the outcomes of the test's attempts in a cell.
fn of_cell(cell: &CellReport, case: &Case) -> Seen {
    let of_test =
        cell.instances.iter().filter(|instance| instance.test == case.test && instance.counts_for(&case.profile));
    match (Seen::of(of_test.flat_map(|instance| &instance.attempts).map(|attempt| &attempt.outcome)), cell.error()) {
        // If an error stopped the cell, that error is the reason.
        (Seen::Unjudged(_), Some(error)) => Seen::Unjudged(error),
        (seen, _) => seen,
    }
}

#[cfg(test)]
mod tests;
