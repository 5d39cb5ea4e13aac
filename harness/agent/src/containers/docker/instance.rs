//! Docker's engine, with its containerd, bridge and files.

use super::version::EngineVersion;
use crate::containers::capture::Attached;
use crate::containers::containerd::folders::{clean_up, configuration, lay_out, search_path, sweep};
use crate::containers::containerd::{COMMAND, RUN, Running, START, begin, has_containerd};
use crate::containers::host;
use crate::containers::image::ContainerImage;
use crate::containers::network::{self, ip};
use crate::containers::settings::Settings;
use crate::process::{kill_group, prepare, signal, stderr_log, wait};
use model::sync::locked;
use rustix::mount::{UnmountFlags, unmount};
use serde_json::json;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use suites::check::{Check, Stop};
use suites::containers::{ContainerOutput, ContainerRuntime, DockerNetwork};
use suites::outcome::Component;

/// The image's name.
pub(super) const IMAGE: &str = "kata-qualify/probe:1";
/// Socket of the machine's own engine, and its directory for running containers.
const SOCKET: &str = "/run/docker.sock";
const RUNNING: &str = "/run/docker";
/// Time limit for the engine's start, which begins with its containerd.
const SERVES: Duration = Duration::from_secs(START.as_secs() * 2);
/// Time limit for the engine's end after SIGTERM.
const END: Duration = Duration::from_secs(30);

/// A running engine.
pub struct DockerInstance {
    name: String,
    settings: Settings,
    run: PathBuf,
    disk: PathBuf,
    containerd: Mutex<Running>,
    engine: Mutex<Option<Running>>,
    /// Version of the engine, once it serves.
    version: Option<EngineVersion>,
    next: AtomicU64,
    /// Ids of the created containers.
    made: Mutex<Vec<String>>,
    /// Whether the second network exists.
    has_second: Mutex<bool>,
    /// Whether the directory for running containers existed before.
    had_folder: bool,
}

impl DockerInstance {
    /// Starts containerd and the engine, waits until it serves, and imports the test's image.
    ///
    /// # Errors
    /// A skip if there is no engine or no client, or another engine runs; a failure of the container manager if the
    /// engine does not serve; an error if its version cannot be read.
    pub fn start(settings: &Settings) -> Result<DockerInstance, Stop> {
        static GENERATION: AtomicU64 = AtomicU64::new(0);
        sweep();
        has_containerd(settings)?;
        let program = engine_of(settings)?;
        is_alone()?;
        let name = format!("kq{}d{}", std::process::id(), GENERATION.fetch_add(1, Ordering::Relaxed));
        let (run, disk) = (Path::new(RUN).join(&name), settings.disk.join(&name));
        let failed = |e: io::Error| Stop::error(format!("making the folders of Docker's engine: {e}"));
        fs::create_dir_all(&settings.artifacts).map_err(failed)?;
        lay_out(&name, settings, &run, &disk, &configuration(&run, &disk, None)).map_err(failed)?;
        let started = begin(settings, &run, &format!("{name}-containerd.log"));
        let containerd = Mutex::new(started.inspect_err(|_| clean_up(&name, &disk, 0))?);
        // From here on dropping the instance removes everything.
        let mut instance = DockerInstance {
            name,
            settings: settings.clone(),
            run,
            disk,
            containerd,
            engine: Mutex::new(None),
            version: None,
            next: AtomicU64::new(1),
            made: Mutex::default(),
            has_second: Mutex::new(false),
            had_folder: Path::new(RUNNING).exists(),
        };
        instance.make_bridge()?;
        *locked(&instance.engine) = Some(instance.begin_engine(program)?);
        instance.version = Some(instance.wait_until_it_serves()?);
        instance.import()?;
        Ok(instance)
    }

