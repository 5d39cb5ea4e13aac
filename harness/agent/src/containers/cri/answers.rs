//! More messages of CRI: limits, confinement, and requests about a running container.
//!
//! The notes in `messages` apply here, too; `messages` has pods, images and containers, and imports this module.

use prost::Message;

/// Kinds of namespaces: the pod's (0), the container's own (1), the node's (2).
pub mod namespace_mode {
    /// Shared with the pod.
    pub const POD: i32 = 0;
    /// The container's own.
    pub const CONTAINER: i32 = 1;
}

/// States of a container; only one is used here.
pub mod container_state {
    /// The container has ended.
    pub const EXITED: i32 = 2;
}

/// Kinds of security profiles.
pub mod profile_type {
    /// No profile.
    pub const UNCONFINED: i32 = 1;
    /// A file of the host's (seccomp), a loaded profile (AppArmor).
    pub const LOCALHOST: i32 = 2;
}

/// Limits of a container; 0 is none.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct LinuxContainerResources {
    /// Period in microseconds.
    #[prost(int64, tag = "1")]
    pub cpu_period: i64,
    /// Quota in microseconds per period.
    #[prost(int64, tag = "2")]
    pub cpu_quota: i64,
    /// Relative weight.
    #[prost(int64, tag = "3")]
    pub cpu_shares: i64,
    /// Limit in bytes.
    #[prost(int64, tag = "4")]
    pub memory_limit_in_bytes: i64,
}

/// A container's confinement.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxContainerSecurityContext {
    /// Capabilities that are added and dropped.
    #[prost(message, optional, tag = "1")]
    pub capabilities: Option<Capabilities>,
    /// Whether the container is privileged.
    #[prost(bool, tag = "2")]
    pub privileged: bool,
    /// Its namespaces.
    #[prost(message, optional, tag = "3")]
    pub namespace_options: Option<NamespaceOption>,
    /// Whether the container can gain no privileges.
    #[prost(bool, tag = "11")]
    pub no_new_privs: bool,
    /// Its filter of system calls.
    #[prost(message, optional, tag = "15")]
    pub seccomp: Option<SecurityProfile>,
    /// Its AppArmor profile.
    #[prost(message, optional, tag = "16")]
    pub apparmor: Option<SecurityProfile>,
}

/// Owners of the namespaces of a container.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct NamespaceOption {
    /// Owner of the network namespace.
    #[prost(int32, tag = "1")]
    pub network: i32,
    /// Owner of the PID namespace.
    #[prost(int32, tag = "2")]
    pub pid: i32,
    /// Owner of the System V IPC namespace.
    #[prost(int32, tag = "3")]
    pub ipc: i32,
}

/// Capabilities by their names, without `CAP_`.
#[derive(Clone, PartialEq, Message)]
pub struct Capabilities {
    /// Capabilities in addition to the default ones.
    #[prost(string, repeated, tag = "1")]
    pub add: Vec<String>,
    /// Default capabilities to drop.
    #[prost(string, repeated, tag = "2")]
    pub drop: Vec<String>,
}

/// A profile of seccomp or AppArmor.
#[derive(Clone, PartialEq, Message)]
pub struct SecurityProfile {
    /// See [`profile_type`].
    #[prost(int32, tag = "1")]
    pub profile_type: i32,
    /// A path, or a name.
    #[prost(string, tag = "2")]
    pub localhost_ref: String,
}

/// Stops a container.
#[derive(Clone, PartialEq, Message)]
pub struct StopContainerRequest {
    /// Id of the container.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// Seconds from SIGTERM to SIGKILL.
    #[prost(int64, tag = "2")]
    pub timeout: i64,
}

/// A container's status.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerStatusResponse {
    /// The status.
    #[prost(message, optional, tag = "1")]
    pub status: Option<ContainerStatus>,
}

/// State of a container.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerStatus {
    /// See [`container_state`].
    #[prost(int32, tag = "3")]
    pub state: i32,
    /// Exit code of a container that has ended.
    #[prost(int32, tag = "7")]
    pub exit_code: i32,
    /// `OOMKilled`.
    #[prost(string, tag = "10")]
    pub reason: String,
}

