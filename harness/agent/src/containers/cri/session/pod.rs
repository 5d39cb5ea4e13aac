//! A running pod, and its containers.

use super::CriSession;
use crate::containers::cri::answers::{
    AttachRequest, Capabilities, ContainerStatsResponse, ContainerStatus, ContainerStatusResponse, ExecRequest,
    ExecSyncRequest, ExecSyncResponse, LinuxContainerResources, LinuxContainerSecurityContext, NamespaceOption,
    PortForwardRequest, SecurityProfile, StopContainerRequest, StreamAddress, UpdateContainerResourcesRequest,
    container_state, profile_type,
};
use crate::containers::cri::instance::CALL;
use crate::containers::cri::messages::{
    ContainerConfig, ContainerId, ContainerMetadata, CreateContainerRequest, Device, Empty, ImageSpec,
    LinuxContainerConfig, Mount, PodSandboxConfig, PodSandboxId, PodSandboxStatusResponse,
};
use crate::containers::cri::streams::{Streams, StreamsError, channel};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use suites::check::{Check, Stop};
use suites::containers::{
    ContainerEnd, ContainerOutput, PROBE, Pod, PodContainer, PodLimits, PodProcess, PodUsage, ProfileWanted,
    TerminalSize,
};
use suites::outcome::Component;

/// Period of a CPU quota in microseconds, as in kubelet.
const PERIOD: i64 = 100_000;

/// A pod; it is stopped and removed when this value is dropped.
pub(super) struct RunningPod<'a> {
    session: &'a CriSession<'a>,
    id: String,
    config: PodSandboxConfig,
    namespaces: NamespaceOption,
    next: AtomicU32,
    removed: AtomicBool,
}

impl<'a> RunningPod<'a> {
    /// Makes the pod of that id with the configuration of its request.
    pub(super) fn new(
        session: &'a CriSession<'a>,
        id: String,
        config: PodSandboxConfig,
        namespaces: NamespaceOption,
    ) -> RunningPod<'a> {
        RunningPod { session, id, config, namespaces, next: AtomicU32::new(1), removed: AtomicBool::new(false) }
    }

    fn remove_once(&self) -> Check {
        if self.removed.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        for method in ["StopPodSandbox", "RemovePodSandbox"] {
            let request = PodSandboxId { pod_sandbox_id: self.id.clone() };
            self.session.call::<_, Empty>(method, request, self.session.patience())?;
        }
        Ok(())
    }

    fn container(&self, requested: &PodContainer, number: u32) -> ContainerConfig {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let mount = |(from, to): &(PathBuf, String)| Mount { container_path: to.clone(), host_path: path(from) };
        let device = |(from, to): &(String, String)| Device {
            container_path: to.clone(),
            host_path: from.clone(),
            permissions: "rwm".to_owned(),
        };
        ContainerConfig {
            metadata: Some(ContainerMetadata { name: format!("container-{number}") }),
            image: Some(ImageSpec { image: self.session.instance.image() }),
            // The image's entry point is the probe.
            command: Vec::new(),
            args: requested.command.clone(),
            mounts: requested.mounts.iter().map(mount).collect(),
            devices: requested.devices.iter().map(device).collect(),
            log_path: format!("{number}.log"),
            stdin: requested.input,
            linux: Some(LinuxContainerConfig {
                resources: Some(resources(requested.limits)),
                security_context: Some(LinuxContainerSecurityContext {
                    capabilities: Some(Capabilities { add: requested.added.clone(), drop: requested.dropped.clone() }),
                    privileged: requested.privileged,
                    namespace_options: Some(self.namespaces),
                    no_new_privs: requested.no_new_privileges,
                    seccomp: requested.seccomp.as_ref().map(profile),
                    apparmor: requested.apparmor.as_ref().map(profile),
                }),
            }),
        }
    }
}

