//! The operations that a test may request as kubelet does: pods by CRI and their containers.

use super::container::ContainerOutput;
use super::trace::Trace;
use crate::check::{Check, Stop};
use model::program_version::ProgramVersion;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// A pod to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodWanted {
    /// The pod's host name.
    pub hostname: String,
    /// Sysctls of the pod, `kernel.shm_rmid_forced`.
    pub sysctls: Vec<(String, String)>,
    /// Annotations.
    pub annotations: Vec<(String, String)>,
    /// Whether the pod's containers share a PID namespace.
    pub shares_processes: bool,
    /// Whether the pod may have privileged containers.
    pub privileged: bool,
    /// Whether systemd creates the pod's control group, below a slice, instead of the runtime.
    pub by_systemd: bool,
}

impl PodWanted {
    /// Describes a pod with this host name.
    pub fn named(hostname: &str) -> PodWanted {
        PodWanted { hostname: hostname.to_owned(), ..PodWanted::default() }
    }
}

/// A profile of seccomp or AppArmor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProfileWanted {
    /// None at all.
    Unconfined,
    /// A profile file on the host, or the name of a profile that the kernel has loaded.
    Named(String),
}

/// A container of a pod: the image's probe, with the options of CRI that the tests use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodContainer {
    /// The command for the probe.
    pub command: Vec<String>,
    /// Bind mounts: host path, path inside.
    pub mounts: Vec<(PathBuf, String)>,
    /// Devices: host path, path inside.
    pub devices: Vec<(String, String)>,
    /// Limits.
    pub limits: PodLimits,
    /// Capabilities in addition to the default ones, `NET_ADMIN`.
    pub added: Vec<String>,
    /// Default capabilities that the container does not get.
    pub dropped: Vec<String>,
    /// Whether the container is privileged.
    pub privileged: bool,
    /// Whether the container's processes cannot gain privileges.
    pub no_new_privileges: bool,
    /// The seccomp profile, if not the default.
    pub seccomp: Option<ProfileWanted>,
    /// The AppArmor profile, if not the default.
    pub apparmor: Option<ProfileWanted>,
    /// Whether the container has standard input.
    pub input: bool,
}

/// Limits of a pod's container; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PodLimits {
    /// Memory, bytes.
    pub memory: Option<u64>,
    /// CPU time, thousandths of one CPU.
    pub cpu_millis: Option<u32>,
}

impl PodContainer {
    /// Describes a container that runs the probe with these words.
    pub fn new(command: &[&str]) -> PodContainer {
        PodContainer { command: command.iter().map(|word| (*word).to_owned()).collect(), ..PodContainer::default() }
    }
}

/// The size of a terminal in characters; its text form is `ROWSxCOLUMNS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters per line.
    pub columns: u16,
}

impl std::fmt::Display for TerminalSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.rows, self.columns)
    }
}

/// The end of a container as CRI reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEnd {
    /// Its exit code.
    pub code: i32,
    /// The reason: `Completed`, `Error`, `OOMKilled`.
    pub reason: String,
}

/// The resources that a container uses, as CRI reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodUsage {
    /// CPU time, nanoseconds.
    pub cpu: Option<u64>,
    /// Working set, bytes: memory that cannot be reclaimed.
    pub memory: Option<u64>,
}

/// A volume that lives as long as its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ephemeral {
    /// A directory on the host's disk.
    Disk,
    /// A tmpfs of the host.
    Memory,
}

/// The reason why no pods can be run by CRI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoCri {
    /// containerd speaks only CRI v1alpha2, and not v1, the only version that Kubernetes speaks since 1.26.
    OnlyV1Alpha2 {
        /// containerd's own version, if it states one.
        containerd: Option<ProgramVersion>,
    },
    /// Any other reason.
    Stopped(Stop),
}

impl From<Stop> for NoCri {
    fn from(stop: Stop) -> NoCri {
        NoCri::Stopped(stop)
    }
}

/// The stop of a test that is not about CRI's version.
impl From<NoCri> for Stop {
    fn from(none: NoCri) -> Stop {
        match none {
            NoCri::OnlyV1Alpha2 { containerd } => Stop::skip(format!(
                "{} speaks CRI v1alpha2 only, and Kubernetes 1.26 and later speak v1 only",
                named_containerd(containerd.as_ref())
            )),
            NoCri::Stopped(stop) => stop,
        }
    }
}

/// Names containerd with its version: `containerd 2.1.4`.
pub(crate) fn named_containerd(version: Option<&ProgramVersion>) -> String {
    version.map_or_else(|| "containerd".to_owned(), |version| format!("containerd {version}"))
}

