//! A containerd with its CRI plugin on, next to the one that `ctr` drives: own directories, registry and network.
//!
//! Its handlers are Kata's as `configure` writes them, one for each installed Kata, and runc's as in containerd's
//! default. Pods and containers survive its restart, as kubelet's pods do.

use super::client::{CallError, Client, IMAGES, RUNTIME, SupportedCri};
use super::messages::{Empty, ListPodSandboxResponse, PodSandboxId, RuntimeCondition, StatusRequest, StatusResponse};
use super::network;
use super::registry::Registry;
use super::systemd;
use crate::containers::containerd::folders::{clean_up, lay_out, sweep, with_plugins};
use crate::containers::containerd::{RUN, Running, START, begin, has_containerd, meaning, snapshotter};
use crate::containers::host;
use crate::containers::image::ContainerImage;
use crate::containers::network::ip;
use crate::containers::settings::Settings;
use crate::process::{kill_group, signal, wait};
use crate::system;
use model::program_version::ProgramVersion;
use model::sync::locked;
use operator::configure::kata_handler;
use prost::Message;
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use suites::check::{Check, Stop};
use suites::containers::{ContainerRuntime, Kata, NoCri};
use suites::outcome::Component;

/// Time limit of a call that waits for no container.
pub(super) const CALL: Duration = Duration::from_secs(40);
/// Time limit for containerd's end after SIGTERM.
const END: Duration = Duration::from_secs(30);
/// Section of the CRI plugin in version 2 of the configuration, which 1.3 to 2.x read.
const PLUGIN: &str = "plugins.\"io.containerd.grpc.v1.cri\"";

/// File from which containerd makes that of a pod (`setupSandboxFiles` in its `sandbox_run_linux.go`).
const HOSTS: &str = "/etc/hosts";
/// Conditions that must hold to run pods: containerd's own, and the network's.
const RUNTIME_READY: &str = "RuntimeReady";
const NETWORK: &str = "NetworkReady";

/// A running containerd with CRI.
pub struct CriInstance {
    name: String,
    settings: Settings,
    run: PathBuf,
    disk: PathBuf,
    running: Mutex<Running>,
    registry: Registry,
    client: Client,
    /// Version that containerd reports, if it does: only displayed, nothing depends on it.
    pub(super) version: Option<ProgramVersion>,
    next: AtomicU64,
    /// Pods that were started, for finding their remains.
    pods: Mutex<Vec<String>>,
}

impl CriInstance {
    /// Starts containerd, and waits until it reports that it can run pods.
    ///
    /// # Errors
    /// A skip if there is no containerd, no CNI or no `/etc/hosts`; [`NoCri`] if containerd has no version of CRI that
    /// Kubernetes supports; a failure of containerd if it ends or does not serve.
    pub fn start(settings: &Settings, katas: &[Kata]) -> Result<CriInstance, NoCri> {
        static GENERATION: AtomicU64 = AtomicU64::new(0);
        sweep();
        has_containerd(settings)?;
        let plugins = network::plugins().ok_or_else(|| {
            Stop::skip(
                "the environment has no CNI plugins (bridge, host-local, loopback): install \
                 containernetworking-plugins, or cni-plugins",
            )
        })?;
        if !Path::new(HOSTS).exists() {
            let reason = format!("the environment has no {HOSTS}, which containerd copies for each pod");
            return Err(Stop::skip(reason).into());
        }
        let name = format!("kq{}c{}", std::process::id(), GENERATION.fetch_add(1, Ordering::Relaxed));
        let (run, disk) = (Path::new(RUN).join(&name), settings.disk.join(&name));
        let failed = |e: io::Error| Stop::error(format!("making the folders of a containerd with CRI: {e}"));
        let probe = fs::read(&settings.probe).map_err(failed)?;
        let registry = ContainerImage::of(&probe).and_then(Registry::start).map_err(failed)?;
        fs::create_dir_all(&settings.artifacts).and_then(|()| fs::create_dir_all(&disk)).map_err(failed)?;
        let text =
            configuration(&Described { run: &run, disk: &disk, plugins: &plugins, image: &registry.image(), katas });
        lay_out(&name, settings, &run, &disk, &text).map_err(failed)?;
        network::write(&run.join("cni"), &name, &disk.join("addresses")).map_err(failed)?;
        let started = begin(settings, &run, &log_name(&name, 0));
        let client = Client::new(&run.join("sock")).map_err(failed);
        let (running, client) = match (started, client) {
            (Ok(running), Ok(client)) => (running, client),
            (Err(stop), _) | (_, Err(stop)) => {
                clean_up(&name, &disk, 0);
                return Err(stop.into());
            }
        };
        let mut instance = CriInstance {
            name,
            settings: settings.clone(),
            run,
            disk,
            running: Mutex::new(running),
            registry,
            client,
            version: None,
            next: AtomicU64::new(1),
            pods: Mutex::default(),
        };
        instance.version = instance.wait_until_it_serves()?;
        Ok(instance)
    }

