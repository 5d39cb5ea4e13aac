//! The request of a run: from its arguments, and from the journal of a run that is resumed or rerun.

use crate::cli::arguments::{In, RerunArguments, RunArguments};
use crate::cli::{UsageError, base, request};
use crate::run::RunRequest;
use crate::scope::{Again, RunScope};
use crate::shards;
use model::arch::Arch;
use model::database::Database;
use model::diagnostic::error_chain;
use reports::journal::{CellId, Environment, RunFilter};
use reports::resume::{self, StartedRun};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// A run request: arguments, completed from the journals and files that they name.
pub(super) struct ResolvedRun {
    /// The arguments, completed from a journal where they leave something open.
    pub(super) arguments: RunArguments,
    scope: RunScope,
    /// The directory of the run that is resumed.
    folder: Option<PathBuf>,
}

/// Resolves arguments.
///
/// # Errors
/// If the file of cells or the journal that they name cannot be used.
pub(super) fn of_arguments(arguments: &RunArguments) -> Result<ResolvedRun, UsageError> {
    if let Some(file) = &arguments.cells {
        let cells = cells(file, arguments.shard, arguments.arch)?;
        return Ok(of_chosen(arguments, &cells));
    }
    let Some(folder) = &arguments.resume else {
        return Ok(ResolvedRun { arguments: arguments.clone(), scope: RunScope::default(), folder: None });
    };
    let failed = |why: String| UsageError(format!("--resume {}: {why}", folder.display()));
    let start = read_start("--resume", folder)?.of_one_run().map_err(|e| failed(e.to_string()))?;
    if is_rerun(&start) {
        return Err(failed("it is a rerun: resume it with `kata-qualify rerun RUN --resume DIR`".to_owned()));
    }
    let scope = RunScope { cells: Some(start.cells.iter().cloned().collect()), resumes: true, again: None };
    Ok(ResolvedRun { arguments: of_journal(arguments, &start), scope, folder: Some(folder.clone()) })
}

/// Resolves arguments with these cells instead of their releases and environments.
pub(super) fn of_chosen(arguments: &RunArguments, cells: &[CellId]) -> ResolvedRun {
    let scope = RunScope { cells: Some(cells.iter().cloned().collect()), ..RunScope::default() };
    ResolvedRun { arguments: of_cells(arguments, cells), scope, folder: None }
}

/// Resolves arguments that name a run to be run again.
///
/// # Errors
/// If that run's journal cannot be used.
pub(super) fn of_rerun(arguments: &RerunArguments) -> Result<ResolvedRun, UsageError> {
    let RerunArguments { run, options } = arguments;
    let start = read_start("RUN", run)?;
    if is_rerun(&start) {
        let why = "it is a rerun itself: merge it with its run, then rerun the result";
        return Err(UsageError(format!("RUN {}: {why}", run.display())));
    }
    let of_run = of_cells(options, &start.cells);
    let or = |explicit: &[String], of_run: Vec<String>| if explicit.is_empty() { of_run } else { explicit.to_vec() };
    let arguments = RunArguments {
        targets: or(&options.targets, of_run.targets),
        environments: if options.environments.is_empty() { of_run.environments } else { options.environments.clone() },
        profiles: or(&options.profiles, profiles_of(&start)),
        arch: of_run.arch,
        // Tests that the run was not asked for are not missing.
        filters: filters_of(&start),
        ..options.clone()
    };
    let scope = RunScope {
        cells: Some(start.cells.iter().cloned().collect()),
        resumes: options.resume.is_some(),
        again: Some(Again::of(&start)),
    };
    Ok(ResolvedRun { arguments, scope, folder: options.resume.clone() })
}

/// Size limit of a file that names cells: a plan of all releases has less than a tenth of this.
const MAX_FILE: u64 = 16 << 20;

/// Returns the cells that a file names, all of the requested architecture, which is this machine's by default.
fn cells(file: &Path, shard: Option<u16>, requested: Option<Arch>) -> Result<Vec<CellId>, UsageError> {
    let failed = |why: String| UsageError(format!("--cells {}: {why}", file.display()));
    let text = read(file).map_err(|e| failed(e.to_string()))?;
    let cells = shards::cells_of(&text, shard.map(usize::from)).map_err(|e| failed(e.to_string()))?;
    let of_machine = request::machine()?;
    let arch = requested.unwrap_or(of_machine);
    match cells.iter().find(|cell| cell.arch != arch) {
        Some(other) if requested.is_some() => Err(failed(format!("{other} does not match --arch {arch}"))),
        Some(other) => Err(failed(format!("{other} is not for this machine's architecture, {arch}: give --arch"))),
        None => Ok(cells),
    }
}

