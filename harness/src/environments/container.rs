//! The container environment: a release's image as a container with the agent in it, with as few privileges as
//! possible.
//!
//! The tree is imported into Docker, a volume is made, and a container is started with the agent as its idle process. A
//! `docker exec` runs a second agent, whose standard streams are the line to the harness. The agent binds `/dev/log`,
//! which virtiofsd needs, if no other program has.
//!
//! # The container's settings, and their reasons
//!
//! | setting | reason |
//! |---|---|
//! | Docker's default capabilities and `CAP_DAC_READ_SEARCH`, never `--privileged` | the distro's programs must run as in an unprivileged container; virtiofsd 1.14 keeps that one capability, for file handles, and ends if it cannot |
//! | the harness's own seccomp profile, an allow list | see `seccomp` |
//! | no network | no tested component needs a network |
//! | `/dev/shm` of 16 GiB | guests' memory is in it; it is allocated only as guests touch it |
//! | its own limits: a million open files, unlimited locked memory, and no limit of the user's processes | the limits of Kata's daemons, not the engine's defaults, which may be 4,096 files; a limit that an engine does not grant is probed like every other limit, and tests that need more are a `skip` with the limit's name |
//! | at most 8,192 processes and threads, if the engine can limit them | a package's fork bomb must not take this machine's process ids; see `limits` |
//! | an init | reaps orphaned processes of the distro's programs |
//! | a volume at `/kata-qualify` | shares must not be on the container's overlay, whose properties are not the distro's |
//! | 8 tmpfs of 16 MiB | shares that can be filled: one below each of 7 slots and one for the native control |
//!
//! Guests run under KVM if one boots under this machine's (see `handed_in`), with its vhost drivers and taps; otherwise
//! they run under TCG, and nothing is handed in. virtiofsd confines itself by chroot, because its namespaces would need
//! a capability; this is a recorded deviation. Without file handles virtiofsd falls back from its default, which
//! prefers them, to descriptors that stay open: also a recorded deviation, which virtual machines do not have.

mod broker;
pub mod handed_in;
mod limits;
pub mod seccomp;

pub(crate) use limits::{PROCESSES, is_about_processes};

use crate::line::{AgentOutput, Line, LineError};
use agent::home::{IDLE, SLOTS, SMALL, VOLUME};
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{ExecConfig, ResourcesUlimits, VolumeCreateRequest};
use bollard::query_parameters::{ListContainersOptions, RemoveContainerOptions};
use futures_util::StreamExt as _;
use handed_in::HandedIn;
use images::docker::ConnectError;
use limits::{LIMITS, Limit};
use model::diagnostic::error_chain;
use protocol::message::{EnvironmentReply, EnvironmentRequest};
use reports::journal::CellId;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testcontainers::CopyTargetOptions;
use testcontainers::core::{Mount, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _};

/// Label of everything that belongs to a run; its value is the run's id.
pub const RUN_LABEL: &str = "org.kata-qualify.run";
/// Label with the id of the run's cache, which identifies the cache wherever it is mounted.
pub const CACHE_LABEL: &str = images::docker::CACHE_LABEL;
/// Label with the path of the run's lock; if that lock is free, the run is over.
pub const LOCK_LABEL: &str = "org.kata-qualify.lock";
/// Label of containers and volumes that may outlive their run so that people can look into them: the run's name in its
/// journal, and the cell. While the container runs, it stays until somebody has visited it or `clean` runs.
pub const KEPT_LABEL: &str = "org.kata-qualify.kept";
/// Bytes of /dev/shm, where guests' memory is; they are allocated only as guests touch them.
const SHM: u64 = 16 << 30;
const AGENT: &str = "/kata-qualify-agent";

