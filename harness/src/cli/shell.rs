//! `kata-qualify shell`: opens a shell, or runs a command, in the environment of a failed test.
//!
//! A container that the run kept is used unchanged. Otherwise a run with a visit instead of tests brings the
//! environment up again as for the test, from the cached image; the run writes into a directory that is removed with
//! the environment.

use crate::cli::arguments::{Arguments, Command, ExitStyle, In, RunArguments, ShellArguments};
use crate::cli::bring_up::bring_up;
use crate::cli::chosen::{Case, chosen};
use crate::cli::prospect;
use crate::cli::{Exit, UsageError, records, report, request, runtime, shut_down, usage};
use crate::environments::container;
use crate::progress::Progress;
use crate::run::{BadRequest, CLEANING, RunEnd, RunRequest};
use crate::shell::{Greeting, LaunchedGuest, Visit};
use crate::sweep::{SweepScope, sweep};
use anyhow::Context as _;
use bollard::Docker;
use clap::Parser as _;
use images::cache::transfer;
use model::profile::Profile;
use model::shell::quoted;
use model::sync::locked;
use reports::journal::{Environment, Event, Journal};
use reports::matrix::Matrix;
use reports::run::TestRun;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use suites::catalogue::{self, Test};
use suites::outcome::Outcome;

/// Number of similar names that are suggested.
const NEAREST: usize = 3;
/// Options that do not affect the environment, or that describe what the cache already has.
const OF_NO_MATTER: [&str; 7] =
    ["--offline", "--accept-expired", "--mirror", "--security-mirror", "--records", "--repeat", "--vm-memory"];

/// Runs the command.
pub(super) fn shell(what: &ShellArguments) -> anyhow::Result<ExitCode> {
    let database = records::database(what.records.as_deref())?;
    let folder = &what.failed.dir;
    let journal = report::read(folder).map_err(|e| UsageError(format!("RUN {}: {e:#}", folder.display())))?;
    let matrix = report::matrix_in(&journal, Profile::all(), Some(&database), folder);
    if let Some(why) = why_not(&matrix, &what.failed.test) {
        return Err(UsageError(why).into());
    }
    let case = chosen(&matrix, &what.failed)?;
    let test = catalogue::find(&case.test)
        .ok_or_else(|| UsageError(format!("this version of kata-qualify no longer has the test {}", case.test)))?;
    let profile = Profile::find(&case.profile).map_err(|e| usage(&e))?;
    if case.cell.arch != request::machine()? {
        let arch = case.cell.arch;
        return Err(UsageError(format!("{}: this machine's architecture is not {arch}", case.cell)).into());
    }
    let greeting = greeting(&journal, &case, folder);
    let before = matrix.cells.iter().find(|cell| cell.cell == case.cell).map(|cell| &cell.packages);
    let before = before.into_iter().flatten().map(|one| (one.name.to_string(), one.version.clone())).collect();
    let progress = Progress::of_a_visit();
    let visit = Visit {
        greeting,
        guest: test.shares_a_guest().then(|| (profile.clone(), test.configuration())),
        before,
        command: what.command.clone(),
        progress: progress.clone(),
        ended: Mutex::new(None),
    };
    let runtime = runtime()?;
    let name = container::kept_as(&matrix.run, &case.cell);
    let kept_container = match case.cell.environment {
        Environment::Container => runtime.block_on(kept(&name)),
        Environment::Vm | Environment::Host => None,
    };
    if let Some((docker, id)) = kept_container {
        let ended = runtime.block_on(in_kept_container(&docker, &id, &name, visit));
        shut_down(runtime, CLEANING);
        return ended.map(exit_code);
    }
    let scratch = tempfile::tempdir().context("creating a folder")?;
    let arguments = like(what, &case, scratch.path().join("run"))?;
    let mut request = request::request(&arguments, &database)?;
    is_in_the_cache(&request, &case, test)?;
    let lacks = lacking(&matrix.options, &request.options);
    let visit = Arc::new(Visit { greeting: Greeting { lacks, ..visit.greeting.clone() }, ..visit });
    request.visit = Some(Arc::clone(&visit));
    let over = runtime.block_on(bring_up(request, true, &progress));
    let grace = over.as_ref().map_or(CLEANING, |(_, grace)| *grace);
    if !shut_down(runtime, grace) {
        progress.say("warning: cleanup timed out: `kata-qualify clean` removes what is left");
    }
    let (ended, _) = over.map_err(|e| match e.downcast::<BadRequest>() {
        Ok(bad) => anyhow::Error::from(usage(&bad)),
        Err(other) => other,
    })?;
    let code = locked(&visit.ended).take();
    match (code, ended) {
        (Some(Ok(code)), _) => Ok(exit_code(code)),
        (_, RunEnd::Interrupted | RunEnd::Dismissed) => Ok(Exit::Interrupted.code(ExitStyle::Own)),
        (Some(Err(why)), _) => Err(anyhow::anyhow!("the shell in {}: {why}", case.cell)),
        (None, _) => Err(anyhow::anyhow!("{} did not come up", case.cell)),
    }
}

