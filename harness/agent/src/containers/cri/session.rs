//! CRI for one test: pods of one runtime.

mod pod;

use super::answers::{NamespaceOption, StreamAddress, namespace_mode};
use super::client::CallError;
use super::instance::{CALL, CriError, CriInstance};
use super::messages::{
    DnsConfig, Empty, ImageSpec, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, ListContainersResponse,
    ListPodSandboxResponse, PodSandboxConfig, PodSandboxId, PodSandboxMetadata, PullImageRequest, PullImageResponse,
    RunPodSandboxRequest,
};
use super::refused::RefusalCause;
use super::streams::{Streams, StreamsError};
use super::systemd;
use crate::containers::{host, shim};
use model::program_version::ProgramVersion;
use model::sync::locked;
use pod::RunningPod;
use prost::Message;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use suites::check::{Check, Stop};
use suites::containers::{ContainerRuntime, Cri, Ephemeral, Pod, PodWanted, Trace};
use suites::outcome::Component;

/// CRI for one test.
pub struct CriSession<'a> {
    instance: Arc<CriInstance>,
    runtime: ContainerRuntime,
    /// The handler that a RuntimeClass would name.
    handler: String,
    /// Under Kata, the paths from the record.
    record: Option<Vec<String>>,
    /// Whether sandboxes are guests of an emulated machine.
    emulated: bool,
    volumes: Mutex<Vec<PathBuf>>,
    /// Keeps other tests from using the instance.
    _alone: MutexGuard<'a, ()>,
}

impl<'a> CriSession<'a> {
    /// Makes a session for pods of that runtime and handler.
    pub fn new(
        instance: Arc<CriInstance>,
        alone: MutexGuard<'a, ()>,
        runtime: ContainerRuntime,
        handler: String,
        record: Option<Vec<String>>,
        emulated: bool,
    ) -> CriSession<'a> {
        CriSession { instance, runtime, handler, record, emulated, volumes: Mutex::default(), _alone: alone }
    }

    /// Makes a call about pods and containers; an error becomes a verdict.
    fn call<Q, A>(&self, method: &str, request: Q, deadline: Duration) -> Result<A, Stop>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.instance.runtime(method, request, deadline).map_err(|e| self.judged(e))
    }

    /// Returns the time limit of an operation that may boot a guest.
    fn patience(&self) -> Duration {
        self.instance.patience(self.runtime)
    }

    fn judged(&self, error: CriError) -> Stop {
        let call = match error {
            CriError::Ended(stop) => return stop,
            CriError::Call(call) => call,
        };
        let message = call.to_string();
        match (call, self.runtime) {
            (CallError::Refused { cause: RefusalCause::Network, .. }, _) => {
                Stop::error(format!("neither containerd nor a runtime makes a pod's network: {message}"))
            }
            (CallError::Refused { .. }, ContainerRuntime::Kata) => shim::refusal(&message, self.record.as_deref()),
            (CallError::Late { .. }, _) => self.late(message),
            (CallError::Refused { .. } | CallError::Unknown { .. }, _) => Stop::fail(message),
            (CallError::Lost { .. }, _) => Stop::error(message),
        }
    }

    /// Returns the verdict on an operation that took too long.
    fn late(&self, message: String) -> Stop {
        if self.emulated { Stop::Unanswered { message } } else { Stop::fail(message) }
    }

    /// Returns the verdict on broken streams, or on streams that the server ended with a reason.
    fn broken(&self, message: String) -> Stop {
        self.instance.end().unwrap_or_else(|| Stop::fail(message))
    }

    /// Returns the verdict on missing data of streams: they have ended, or it takes too long.
    fn lacking(&self, streams: &Streams, message: String) -> Stop {
        if streams.has_closed() { self.broken(message) } else { self.late(message) }
    }

    /// Connects to a stream, which containerd alone serves, before it involves a runtime.
    fn connect(&self, address: &StreamAddress) -> Result<Streams, Stop> {
        let refused =
            |e: StreamsError| self.instance.end().unwrap_or_else(|| Stop::blame(Component::Containerd, e.to_string()));
        Streams::connect(&address.url).map_err(refused)
    }

    fn config(&self, pod: &PodWanted, number: u64, namespaces: NamespaceOption) -> PodSandboxConfig {
        let uid = format!("{}-{number}", self.instance.name());
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: format!("kata-qualify-{number}"),
                uid: uid.clone(),
                namespace: "kata-qualify".to_owned(),
            }),
            hostname: pod.hostname.clone(),
            log_directory: self.instance.disk().join("logs").join(&uid).to_string_lossy().into_owned(),
            // The server is never queried; without it containerd copies the host's file, which may not exist.
            dns_config: Some(DnsConfig { servers: vec!["127.0.0.1".to_owned()] }),
            annotations: pod.annotations.iter().cloned().collect(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: match pod.by_systemd {
                    true => format!("/{}", systemd::slice(self.instance.name())),
                    false => format!("/{}", self.instance.name()),
                },
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: Some(namespaces),
                    privileged: pod.privileged,
                }),
                sysctls: pod.sysctls.iter().cloned().collect(),
            }),
        }
    }
}