/// Reason why a container could not be brought up.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// Docker refused or failed.
    #[error("{doing}: {source}")]
    Docker {
        /// The action, as a gerund.
        doing: &'static str,
        /// Docker's error.
        source: bollard::errors::Error,
    },
    /// There is no connection to an engine.
    #[error("connecting to Docker: {source}")]
    Connect {
        /// The cause.
        source: ConnectError,
    },
    /// testcontainers failed.
    #[error("starting a container of {image}: {source}")]
    Start {
        /// The image.
        image: String,
        /// The error of testcontainers.
        source: Box<testcontainers::TestcontainersError>,
    },
    /// testcontainers could not remove a container.
    #[error("removing container {id}: {source}")]
    Remove {
        /// The container's id.
        id: String,
        /// The error of testcontainers.
        source: Box<testcontainers::TestcontainersError>,
    },
    /// The broker could not be started that opens this machine's drivers for the container.
    #[error("starting the broker of the container in {folder}: {source}")]
    Broker {
        /// The directory of the broker.
        folder: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The agent did not come up.
    #[error(transparent)]
    Agent(#[from] LineError),
}

/// The run that an object in Docker belongs to.
#[derive(Debug, Clone)]
pub struct OwningRun {
    /// The run's id.
    pub run: String,
    /// The path of the run's lock.
    pub lock: String,
    /// The id of the run's cache, [`images::cache::id`].
    pub cache: String,
    /// The name under which the object may outlive the run: the run's name for objects of the whole run, [`kept_as`]
    /// for a container; `None` if it may not.
    pub kept: Option<String>,
}

/// Returns the name under which a cell's container is kept.
pub fn kept_as(run: &str, cell: &CellId) -> String {
    format!("{run}/{cell}")
}

impl OwningRun {
    /// Returns the labels of the run's objects, as Docker's API takes them.
    pub fn labels(&self) -> HashMap<String, String> {
        let all = [(RUN_LABEL, &self.run), (LOCK_LABEL, &self.lock), (CACHE_LABEL, &self.cache)];
        let kept = self.kept.iter().map(|kept| (KEPT_LABEL, kept));
        all.into_iter().chain(kept).map(|(name, value)| (name.to_owned(), value.clone())).collect()
    }
}

/// A running container with its agent.
pub struct Container {
    container: ContainerAsync<GenericImage>,
    docker: Docker,
    volume: String,
    handed_in: Option<HandedIn>,
    /// The line to the agent.
    pub line: Line,
    /// The limits that the engine did not grant, and the container's actual limits, as one line for people.
    pub refused: Option<String>,
}

/// Connects to the Docker engine, like all parts of the harness.
pub async fn connect() -> Result<Docker, ContainerError> {
    images::docker::connect().await.map_err(|source| ContainerError::Connect { source })
}

/// Starts a container of a local image for a run, copies the agent in and opens the line to it.
///
/// With `brokers`, a directory for sockets, the container gets this machine's KVM and a broker of its drivers.
///
/// # Errors
/// The error of Docker or the agent.
pub async fn start(
    docker: &Docker,
    image: &str,
    agent: &[u8],
    owner: &OwningRun,
    brokers: Option<&Path>,
) -> Result<Container, ContainerError> {
    let labels = owner.labels();
    let request = VolumeCreateRequest { labels: Some(labels.clone()), ..Default::default() };
    let volume = docker.create_volume(request).await.map_err(docker_error("creating a volume"))?.name;
    let handed_in = match brokers.map(|folder| broker(folder, &volume)).transpose() {
        Ok(handed_in) => handed_in,
        Err(e) => {
            remove_volume(docker, &volume).await;
            return Err(e);
        }
    };
    let mut requested = LIMITS.to_vec();
    let mut processes = Some(PROCESSES);
    let started = loop {
        let belongings = (volume.as_str(), handed_in.as_ref());
        let started = start_on(docker, image, agent, labels.clone(), belongings, (&requested, processes)).await;
        let Some(complaint) = started.as_ref().err().map(|e| error_chain(e)) else { break started };
        match limits::without_refused(&requested, &complaint) {
            Some(fewer) => requested = fewer,
            None if processes.is_some() && is_about_processes(&complaint) => processes = None,
            None => break started,
        }
        // A rootless engine can raise no limit. The agent's probe finds out which limits matter.
        remove_users(docker, &volume).await;
    };
    match started {
        Ok((container, line)) => {
            let refused = refused(&line, &requested).await;
            Ok(Container { container, docker: docker.clone(), volume, handed_in, line, refused })
        }
        Err(e) => {
            // The container, if there was one, has been dropped; the volume can be removed once it is free.
            remove_volume(docker, &volume).await;
            Err(e)
        }
    }
}

/// Makes the broker for the container of a volume, in a separate directory.
fn broker(folder: &Path, volume: &str) -> Result<HandedIn, ContainerError> {
    let folder = folder.join(format!("broker-{}", volume.get(..12).unwrap_or(volume)));
    HandedIn::new(&folder, volume).map_err(|source| ContainerError::Broker { folder, source })
}

/// Returns a line for people about the limits that the engine did not grant.
async fn refused(line: &Line, granted: &[Limit]) -> Option<String> {
    if granted.len() == LIMITS.len() {
        return None;
    }
    let request = EnvironmentRequest::GetFile { path: "/proc/self/limits".to_owned(), offset: 0 };
    let has = match line.ask(request, Duration::from_secs(10)).await {
        Ok(EnvironmentReply::Chunk { bytes }) => String::from_utf8_lossy(&bytes.0).into_owned(),
        _ => String::new(),
    };
    Some(limits::refusal_note(granted, &has))
}

async fn start_on(
    docker: &Docker,
    image: &str,
    agent: &[u8],
    labels: HashMap<String, String>,
    (volume, handed_in): (&str, Option<&HandedIn>),
    (limits, processes): (&[Limit], Option<i64>),
) -> Result<(ContainerAsync<GenericImage>, Line), ContainerError> {
    let (name, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
    let limit = |limit: &Limit| ResourcesUlimits {
        name: Some(limit.name.to_owned()),
        soft: Some(limit.value),
        hard: Some(limit.value),
    };
    let ulimits: Vec<ResourcesUlimits> = limits.iter().map(limit).collect();
    let devices = handed_in.map(|_| HandedIn::devices());
    let mut request = GenericImage::new(name, tag)
        .with_wait_for(WaitFor::Nothing)
        .with_cmd([AGENT, IDLE])
        .with_labels(labels)
        .with_network("none")
        .with_shm_size(SHM)
        .with_copy_to(CopyTargetOptions::new(AGENT).with_mode(0o755), agent.to_vec())
        // An engine's own filter refuses unshare(CLONE_FS), which the C virtiofsd calls, and with the capability below
        // it allows open_by_handle_at, which opens files of the host.
        .with_security_opt(format!("seccomp={}", seccomp::profile()))
        // virtiofsd 1.14 keeps this capability for file handles, and ends if it cannot; the filter refuses the handles.
        .with_cap_add("DAC_READ_SEARCH")
        .with_host_config_modifier(move |host| {
            host.devices = devices.clone();
            host.init = Some(true);
            host.ulimits = Some(ulimits.clone());
            host.pids_limit = processes;
        })
        .with_mount(Mount::volume_mount(volume, VOLUME));
    if let Some(handed_in) = handed_in {
        let (name, value) = handed_in.variable();
        request = request.with_mount(handed_in.mount()).with_env_var(name, value);
    }
    for slot in 0..SLOTS {
        let small = format!("{VOLUME}/slot{slot}/small");
        request = request.with_mount(Mount::tmpfs_mount(small).with_size_bytes(SMALL.cast_signed()).with_mode(0o1777));
    }
    let container = request
        .start()
        .await
        .map_err(|source| ContainerError::Start { image: image.to_owned(), source: Box::new(source) })?;
    let line = open_line(docker, container.id()).await?;
    Ok((container, line))
}

/// Runs the agent by an exec whose standard streams are the line; an exec of testcontainers has no standard input.
async fn open_line(docker: &Docker, container: &str) -> Result<Line, ContainerError> {
    let config = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(vec![AGENT.to_owned(), "environment".to_owned()]),
        ..Default::default()
    };
    let doing = "running the agent in the container";
    let exec = docker.create_exec(container, config).await.map_err(docker_error(doing))?;
    let options = StartExecOptions { output_capacity: Some(1 << 20), ..Default::default() };
    match docker.start_exec(&exec.id, Some(options)).await.map_err(docker_error(doing))? {
        StartExecResults::Attached { output, input } => {
            let frames = output.map(|item| match item {
                Ok(LogOutput::StdErr { message }) => Ok(AgentOutput::Words(message.to_vec())),
                Ok(other) => Ok(AgentOutput::Frames(other.into_bytes().to_vec())),
                Err(e) => Err(std::io::Error::other(e)),
            });
            Ok(Line::open(frames, input, Duration::from_secs(30)).await?)
        }
        StartExecResults::Detached => Err(LineError::Ended("the agent's exec started detached".to_owned()).into()),
    }
}

impl Container {
    /// Returns the container's id.
    pub fn id(&self) -> &str {
        self.container.id()
    }

    /// Checks whether the container was given this machine's KVM, and a broker of its drivers.
    pub fn has_kvm(&self) -> bool {
        self.handed_in.is_some()
    }

    /// Stops and removes the container and its volume.
    pub async fn remove(self) -> Result<(), ContainerError> {
        let Container { container, docker, volume, line, .. } = self;
        let id = container.id().to_owned();
        drop(line);
        container.rm().await.map_err(|source| ContainerError::Remove { id, source: Box::new(source) })?;
        remove_volume(&docker, &volume).await;
        Ok(())
    }

    /// Keeps the container and its volume so that people can look into them; `kata-qualify clean` removes them.
    pub async fn keep(self) {
        // Without this request the container would end with the line. If the agent does not answer any more, there is
        // nothing to keep.
        let _ = self.line.ask(EnvironmentRequest::Stay, Duration::from_secs(10)).await;
        // testcontainers removes a container when its value is dropped.
        std::mem::forget(self.container);
    }
}

/// Returns the container that was kept under this name, if it still runs.
///
/// # Errors
/// Docker's error.
pub async fn kept(docker: &Docker, name: &str) -> Result<Option<String>, ContainerError> {
    let filters = Some(HashMap::from([
        ("label".to_owned(), vec![format!("{KEPT_LABEL}={name}")]),
        ("status".to_owned(), vec!["running".to_owned()]),
    ]));
    let options = ListContainersOptions { filters, ..Default::default() };
    let found = docker.list_containers(Some(options)).await.map_err(docker_error("looking for kept containers"))?;
    Ok(found.into_iter().find_map(|container| container.id))
}

/// Opens a line to a new agent in a kept container; the container ends when that agent does.
///
/// # Errors
/// The error of Docker or the agent.
pub async fn line_to_kept(docker: &Docker, container: &str) -> Result<Line, ContainerError> {
    open_line(docker, container).await
}

/// Removes the container that was made for a volume and did not start: it would keep the volume in use.
async fn remove_users(docker: &Docker, volume: &str) {
    let filters = Some(HashMap::from([("volume".to_owned(), vec![volume.to_owned()])]));
    let options = ListContainersOptions { all: true, filters, ..Default::default() };
    // Containers that cannot be removed now are swept at the run's end.
    for container in docker.list_containers(Some(options)).await.unwrap_or_default() {
        let options = RemoveContainerOptions { force: true, ..Default::default() };
        let _ = docker.remove_container(&container.id.unwrap_or_default(), Some(options)).await;
    }
}

async fn remove_volume(docker: &Docker, volume: &str) {
    // The volume stays in use for a moment after its container is removed; a volume that remains is swept at the next
    // start.
    for _ in 0..20 {
        if docker.remove_volume(volume, None::<bollard::query_parameters::RemoveVolumeOptions>).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tracing::warn!("volume {volume} could not be removed; the next run removes it");
}

fn docker_error(doing: &'static str) -> impl Fn(bollard::errors::Error) -> ContainerError {
    move |source| ContainerError::Docker { doing, source }
}