/// Returns the exit code of the command that ran.
fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Returns the kept container of this name, if an engine answers and has it.
async fn kept(name: &str) -> Option<(Docker, String)> {
    let docker = prospect::engine().await.ok()?;
    let id = container::kept(&docker, name).await.ok()??;
    Some((docker, id))
}

/// Pays a visit to a kept container, which is removed afterwards.
async fn in_kept_container(docker: &Docker, id: &str, name: &str, visit: Visit) -> anyhow::Result<i32> {
    let greeting = Greeting { is_kept: true, ..visit.greeting.clone() };
    let visit = Visit { greeting, ..visit };
    let line = container::line_to_kept(docker, id).await?;
    // No guest is booted, because the environment's agent, which knew the image's details, has ended.
    visit.pay(&line, BTreeMap::new(), None).await;
    line.close();
    drop(line);
    // A volume stays in use for a moment after its container is gone.
    for pause in [Duration::ZERO, Duration::from_millis(500)] {
        tokio::time::sleep(pause).await;
        sweep(docker, SweepScope::Kept(name)).await.context("removing the container that was kept")?;
    }
    let ended = locked(&visit.ended).take();
    Ok(ended.context("it did not finish")??)
}

/// Returns why there is nothing to examine, if so: the test is not known, or it did not fail.
fn why_not(matrix: &Matrix, query: &str) -> Option<String> {
    let all: Vec<&TestRun> = matrix.cells.iter().flat_map(|cell| &cell.instances).collect();
    let exact: Vec<&TestRun> = all.iter().copied().filter(|one| one.test == query).collect();
    let named: Vec<&TestRun> = match exact.is_empty() {
        true => all.iter().copied().filter(|one| one.test.contains(query)).collect(),
        false => exact,
    };
    if named.iter().any(|one| matches!(last(one), Some(Outcome::Fail(_)))) {
        return None;
    }
    let Some(first) = named.first() else {
        let known =
            all.iter().map(|one| one.test.as_str()).chain(catalogue::tests().iter().map(|test| test.id.as_str()));
        let near = nearest(known, query).join(", ");
        return Some(format!("no test with `{query}` in its name ran there; similar names: {near}"));
    };
    let test = &first.test;
    Some(match last(first) {
        Some(Outcome::Pass) => format!("{test} passed there: there is nothing to look into"),
        Some(other) => format!("{test} did not fail there: its outcome is `{}`", other.name()),
        None => format!("{test} did not finish there"),
    })
}

/// Returns the final outcome of a test.
fn last(one: &TestRun) -> Option<Outcome> {
    one.final_outcome().map(|last| last.outcome)
}

/// Returns the names that are most similar to `query`.
fn nearest<'n>(names: impl Iterator<Item = &'n str>, query: &str) -> Vec<&'n str> {
    let distance = |name: &str| {
        let last = name.rsplit("::").next().unwrap_or(name);
        strsim::damerau_levenshtein(name, query).min(strsim::damerau_levenshtein(last, query))
    };
    let mut all: Vec<(usize, &str)> = names.map(|name| (distance(name), name)).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter().take(NEAREST).map(|(_, name)| name).collect()
}

