//! The messages of CRI that the client uses, with the fields that it sends or reads.
//!
//! Names and numbers are those of `pkg/apis/runtime/v1/api.proto` of Kubernetes' cri-api; omitted fields are ignored
//! when decoding and absent when encoding, as the encoding allows. They are written by hand instead of using `k8s-cri`
//! (0.11): its build script compiles the specification with `protoc`, which cargo cannot install, into servers, clients
//! and serde code for all messages of two versions.

use super::answers::{LinuxContainerResources, LinuxContainerSecurityContext, NamespaceOption};
use prost::Message;
use std::collections::HashMap;

/// Request for the versions.
#[derive(Clone, PartialEq, Message)]
pub struct VersionRequest {
    /// Version of the client.
    #[prost(string, tag = "1")]
    pub version: String,
}

/// The server's versions.
#[derive(Clone, PartialEq, Message)]
pub struct VersionResponse {
    /// `1.7.24~ds1`.
    #[prost(string, tag = "3")]
    pub runtime_version: String,
}

/// Request for the readiness of the runtime.
#[derive(Clone, PartialEq, Message)]
pub struct StatusRequest {}

/// Reply with the readiness of the runtime.
#[derive(Clone, PartialEq, Message)]
pub struct StatusResponse {
    /// Its conditions.
    #[prost(message, optional, tag = "1")]
    pub status: Option<RuntimeStatus>,
}

/// The runtime's conditions.
#[derive(Clone, PartialEq, Message)]
pub struct RuntimeStatus {
    /// `RuntimeReady` and `NetworkReady`.
    #[prost(message, repeated, tag = "1")]
    pub conditions: Vec<RuntimeCondition>,
}

/// One condition.
#[derive(Clone, PartialEq, Message)]
pub struct RuntimeCondition {
    /// Its name.
    #[prost(string, tag = "1")]
    pub r#type: String,
    /// Whether it holds.
    #[prost(bool, tag = "2")]
    pub status: bool,
    /// Reason if it does not hold.
    #[prost(string, tag = "4")]
    pub message: String,
}

/// Starts a pod.
#[derive(Clone, PartialEq, Message)]
pub struct RunPodSandboxRequest {
    /// Configuration of the pod.
    #[prost(message, optional, tag = "1")]
    pub config: Option<PodSandboxConfig>,
    /// Handler that a RuntimeClass names; empty for the default.
    #[prost(string, tag = "2")]
    pub runtime_handler: String,
}

/// A message with only the id of a pod: the answer of RunPodSandbox, and the requests to stop and to remove a pod.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxId {
    /// The id.
    #[prost(string, tag = "1")]
    pub pod_sandbox_id: String,
}

/// A message with only the id of a container: the answer of CreateContainer, and requests about a container.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerId {
    /// The id.
    #[prost(string, tag = "1")]
    pub container_id: String,
}

/// An answer without content.
#[derive(Clone, PartialEq, Message)]
pub struct Empty {}

/// A pod.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxConfig {
    /// Its names.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<PodSandboxMetadata>,
    /// Its host name.
    #[prost(string, tag = "2")]
    pub hostname: String,
    /// Directory of its containers' logs.
    #[prost(string, tag = "3")]
    pub log_directory: String,
    /// Content of its `/etc/resolv.conf`.
    #[prost(message, optional, tag = "4")]
    pub dns_config: Option<DnsConfig>,
    /// Annotations, `io.katacontainers.*` among them.
    #[prost(map = "string, string", tag = "7")]
    pub annotations: HashMap<String, String>,
    /// Linux-specific part.
    #[prost(message, optional, tag = "8")]
    pub linux: Option<LinuxPodSandboxConfig>,
}

/// Name resolution of a pod.
#[derive(Clone, PartialEq, Message)]
pub struct DnsConfig {
    /// Addresses of the name servers.
    #[prost(string, repeated, tag = "1")]
    pub servers: Vec<String>,
}

/// A pod's names.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxMetadata {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its unique id.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// Kubernetes' namespace.
    #[prost(string, tag = "3")]
    pub namespace: String,
}

/// Linux-specific part of a pod.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxPodSandboxConfig {
    /// Control group of the whole pod.
    #[prost(string, tag = "1")]
    pub cgroup_parent: String,
    /// Its confinement.
    #[prost(message, optional, tag = "2")]
    pub security_context: Option<LinuxSandboxSecurityContext>,
    /// `kernel.shm_rmid_forced` and the like.
    #[prost(map = "string, string", tag = "3")]
    pub sysctls: HashMap<String, String>,
}

