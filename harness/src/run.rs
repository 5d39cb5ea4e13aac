//! A run: its lock, its journal, its cells side by side, and nothing left behind.

use crate::cell::{self, Cell};
use crate::plan;
use crate::progress::Progress;
use crate::sweep::{RunLock, Which, sweep};
use bollard::Docker;
use kata_osinfo::arch::Arch;
use kata_osinfo::profile::Profile;
use kata_osinfo::release::Release;
use reports::journal::{CellId, Environment, Event, SCHEMA, Writer};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use suites::catalogue::Test;
use tokio::sync::{Notify, Semaphore};

/// What a run is asked to do; everything in it is valid.
pub struct Request {
    /// Releases with the record's word for each.
    pub releases: Vec<Release>,
    /// Profiles.
    pub profiles: Vec<Profile>,
    /// Part of a test's id, or nothing for all.
    pub filter: Option<String>,
    /// The output folder, which is empty or does not exist yet.
    pub out: PathBuf,
    /// How images are made.
    pub images: images::Options,
    /// Guests at the same time, over all cells.
    pub jobs: usize,
    /// How often a failing test is tried again in a fresh guest.
    pub retries: u32,
    /// Leave containers for a look.
    pub keep: bool,
    /// What the journal says of the options.
    pub options: Vec<String>,
    /// Candidates are under test, not what the record names.
    pub candidate: bool,
    /// Where run locks lie.
    pub locks: PathBuf,
}

/// What the cells of a run have in common.
pub struct Shared {
    /// The Docker engine.
    pub docker: Docker,
    /// The run's id.
    pub run: String,
    /// The path of the run's lock.
    pub lock: String,
    /// The output folder.
    pub out: PathBuf,
    /// How images are made.
    pub images: images::Options,
    /// One permit a guest.
    pub permits: Arc<Semaphore>,
    /// How often a failing test is tried again.
    pub retries: u32,
    /// Leave containers for a look.
    pub keep: bool,
    /// The display.
    pub progress: Progress,
    journal: Mutex<Writer>,
    /// The journal could not be written.
    broken: AtomicBool,
    breaks: Notify,
}

impl Shared {
    /// Writes an event; a journal that cannot be written ends the run, for it is the only truth.
    pub fn journal(&self, event: Event) {
        // What follows the first loss would only look like a whole journal.
        if self.broken.load(Ordering::Relaxed) {
            return;
        }
        let written = self.journal.lock().unwrap_or_else(PoisonError::into_inner).append(event);
        if let Err(e) = written {
            self.progress.say(&format!("error: {}", cell::error_chain(&e)));
            self.broken.store(true, Ordering::Relaxed);
            self.breaks.notify_one();
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All cells came to their end.
    Finished,
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// The journal could not be written any more.
    Broken,
}

/// Runs all cells and cleans up after them, also when interrupted.
pub async fn run(docker: Docker, request: Request, progress: Progress) -> anyhow::Result<Ended> {
    let run = format!("{:x}-{}", jiff::Timestamp::now().as_millisecond(), std::process::id());
    let lock = RunLock::take(&request.locks, &run)?;
    for removed in sweep(&docker, Which::Over).await? {
        progress.say(&format!("swept {removed} of a run that is over"));
    }
    if let removed @ 1.. = images::sweep(&request.images.cache)? {
        progress.say(&format!("swept {removed} half images of preparations that are over"));
    }
    let wanted = |test: &Test| request.filter.as_ref().is_none_or(|part| test.id.contains(part.as_str()));
    let cells: Vec<Cell> = request
        .releases
        .iter()
        .map(|release| {
            let id = cell_id(release);
            Cell {
                line: progress.cell(&format!("{}:{}", release.distro, release.version)),
                id,
                release: release.clone(),
                profiles: request.profiles.clone(),
                units: plan::units(&request.profiles, wanted, agent::compose::normalised),
            }
        })
        .collect();
    std::fs::create_dir_all(&request.out)?;
    let mut journal = Writer::create(&request.out)?;
    journal.append(Event::RunStarted {
        schema: SCHEMA,
        run: run.clone(),
        harness: env!("CARGO_PKG_VERSION").to_owned(),
        profiles: request.profiles.iter().map(|p| p.name.clone()).collect(),
        cells: cells.iter().map(|c| c.id.clone()).collect(),
        filter: request.filter.clone(),
        candidate: request.candidate,
        options: request.options.clone(),
    })?;
    let cancel = Arc::clone(&request.images.cancel);
    let shared = Arc::new(Shared {
        docker: docker.clone(),
        run: run.clone(),
        lock: lock.path().to_string_lossy().into_owned(),
        out: request.out.clone(),
        images: request.images,
        permits: Arc::new(Semaphore::new(request.jobs)),
        retries: request.retries,
        keep: request.keep,
        progress: progress.clone(),
        journal: Mutex::new(journal),
        broken: AtomicBool::new(false),
        breaks: Notify::new(),
    });
    let mut tasks = tokio::task::JoinSet::new();
    for cell in cells {
        tasks.spawn(cell::run(Arc::clone(&shared), Arc::new(cell)));
    }
    let ended = tokio::select! {
        () = async { while tasks.join_next().await.is_some() {} } => Ended::Finished,
        () = interrupted() => Ended::Interrupted,
        () = shared.breaks.notified() => Ended::Broken,
    };
    if ended != Ended::Finished {
        progress.say("not finished: cleaning up (the journal keeps what is done)");
        // Commands that make images watch this flag and end with their process groups.
        cancel.store(true, Ordering::Relaxed);
        tasks.shutdown().await;
    }
    shared.journal(Event::RunFinished { interrupted: ended != Ended::Finished });
    if !shared.keep || ended != Ended::Finished {
        sweep(&docker, Which::Run(&run)).await?;
    }
    Ok(ended)
}

/// The cell of a release on this machine's architecture, in a container.
fn cell_id(release: &Release) -> CellId {
    CellId {
        distro: release.distro.clone(),
        release: release.version.clone(),
        arch: release.arch,
        environment: Environment::Container,
    }
}

/// This machine's architecture, if Kata knows it.
pub fn this_arch() -> Option<Arch> {
    Arch::ALL.iter().copied().find(|arch| arch.name() == std::env::consts::ARCH)
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}
