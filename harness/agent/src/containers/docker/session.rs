//! Docker for one test: containers of one runtime.

use super::instance::{DockerInstance, IMAGE, host_in};
use super::version::EngineVersion;
use crate::containers::containerd::COMMAND;
use crate::containers::{host, probe, shim};
use model::kata_version::KataVersion;
use model::profile::Runtime;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};
use suites::check::{Check, Stop};
use suites::containers::{
    ContainerOutput, ContainerRuntime, Docker, DockerContainer, DockerNetwork, DockerProcess, Kata, PROBE, Trace,
};

/// First major version in which the engine starts shims by their names.
const SHIMS: u32 = 23;
/// First major version in which the engine makes a container's interfaces after its creation.
const LATE_NETWORK: u32 = 26;
/// Beginning of the client's message if the engine refuses.
const REFUSED: &str = "Error response from daemon";

/// Docker for one test.
pub struct DockerSession<'a> {
    instance: Arc<DockerInstance>,
    runtime: ContainerRuntime,
    /// Name of the runtime in the engine.
    name: &'static str,
    /// Whether sandboxes are guests of an emulated machine.
    emulated: bool,
    /// Under Kata, the paths from the record.
    record: Option<Vec<String>>,
    /// Keeps other tests from using the engine.
    _alone: MutexGuard<'a, ()>,
}