/// containerd as kubelet uses it, with one runtime's handler.
pub trait Cri {
    /// Returns containerd's version, if it states one.
    fn version(&self) -> Option<&ProgramVersion>;
    /// Pulls the test's image from the local registry, and returns its digest.
    ///
    /// # Errors
    /// When the pull is refused or takes too long.
    fn pull(&self) -> Result<String, Stop>;
    /// Runs a pod.
    ///
    /// # Errors
    /// When the pod is refused or takes too long; the message has the runtime's own words. A skip if systemd is to
    /// create its control group but does not run the environment.
    fn run_pod(&self, pod: &PodWanted) -> Result<Box<dyn Pod + '_>, Stop>;
    /// Creates an empty volume where kubelet keeps the volumes of pods.
    ///
    /// # Errors
    /// When the volume cannot be created.
    fn volume(&self, kind: Ephemeral) -> Result<PathBuf, Stop>;
    /// Writes a seccomp profile that denies only these system calls, with EPERM, and returns its path.
    ///
    /// # Errors
    /// When the profile cannot be written.
    fn seccomp_profile(&self, denied: &[&str]) -> Result<PathBuf, Stop>;
    /// Stops containerd and starts it again, as an upgrade of its package does.
    ///
    /// # Errors
    /// When containerd does not stop, or does not become ready again.
    fn restart_containerd(&self) -> Check;
    /// Returns the traces of pods and containers: records of containerd's, network namespaces, processes, mounts.
    fn traces(&self) -> BTreeSet<Trace>;
}

/// A running pod; dropping it removes the pod.
pub trait Pod {
    /// Returns the pod's id.
    fn id(&self) -> &str;
    /// Returns the requested parent of the pod's control group, as a path from the root of all groups: `/kubepods`.
    fn parent_group(&self) -> &str;
    /// Returns the pod's address.
    ///
    /// # Errors
    /// When CRI does not report it.
    fn address(&self) -> Result<String, Stop>;
    /// Creates a container in the pod and starts it.
    ///
    /// # Errors
    /// As for [`Cri::run_pod`].
    fn start(&self, container: &PodContainer) -> Result<Box<dyn PodProcess + '_>, Stop>;
    /// Forwards a port of the pod and reads from it until `wanted` bytes have arrived.
    ///
    /// # Errors
    /// When forwarding is refused or takes too long.
    fn read_port(&self, port: u16, wanted: usize) -> Result<Vec<u8>, Stop>;
    /// Stops and removes the pod.
    ///
    /// # Errors
    /// When that is refused or takes too long.
    fn remove(self: Box<Self>) -> Check;
}

/// A container of a pod.
pub trait PodProcess {
    /// Returns the container's id.
    fn id(&self) -> &str;
    /// Runs the probe once more inside the container, to its end.
    ///
    /// # Errors
    /// When it could not be started or takes too long.
    fn exec(&self, command: &[&str]) -> Result<ContainerOutput, Stop>;
    /// Like [`PodProcess::exec`], by CRI's streaming, with this standard input.
    ///
    /// # Errors
    /// As for [`PodProcess::exec`].
    fn exec_by_streams(&self, command: &[&str], input: &[u8]) -> Result<ContainerOutput, Stop>;
    /// Like [`PodProcess::exec`], on a terminal whose size changes to each of these in turn, once the process has
    /// printed a line with the size before.
    ///
    /// # Errors
    /// As for [`PodProcess::exec`], and when the process does not print a size.
    fn exec_on_a_terminal(&self, command: &[&str], sizes: &[TerminalSize]) -> Result<ContainerOutput, Stop>;
    /// Sends this input to the container's own standard input, and returns the output once it is as long.
    ///
    /// # Errors
    /// As for [`PodProcess::exec`].
    fn attach(&self, input: &[u8]) -> Result<Vec<u8>, Stop>;
    /// Returns the container's log, as kubelet reads it.
    ///
    /// # Errors
    /// When the log cannot be read.
    fn log(&self) -> Result<String, Stop>;
    /// Changes the container's limits.
    ///
    /// # Errors
    /// When that is refused.
    fn update(&self, limits: PodLimits) -> Check;
    /// Returns the resources that the container uses.
    ///
    /// # Errors
    /// When CRI does not report them.
    fn usage(&self) -> Result<PodUsage, Stop>;
    /// Returns the container's end, if it has ended.
    ///
    /// # Errors
    /// When CRI does not report it.
    fn end(&self) -> Result<Option<ContainerEnd>, Stop>;
    /// Waits until the container has ended.
    ///
    /// # Errors
    /// When the container outlives the deadline, or CRI does not report its end.
    fn wait(&self, deadline: Duration) -> Result<ContainerEnd, Stop>;
    /// Stops the container by SIGTERM, and after this many seconds by SIGKILL.
    ///
    /// # Errors
    /// When that is refused or takes too long.
    fn stop(&self, seconds: u32) -> Check;
}
