//! A run: its lock, its journal, its cells in parallel, and its complete clean-up.

use crate::built_in::COMMIT;
use crate::cell::{self, TestOptions};
use crate::donor::{Donation, Donors};
use crate::environments::Keep;
use crate::environments::container::{OwningRun, handed_in};
use crate::environments::vm::Size;
use crate::environments::vm::pinned::Pinned;
use crate::event_log::EventLog;
use crate::interrupt::Interrupts;
use crate::kata::{KataError, SuppliedKata};
use crate::memory;
use crate::output::Output;
use crate::progress::Progress;
use crate::record_places::RecordPlaces;
use crate::replacement::Replacement;
use crate::resources::{Machines, Resources};
use crate::schedule::Attempts;
use crate::scope::RunScope;
use crate::shell::Visit;
use crate::sweep::{OwnCache, RunLock, SweepReport, SweepScope, host_folder, kata_folder, sweep, sweep_folders};
use agent::launch::provided::Provided;
use anyhow::Context as _;
pub use begin::NotResumable;
use begin::{cells, check_resumable, is_unfinished, open, shown, start};
use bollard::Docker;
use end::{Engine, trim, watched};
use images::external_file::ExternalFile;
use model::distro::DistroId;
use model::profile::Profile;
use model::release::Release;
use reports::digest;
use reports::journal::{Environment, Event, RunFacts, SCHEMA};
use reports::redact::Redactor;
use reports::verdict::test_set;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use suites::catalogue;
use suites::environment::Effort;
use tokio::sync::Semaphore;

mod begin;
mod end;

/// A validated request for a run.
pub struct RunRequest {
    /// The releases, each with the record's data.
    pub releases: Vec<Release>,
    /// Source positions of the records' claims about the releases.
    pub record_places: RecordPlaces,
    /// The environments in which each release is brought up.
    pub environments: Vec<Environment>,
    /// Memory and CPUs of a virtual machine.
    pub size: Size,
    /// The profiles.
    pub profiles: Vec<Profile>,
    /// The sources of Kata, for virtual machines.
    pub kata: Vec<ExternalFile>,
    /// Files that replace the distro's own components.
    pub replacements: Vec<Replacement>,
    /// Components of other releases that replace the distro's own.
    pub donations: Vec<Donation>,
    /// The filters that choose tests; none for all tests.
    pub filters: Vec<String>,
    /// The part of all this that is run.
    pub scope: RunScope,
    /// The output directory, which is empty or does not exist yet, unless it has the run that is resumed.
    pub out: PathBuf,
    /// Options for making images.
    pub images: images::Options,
    /// The QEMU that boots virtual machines.
    pub pinned: Arc<Pinned>,
    /// Number of guests at the same time, over all cells.
    pub jobs: usize,
    /// How often a test is tried, each time in a fresh guest.
    pub attempts: Attempts,
    /// Amount of work for randomized tests.
    pub effort: Effort,
    /// Containers that are kept so that people can look into them.
    pub keep: Keep,
    /// A visitor (as for `shell`) who is let into the environment instead of running its tests.
    pub visit: Option<Arc<Visit>>,
    /// Whether the journal's lines are also written on standard output as they come.
    pub streams: bool,
    /// The options as text, for the journal.
    pub options: Vec<String>,
    /// The options as data, for the journal.
    pub facts: RunFacts,
    /// Whether candidates are under test instead of the packages in the record.
    pub candidate: bool,
    /// Whether the caller's keys, image or records vouch for packages.
    pub shaped: bool,
    /// The directory of run locks.
    pub locks: PathBuf,
    /// Limit for the cache in bytes.
    pub budget: u64,
}

