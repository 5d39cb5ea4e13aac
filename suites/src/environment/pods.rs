//! What a test may ask for as kubelet does: pods by CRI, and what is asked of their containers.

use super::container::ContainerOutput;
use super::trace::Trace;
use crate::check::{Check, Stop};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// A pod to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodWanted {
    /// Its host name.
    pub hostname: String,
    /// Settings of the kernel for the pod, `kernel.shm_rmid_forced`.
    pub sysctls: Vec<(String, String)>,
    /// Annotations.
    pub annotations: Vec<(String, String)>,
    /// Whether its containers share the ids of processes.
    pub shares_processes: bool,
    /// Whether it may have privileged containers.
    pub privileged: bool,
    /// Whether systemd is to make its control group, below a slice, and not the runtime by itself.
    pub by_systemd: bool,
}

impl PodWanted {
    /// One with that host name.
    pub fn named(hostname: &str) -> PodWanted {
        PodWanted { hostname: hostname.to_owned(), ..PodWanted::default() }
    }
}

/// A profile of seccomp or AppArmor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProfileWanted {
    /// None at all.
    Unconfined,
    /// By a file of the host's, or by the name of one that the kernel has loaded.
    Named(String),
}

/// A container of a pod: the image's probe with everything that CRI can be asked for here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodContainer {
    /// What the probe is to do.
    pub command: Vec<String>,
    /// Host path, path inside.
    pub mounts: Vec<(PathBuf, String)>,
    /// Host path, path inside.
    pub devices: Vec<(String, String)>,
    /// Limits.
    pub limits: PodLimits,
    /// Capabilities besides the default ones, `NET_ADMIN`.
    pub added: Vec<String>,
    /// Capabilities of the default ones that it does not get.
    pub dropped: Vec<String>,
    /// Whether it may do everything.
    pub privileged: bool,
    /// Whether its processes can gain no privileges.
    pub no_new_privileges: bool,
    /// Its filter of system calls, if not the default.
    pub seccomp: Option<ProfileWanted>,
    /// Its AppArmor profile, if not the default.
    pub apparmor: Option<ProfileWanted>,
    /// Whether it has standard input.
    pub input: bool,
}

/// Limits of a pod's container; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PodLimits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Thousandths of one CPU.
    pub cpu_millis: Option<u32>,
}

impl PodContainer {
    /// One that runs the probe with these words.
    pub fn new(command: &[&str]) -> PodContainer {
        PodContainer { command: command.iter().map(|word| (*word).to_owned()).collect(), ..PodContainer::default() }
    }
}

/// The size of a terminal, in characters; as text `ROWSxCOLUMNS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

impl std::fmt::Display for TerminalSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.rows, self.columns)
    }
}

/// How a container ended, as CRI tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEnd {
    /// Its exit code.
    pub code: i32,
    /// `Completed`, `Error`, `OOMKilled`.
    pub reason: String,
}

/// What a container uses, as CRI tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodUsage {
    /// Nanoseconds of CPU time.
    pub cpu: Option<u64>,
    /// Bytes of memory that cannot be taken back.
    pub memory: Option<u64>,
}

/// A volume whose life is a pod's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ephemeral {
    /// A folder of the host's disk.
    Disk,
    /// A tmpfs of the host.
    Memory,
}

/// Why no pods can be run by CRI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoCri {
    /// containerd speaks no version that Kubernetes speaks since 1.26, only the one before it.
    OnlyV1Alpha2 {
        /// containerd's own version.
        containerd: String,
    },
    /// Anything else.
    Stopped(Stop),
}

impl From<Stop> for NoCri {
    fn from(stop: Stop) -> NoCri {
        NoCri::Stopped(stop)
    }
}

/// The stop of a test that is about something else.
impl From<NoCri> for Stop {
    fn from(none: NoCri) -> Stop {
        match none {
            NoCri::OnlyV1Alpha2 { containerd } => Stop::skip(format!(
                "containerd {containerd} speaks CRI v1alpha2 only, and Kubernetes 1.26 and later speak v1 only"
            )),
            NoCri::Stopped(stop) => stop,
        }
    }
}