    /// Waits until containerd supports CRI v1 and is ready; returns its version.
    fn wait_until_it_serves(&self) -> Result<Option<ProgramVersion>, NoCri> {
        let end = Instant::now() + START;
        loop {
            let supported = self.client.supported_cri(CALL);
            let is_lost = matches!(supported, Err(CallError::Lost { .. }));
            let not_ready = match supported {
                Ok(supported) => match version(supported)? {
                    Some(version) => match self.not_ready() {
                        None => return Ok(version),
                        Some(why) => why,
                    },
                    None => NotReady::of_containerd("the socket has no CRI"),
                },
                Err(error) => NotReady::of_containerd(error.to_string()),
            };
            if let Some(ended) = self.end() {
                return Err(ended.into());
            }
            if Instant::now() >= end {
                let message =
                    format!("containerd is not ready for pods within {} s: {}", START.as_secs(), not_ready.why);
                let message = format!("{message}: {}", self.last_words());
                // Conditions of containerd itself are reported first; the network is configured by the harness, and is
                // not containerd's fault. If the socket accepts connections but the client's fail, the client may be at
                // fault.
                let is_served = || UnixStream::connect(self.run.join("sock")).is_ok();
                if not_ready.is_of_network || (is_lost && is_served()) {
                    return Err(Stop::error(message).into());
                }
                return Err(Stop::blame(Component::Containerd, message).into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn not_ready(&self) -> Option<NotReady> {
        let answer: Result<StatusResponse, _> = self.client.call(RUNTIME, "Status", StatusRequest {}, CALL);
        let conditions = match answer {
            Ok(answer) => answer.status.unwrap_or_default().conditions,
            Err(error) => return Some(NotReady::of_containerd(error.to_string())),
        };
        lacking(&conditions)
    }

    /// Makes a call about pods and containers.
    ///
    /// # Errors
    /// containerd's end, or the reason for the missing answer.
    pub(super) fn runtime<Q, A>(&self, method: &str, request: Q, deadline: Duration) -> Result<A, CriError>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.client.call(RUNTIME, method, request, deadline).map_err(|e| self.explained(e))
    }

    /// Makes a call about images.
    ///
    /// # Errors
    /// As [`CriInstance::runtime`].
    pub(super) fn images<Q, A>(&self, method: &str, request: Q, deadline: Duration) -> Result<A, CriError>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.client.call(IMAGES, method, request, deadline).map_err(|e| self.explained(e))
    }

    fn explained(&self, error: CallError) -> CriError {
        self.end().map_or(CriError::Call(error), CriError::Ended)
    }

    /// Restarts containerd as an upgrade of its package does; its pods survive.
    ///
    /// # Errors
    /// A failure of containerd if it does not end, or does not become ready again.
    pub(super) fn restart(&self) -> Check {
        {
            let mut running = locked(&self.running);
            signal(running.child.id(), rustix::process::Signal::TERM)
                .map_err(|e| Stop::error(format!("ending containerd: {e}")))?;
            if !matches!(wait(&mut running.child, END), Ok(Some(_))) {
                let message = format!("containerd does not end within {} s of SIGTERM", END.as_secs());
                return Err(Stop::blame(Component::Containerd, message));
            }
            *running = begin(&self.settings, &self.run, &log_name(&self.name, self.number()))?;
        }
        self.wait_until_it_serves().map(drop).map_err(Stop::from)
    }

    /// Returns a number that no other pod or volume of this instance has.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Remembers a pod.
    pub(super) fn remember(&self, pod: &str) {
        locked(&self.pods).push(pod.to_owned());
    }

    /// Returns the pods that were started so far.
    pub(super) fn remembered(&self) -> Vec<String> {
        locked(&self.pods).clone()
    }

    /// Returns the instance's name, which is also the control group of its pods.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns a directory on the disk.
    pub(super) fn disk(&self) -> &Path {
        &self.disk
    }

    /// Returns the image's name in the registry.
    pub(super) fn image(&self) -> String {
        self.registry.image()
    }

    /// Returns the time limit for a container of that runtime.
    pub(super) fn patience(&self, runtime: ContainerRuntime) -> Duration {
        self.settings.patience.of(runtime)
    }

    /// Returns the path of the log.
    pub fn log_path(&self) -> PathBuf {
        locked(&self.running).log.path().to_owned()
    }

    fn last_words(&self) -> String {
        let ended = self.ended();
        let running = locked(&self.running);
        if ended {
            running.log.settle();
        }
        running.log.last_lines(6)
    }

    /// Returns whether containerd has ended.
    pub fn ended(&self) -> bool {
        matches!(locked(&self.running).child.try_wait(), Ok(Some(_)))
    }

    /// Returns the verdict on containerd's end, if it has ended.
    pub(super) fn end(&self) -> Option<Stop> {
        let status = locked(&self.running).child.try_wait().ok().flatten();
        status.map(|status| meaning(status, &self.last_words()))
    }
}

/// Reason why no pod can be run yet.
#[derive(Debug, PartialEq, Eq)]
struct NotReady {
    why: String,
    /// Whether only the network is not ready.
    is_of_network: bool,
}

impl NotReady {
    fn of_containerd(why: impl Into<String>) -> NotReady {
        NotReady { why: why.into(), is_of_network: false }
    }
}

/// Returns the server's own version, if it states one, if it supports CRI v1; `None` as long as it supports no version.
fn version(supported: SupportedCri) -> Result<Option<Option<ProgramVersion>>, NoCri> {
    match supported {
        SupportedCri::V1(version) => Ok(Some(version)),
        SupportedCri::OnlyV1Alpha2(containerd) => Err(NoCri::OnlyV1Alpha2 { containerd }),
        // containerd answers before all of its plugins are loaded.
        SupportedCri::Neither => Ok(None),
    }
}

/// Returns the conditions that do not hold; later versions have further conditions, which only warn of deprecations.
fn lacking(conditions: &[RuntimeCondition]) -> Option<NotReady> {
    let unmet = |kind: &str| conditions.iter().find(|c| c.r#type == kind && !c.status);
    let (runtime, network) = (unmet(RUNTIME_READY), unmet(NETWORK));
    let messages = runtime.into_iter().chain(network).map(|c| format!("{}: {}", c.r#type, c.message));
    let why = messages.collect::<Vec<_>>().join("; ");
    let is_of_network = runtime.is_none() && network.is_some();
    (runtime.is_some() || network.is_some()).then_some(NotReady { why, is_of_network })
}

/// Reasons why a CRI request failed.
pub(super) enum CriError {
    /// containerd has ended, with the verdict.
    Ended(Stop),
    /// The call was not answered, or refused.
    Call(CallError),
}

/// Returns the name of the log of the containerd that was started at this count.
fn log_name(name: &str, number: u64) -> String {
    format!("{name}-{number}.log")
}

/// Inputs of the configuration.
struct Described<'a> {
    run: &'a Path,
    disk: &'a Path,
    plugins: &'a Path,
    image: &'a str,
    katas: &'a [Kata],
}

/// Returns the handler of a Kata: the name that `configure` writes, followed by the runtime's kind, because two may
/// exist here at the same time.
pub fn handler(kata: &Kata) -> String {
    let (name, _) = kata_handler(Path::new(&kata.shim), Path::new(&kata.configuration));
    format!("{name}-{}", kata.kind.name())
}

fn configuration(of: &Described<'_>) -> String {
    // A JSON string is also a TOML string.
    let quoted = |path: PathBuf| serde_json::json!(path.to_string_lossy()).to_string();
    let mut text = with_plugins(of.run, of.disk, &[]);
    let mut section = |name: &str, lines: &[(&str, String)]| {
        text += &format!("\n[{PLUGIN}{name}]\n");
        text.extend(lines.iter().map(|(key, value)| format!("{key} = {value}\n")));
    };
    section(
        "",
        &[
            ("sandbox_image", format!("{:?}", of.image)),
            ("stream_server_address", "\"127.0.0.1\"".to_owned()),
            ("stream_server_port", "\"0\"".to_owned()),
            // The default is false: a sandbox is spared when memory runs out, which takes CAP_SYS_RESOURCE.
            ("restrict_oom_score_adj", (!system::may_be_spared()).to_string()),
        ],
    );
    section(".cni", &[("bin_dir", quoted(of.plugins.to_owned())), ("conf_dir", quoted(of.run.join("cni")))]);
    section(
        ".containerd",
        &[("snapshotter", format!("{:?}", snapshotter(of.disk))), ("default_runtime_name", "\"runc\"".to_owned())],
    );
    section(".containerd.runtimes.runc", &[("runtime_type", "\"io.containerd.runc.v2\"".to_owned())]);
    section(".containerd.runtimes.runc.options", &[("Root", quoted(of.run.join("runc")))]);
    let by_systemd = format!(".containerd.runtimes.{}", systemd::RUNC);
    section(&by_systemd, &[("runtime_type", "\"io.containerd.runc.v2\"".to_owned())]);
    let options = [("Root", quoted(of.run.join("runc"))), ("SystemdCgroup", "true".to_owned())];
    section(&format!("{by_systemd}.options"), &options);
    for kata in of.katas {
        let (_, keys) = kata_handler(Path::new(&kata.shim), Path::new(&kata.configuration));
        let name = format!(".containerd.runtimes.{}", handler(kata));
        let (tables, plain): (Vec<_>, Vec<_>) = keys.iter().partition(|(_, value)| value.is_object());
        let plain: Vec<(&str, String)> =
            plain.into_iter().map(|(key, value)| (key.as_str(), value.to_string())).collect();
        section(&name, &plain);
        for (table, value) in tables {
            let lines = value.as_object().into_iter().flatten();
            let lines: Vec<(&str, String)> = lines.map(|(key, value)| (key.as_str(), value.to_string())).collect();
            section(&format!("{name}.{table}"), &lines);
        }
    }
    text
}

impl Drop for CriInstance {
    fn drop(&mut self) {
        // Gracefully first: a runtime that is asked to end cleans up after itself.
        let listed: Result<ListPodSandboxResponse, _> = self.client.call(RUNTIME, "ListPodSandbox", Empty {}, CALL);
        for pod in listed.map(|listed| listed.items).unwrap_or_default() {
            for method in ["StopPodSandbox", "RemovePodSandbox"] {
                let request = PodSandboxId { pod_sandbox_id: pod.id.clone() };
                let _: Result<Empty, _> = self.client.call(RUNTIME, method, request, CALL);
            }
        }
        kill_group(&mut locked(&self.running).child);
        for pod in locked(&self.pods).drain(..) {
            host::remove(&pod, &[]);
        }
        let _ = ip(&["link", "del", &network::bridge(&self.name)]);
        systemd::end(&self.name);
        clean_up(&self.name, &self.disk, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::kata::tests::kata;
    use model::profile::Runtime;

    #[test]
    fn an_older_cri_version_is_distinguished_from_no_cri_yet() {
        let stated = |text: &str| text.parse::<ProgramVersion>().ok();
        assert_eq!(version(SupportedCri::V1(stated("2.1.4"))), Ok(Some(stated("2.1.4"))));
        assert_eq!(version(SupportedCri::V1(stated(""))), Ok(Some(None)));
        assert_eq!(version(SupportedCri::Neither), Ok(None));
        let older = NoCri::OnlyV1Alpha2 { containerd: stated("1.4.13") };
        assert_eq!(version(SupportedCri::OnlyV1Alpha2(stated("1.4.13"))), Err(older));
    }

    #[test]
    fn a_lacking_network_is_reported_only_if_the_runtime_is_ready() {
        let condition = |kind: &str, status| RuntimeCondition {
            r#type: kind.to_owned(),
            status,
            message: "NetworkReady or not".to_owned(),
        };
        let of = |runtime, network| lacking(&[condition(NETWORK, network), condition(RUNTIME_READY, runtime)]);
        assert_eq!(of(true, true), None);
        assert!(of(true, false).is_some_and(|problem| problem.is_of_network));
        for network in [true, false] {
            let problem = of(false, network).unwrap();
            assert!(!problem.is_of_network && problem.why.starts_with("RuntimeReady: "), "{problem:?}");
        }
    }

    #[test]
    fn the_configuration_has_a_handler_for_the_given_kata() {
        let kata = kata(Runtime::Rs);
        let text = configuration(&Described {
            run: Path::new("/run/x"),
            disk: Path::new("/disk/x"),
            plugins: Path::new("/usr/lib/cni"),
            image: "127.0.0.1:5/kata-qualify/probe:1",
            katas: std::slice::from_ref(&kata),
        });
        let section = format!("[{PLUGIN}.containerd.runtimes.kata-{}]\n", kata.kind.name());
        assert!(text.contains(&section), "{text}");
        assert!(text.contains("pod_annotations = [\"io.katacontainers.*\"]\n"), "{text}");
        assert!(text.contains("privileged_without_host_devices = true\n"), "{text}");
        assert!(text.contains(&format!("ConfigPath = {:?}\n", kata.configuration)), "{text}");
        assert!(!text.contains("io.containerd.grpc.v1.cri\",") && text.contains("sandbox_image"), "{text}");
    }
}