/// Changes a container's limits.
#[derive(Clone, PartialEq, Message)]
pub struct UpdateContainerResourcesRequest {
    /// Id of the container.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// New limits.
    #[prost(message, optional, tag = "2")]
    pub linux: Option<LinuxContainerResources>,
}

/// Runs a process in a container to its end.
#[derive(Clone, PartialEq, Message)]
pub struct ExecSyncRequest {
    /// Id of the container.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// Program and arguments.
    #[prost(string, repeated, tag = "2")]
    pub cmd: Vec<String>,
    /// Time limit in seconds.
    #[prost(int64, tag = "3")]
    pub timeout: i64,
}

/// Result of such a process.
#[derive(Clone, PartialEq, Message)]
pub struct ExecSyncResponse {
    /// Its standard output.
    #[prost(bytes = "vec", tag = "1")]
    pub stdout: Vec<u8>,
    /// Its standard error.
    #[prost(bytes = "vec", tag = "2")]
    pub stderr: Vec<u8>,
    /// Its exit code.
    #[prost(int32, tag = "3")]
    pub exit_code: i32,
}

/// Requests the address at which a process can be run with its streams.
#[derive(Clone, PartialEq, Message)]
pub struct ExecRequest {
    /// Id of the container.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// Program and arguments.
    #[prost(string, repeated, tag = "2")]
    pub cmd: Vec<String>,
    /// Whether it has a terminal.
    #[prost(bool, tag = "3")]
    pub tty: bool,
    /// Whether input is sent.
    #[prost(bool, tag = "4")]
    pub stdin: bool,
    /// Whether its output is wanted.
    #[prost(bool, tag = "5")]
    pub stdout: bool,
    /// Whether its errors are wanted.
    #[prost(bool, tag = "6")]
    pub stderr: bool,
}

/// Requests the address of a container's own streams.
#[derive(Clone, PartialEq, Message)]
pub struct AttachRequest {
    /// Id of the container.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// Whether input is sent.
    #[prost(bool, tag = "2")]
    pub stdin: bool,
    /// Whether its output is wanted.
    #[prost(bool, tag = "4")]
    pub stdout: bool,
    /// Whether its errors are wanted.
    #[prost(bool, tag = "5")]
    pub stderr: bool,
}

/// Requests the address at which a pod's port can be reached.
#[derive(Clone, PartialEq, Message)]
pub struct PortForwardRequest {
    /// Id of the pod.
    #[prost(string, tag = "1")]
    pub pod_sandbox_id: String,
    /// Its ports.
    #[prost(int32, repeated, tag = "2")]
    pub port: Vec<i32>,
}

/// Address of a stream.
#[derive(Clone, PartialEq, Message)]
pub struct StreamAddress {
    /// `http://127.0.0.1:40000/exec/TOKEN`.
    #[prost(string, tag = "1")]
    pub url: String,
}

/// Reply with a container's resource usage.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerStatsResponse {
    /// The usage.
    #[prost(message, optional, tag = "1")]
    pub stats: Option<ContainerStats>,
}

/// Resource usage of a container.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ContainerStats {
    /// CPU usage.
    #[prost(message, optional, tag = "2")]
    pub cpu: Option<CpuUsage>,
    /// Memory usage.
    #[prost(message, optional, tag = "3")]
    pub memory: Option<MemoryUsage>,
}

/// CPU time.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct CpuUsage {
    /// Total CPU time.
    #[prost(message, optional, tag = "2")]
    pub usage_core_nano_seconds: Option<Number>,
}

/// Memory.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct MemoryUsage {
    /// Memory that cannot be reclaimed, in bytes.
    #[prost(message, optional, tag = "2")]
    pub working_set_bytes: Option<Number>,
}

/// A number that may be missing.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Number {
    /// The number.
    #[prost(uint64, tag = "1")]
    pub value: u64,
}