/// containerd as kubelet knows it, with one runtime's handler.
pub trait Cri {
    /// containerd's version.
    fn version(&self) -> &str;
    /// Pulls the test's image from the local registry, and gives its digest.
    ///
    /// # Errors
    /// When it is refused or takes too long.
    fn pull(&self) -> Result<String, Stop>;
    /// Runs a pod.
    ///
    /// # Errors
    /// When it is refused or takes too long; the runtime's own words are in the message. A skip where systemd is to make its
    /// control group, and does not run the environment.
    fn run_pod(&self, pod: &PodWanted) -> Result<Box<dyn Pod + '_>, Stop>;
    /// A fresh volume where kubelet has those of pods.
    ///
    /// # Errors
    /// When it cannot be made.
    fn volume(&self, kind: Ephemeral) -> Result<PathBuf, Stop>;
    /// Writes a seccomp profile that denies these system calls with EPERM and nothing else, and gives its path.
    ///
    /// # Errors
    /// When it cannot be written.
    fn seccomp_profile(&self, denied: &[&str]) -> Result<PathBuf, Stop>;
    /// Ends containerd and starts it again, as an upgrade of its package does.
    ///
    /// # Errors
    /// When it does not end, or is not ready again.
    fn restart_containerd(&self) -> Check;
    /// What there is of pods and containers: records of containerd's, network namespaces, processes, mounts.
    fn traces(&self) -> BTreeSet<Trace>;
}

/// A pod that runs; it is removed when this is dropped.
pub trait Pod {
    /// Its id.
    fn id(&self) -> &str;
    /// The control group that its own was asked for below, as a path from the root of all: `/kubepods`.
    fn parent_group(&self) -> &str;
    /// Its address.
    ///
    /// # Errors
    /// When CRI does not tell it.
    fn address(&self) -> Result<String, Stop>;
    /// Makes a container in it and starts it.
    ///
    /// # Errors
    /// As for [`Cri::run_pod`].
    fn start(&self, container: &PodContainer) -> Result<Box<dyn PodProcess + '_>, Stop>;
    /// What is read from a port of the pod's, forwarded, once `wanted` bytes have come.
    ///
    /// # Errors
    /// When it is refused or takes too long.
    fn read_port(&self, port: u16, wanted: usize) -> Result<Vec<u8>, Stop>;
    /// Stops and removes it.
    ///
    /// # Errors
    /// When that is refused or takes too long.
    fn remove(self: Box<Self>) -> Check;
}

/// A container of a pod.
pub trait PodProcess {
    /// Its id.
    fn id(&self) -> &str;
    /// Runs the probe once more inside it, to its end.
    ///
    /// # Errors
    /// When it could not be started or takes too long.
    fn exec(&self, command: &[&str]) -> Result<ContainerOutput, Stop>;
    /// The same by streams, with this standard input.
    ///
    /// # Errors
    /// As for [`PodProcess::exec`].
    fn exec_by_streams(&self, command: &[&str], input: &[u8]) -> Result<ContainerOutput, Stop>;
    /// The same on a terminal, which is given these sizes one after the other: each once the process has said a line with
    /// the one before.
    ///
    /// # Errors
    /// As for [`PodProcess::exec`], and when a size is not said.
    fn exec_on_a_terminal(&self, command: &[&str], sizes: &[TerminalSize]) -> Result<ContainerOutput, Stop>;
    /// Sends this to the container's own standard input, and gives what comes out once that is as long.
    ///
    /// # Errors
    /// As for [`PodProcess::exec`].
    fn attach(&self, input: &[u8]) -> Result<Vec<u8>, Stop>;
    /// Its log, as kubelet reads it.
    ///
    /// # Errors
    /// When it cannot be read.
    fn log(&self) -> Result<String, Stop>;
    /// Changes its limits.
    ///
    /// # Errors
    /// When that is refused.
    fn update(&self, limits: PodLimits) -> Check;
    /// What it uses.
    ///
    /// # Errors
    /// When CRI does not tell it.
    fn usage(&self) -> Result<PodUsage, Stop>;
    /// Its end, if it has come to it.
    ///
    /// # Errors
    /// When CRI does not tell it.
    fn end(&self) -> Result<Option<ContainerEnd>, Stop>;
    /// Waits for its end.
    ///
    /// # Errors
    /// When it outlives the deadline, or CRI does not tell its end.
    fn wait(&self, deadline: Duration) -> Result<ContainerEnd, Stop>;
    /// Stops it, by SIGTERM and after so many seconds by SIGKILL.
    ///
    /// # Errors
    /// When that is refused or takes too long.
    fn stop(&self, seconds: u32) -> Check;
}