    /// Makes the bridge for containers' default network: a bridge made by the engine would be called `docker0` on every
    /// machine.
    fn make_bridge(&self) -> Check {
        let bridge = self.bridge(DockerNetwork::Bridge);
        let address = format!("{}/24", host_in(DockerNetwork::Bridge));
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["addr", "add", &address, "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])
    }

    fn begin_engine(&self, program: &Path) -> Result<Running, Stop> {
        let file = self.run.join("docker.json");
        // The configuration of the machine's own engine is not read.
        let text = json!({ "ip6tables": false, "log-driver": "json-file" }).to_string();
        fs::write(&file, text).map_err(|e| Stop::error(format!("writing {}: {e}", file.display())))?;
        let mut command = Command::new(program);
        command.arg("--config-file").arg(file);
        command.arg("--data-root").arg(self.disk.join("docker")).args(["--exec-root", RUNNING]);
        command.arg("--pidfile").arg(self.run.join("docker.pid")).args(["--host", &self.socket()]);
        command.arg("--containerd").arg(self.run.join("sock"));
        command.args(["--containerd-namespace", &self.name]);
        command.args(["--containerd-plugins-namespace", &format!("{}-plugins", self.name)]);
        command.args(["--bridge", &self.bridge(DockerNetwork::Bridge)]);
        command.args(["--iptables=false", "--ip-forward=false", "--ip-masq=false", "--userland-proxy=false"]);
        command.env("PATH", search_path(&self.run, &self.settings.programs));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let spawned = prepare(&mut command, Vec::new()).spawn();
        let mut child = spawned
            .map_err(|e| Stop::blame(Component::Containerd, format!("{} does not start: {e}", program.display())))?;
        let log = stderr_log(&mut child, &self.settings.artifacts.join(format!("{}.log", self.name)));
        let log = log.map_err(|e| {
            kill_group(&mut child);
            Stop::error(format!("logging Docker's engine: {e}"))
        })?;
        Ok(Running { child, log })
    }

    /// Waits until the engine serves; returns its version.
    fn wait_until_it_serves(&self) -> Result<EngineVersion, Stop> {
        let end = Instant::now() + SERVES;
        loop {
            let output = self.docker(&["version", "--format", "{{.Server.Version}}"], COMMAND)?;
            if output.code == 0 {
                return output.text().parse::<EngineVersion>().map_err(|e| Stop::error(e.to_string()));
            }
            if self.ended() {
                let message = format!("Docker's engine ended before it served: {}", self.last_words());
                return Err(Stop::blame(Component::Containerd, message));
            }
            if Instant::now() > end {
                let (seconds, answer, log) = (SERVES.as_secs(), output.summary(), self.last_words());
                let message = format!("Docker's engine does not serve within {seconds} s ({answer}): {log}");
                return Err(Stop::blame(Component::Containerd, message));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn import(&self) -> Check {
        let failed = |e: io::Error| Stop::error(format!("making the test's image: {e}"));
        let archive = self.disk.join("image.tar");
        let image = fs::read(&self.settings.probe).and_then(|probe| ContainerImage::of(&probe)).map_err(failed)?;
        fs::write(&archive, image.root_filesystem()).map_err(failed)?;
        let imported = self.docker(&["import", &archive.to_string_lossy(), IMAGE], COMMAND)?;
        match imported.code {
            0 => Ok(()),
            _ => Err(Stop::blame(Component::Containerd, format!("docker import: {}", imported.summary()))),
        }
    }

    /// Returns the engine's version.
    ///
    /// # Errors
    /// If the engine does not serve yet.
    pub(super) fn version(&self) -> Result<&EngineVersion, Stop> {
        self.version.as_ref().ok_or_else(|| Stop::error("Docker's engine does not serve yet"))
    }

    fn socket(&self) -> String {
        format!("unix://{}", self.run.join("docker.sock").display())
    }

    /// Runs a command of the client to its end.
    ///
    /// # Errors
    /// A skip if there is no client; an error if it outlives the deadline. A failure of the command itself is an exit
    /// code.
    pub(super) fn docker(&self, words: &[&str], deadline: Duration) -> Result<ContainerOutput, Stop> {
        let late = || Stop::error(format!("docker {} did not end within {} s", words.join(" "), deadline.as_secs()));
        self.attach(words)?.wait(deadline).ok_or_else(late)
    }

    /// Starts a command of the client.
    ///
    /// # Errors
    /// A skip if there is no client.
    pub(super) fn attach(&self, words: &[&str]) -> Result<Attached, Stop> {
        let mut command = Command::new("docker");
        command.args(["--host", &self.socket()]).args(words);
        command.env("PATH", search_path(&self.run, &self.settings.programs));
        // The user may have configured another engine, and credentials for registries.
        command.env("DOCKER_CONFIG", self.run.join("client")).env_remove("DOCKER_CONTEXT").env_remove("DOCKER_HOST");
        Attached::start(&mut command, &[]).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Stop::skip("the environment has no docker, the client: install docker-cli"),
            _ => Stop::error(format!("starting docker: {e}")),
        })
    }

    /// Returns the name of a network for the client; the first test that needs the second network creates it.
    ///
    /// # Errors
    /// If the engine refuses to create it.
    pub(super) fn network(&self, network: DockerNetwork) -> Result<String, Stop> {
        if network == DockerNetwork::Bridge {
            return Ok("bridge".to_owned());
        }
        let name = self.bridge(network);
        let mut has_second = locked(&self.has_second);
        if !*has_second {
            let option = format!("com.docker.network.bridge.name={name}");
            let made = self.docker(&["network", "create", "--subnet", SECOND, "--opt", &option, &name], COMMAND)?;
            if made.code != 0 {
                return Err(Stop::fail(format!("docker network create: {}", made.summary())));
            }
            *has_second = true;
        }
        Ok(name)
    }

    /// Returns the name of a network's interface on the host.
    fn bridge(&self, network: DockerNetwork) -> String {
        network::bridge(&self.name, network)
    }

    /// Returns a fresh name for a container.
    pub(super) fn fresh_name(&self) -> String {
        format!("{}-{}", self.name, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Remembers a container.
    pub(super) fn remember(&self, id: &str) {
        locked(&self.made).push(id.to_owned());
    }

    /// Returns the containers that were created so far.
    pub(super) fn remembered(&self) -> Vec<String> {
        locked(&self.made).clone()
    }

    /// Returns the time limit for a container of that runtime.
    pub(super) fn patience(&self, runtime: ContainerRuntime) -> Duration {
        self.settings.patience.of(runtime)
    }

    /// Returns the last lines of the engine's log so far.
    fn last_words(&self) -> String {
        let ended = self.ended();
        let engine = locked(&self.engine);
        let Some(running) = engine.as_ref() else { return String::new() };
        if ended {
            running.log.settle();
        }
        running.log.last_lines(6)
    }

    /// Returns the path of the engine's log.
    pub fn log_path(&self) -> PathBuf {
        self.settings.artifacts.join(format!("{}.log", self.name))
    }

    /// Returns whether the engine has ended.
    pub fn ended(&self) -> bool {
        locked(&self.engine).as_mut().is_none_or(|running| matches!(running.child.try_wait(), Ok(Some(_))))
    }
}

/// Returns the host's address in a network, from the range for benchmarking (RFC 2544), above the part that the tests'
/// own namespaces use (the parent module's `network.rs`). Documentation ranges are unsuitable, because machines in a
/// cloud use such addresses.
pub(super) fn host_in(network: DockerNetwork) -> Ipv4Addr {
    match network {
        DockerNetwork::Bridge => Ipv4Addr::new(198, 18, 254, 1),
        DockerNetwork::Made => Ipv4Addr::new(198, 18, 255, 1),
    }
}

/// Range of the second network; the engine gives its first address to the host.
const SECOND: &str = "198.18.255.0/24";

fn engine_of(settings: &Settings) -> Result<&Path, Stop> {
    let Some(program) = &settings.docker else {
        return Err(Stop::skip("the record names no engine of Docker's for this release"));
    };
    if program.exists() {
        return Ok(program);
    }
    let path = program.display();
    Err(Stop::skip(format!("the environment has no engine of Docker's at {path}: install the distro's package")))
}

/// Skips if the machine's own engine runs: both would use the same directory for running containers.
fn is_alone() -> Check {
    match UnixStream::connect(SOCKET) {
        Ok(_) => Err(Stop::skip("an engine of Docker's runs here already, beside which another one cannot")),
        Err(_) => Ok(()),
    }
}

impl Drop for DockerInstance {
    fn drop(&mut self) {
        // Gracefully first: a runtime that is asked to end cleans up after itself.
        if !self.ended() {
            let made = self.remembered();
            let words: Vec<&str> = ["rm", "--force"].into_iter().chain(made.iter().map(String::as_str)).collect();
            if !made.is_empty() {
                let _ = self.docker(&words, COMMAND);
            }
            if *locked(&self.has_second) {
                let _ = self.docker(&["network", "rm", &self.bridge(DockerNetwork::Made)], COMMAND);
            }
        }
        if let Some(mut running) = locked(&self.engine).take() {
            let signalled = signal(running.child.id(), rustix::process::Signal::TERM);
            if signalled.is_err() || !matches!(wait(&mut running.child, END), Ok(Some(_))) {
                kill_group(&mut running.child);
            }
        }
        kill_group(&mut locked(&self.containerd).child);
        for id in self.remembered() {
            host::remove(&id, &[]);
        }
        if !self.had_folder {
            for namespace in fs::read_dir(Path::new(RUNNING).join("netns")).into_iter().flatten().flatten() {
                let _ = unmount(namespace.path(), UnmountFlags::DETACH);
            }
            let _ = fs::remove_dir_all(RUNNING);
        }
        clean_up(&self.name, &self.disk, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_networks_range_has_the_hosts_address() {
        let range = SECOND.strip_suffix("0/24").unwrap();
        assert!(host_in(DockerNetwork::Made).to_string().starts_with(range));
        assert!(!host_in(DockerNetwork::Bridge).to_string().starts_with(range));
    }
}