/// Reads a file that names cells.
///
/// # Errors
/// If it is not a regular file, or too long.
pub(super) fn read(file: &Path) -> io::Result<String> {
    // Opening a FIFO would block.
    if !std::fs::metadata(file)?.is_file() {
        return Err(io::Error::other("expected a file"));
    }
    let mut text = String::new();
    let length = File::open(file)?.take(MAX_FILE).read_to_string(&mut text)?;
    match length as u64 {
        MAX_FILE => Err(io::Error::other(format!("the file is too large: {MAX_FILE} bytes or more"))),
        _ => Ok(text),
    }
}

/// Returns the run in a directory.
///
/// # Errors
/// Names the option that named the directory.
fn read_start(option: &str, folder: &Path) -> Result<StartedRun, UsageError> {
    let failed = |why: String| UsageError(format!("{option} {}: {why}", folder.display()));
    let journal = reports::journal::read(&folder.join(reports::journal::FILE)).map_err(|e| failed(error_chain(&e)))?;
    resume::started_run(&journal).map_err(|e| failed(e.to_string()))
}

/// Returns arguments that request the cells, the profiles and the filters of a journal; all other options stay.
fn of_journal(arguments: &RunArguments, start: &StartedRun) -> RunArguments {
    RunArguments { profiles: profiles_of(start), filters: filters_of(start), ..of_cells(arguments, &start.cells) }
}

/// Returns the names of a run's profiles, as arguments.
fn profiles_of(start: &StartedRun) -> Vec<String> {
    start.profiles.iter().map(ToString::to_string).collect()
}

/// Checks whether the run is a rerun of another run.
fn is_rerun(start: &StartedRun) -> bool {
    matches!(start.filter, Some(RunFilter::RerunOf(_)))
}

/// Returns the filters that chose a run's tests, as arguments.
fn filters_of(start: &StartedRun) -> Vec<String> {
    start.filter.iter().flat_map(RunFilter::filters).map(str::to_owned).collect()
}

/// Returns arguments that request the releases and environments of cells, each once and in their order; all cells have
/// the same architecture.
fn of_cells(arguments: &RunArguments, cells: &[CellId]) -> RunArguments {
    let mut targets: Vec<String> = Vec::new();
    let mut environments: Vec<In> = Vec::new();
    for cell in cells {
        let (target, environment) = (cell.target().to_string(), In::from(cell.environment));
        // The release of this machine is detected later and compared with the cell.
        if cell.environment != Environment::Host && !targets.contains(&target) {
            targets.push(target);
        }
        if !environments.contains(&environment) {
            environments.push(environment);
        }
    }
    let arch = cells.first().map(|cell| cell.arch).or(arguments.arch);
    RunArguments { targets, environments, arch, ..arguments.clone() }
}

impl ResolvedRun {
    /// Makes a valid request.
    ///
    /// # Errors
    /// If the arguments are invalid, before anything runs.
    pub(super) fn request(&self, database: &Database) -> anyhow::Result<RunRequest> {
        if self.folder.is_some() && base::is_asked(&self.arguments) {
            let why = "--resume continues only the run with the packages: add --no-base to --with-packages (a base run \
                       in DIR/base that has finished still counts; resume one that was cut short with --resume \
                       DIR/base, without --with-packages)";
            return Err(UsageError(why.to_owned()).into());
        }
        let mut request = request::request(&self.arguments, database)?;
        request.scope = self.scope.clone();
        if let Some(folder) = &self.folder {
            request.out.clone_from(folder);
        }
        Ok(request)
    }