/// Returns the greeting about a failure, from the journal.
fn greeting(journal: &Journal, case: &Case, folder: &Path) -> Greeting {
    let mut greeting = Greeting {
        cell: case.cell.to_string(),
        test: case.test.clone(),
        profile: case.profile.clone(),
        observed: String::new(),
        guests: Vec::new(),
        logs: Vec::new(),
        again: again(case),
        is_kept: false,
        lacks: Vec::new(),
    };
    let mut numbers: &[u32] = &[];
    for entry in &journal.entries {
        if let Event::TestFinished { cell, profiles, test, guests, outcome: Outcome::Fail(failure), artifacts, .. } =
            &entry.event
            && *cell == case.cell
            && *test == case.test
            && profiles.contains(&case.profile)
        {
            numbers = guests;
            greeting.observed = reports::redact::text(&failure.observed);
            greeting.logs = artifacts.iter().map(|file| folder.join(file).display().to_string()).collect();
        }
    }
    for entry in &journal.entries {
        if let Event::GuestStarted { cell, guest, argv, daemon, .. } = &entry.event
            && *cell == case.cell
            && numbers.contains(guest)
        {
            greeting.guests.push(LaunchedGuest { argv: argv.clone(), daemon: daemon.clone() });
        }
    }
    greeting
}

/// Returns the command that runs the test again.
fn again(case: &Case) -> String {
    let cell = &case.cell;
    let target = match cell.environment {
        Environment::Host => String::new(),
        Environment::Container | Environment::Vm => format!(" {}", cell.target()),
    };
    let (place, profile, test) = (cell.environment, quoted(&case.profile), quoted(&case.test));
    format!("kata-qualify run{target} --in {place} --profile {profile} --test {test}")
}

/// Returns the arguments of a run of the test in its cell, with the cached image.
fn like(what: &ShellArguments, case: &Case, out: PathBuf) -> anyhow::Result<RunArguments> {
    // All other options have the defaults of `run`.
    let words = ["kata-qualify", "run", "all"];
    let Command::Run(mut like) = Arguments::try_parse_from(words).context("making the arguments of a run")?.command
    else {
        return Err(UsageError("`run` is no longer a command".to_owned()).into());
    };
    like.targets = match case.cell.environment {
        Environment::Host => Vec::new(),
        Environment::Container | Environment::Vm => vec![case.cell.target().to_string()],
    };
    like.environments = vec![In::from(case.cell.environment)];
    if case.cell.environment == Environment::Vm {
        // Kata's own containers run in virtual machines only, and a run without a virtual machine refuses `--kata`.
        like.kata.clone_from(&what.kata);
    }
    like.components.clone_from(&what.components);
    like.profiles = vec![case.profile.to_string()];
    like.filters = vec![case.test.to_string()];
    like.out = Some(out);
    like.records.clone_from(&what.records);
    (like.images, like.vm_memory) = (what.images.clone(), what.vm_memory);
    (like.offline, like.no_base) = (true, true);
    Ok(*like)
}

/// Checks that the cache has an image of the release.
fn is_in_the_cache(request: &RunRequest, case: &Case, test: &Test) -> Result<(), UsageError> {
    let release = case.cell.target();
    if case.cell.environment == Environment::Host || !transfer::of_release(&request.images.cache, &release).is_empty() {
        return Ok(());
    }
    let place = case.cell.environment;
    Err(UsageError(format!(
        "the image of {release} is no longer in the cache: `kata-qualify run {release} --in {place} --test {} \
         --keep-failed` makes a new one, and keeps the container if the test fails",
        test.name
    )))
}

/// Returns options of the run that affect the environment and that this command was not given.
fn lacking(of_run: &[String], options: &[String]) -> Vec<String> {
    let matters = |option: &&String| {
        let name = option.split(' ').next().unwrap_or_default();
        !OF_NO_MATTER.contains(&name)
    };
    of_run.iter().filter(matters).filter(|option| !options.contains(*option)).cloned().collect()
}

#[cfg(test)]
mod tests;