/// A request that proved impossible after the run had started; nothing was tested.
#[derive(Debug, thiserror::Error)]
pub enum BadRequest {
    /// A Kata or a component that the user supplies is not usable.
    #[error(transparent)]
    Kata(#[from] KataError),
    /// The output directory cannot be made.
    #[error("--out {path}")]
    Out {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No cell has anything to run.
    #[error("nothing to run: no cell is for this machine, or all tests had passed")]
    Nothing,
    /// The run in the output directory cannot be resumed with this request.
    #[error("--resume {path}: {reason}")]
    Resume {
        /// The folder.
        path: PathBuf,
        /// The cause.
        reason: NotResumable,
    },
}

/// Time that the engine may take to remove the leftovers of a run, and the images that its cache no longer has.
const ENGINE: Duration = Duration::from_secs(120);

/// The part of [`CLEANING`] that is reserved for the engine, however long the tests of an interrupted run take to end.
const ENGINE_AT_LEAST: Duration = Duration::from_secs(15);

/// Time that the processes of a run may take to end after it: removing an image's tree, or trying KVM, half a minute.
pub const CLEANING: Duration = Duration::from_secs(60);

/// The way in which a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// All cells finished.
    Finished,
    /// All cells finished, and Ctrl-C or SIGTERM came while the run cleaned up after them.
    Dismissed,
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// The journal could not be written any more.
    Broken,
}

/// Runs all cells and cleans up after them, also when interrupted.
///
/// Returns how the run ended, and how much of [`CLEANING`] is left for threads that may still be blocked. `interrupted`
/// is the exit code of a process that a second signal ends.
///
/// # Errors
/// [`BadRequest`], or a failure on this machine before the first cell started.
pub async fn run(
    docker: Option<Docker>,
    request: RunRequest,
    progress: Progress,
    interrupted: i32,
) -> anyhow::Result<(RunEnd, Duration)> {
    // The process's id, not the run's: leftovers of a killed process are swept by it, even if the run is resumed.
    let process = format!("{:x}-{}", jiff::Timestamp::now().as_millisecond(), std::process::id());
    let cache = images::cache::id(&request.images.cache)?;
    let lock = RunLock::take(&request.locks, &process)
        .with_context(|| format!("locking the run in {}", request.locks.display()))?;
    sweep_finished_runs(docker.as_ref(), &cache, &request, &progress).await?;
    let (sources, replacements) = (request.kata.clone(), request.replacements.clone());
    let scratch = kata_folder(&request.locks, &process);
    // Declared after the lock, so that the directory is removed while the lock is still held.
    let folder = Folder(scratch.clone());
    if !sources.is_empty() {
        progress.say("opening Kata");
    }
    let profiles = request.profiles.clone();
    let opened = move || SuppliedKata::open(&sources, &replacements, &profiles, &scratch);
    let kata = Arc::new(tokio::task::spawn_blocking(opened).await?.map_err(BadRequest::Kata)?);
    let donors = donors(&request, &progress).await?;
    // Until here a signal ends the process: everything made so far is swept by the next start.
    let mut interrupts = Interrupts::listen(interrupted)?;
    std::fs::create_dir_all(&request.out).map_err(|source| BadRequest::Out { path: request.out.clone(), source })?;
    let mut redactor = Redactor::knowing(images::addresses(&request.images).iter().map(String::as_str));
    // Kata, an image or a component may be named by a URL, too.
    std::env::args_os().for_each(|word| redactor.learn_all(&word.to_string_lossy()));
    let (journal, before) = open(&request)?;
    let journal = journal.hiding(redactor.clone());
    let mut journal = if request.streams { journal.with_listener(stream) } else { journal };
    let kvm = match docker {
        Some(_) => tokio::task::spawn_blocking(handed_in::kvm).await?,
        None => Err(handed_in::KvmWithheld::NoContainer),
    };
    let cells = cells(&request, before.as_ref(), kvm.is_ok(), &progress);
    if cells.is_empty() && before.is_none() {
        let _ = std::fs::remove_file(journal.path());
        return Err(BadRequest::Nothing.into());
    }
    let filter = request.scope.filter().or_else(|| request.facts.filter.clone());
    let begins = Event::RunStarted {
        schema: SCHEMA,
        run: before.as_ref().map_or_else(|| process.clone(), |before| before.run.clone()),
        harness: env!("CARGO_PKG_VERSION").to_owned(),
        commit: COMMIT.to_owned(),
        argv: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
        records: digest::short(&serde_json::to_string(&request.releases).context("encoding the records")?),
        catalogue: test_set(catalogue::tests()),
        profiles: request.profiles.iter().map(|p| p.name.clone()).collect(),
        cells: cells.iter().map(|c| c.id.clone()).collect(),
        planned: cells
            .iter()
            .map(|c| (c.id.clone(), c.units.iter().map(|unit| unit.tests.len() as u64).sum()))
            .collect(),
        filter: filter.as_ref().map(ToString::to_string),
        candidate: request.candidate,
        shaped: request.shaped,
        options: request.options.iter().cloned().chain(kata.options()).chain(donors.options()).collect(),
        facts: Some(RunFacts { filter, ..request.facts.clone() }),
    };
    if let Some(before) = &before {
        check_resumable(before, &begins).map_err(|reason| BadRequest::Resume { path: request.out.clone(), reason })?;
    }
    progress.saw(&begins, jiff::Timestamp::now());
    cells.iter().for_each(shown);
    let run = before.as_ref().map_or_else(|| process.clone(), |before| before.run.clone());
    start(&mut journal, begins, &request)?;
    let cancel = Arc::clone(&request.images.cancel);
    let (images_folder, budget) = (request.images.cache.clone(), request.budget);
    let machines = Machines {
        size: request.size,
        permits: Arc::new(Semaphore::new(machines(request.size, request.jobs))),
        pinned: request.pinned,
    };
    let keep = request.keep;
    let resources = Arc::new(Resources {
        images: request.images,
        kata,
        donors: Arc::new(donors),
        docker: docker.clone(),
        kvm,
        owner: OwningRun {
            run: process.clone(),
            lock: lock.path().to_string_lossy().into_owned(),
            cache,
            kept: (keep != Keep::Nothing).then_some(run),
        },
        machines,
        host_folder: host_folder(&request.locks.canonicalize().context("resolving the folder of locks")?, &process),
    });
    let options = Arc::new(TestOptions {
        guests: Arc::new(Semaphore::new(request.jobs)),
        attempts: request.attempts,
        effort: request.effort,
        keep,
        record_places: request.record_places,
        visit: request.visit,
    });
    let output = Arc::new(Output {
        events: EventLog::new(journal, progress.clone()),
        progress: progress.clone(),
        folder: request.out.clone(),
        resumed: before.as_ref().map_or(0, |before| before.starts),
    });
    let mut tasks = tokio::task::JoinSet::new();
    for cell in cells.into_iter().filter(is_unfinished) {
        let (resources, options, output) = (Arc::clone(&resources), Arc::clone(&options), Arc::clone(&output));
        tasks.spawn(cell::run(resources, options, output, Arc::new(cell)));
    }
    let mut ended = tokio::select! {
        () = async { while tasks.join_next().await.is_some() {} } => RunEnd::Finished,
        () = interrupts.first() => RunEnd::Interrupted,
        () = output.events.failed() => RunEnd::Broken,
    };
    let is_whole = ended == RunEnd::Finished;
    // The time at which an interrupted run gives up.
    let mut until = None;
    if !is_whole {
        interrupts.end_at_next();
        progress.say("the run is not finished, cleaning up (the journal is kept); Ctrl-C again stops at once");
        // Commands that make images watch this flag and end with their process groups.
        cancel.store(true, Ordering::Relaxed);
        until = Some(Instant::now() + CLEANING);
        let _ = tokio::time::timeout(CLEANING.saturating_sub(ENGINE_AT_LEAST), tasks.shutdown()).await;
    }
    if let Err(e) = crate::logs::redact(&request.out.join("artifacts"), &redactor) {
        progress.say(&format!("warning: redacting logs: {e}"));
    }
    output.events.write(Event::RunFinished { interrupted: !is_whole });
    let mut engine = Engine::new(docker.as_ref(), until.map_or(ENGINE, time_until));
    let cleaning = async {
        if keep == Keep::Nothing || !is_whole {
            engine.sweep(&process, &progress).await;
        }
        // The values that hold images and opened archives must be dropped before the cache is trimmed.
        drop((resources, options, output));
        if is_whole {
            trim(&mut engine, &images_folder, budget, &progress).await;
        }
    };
    if !is_whole {
        // A signal already ends the process here: `end_at_next` was called above.
        cleaning.await;
    } else if let Some(given_up) = watched(cleaning, interrupts.first(), CLEANING, &progress).await {
        (ended, until) = (RunEnd::Dismissed, Some(given_up));
    }
    drop(folder);
    Ok((ended, until.map_or(CLEANING, time_until)))
}

fn time_until(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// Writes a line of the journal on standard output. A closed standard output is no error, because the file has the
/// line.
fn stream(line: &[u8]) {
    use std::io::Write as _;
    let mut out = io::stdout().lock();
    let _ = out.write_all(line).and_then(|()| out.flush());
}

/// Prepares the components of other releases; their images are the plain ones.
async fn donors(request: &RunRequest, progress: &Progress) -> anyhow::Result<Donors> {
    let (donations, options) = (request.donations.clone(), request.images.clone());
    for Donation { component, release } in &donations {
        progress.say(&format!("preparing {}, whose {component} is used", release.name()));
    }
    // A mirror that is named is that of the releases under test.
    let distros: Vec<DistroId> = request.releases.iter().map(|release| release.distro.clone()).collect();
    let options = move |release: &Release| options.plain(distros.contains(&release.distro));
    Ok(tokio::task::spawn_blocking(move || Donors::prepare(&donations, &options, &|_| {})).await??)
}

/// Removes the leftovers of earlier runs and preparations that are over.
async fn sweep_finished_runs(
    docker: Option<&Docker>,
    cache: &str,
    request: &RunRequest,
    progress: &Progress,
) -> anyhow::Result<()> {
    if let Some(docker) = docker {
        let own = OwnCache { cache, locks: &request.locks };
        let swept =
            sweep(docker, SweepScope::Over(own)).await.context("looking through Docker's containers and volumes")?;
        tell(progress, &swept);
    }
    let swept = sweep_folders(&request.locks);
    tell(progress, &swept.with_context(|| format!("looking through {}", request.locks.display()))?);
    let swept = images::sweep(&request.images.cache)?;
    if swept.removed > 0 {
        progress.say(&format!("removed {} incomplete images of earlier runs", swept.removed));
    }
    for leftover in swept.leftovers {
        progress.say(&format!("warning: not removed: {leftover}"));
    }
    Ok(())
}

/// Prints what a sweep did. People must know of leftovers, because they may take gigabytes.
fn tell(progress: &Progress, swept: &SweepReport) {
    for removed in &swept.removed {
        progress.say(&format!("removed {removed} of an earlier run"));
    }
    for leftover in &swept.leftovers {
        progress.say(&format!("warning: not removed: {leftover}"));
    }
    for kept in &swept.kept {
        progress.say(&format!(
            "note: {kept} of an earlier run was kept for `kata-qualify shell`; remove it with `kata-qualify clean`"
        ));
    }
}

/// A directory that is removed when the value is dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Returns the features that an environment is expected to provide, before it can be probed; `kvm` is true if a
/// container may be given KVM.
pub fn provided(environment: Environment, kvm: bool) -> Provided {
    match environment {
        Environment::Container if kvm => Provided { namespaces: false, handles: false, ..Provided::EVERYTHING },
        Environment::Container => Provided::default(),
        Environment::Vm | Environment::Host => Provided::EVERYTHING,
    }
}

/// Returns how many virtual machines run at the same time: as many as there are jobs, as far as half of the free memory
/// suffices.
fn machines(size: Size, jobs: usize) -> usize {
    let half_mib = memory::available_kib().unwrap_or(0) / 1024 / 2;
    let fit = usize::try_from(half_mib / u64::from(size.memory_mib).max(1)).unwrap_or(usize::MAX);
    fit.clamp(1, jobs.max(1))
}