fn profile(requested: &ProfileWanted) -> SecurityProfile {
    match requested {
        ProfileWanted::Unconfined => {
            SecurityProfile { profile_type: profile_type::UNCONFINED, localhost_ref: String::new() }
        }
        ProfileWanted::Named(name) => {
            SecurityProfile { profile_type: profile_type::LOCALHOST, localhost_ref: name.clone() }
        }
    }
}

fn resources(limits: PodLimits) -> LinuxContainerResources {
    let quota = |millis: u32| i64::from(millis) * PERIOD / 1000;
    LinuxContainerResources {
        cpu_period: limits.cpu_millis.map_or(0, |_| PERIOD),
        cpu_quota: limits.cpu_millis.map_or(0, quota),
        // As in kubelet: 1024 for one CPU.
        cpu_shares: limits.cpu_millis.map_or(0, |millis| i64::from(millis) * 1024 / 1000),
        memory_limit_in_bytes: limits.memory.map_or(0, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
    }
}

impl Pod for RunningPod<'_> {
    fn id(&self) -> &str {
        &self.id
    }

    fn parent_group(&self) -> &str {
        self.config.linux.as_ref().map(|linux| linux.cgroup_parent.as_str()).unwrap_or_default()
    }

    fn address(&self) -> Result<String, Stop> {
        let request = PodSandboxId { pod_sandbox_id: self.id.clone() };
        let answer: PodSandboxStatusResponse = self.session.call("PodSandboxStatus", request, CALL)?;
        let network = answer.status.and_then(|status| status.network);
        network
            .map(|network| network.ip)
            .filter(|ip| !ip.is_empty())
            .ok_or_else(|| Stop::fail(format!("CRI tells no address of the pod {}", self.id)))
    }

    fn start(&self, container: &PodContainer) -> Result<Box<dyn PodProcess + '_>, Stop> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let config = self.container(container, number);
        let log = Path::new(&self.config.log_directory).join(&config.log_path).to_string_lossy().into_owned();
        let request = CreateContainerRequest {
            pod_sandbox_id: self.id.clone(),
            config: Some(config),
            sandbox_config: Some(self.config.clone()),
        };
        let made: ContainerId = self.session.call("CreateContainer", request, self.session.patience())?;
        self.session.call::<_, Empty>("StartContainer", made.clone(), self.session.patience())?;
        Ok(Box::new(RunningContainer { session: self.session, id: made.container_id, log }))
    }

    fn read_port(&self, port: u16, expected: usize) -> Result<Vec<u8>, Stop> {
        let request = PortForwardRequest { pod_sandbox_id: self.id.clone(), port: vec![i32::from(port)] };
        let answer: StreamAddress = self.session.call("PortForward", request, CALL)?;
        let message = |e: String| format!("forwarding port {port}: {e}");
        let broken = |e: StreamsError| self.session.broken(message(e.to_string()));
        let mut streams = self.session.connect(&answer)?;
        // Each channel begins with the port's number, two bytes; the second channel is for errors.
        let until = Instant::now() + self.session.patience();
        let enough = |streams: &Streams| streams.received(0).len() >= expected + 2 || streams.received(1).len() > 2;
        let is_complete = streams.listen(until, enough).map_err(broken)?;
        let error = String::from_utf8_lossy(streams.received(1).get(2..).unwrap_or_default()).into_owned();
        if !error.is_empty() {
            return Err(self.session.broken(message(error)));
        }
        let bytes = streams.received(0).get(2..).unwrap_or_default().to_vec();
        let incomplete = || message(format!("{} bytes came of {expected}", bytes.len()));
        if is_complete { Ok(bytes) } else { Err(self.session.lacking(&streams, incomplete())) }
    }

    fn remove(self: Box<Self>) -> Check {
        self.remove_once()
    }
}

impl Drop for RunningPod<'_> {
    fn drop(&mut self) {
        let _ = self.remove_once();
    }
}

/// A container of a pod; it is removed with the pod.
struct RunningContainer<'a> {
    session: &'a CriSession<'a>,
    id: String,
    log: String,
}