/// A pod's confinement.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxSandboxSecurityContext {
    /// Its namespaces.
    #[prost(message, optional, tag = "1")]
    pub namespace_options: Option<NamespaceOption>,
    /// Whether its containers may be privileged.
    #[prost(bool, tag = "6")]
    pub privileged: bool,
}

/// The answer about a pod's status.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxStatusResponse {
    /// The status.
    #[prost(message, optional, tag = "1")]
    pub status: Option<PodSandboxStatus>,
}

/// A pod's status.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxStatus {
    /// Its address.
    #[prost(message, optional, tag = "5")]
    pub network: Option<PodSandboxNetworkStatus>,
}

/// A pod's address.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxNetworkStatus {
    /// First address.
    #[prost(string, tag = "1")]
    pub ip: String,
}

/// Pods.
#[derive(Clone, PartialEq, Message)]
pub struct ListPodSandboxResponse {
    /// All of them.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<PodSandboxItem>,
}

/// A pod in a list.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxItem {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// Containers.
#[derive(Clone, PartialEq, Message)]
pub struct ListContainersResponse {
    /// All of them.
    #[prost(message, repeated, tag = "1")]
    pub containers: Vec<ContainerItem>,
}

/// A container in a list.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerItem {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// An image's name.
#[derive(Clone, PartialEq, Message)]
pub struct ImageSpec {
    /// `127.0.0.1:5000/kata-qualify/probe:1`.
    #[prost(string, tag = "1")]
    pub image: String,
}

/// Pulls an image.
#[derive(Clone, PartialEq, Message)]
pub struct PullImageRequest {
    /// Name of the image.
    #[prost(message, optional, tag = "1")]
    pub image: Option<ImageSpec>,
}

/// Reply to a pull.
#[derive(Clone, PartialEq, Message)]
pub struct PullImageResponse {
    /// Digest of the image.
    #[prost(string, tag = "1")]
    pub image_ref: String,
}

/// Makes a container.
#[derive(Clone, PartialEq, Message)]
pub struct CreateContainerRequest {
    /// Id of the pod.
    #[prost(string, tag = "1")]
    pub pod_sandbox_id: String,
    /// Configuration of the container.
    #[prost(message, optional, tag = "2")]
    pub config: Option<ContainerConfig>,
    /// Configuration of the pod, repeated.
    #[prost(message, optional, tag = "3")]
    pub sandbox_config: Option<PodSandboxConfig>,
}

/// A container.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerConfig {
    /// Its name.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<ContainerMetadata>,
    /// Its image.
    #[prost(message, optional, tag = "2")]
    pub image: Option<ImageSpec>,
    /// Command in place of the image's entry point.
    #[prost(string, repeated, tag = "3")]
    pub command: Vec<String>,
    /// Arguments in place of the image's command.
    #[prost(string, repeated, tag = "4")]
    pub args: Vec<String>,
    /// Its mounts.
    #[prost(message, repeated, tag = "7")]
    pub mounts: Vec<Mount>,
    /// Its devices.
    #[prost(message, repeated, tag = "8")]
    pub devices: Vec<Device>,
    /// Path of its log, below the pod's log directory.
    #[prost(string, tag = "11")]
    pub log_path: String,
    /// Whether it has standard input.
    #[prost(bool, tag = "12")]
    pub stdin: bool,
    /// Linux-specific part.
    #[prost(message, optional, tag = "15")]
    pub linux: Option<LinuxContainerConfig>,
}

/// A container's name.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerMetadata {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// A mount.
#[derive(Clone, PartialEq, Message)]
pub struct Mount {
    /// Path in the container.
    #[prost(string, tag = "1")]
    pub container_path: String,
    /// Path on the host.
    #[prost(string, tag = "2")]
    pub host_path: String,
}

/// A device.
#[derive(Clone, PartialEq, Message)]
pub struct Device {
    /// Path in the container.
    #[prost(string, tag = "1")]
    pub container_path: String,
    /// Path on the host.
    #[prost(string, tag = "2")]
    pub host_path: String,
    /// Permissions: `rwm`.
    #[prost(string, tag = "3")]
    pub permissions: String,
}

/// Linux-specific part of a container.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxContainerConfig {
    /// Its limits.
    #[prost(message, optional, tag = "1")]
    pub resources: Option<LinuxContainerResources>,
    /// Its confinement.
    #[prost(message, optional, tag = "2")]
    pub security_context: Option<LinuxContainerSecurityContext>,
}