    /// Makes a valid request for the base run with the same cells and tests, if there is to be one.
    ///
    /// # Errors
    /// As for [`ResolvedRun::request`].
    pub(super) fn base_request(&self, request: &RunRequest, database: &Database) -> anyhow::Result<Option<RunRequest>> {
        let Some(plain) = base::plain(&self.arguments, &request.out) else { return Ok(None) };
        Ok(Some(RunRequest { scope: self.scope.clone(), ..request::request(&plain, database)? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::{Arguments, Command};
    use clap::Parser as _;
    use reports::journal::Event;

    fn parsed(words: &[&str]) -> RunArguments {
        let Command::Run(arguments) = Arguments::parse_from([&["kata-qualify", "run"], words].concat()).command else {
            panic!("another command")
        };
        *arguments
    }

    #[test]
    fn cells_become_releases_and_environments_each_once() {
        let cells = ["debian:13/x86_64/vm", "debian:13/x86_64/container", "debian:12/x86_64/vm"];
        let cells: Vec<CellId> = cells.iter().map(|cell| cell.parse().unwrap()).collect();
        let arguments = of_cells(&parsed(&["--resume", "out", "--offline"]), &cells);
        assert_eq!(arguments.targets, ["debian:13", "debian:12"]);
        assert_eq!(arguments.environments, [In::Vm, In::Container]);
        assert!(arguments.offline, "the others stay");
        let host: CellId = "debian:13/x86_64/host".parse().unwrap();
        let arguments = of_cells(&arguments, &[host]);
        assert!(arguments.targets.is_empty());
        assert_eq!(arguments.environments, [In::Host]);
    }

    #[test]
    fn a_rerun_uses_the_runs_cells_and_profiles_by_default() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = reports::journal::Writer::create(dir.path()).unwrap();
        let cells: Vec<CellId> = vec!["debian:13/x86_64/vm".parse().unwrap(), "debian:12/x86_64/vm".parse().unwrap()];
        let begins = crate::fixtures::begins("r1", &cells, 0, Some("host::,vmm.vsock"));
        journal.append(begins).unwrap();
        let run = dir.path().to_str().unwrap();
        let rerun = |more: &[&str]| {
            let words = [&["kata-qualify", "rerun", run], more].concat();
            let Command::Rerun(arguments) = Arguments::parse_from(words).command else { panic!("another command") };
            of_rerun(&arguments).unwrap()
        };
        let all = rerun(&[]);
        assert_eq!(all.arguments.targets, ["debian:13", "debian:12"]);
        assert_eq!(
            (&all.arguments.environments[..], &all.arguments.profiles[..]),
            (&[In::Vm][..], &["go-3.32".to_owned()][..])
        );
        assert_eq!(all.arguments.filters, ["host::", "vmm.vsock"]);
        assert_eq!(all.scope.cells, Some(cells.into_iter().collect()));
        assert_eq!(all.scope.filter(), Some(RunFilter::RerunOf("r1".to_owned())));
        let some = rerun(&["debian:12", "--profile", "rs-4.1"]);
        assert_eq!(
            (&some.arguments.targets[..], &some.arguments.profiles[..]),
            (&["debian:12".to_owned()][..], &["rs-4.1".to_owned()][..])
        );
        assert!(Arguments::try_parse_from(["kata-qualify", "rerun", run, "--test", "x"]).is_err());
    }

    #[test]
    fn a_rerun_can_be_neither_resumed_nor_rerun() {
        let refused = |filter: RunFilter| {
            let dir = tempfile::tempdir().unwrap();
            let mut journal = reports::journal::Writer::create(dir.path()).unwrap();
            let mut begins = crate::fixtures::begins("r2", &["debian:13/x86_64/vm".parse().unwrap()], 0, None);
            if let Event::RunStarted { facts: Some(facts), .. } = &mut begins {
                facts.filter = Some(filter);
            }
            journal.append(begins).unwrap();
            drop(journal);
            let run = dir.path().to_str().unwrap();
            let words = ["kata-qualify", "rerun", run];
            let Command::Rerun(arguments) = Arguments::parse_from(words).command else { panic!("another command") };
            let tests = |run: ResolvedRun| run.arguments.filters;
            (of_rerun(&arguments).map(tests).ok(), of_arguments(&parsed(&["--resume", run])).map(tests).ok())
        };
        assert_eq!(refused(RunFilter::RerunOf("r1".to_owned())), (None, None));
        let text = "rerun of r1".to_owned();
        let expected = Some(vec![text.clone()]);
        assert_eq!(refused(RunFilter::Matching(text)), (expected.clone(), expected));
    }

    #[test]
    fn resuming_a_run_with_packages_requires_the_option_no_base() {
        let resumed = |more: &[&str]| {
            let words = [&["--resume", "out", "--with-packages", "a.deb"], more].concat();
            ResolvedRun { arguments: parsed(&words), scope: RunScope::default(), folder: Some(PathBuf::from("out")) }
        };
        let refused = |more: &[&str]| resumed(more).request(&Database::embedded()).err().map(|e| e.to_string());
        assert!(refused(&[]).is_some_and(|why| why.contains("--no-base")));
        // The refusal has another reason: no release is named.
        assert!(refused(&["--no-base"]).is_some_and(|why| !why.contains("--no-base")));
    }

    #[test]
    fn stale_cells_are_run_in_their_own_environment() {
        let cells: Vec<CellId> = vec!["debian:13/x86_64/vm".parse().unwrap()];
        let resolved = of_chosen(&parsed(&["debian", "--stale"]), &cells);
        assert_eq!(
            (&resolved.arguments.targets[..], &resolved.arguments.environments[..]),
            (&["debian:13".to_owned()][..], &[In::Vm][..])
        );
        assert_eq!(resolved.scope.cells, Some(cells.into_iter().collect()));
        for more in [&["--cells", "plan.json"][..], &["--resume", "out"]] {
            let words = [&["kata-qualify", "run", "--stale"], more].concat();
            assert!(Arguments::try_parse_from(words).is_err(), "{more:?}");
        }
        assert!(Arguments::try_parse_from(["kata-qualify", "rerun", "run", "--stale"]).is_err());
    }

    #[test]
    fn options_recorded_in_the_journal_are_refused_on_resume() {
        for more in [&["debian:13"][..], &["--in", "vm"], &["--profile", "all"], &["--test", "x"], &["--out", "x"]] {
            let words = [&["kata-qualify", "run", "--resume", "out"], more].concat();
            assert!(Arguments::try_parse_from(words).is_err(), "{more:?}");
        }
    }
}
