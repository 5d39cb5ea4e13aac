//! The catalogue as an ordinary test binary: each test under each default profile is a trial, `go-3.29::smoke::…`.
//!
//! `KATA_QUALIFY_TARGET=debian:13 cargo test -p harness --test qualify -- rename` starts one run of `kata-qualify` with
//! the selected tests when the first trial needs it, and each trial reports its outcome in that run.
//! Without the variable every trial is listed and ignored.
//! Under nextest each trial is a process and therefore a separate run: acceptable for a few trials, slow for all.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails by panicking")]

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use model::profile::Profile;
use reports::run::{CellRun, Run};
use reports::verdict::FinalOutcome;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, OnceLock};
use suites::catalogue::{self, Test};
use suites::outcome::Outcome;

/// Variable with the releases, as `kata-qualify run` takes them, separated by blanks.
const TARGET: &str = "KATA_QUALIFY_TARGET";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let targets: Vec<String> =
        std::env::var(TARGET).unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let all: Vec<(&str, &Test)> = Profile::all()
        .iter()
        .filter(|profile| profile.maintained)
        .flat_map(|profile| {
            catalogue::tests().iter().filter(|t| t.applies_to(&profile.name)).map(|test| (profile.name.as_str(), test))
        })
        .collect();
    let chosen: Vec<(&str, &Test)> = all
        .iter()
        .copied()
        .filter(|(profile, test)| !arguments.is_filtered_out(&Trial::test(name(profile, test), || Ok(()))))
        .collect();
    let ignored = targets.is_empty();
    let request = Arc::new(Request::new(targets, &chosen));
    let trials = all
        .into_iter()
        .map(|(profile, test)| {
            let request = Arc::clone(&request);
            Trial::ignorable_test(name(profile, test), move || request.completion_of(profile, test))
                .with_ignored_flag(ignored)
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn name(profile: &str, test: &Test) -> String {
    format!("{profile}::{}", test.id)
}

/// The one run that serves all trials.
struct Request {
    targets: Vec<String>,
    profiles: BTreeSet<&'static str>,
    filter: Option<String>,
    run: OnceLock<Result<Run, String>>,
}

impl Request {
    fn new(targets: Vec<String>, chosen: &[(&'static str, &'static Test)]) -> Request {
        let profiles = chosen.iter().map(|(profile, _)| *profile).collect();
        let ids: BTreeSet<&str> = chosen.iter().map(|(_, test)| test.id.as_str()).collect();
        Request { targets, profiles, filter: common_filter(&ids), run: OnceLock::new() }
    }

    fn completion_of(&self, profile: &str, test: &Test) -> Result<Completion, Failed> {
        if self.targets.is_empty() {
            return Ok(Completion::ignored_with(format!("{TARGET} names no release")));
        }
        let run = self.run.get_or_init(|| self.start_run()).as_ref().map_err(Failed::from)?;
        let mut skipped = None;
        for (id, cell) in &run.cells {
            match outcome(cell, profile, test) {
                Some(Outcome::Pass) => {}
                Some(Outcome::Skip { reason }) => skipped = Some(format!("{id}: {reason}")),
                Some(Outcome::Fail(failure)) => {
                    return Err(format!("{id}: {}: {}", failure.component, failure.observed).into());
                }
                Some(Outcome::Blocked { by }) => return Err(format!("{id}: blocked by {by}").into()),
                Some(Outcome::Error { message }) => return Err(format!("{id}: error: {message}").into()),
                None => return Err(format!("{id}: it did not run{}", why(cell)).into()),
            }
        }
        Ok(skipped.map_or(Completion::Completed, Completion::ignored_with))
    }

    /// Runs the command with an output directory that is kept, because its logs explain a failure.
    fn start_run(&self) -> Result<Run, String> {
        let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let out = tempfile::Builder::new().prefix("qualify-").tempdir_in(base).map_err(|e| e.to_string())?.keep();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kata-qualify"));
        command.arg("run").args(&self.targets).arg("--out").arg(&out).arg("--cache").arg(cache());
        command.arg("--profile").arg(self.profiles.iter().copied().collect::<Vec<_>>().join(","));
        if let Some(filter) = &self.filter {
            command.args(["--test", filter]);
        }
        eprintln!("running {command:?}");
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().map_err(|e| e.to_string())?;
        let journal = reports::journal::read(&out.join(reports::journal::FILE))
            .map_err(|e| format!("kata-qualify: {status}, and it wrote no journal ({e}); its words are above"))?;
        Ok(reports::run::fold(&journal))
    }
}

/// Returns the longest common part of these ids, which selects them all and, if possible, no others; `None` for all
/// tests.
fn common_filter(ids: &BTreeSet<&str>) -> Option<String> {
    let (first, last) = (ids.first()?, ids.last()?);
    if first == last {
        return Some((*first).to_owned());
    }
    // The longest part of one id that every id has.
    let common = (0..first.len())
        .flat_map(|from| (from + 1..=first.len()).map(move |to| (from, to)))
        .filter_map(|(from, to)| first.get(from..to))
        .filter(|part| ids.iter().all(|id| id.contains(part)))
        .max_by_key(|part| part.len())?;
    let everything = catalogue::tests().iter().all(|test| test.id.contains(common));
    (!everything).then(|| common.to_owned())
}

/// Returns the run's outcome of a test.
fn outcome(cell: &CellRun, profile: &str, test: &Test) -> Option<Outcome> {
    let matching = cell.instances.iter().filter(|i| i.test == test.id && i.profiles.iter().any(|p| p == profile));
    Some(FinalOutcome::of(matching.flat_map(|i| &i.attempts).map(|a| &a.outcome))?.outcome)
}

fn why(cell: &CellRun) -> String {
    cell.errors.iter().map(|e| format!("; {}: {}", e.phase, e.message)).collect()
}

fn cache() -> PathBuf {
    match std::env::var_os("KATA_QUALIFY_CACHE").filter(|dir| !dir.is_empty()) {
        Some(dir) => std::path::absolute(dir).unwrap(),
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
    }
}