impl RunningContainer<'_> {
    fn status(&self) -> Result<ContainerStatus, Stop> {
        let request = ContainerId { container_id: self.id.clone() };
        let answer: ContainerStatusResponse = self.session.call("ContainerStatus", request, CALL)?;
        answer.status.ok_or_else(|| Stop::fail(format!("CRI tells no status of the container {}", self.id)))
    }

    /// Returns a process's output from its streams, once they report its end.
    fn end_of(
        &self,
        streams: &mut Streams,
        until: Instant,
        message: &dyn Fn(String) -> String,
    ) -> Result<ContainerOutput, Stop> {
        let broken = |e: StreamsError| self.session.broken(message(e.to_string()));
        let ended = streams.listen(until, |streams| !streams.received(channel::END).is_empty()).map_err(broken)?;
        if !ended {
            let problem = format!("no end was reported; {} bytes came", streams.received(channel::OUTPUT).len());
            return Err(self.session.lacking(streams, message(problem)));
        }
        streams.output().map_err(broken)
    }
}

fn with_probe(command: &[&str]) -> Vec<String> {
    [PROBE].iter().chain(command).map(|word| (*word).to_owned()).collect()
}

impl PodProcess for RunningContainer<'_> {
    fn id(&self) -> &str {
        &self.id
    }

    fn exec(&self, command: &[&str]) -> Result<ContainerOutput, Stop> {
        let patience = self.session.patience();
        let seconds = i64::try_from(patience.as_secs()).unwrap_or(i64::MAX);
        let request = ExecSyncRequest { container_id: self.id.clone(), cmd: with_probe(command), timeout: seconds };
        // The server's own deadline comes first, and its message is more specific.
        let answer: ExecSyncResponse = self.session.call("ExecSync", request, patience + Duration::from_secs(10))?;
        Ok(ContainerOutput { code: answer.exit_code, stdout: answer.stdout, stderr: answer.stderr })
    }

    fn exec_by_streams(&self, command: &[&str], input: &[u8]) -> Result<ContainerOutput, Stop> {
        let request = ExecRequest {
            container_id: self.id.clone(),
            cmd: with_probe(command),
            tty: false,
            stdin: !input.is_empty(),
            stdout: true,
            stderr: true,
        };
        let answer: StreamAddress = self.session.call("Exec", request, CALL)?;
        let message = |e: String| format!("exec {} by streams: {e}", command.join(" "));
        let mut streams = self.session.connect(&answer)?;
        streams.send(channel::INPUT, input).map_err(|e| self.session.broken(message(e.to_string())))?;
        self.end_of(&mut streams, Instant::now() + self.session.patience(), &message)
    }

    fn exec_on_a_terminal(&self, command: &[&str], sizes: &[TerminalSize]) -> Result<ContainerOutput, Stop> {
        // On a terminal, errors are mixed with the output, and CRI refuses to separate them.
        //
        // Input is requested although none is sent: containerd's WebSockets give a client that requests no input an
        // ended one, and on a terminal containerd takes the end of the input for the end of the output.
        let request = ExecRequest {
            container_id: self.id.clone(),
            cmd: with_probe(command),
            tty: true,
            stdin: true,
            stdout: true,
            stderr: false,
        };
        let answer: StreamAddress = self.session.call("Exec", request, CALL)?;
        let message = |e: String| format!("exec {} on a terminal: {e}", command.join(" "));
        let broken = |e: StreamsError| self.session.broken(message(e.to_string()));
        let mut streams = self.session.connect(&answer)?;
        let until = Instant::now() + self.session.patience();
        for size in sizes {
            if !streams.received(channel::END).is_empty() {
                break;
            }
            let window_size = json!({ "Width": size.columns, "Height": size.rows }).to_string();
            streams.send(channel::SIZE, window_size.as_bytes()).map_err(broken)?;
            let expected = size.to_string();
            let enough = |streams: &Streams| {
                let text = String::from_utf8_lossy(streams.received(channel::OUTPUT)).into_owned();
                text.lines().any(|line| line == expected) || !streams.received(channel::END).is_empty()
            };
            if !streams.listen(until, enough).map_err(broken)? {
                let output = String::from_utf8_lossy(streams.received(channel::OUTPUT)).into_owned();
                let problem = format!("the process did not see the size {expected}; what it said is {output:?}");
                return Err(self.session.lacking(&streams, message(problem)));
            }
        }
        self.end_of(&mut streams, until, &message)
    }

    fn attach(&self, input: &[u8]) -> Result<Vec<u8>, Stop> {
        let request = AttachRequest { container_id: self.id.clone(), stdin: true, stdout: true, stderr: true };
        let answer: StreamAddress = self.session.call("Attach", request, CALL)?;
        let message = |e: String| format!("attaching: {e}");
        let broken = |e: StreamsError| self.session.broken(message(e.to_string()));
        let mut streams = self.session.connect(&answer)?;
        streams.send(channel::INPUT, input).map_err(broken)?;
        let until = Instant::now() + self.session.patience();
        let enough = |streams: &Streams| streams.received(channel::OUTPUT).len() >= input.len();
        let is_complete = streams.listen(until, enough).map_err(broken)?;
        let bytes = streams.received(channel::OUTPUT).to_vec();
        let incomplete = || message(format!("{} bytes came of {}", bytes.len(), input.len()));
        if is_complete { Ok(bytes) } else { Err(self.session.lacking(&streams, incomplete())) }
    }

    fn log(&self) -> Result<String, Stop> {
        let blamed = |e: std::io::Error| {
            Stop::blame(Component::Containerd, format!("reading the container's log {}: {e}", self.log))
        };
        fs::read_to_string(&self.log).map_err(blamed)
    }

    fn update(&self, limits: PodLimits) -> Check {
        let request = UpdateContainerResourcesRequest { container_id: self.id.clone(), linux: Some(resources(limits)) };
        self.session.call::<_, Empty>("UpdateContainerResources", request, self.session.patience()).map(drop)
    }

    fn usage(&self) -> Result<PodUsage, Stop> {
        let request = ContainerId { container_id: self.id.clone() };
        let answer: ContainerStatsResponse = self.session.call("ContainerStats", request, CALL)?;
        let stats = answer.stats.unwrap_or_default();
        Ok(PodUsage {
            cpu: stats.cpu.and_then(|cpu| cpu.usage_core_nano_seconds).map(|number| number.value),
            memory: stats.memory.and_then(|memory| memory.working_set_bytes).map(|number| number.value),
        })
    }

    fn end(&self) -> Result<Option<ContainerEnd>, Stop> {
        let status = self.status()?;
        let ended = status.state == container_state::EXITED;
        Ok(ended.then_some(ContainerEnd { code: status.exit_code, reason: status.reason }))
    }

    fn wait(&self, deadline: Duration) -> Result<ContainerEnd, Stop> {
        let until = Instant::now() + deadline;
        loop {
            if let Some(end) = self.end()? {
                return Ok(end);
            }
            if Instant::now() >= until {
                return Err(self.session.late(format!("the container did not end within {} s", deadline.as_secs())));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn stop(&self, seconds: u32) -> Check {
        let request = StopContainerRequest { container_id: self.id.clone(), timeout: i64::from(seconds) };
        let deadline = self.session.patience() + Duration::from_secs(u64::from(seconds));
        self.session.call::<_, Empty>("StopContainer", request, deadline).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_in_cri_units_and_absent_ones_are_zero() {
        let limits = resources(PodLimits { memory: Some(1 << 20), cpu_millis: Some(1500) });
        assert_eq!((limits.cpu_quota, limits.cpu_period, limits.cpu_shares), (150_000, 100_000, 1536));
        assert_eq!(limits.memory_limit_in_bytes, 1 << 20);
        assert_eq!(resources(PodLimits::default()), LinuxContainerResources::default());
    }
}
