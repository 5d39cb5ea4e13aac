//! More messages of CRI: limits, confinement, and what is asked of a container that runs.
//!
//! As for `messages`, which has pods, images and containers, and imports this one.

use prost::Message;

/// A namespace is the pod's (0), the container's own (1), the node's (2).
pub mod namespace_mode {
    /// Shared with the pod.
    pub const POD: i32 = 0;
    /// The container's own.
    pub const CONTAINER: i32 = 1;
}

/// The states of a container, of which one counts here.
pub mod container_state {
    /// It has ended.
    pub const EXITED: i32 = 2;
}

/// How a security profile is meant.
pub mod profile_type {
    /// None.
    pub const UNCONFINED: i32 = 1;
    /// A file of the host's (seccomp), a loaded profile (AppArmor).
    pub const LOCALHOST: i32 = 2;
}

/// Limits of a container; 0 is none.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct LinuxContainerResources {
    /// Microseconds.
    #[prost(int64, tag = "1")]
    pub cpu_period: i64,
    /// Microseconds of each period.
    #[prost(int64, tag = "2")]
    pub cpu_quota: i64,
    /// Relative weight.
    #[prost(int64, tag = "3")]
    pub cpu_shares: i64,
    /// Bytes.
    #[prost(int64, tag = "4")]
    pub memory_limit_in_bytes: i64,
}

/// A container's confinement.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxContainerSecurityContext {
    /// Capabilities that are added and dropped.
    #[prost(message, optional, tag = "1")]
    pub capabilities: Option<Capabilities>,
    /// Whether it may do everything.
    #[prost(bool, tag = "2")]
    pub privileged: bool,
    /// Its namespaces.
    #[prost(message, optional, tag = "3")]
    pub namespace_options: Option<NamespaceOption>,
    /// Whether it can gain no privileges.
    #[prost(bool, tag = "11")]
    pub no_new_privs: bool,
    /// Its filter of system calls.
    #[prost(message, optional, tag = "15")]
    pub seccomp: Option<SecurityProfile>,
    /// Its AppArmor profile.
    #[prost(message, optional, tag = "16")]
    pub apparmor: Option<SecurityProfile>,
}

/// Whose namespaces are used.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct NamespaceOption {
    /// Of the network.
    #[prost(int32, tag = "1")]
    pub network: i32,
    /// Of process ids.
    #[prost(int32, tag = "2")]
    pub pid: i32,
    /// Of System V IPC.
    #[prost(int32, tag = "3")]
    pub ipc: i32,
}

/// Capabilities by their names, without `CAP_`.
#[derive(Clone, PartialEq, Message)]
pub struct Capabilities {
    /// Besides the default ones.
    #[prost(string, repeated, tag = "1")]
    pub add: Vec<String>,
    /// Of the default ones.
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
    /// Which one.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// Seconds from SIGTERM to SIGKILL.
    #[prost(int64, tag = "2")]
    pub timeout: i64,
}

/// A container's status.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerStatusResponse {
    /// It.
    #[prost(message, optional, tag = "1")]
    pub status: Option<ContainerStatus>,
}

/// How a container is.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerStatus {
    /// See [`container_state`].
    #[prost(int32, tag = "3")]
    pub state: i32,
    /// Of one that has ended.
    #[prost(int32, tag = "7")]
    pub exit_code: i32,
    /// `OOMKilled`.
    #[prost(string, tag = "10")]
    pub reason: String,
}

/// Changes a container's limits.
#[derive(Clone, PartialEq, Message)]
pub struct UpdateContainerResourcesRequest {
    /// Which one.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// To these.
    #[prost(message, optional, tag = "2")]
    pub linux: Option<LinuxContainerResources>,
}

/// Runs a process in a container to its end.
#[derive(Clone, PartialEq, Message)]
pub struct ExecSyncRequest {
    /// In this container.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// Program and arguments.
    #[prost(string, repeated, tag = "2")]
    pub cmd: Vec<String>,
    /// Seconds.
    #[prost(int64, tag = "3")]
    pub timeout: i64,
}

/// How such a process has ended.
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

/// Asks for the address at which a process can be run with its streams.
#[derive(Clone, PartialEq, Message)]
pub struct ExecRequest {
    /// In this container.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// Program and arguments.
    #[prost(string, repeated, tag = "2")]
    pub cmd: Vec<String>,
    /// Whether it has a terminal.
    #[prost(bool, tag = "3")]
    pub tty: bool,
    /// Whether it is given input.
    #[prost(bool, tag = "4")]
    pub stdin: bool,
    /// Whether its output is wanted.
    #[prost(bool, tag = "5")]
    pub stdout: bool,
    /// Whether its errors are wanted.
    #[prost(bool, tag = "6")]
    pub stderr: bool,
}

/// Asks for the address of a container's own streams.
#[derive(Clone, PartialEq, Message)]
pub struct AttachRequest {
    /// Which container.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// Whether it is given input.
    #[prost(bool, tag = "2")]
    pub stdin: bool,
    /// Whether its output is wanted.
    #[prost(bool, tag = "4")]
    pub stdout: bool,
    /// Whether its errors are wanted.
    #[prost(bool, tag = "5")]
    pub stderr: bool,
}

/// Asks for the address at which a pod's port can be reached.
#[derive(Clone, PartialEq, Message)]
pub struct PortForwardRequest {
    /// Which pod.
    #[prost(string, tag = "1")]
    pub pod_sandbox_id: String,
    /// Its ports.
    #[prost(int32, repeated, tag = "2")]
    pub port: Vec<i32>,
}

/// Where a stream is served.
#[derive(Clone, PartialEq, Message)]
pub struct StreamAddress {
    /// `http://127.0.0.1:40000/exec/TOKEN`.
    #[prost(string, tag = "1")]
    pub url: String,
}

/// What a container uses.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerStatsResponse {
    /// It.
    #[prost(message, optional, tag = "1")]
    pub stats: Option<ContainerStats>,
}

/// What a container uses.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ContainerStats {
    /// Of CPU time.
    #[prost(message, optional, tag = "2")]
    pub cpu: Option<CpuUsage>,
    /// Of memory.
    #[prost(message, optional, tag = "3")]
    pub memory: Option<MemoryUsage>,
}

/// CPU time.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct CpuUsage {
    /// All of it.
    #[prost(message, optional, tag = "2")]
    pub usage_core_nano_seconds: Option<Number>,
}

/// Memory.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct MemoryUsage {
    /// Bytes that cannot be taken back.
    #[prost(message, optional, tag = "2")]
    pub working_set_bytes: Option<Number>,
}

/// A number that may be missing.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Number {
    /// It.
    #[prost(uint64, tag = "1")]
    pub value: u64,
}