impl<'a> DockerSession<'a> {
    /// Makes a session for containers of that Kata, or of runc.
    ///
    /// # Errors
    /// A skip if this engine cannot start Kata, or not this version.
    pub fn new(
        instance: Arc<DockerInstance>,
        alone: MutexGuard<'a, ()>,
        kata: Option<&Kata>,
        record: Option<Vec<String>>,
    ) -> Result<DockerSession<'a>, Stop> {
        let (runtime, name) = match kata {
            Some(kata) => (ContainerRuntime::Kata, kata.handler()),
            None => (ContainerRuntime::Runc, "runc"),
        };
        if let Some(kata) = kata {
            knows(instance.version()?, kata)?;
        }
        let emulated = kata.is_some_and(|kata| kata.emulated);
        Ok(DockerSession { instance, runtime, name, emulated, record, _alone: alone })
    }

    /// Creates a container with these options of the client; returns its name.
    fn create(&self, container: &DockerContainer) -> Result<String, Stop> {
        let name = self.instance.fresh_name();
        let mut networks = container.networks.iter().map(|network| self.instance.network(*network));
        let first = networks.next().unwrap_or_else(|| Ok("none".to_owned()))?;
        let volumes = container.volumes.iter().map(|(from, to)| format!("--volume={}:{to}", from.display()));
        let mut words: Vec<String> = ["create", "--name", &name, "--runtime", self.name, "--network", &first]
            .into_iter()
            // With AppArmor, loading the engine's default profile requires a program that may be missing.
            .chain(["--security-opt", "apparmor=unconfined", "--entrypoint", PROBE])
            .map(str::to_owned)
            .chain(volumes)
            .collect();
        words.push(IMAGE.to_owned());
        words.extend(container.command.iter().cloned());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let created = self.run_checked(&words)?;
        let id = created.text();
        if !is_id(&id) {
            return Err(Stop::fail(format!("docker create gave no id: {}", created.summary())));
        }
        self.instance.remember(&id);
        for network in networks {
            self.run_checked(&["network", "connect", &network?, &name])?;
        }
        Ok(name)
    }

    /// Runs a command of the client, which must succeed.
    fn run_checked(&self, words: &[&str]) -> Result<ContainerOutput, Stop> {
        let finished = self.instance.docker(words, self.instance.patience(self.runtime))?;
        match finished.code {
            0 => Ok(finished),
            _ => Err(self.refusal(&finished)),
        }
    }

    /// Returns the verdict on a refusal.
    fn refusal(&self, finished: &ContainerOutput) -> Stop {
        shim::refusal(&format!("docker: {}", finished.summary()), self.record.as_deref())
    }

    /// Returns the verdict on a missing answer within the deadline.
    fn silence(&self, doing: &str) -> Stop {
        let seconds = self.instance.patience(self.runtime).as_secs();
        let message = format!("docker {doing}: no answer within {seconds} s");
        if self.emulated { Stop::Unanswered { message } } else { Stop::fail(message) }
    }

    /// Removes a container, ignoring errors.
    fn remove(&self, name: &str) {
        let _ = self.instance.docker(&["rm", "--force", name], COMMAND);
    }

    fn run_to_end(&self, name: &str) -> Result<ContainerOutput, Stop> {
        let mut attached = self.instance.attach(&["start", "--attach", name])?;
        let finished = attached.wait(self.instance.patience(self.runtime)).ok_or_else(|| self.silence("start"))?;
        if was_refused(&finished) { Err(self.refusal(&finished)) } else { Ok(finished) }
    }

    fn start_and_wait(&self, name: &str) -> Check {
        self.run_checked(&["start", name])?;
        let end = Instant::now() + self.instance.patience(self.runtime);
        loop {
            let log = self.run_checked(&["logs", name])?;
            if log.text().lines().any(|line| line == probe::READY) {
                return Ok(());
            }
            let state = self.run_checked(&["inspect", "--format", "{{.State.Status}}", name])?.text();
            if state != "running" {
                let summary = log.summary();
                return Err(Stop::fail(format!("the container is {state} before it was ready: {summary}")));
            }
            if Instant::now() > end {
                return Err(self.silence("start"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Returns whether a text is the id of a container: remains are searched for and removed by it.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns whether the client ended because the engine refused, and not with a container's exit code.
fn was_refused(finished: &ContainerOutput) -> bool {
    finished.code != 0 && String::from_utf8_lossy(&finished.stderr).contains(REFUSED)
}

/// Skips if an engine of that version cannot start Kata, or not this version of Kata.
fn knows(version: &EngineVersion, kata: &Kata) -> Check {
    if version.major < SHIMS {
        return Err(Stop::skip(format!(
            "Docker {version} starts programs with runc's arguments only, which Kata has none of; shims since {SHIMS}.0"
        )));
    }
    // Supported by the Go runtime since 3.29 (docs/how-to/how-to-use-kata-with-docker.md@4.1.0), and by runtime-rs
    // since 3.30 (src/libs/kata-sys-util/src/oci_docker.rs@3.30.0).
    let first = match kata.kind {
        Runtime::Go => KataVersion::new(3, 29, 0),
        Runtime::Rs => KataVersion::new(3, 30, 0),
    };
    if version.major >= LATE_NETWORK && kata.version < first {
        let kata_version = kata.version;
        return Err(Stop::skip(format!("Docker {version} wants Kata {first} or later, and {kata_version} was given")));
    }
    Ok(())
}

/// Returns the address in a network, from the output of `docker inspect` for all networks of a container.
fn address_in(networks: &str, name: &str) -> Option<Ipv4Addr> {
    let all: Value = serde_json::from_str(networks).ok()?;
    all.get(name)?.get("IPAddress")?.as_str()?.parse().ok()
}

impl Docker for DockerSession<'_> {
    fn run(&self, container: &DockerContainer) -> Result<ContainerOutput, Stop> {
        let name = self.create(container)?;
        let result = self.run_to_end(&name);
        self.remove(&name);
        result
    }

    fn start(&self, container: &DockerContainer) -> Result<Box<dyn DockerProcess + '_>, Stop> {
        let name = self.create(container)?;
        let started = RunningContainer { session: self, name };
        self.start_and_wait(&started.name)?;
        Ok(Box::new(started))
    }

    fn host_in(&self, network: DockerNetwork) -> Ipv4Addr {
        host_in(network)
    }

    fn traces(&self) -> BTreeSet<Trace> {
        let mut all: BTreeSet<Trace> = self.instance.remembered().iter().flat_map(|id| host::traces(id, &[])).collect();
        let listed = self.instance.docker(&["ps", "--all", "--quiet", "--no-trunc"], COMMAND);
        let listed = listed.map(|listed| listed.text()).unwrap_or_default();
        all.extend(listed.lines().map(|id| Trace::Record { kind: "container", id: id.to_owned() }));
        all
    }
}

/// A running container; it is removed when this value is dropped.
struct RunningContainer<'a> {
    session: &'a DockerSession<'a>,
    name: String,
}

impl DockerProcess for RunningContainer<'_> {
    fn exec(&self, command: &[&str]) -> Result<ContainerOutput, Stop> {
        let words = [&["exec", self.name.as_str(), PROBE][..], command].concat();
        let mut attached = self.session.instance.attach(&words)?;
        let patience = self.session.instance.patience(self.session.runtime);
        let finished = attached.wait(patience).ok_or_else(|| self.session.silence("exec"))?;
        if was_refused(&finished) { Err(self.session.refusal(&finished)) } else { Ok(finished) }
    }

    fn address(&self, network: DockerNetwork) -> Result<Ipv4Addr, Stop> {
        let format = "{{json .NetworkSettings.Networks}}";
        let output = self.session.run_checked(&["inspect", "--format", format, &self.name])?;
        let name = self.session.instance.network(network)?;
        address_in(&output.text(), &name)
            .ok_or_else(|| Stop::fail(format!("Docker tells no address in {name}: {}", output.summary())))
    }
}

impl Drop for RunningContainer<'_> {
    fn drop(&mut self) {
        self.session.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::kata::tests::kata;

    #[test]
    fn unsupported_pairs_of_engine_and_kata_are_skipped() {
        let skipped = |version: &str, kata: &Kata| match knows(&version.parse().unwrap(), kata) {
            Ok(()) => None,
            Err(Stop::Skip { reason }) => Some(reason),
            Err(other) => panic!("{other:?}"),
        };
        let mut go = kata(Runtime::Go);
        go.version = KataVersion::new(3, 2, 0);
        assert!(skipped("20.10.24+dfsg1", &go).unwrap().contains("shims since 23.0"));
        assert_eq!(skipped("25.0.3", &go), None);
        assert!(skipped("26.1.5+dfsg1", &go).unwrap().contains("wants Kata 3.29.0"));
        go.version = KataVersion::new(4, 1, 0);
        assert_eq!(skipped("28.5.2+dfsg4", &go), None);
    }

    #[test]
    fn only_64_hex_digits_are_a_container_id() {
        assert!(is_id(&"0a".repeat(32)));
        for other in ["", "0a", "kq", &"0g".repeat(32), &"0a".repeat(33)] {
            assert!(!is_id(other), "{other}");
        }
    }

    #[test]
    fn an_address_is_found_by_its_network() {
        let networks = r#"{"bridge":{"IPAddress":"198.18.254.2"},"kq1d0b":{"IPAddress":""}}"#;
        assert_eq!(address_in(networks, "bridge"), Some(Ipv4Addr::new(198, 18, 254, 2)));
        assert_eq!(address_in(networks, "kq1d0b"), None);
        assert_eq!(address_in("null", "bridge"), None);
    }

    #[test]
    fn only_errors_of_the_engine_itself_are_refusals() {
        let ended =
            |code, stderr: &str| ContainerOutput { code, stdout: Vec::new(), stderr: stderr.as_bytes().to_vec() };
        assert!(was_refused(&ended(1, "Error response from daemon: unknown or invalid runtime name: x\n")));
        assert!(!was_refused(&ended(7, "the program's own words")));
        assert!(!was_refused(&ended(0, "")));
    }
}