impl Cri for CriSession<'_> {
    fn version(&self) -> Option<&ProgramVersion> {
        self.instance.version.as_ref()
    }

    fn pull(&self) -> Result<String, Stop> {
        let request = PullImageRequest { image: Some(ImageSpec { image: self.instance.image() }) };
        let pulled: Result<PullImageResponse, _> = self.instance.images("PullImage", request, CALL);
        // No runtime is involved in a pull.
        pulled.map(|pulled| pulled.image_ref).map_err(|e| match e {
            CriError::Ended(stop) => stop,
            CriError::Call(lost @ CallError::Lost { .. }) => Stop::error(lost.to_string()),
            CriError::Call(call) => Stop::blame(Component::Containerd, call.to_string()),
        })
    }

    fn run_pod(&self, pod: &PodWanted) -> Result<Box<dyn Pod + '_>, Stop> {
        let pid = if pod.shares_processes { namespace_mode::POD } else { namespace_mode::CONTAINER };
        let namespaces = NamespaceOption { network: namespace_mode::POD, pid, ipc: namespace_mode::POD };
        if pod.by_systemd && !systemd::is_there() {
            return Err(Stop::skip("systemd does not run the environment, or nobody answers on its bus"));
        }
        let config = self.config(pod, self.instance.number(), namespaces);
        fs::create_dir_all(&config.log_directory).map_err(|e| Stop::error(format!("making a pod's logs: {e}")))?;
        // runc's cgroup driver is set by its handler; Kata recognizes it by the group's name.
        let by_systemd = pod.by_systemd && self.runtime == ContainerRuntime::Runc;
        let runtime_handler = if by_systemd { systemd::RUNC.to_owned() } else { self.handler.clone() };
        let request = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler };
        let started: PodSandboxId = self.call("RunPodSandbox", request, self.patience())?;
        self.instance.remember(&started.pod_sandbox_id);
        Ok(Box::new(RunningPod::new(self, started.pod_sandbox_id, config, namespaces)))
    }

    fn volume(&self, kind: Ephemeral) -> Result<PathBuf, Stop> {
        // Kata recognizes such a volume by this path (`K8sEmptyDir` in src/runtime/virtcontainers/mount.go).
        let path = self.instance.disk().join(format!("pods/{}", self.instance.number()));
        let path = path.join("volumes/kubernetes.io~empty-dir/volume");
        let made = fs::create_dir_all(&path).and_then(|()| match kind {
            Ephemeral::Disk => Ok(()),
            Ephemeral::Memory => Ok(mount("tmpfs", &path, "tmpfs", MountFlags::empty(), None::<&std::ffi::CStr>)?),
        });
        made.map_err(|e| Stop::error(format!("making a pod's volume: {e}")))?;
        if kind == Ephemeral::Memory {
            locked(&self.volumes).push(path.clone());
        }
        Ok(path)
    }

    fn seccomp_profile(&self, denied: &[&str]) -> Result<PathBuf, Stop> {
        let path = self.instance.disk().join(format!("seccomp-{}.json", self.instance.number()));
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": denied, "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM }],
        });
        fs::write(&path, profile.to_string()).map_err(|e| Stop::error(format!("writing a seccomp profile: {e}")))?;
        Ok(path)
    }

    fn restart_containerd(&self) -> Check {
        self.instance.restart()
    }

    fn traces(&self) -> BTreeSet<Trace> {
        let mut all = BTreeSet::new();
        let pods: Result<ListPodSandboxResponse, _> = self.call("ListPodSandbox", Empty {}, CALL);
        let pods = pods.map(|listed| listed.items).unwrap_or_default();
        all.extend(pods.into_iter().map(|pod| Trace::Record { kind: "pod", id: pod.id }));
        let containers: Result<ListContainersResponse, _> = self.call("ListContainers", Empty {}, CALL);
        let containers = containers.map(|listed| listed.containers).unwrap_or_default();
        all.extend(containers.into_iter().map(|container| Trace::Record { kind: "container", id: container.id }));
        let namespaces = fs::read_dir("/run/netns").into_iter().flatten().flatten();
        all.extend(namespaces.map(|entry| Trace::Folder(entry.path())));
        // This group above kubelet's pods is kubelet's own: no runtime removes it.
        let parent = self.instance.name();
        let is_parent = |trace: &Trace| matches!(trace, Trace::ControlGroup { path, .. } if path.ends_with(parent));
        for id in self.instance.remembered().iter().map(String::as_str).chain([parent]) {
            all.extend(host::traces(id, &[]).into_iter().filter(|trace| !is_parent(trace)));
        }
        all
    }
}

impl Drop for CriSession<'_> {
    fn drop(&mut self) {
        for path in locked(&self.volumes).drain(..) {
            let _ = unmount(&path, UnmountFlags::DETACH);
        }
    }
}
