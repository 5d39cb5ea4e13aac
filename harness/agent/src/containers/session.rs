//! The view of one container test: a runtime in a running containerd.

use super::containerd::{COMMAND, ContainerdInstance};
use super::cri::instance::{CriInstance, handler};
use super::cri::session::CriSession;
use super::docker::instance::DockerInstance;
use super::docker::session::DockerSession;
use super::network::Namespace;
use super::pods::Pods;
use super::settings::Settings;
use super::shared::Shared;
use super::spec::{self, Surroundings};
use super::task::ContainerTask;
use super::{ctr, golden, guests, host, image, kata, probe};
use model::profile::{self, Profile};
use model::sync::locked;
use root::Root;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use suites::check::{Check, Stop};
use suites::containers::{
    Container, ContainerOutput, ContainerRuntime, ContainerSandbox, ContainerdEvent, Containers, Cri, Docker,
    GuestFiles, Kata, NetworkNamespace, NoCri, Process, Snapshotter, Task, Trace,
};
use suites::environment::Claims;

/// Time that the probe stays after its last output if `ctr` may drop it, in milliseconds.
const LAST_WORDS: u32 = 500;

/// A runtime, as one test sees it.
pub struct Session<'a> {
    /// The containerd.
    pub instance: Arc<ContainerdInstance>,
    /// The runtime.
    pub runtime: ContainerRuntime,
    /// Data of the record and the image.
    pub claims: &'a Claims,
    /// The profile under test.
    pub profile: &'a Profile,
    /// The pods that tests share.
    pub pods: &'a Pods,
    /// The containerd with CRI that tests share.
    pub cri: &'a Shared<CriInstance>,
    /// Docker's engine that tests share.
    pub docker: &'a Shared<DockerInstance>,
    /// Settings of containerd instances.
    pub settings: &'a Settings,
    /// Logs for the report.
    pub logs: &'a Mutex<Vec<String>>,
    /// Notes of the body.
    pub notes: &'a Mutex<Vec<String>>,
    /// Directories to remove with the test.
    pub folders: Mutex<Vec<PathBuf>>,
}

/// A container on disk that was not started yet.
struct Described {
    id: String,
    folder: PathBuf,
    /// Path of its specification.
    file: String,
    /// Pod of the container.
    within: Option<String>,
}

impl Session<'_> {
    fn kata(&self) -> Option<&Kata> {
        match self.runtime {
            ContainerRuntime::Runc => None,
            ContainerRuntime::Kata => self.claims.kata_for(&self.profile.name),
        }
    }

    /// Returns whether sandboxes are guests of an emulated machine.
    fn emulated(&self) -> bool {
        self.kata().is_some_and(|kata| kata.emulated)
    }

    /// Returns, under Kata, the paths of the record, without those that a candidate replaces.
    fn record_paths(&self) -> Option<Vec<String>> {
        self.kata().map(|_| self.claims.paths_of_the_release())
    }

    /// Returns containerd's name of the runtime.
    fn handler(&self) -> &'static str {
        self.kata().map_or("io.containerd.runc.v2", Kata::handler)
    }

    /// Starts a container; in an emulated machine, a container with a sandbox of its own replaces the shared pod.
    fn begin(&self, container: &Container, input: &[u8]) -> Result<ContainerTask, Stop> {
        if matches!(container.sandbox, ContainerSandbox::Alone | ContainerSandbox::Pod) {
            self.make_room();
        }
        self.start_task(container, input)
    }

    /// Ends the shared pod if a second sandbox next to it would be one guest too many.
    ///
    /// With QEMU's emulation of nested virtualization, booting a guest next to another one on kernel 7.2 usually
    /// crashes the machine or one of the two guests.
    fn make_room(&self) {
        if self.emulated() {
            self.forget_pod();
        }
    }

    fn start_task(&self, container: &Container, input: &[u8]) -> Result<ContainerTask, Stop> {
        let Described { id, folder, file, within } = self.describe(container)?;
        let arguments = self.run_arguments(&["--config", &file], &[&id]);
        let task = ContainerTask::start(&self.instance, self.runtime, &id, Some(folder), &arguments, input)?;
        Ok(self.known(task).in_pod(within))
    }

    /// Tells a task the known facts about its sandbox.
    fn known(&self, task: ContainerTask) -> ContainerTask {
        task.emulated(self.emulated()).with_record(self.record_paths())
    }

    /// Makes a container's root filesystem and its specification.
    fn describe(&self, container: &Container) -> Result<Described, Stop> {
        let pod = match &container.sandbox {
            ContainerSandbox::Alone | ContainerSandbox::Pod => None,
            ContainerSandbox::Shared => Some(self.shared_pod()?),
            ContainerSandbox::In(id) => Some((id.clone(), self.sandbox_pid(id)?)),
        };
        let within = pod.as_ref().map(|(id, _)| id.clone());
        let id = self.instance.fresh_id(self.runtime);
        let folder = self.instance.disk().join("containers").join(&id);
        let root = folder.join("rootfs");
        let around = Surroundings {
            root: root.clone(),
            cgroup: self.instance.control_group(&id),
            id: id.clone(),
            pod,
            // The Rust shim does not support this annotation: it reads its default paths.
            kata_configuration: self.kata().filter(|k| k.kind == profile::Runtime::Go).map(|k| k.configuration.clone()),
            unified: Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
            swap: fs::read_to_string("/proc/swaps").is_ok_and(|table| table.lines().count() > 1),
            linger: self.linger(),
        };
        let specification = spec::specification(container, &around);
        let file = folder.join("config.json");
        let made = spec::make_root(&root, self.instance.probe(), &container.folder)
            .and_then(|()| fs::write(&file, specification.to_string()));
        made.map_err(|e| Stop::error(format!("making the container {id}: {e}")))?;
        Ok(Described { id, folder, file: file.to_string_lossy().into_owned(), within })
    }

    /// Runs a described container twice: containerd keeps its record after its end, and starts it again.
    fn run_and_start(&self, described: &Described) -> Result<[ContainerOutput; 2], Stop> {
        let Described { id, file, .. } = described;
        let run: Vec<String> =
            self.run_arguments(&["--config", file], &[id]).into_iter().filter(|word| word != "--rm").collect();
        let fifos = self.instance.fifos().to_string_lossy().into_owned();
        let again = ["tasks", "start", "--fifo-dir", &fifos, id].map(str::to_owned);
        let ended = |arguments: &[String]| {
            let task = ContainerTask::start(&self.instance, self.runtime, id, None, arguments, &[])?;
            self.known(task).wait_to_end()
        };
        Ok([ended(&run)?, ended(&again)?])
    }

    /// Returns the arguments of `ctr run` in the foreground, which forwards the streams, returns the exit code, and
    /// removes the container.
    fn run_arguments(&self, options: &[&str], rest: &[&str]) -> Vec<String> {
        let fifos = self.instance.fifos();
        let always = ["run", "--rm", "--runtime", self.handler(), "--fifo-dir"].map(str::to_owned);
        let words = options.iter().chain(rest).map(|word| (*word).to_owned());
        always.into_iter().chain([fifos.to_string_lossy().into_owned()]).chain(words).collect()
    }

    /// Returns how long the probe stays after its last output: `None` if `ctr` reads all output in any case.
    fn linger(&self) -> Option<u32> {
        let version = self.instance.drops_last_words()?;
        let note = format!("processes end {LAST_WORDS} ms late: ctr {version} drops unread output when a task ends");
        if !locked(self.notes).contains(&note) {
            self.note(note);
        }
        Some(LAST_WORDS)
    }

    /// Returns id and process of the shared pod of this handler.
    fn shared_pod(&self) -> Result<(String, u32), Stop> {
        self.pods.of(self.handler(), || {
            let mut pod = self.start_task(&Container::pod(), &[])?;
            pod.wait_until_ready()?;
            Ok(pod)
        })
    }

    /// Ends the shared pod; the next test that needs one starts another.
    pub fn forget_pod(&self) {
        self.pods.forget(self.handler());
    }

    /// Returns a session of the same runtime in another containerd.
    fn beside<'b>(&'b self, instance: Arc<ContainerdInstance>, pods: &'b Pods) -> Session<'b> {
        let &Session { runtime, claims, profile, cri, docker, settings, logs, notes, .. } = self;
        let folders = Mutex::default();
        Session { instance, runtime, claims, profile, pods, cri, docker, settings, logs, notes, folders }
    }

    fn sandbox_pid(&self, id: &str) -> Result<u32, Stop> {
        let listed = self.instance.tasks()?;
        ctr::process_of(&listed, id)
            .ok_or_else(|| Stop::fail(format!("containerd does not list the pod's sandbox {id}: {listed}")))
    }

    /// Runs the probe from an imported image to its end.
    fn run_named_image(&self, name: &str, command: &[&str]) -> Result<ContainerOutput, Stop> {
        self.make_room();
        let id = self.instance.fresh_id(self.runtime);
        let group = self.instance.control_group(&id);
        let mut options = vec!["--snapshotter", self.instance.snapshotter(), "--cgroup", &group];
        let configuration;
        let go = self.kata().filter(|kata| kata.kind == profile::Runtime::Go);
        // The `ctr` of containerd 1.4 lacks this option; the configuration is also where the shim looks first.
        if let Some(kata) = go
            && ctr::takes_annotations(&self.instance.ctr(&["run", "--help"], COMMAND)?.text())
        {
            configuration = format!("io.katacontainers.config_path={}", kata.configuration);
            options.extend(["--annotation", &configuration]);
        }
        let linger = self.linger().map(|milliseconds| format!("{}={milliseconds}", probe::LINGER));
        if let Some(linger) = &linger {
            options.extend(["--env", linger]);
        }
        let mut rest = vec![name, id.as_str(), suites::containers::PROBE];
        rest.extend(command);
        let arguments = self.run_arguments(&options, &rest);
        let task = ContainerTask::start(&self.instance, self.runtime, &id, None, &arguments, &[])?;
        self.known(task).wait_to_end()
    }
}

impl Containers for Session<'_> {
    fn runtime(&self) -> ContainerRuntime {
        self.runtime
    }

    fn claims(&self) -> &Claims {
        self.claims
    }

    fn profile(&self) -> &Profile {
        self.profile
    }

    fn run(&self, container: &Container, input: &[u8]) -> Result<ContainerOutput, Stop> {
        self.begin(container, input)?.wait_to_end()
    }

    fn run_twice(&self, container: &Container) -> Result<[ContainerOutput; 2], Stop> {
        self.make_room();
        let described = self.describe(&container.clone().within(ContainerSandbox::Alone))?;
        let result = self.run_and_start(&described);
        let _ = self.instance.ctr(&["containers", "delete", &described.id], COMMAND);
        let _ = fs::remove_dir_all(&described.folder);
        result
    }

    fn run_with(&self, files: GuestFiles, container: &Container) -> Result<ContainerOutput, Stop> {
        let kata = self.kata().ok_or_else(|| Stop::skip("runc has no guests"))?;
        let files = match files {
            GuestFiles::DistrosInitrd => guests::distros(self.instance.disk(), self.claims, self.profile, kata)?,
            GuestFiles::Katas => guests::katas(kata)?,
            GuestFiles::KatasImage => guests::katas_with_image(kata)?,
        };
        self.note(format!("the guest boots {} with {}", files.kernel, guests::described(files.root.path())));
        // The shim reads its configuration for every sandbox; a shared sandbox would have an older configuration.
        let container = Container { sandbox: ContainerSandbox::Alone, ..container.clone() };
        let result =
            guests::configure(self.claims, self.profile, kata, Some(&files)).and_then(|()| self.run(&container, &[]));
        guests::configure(self.claims, self.profile, kata, None)?;
        result
    }

    fn is_set(&self, key: &str) -> Result<bool, Stop> {
        let kata = self.kata().ok_or_else(|| Stop::skip("runc reads no configuration of Kata's"))?;
        let root = Root::new(Path::new("/")).map_err(|e| Stop::error(e.to_string()))?;
        kata::is_set(&root, kata, key)
    }

    fn run_katas_check(&self) -> Result<ContainerOutput, Stop> {
        let kata = self.kata().ok_or_else(|| Stop::skip("runc has no check of the host"))?;
        let finished = guests::check(kata, self.instance.patience(self.runtime))?;
        self.note(format!("Kata's own check said: {}", finished.summary()));
        Ok(finished)
    }

    fn run_image(&self, command: &[&str]) -> Result<ContainerOutput, Stop> {
        self.run_named_image(image::NAME, command)
    }

    fn run_image_with_user(&self, command: &[&str]) -> Result<ContainerOutput, Stop> {
        self.run_named_image(image::NAME_WITH_USER, command)
    }

    fn by_snapshotter(&self, snapshotter: Snapshotter, check: &dyn Fn(&dyn Containers) -> Check) -> Check {
        self.make_room();
        let instance = Arc::new(ContainerdInstance::with_snapshotter(self.settings, snapshotter)?);
        locked(self.logs).push(instance.log_path().to_string_lossy().into_owned());
        let pods = Pods::default();
        let result = check(&self.beside(instance, &pods));
        pods.end();
        result
    }

    fn start(&self, container: &Container) -> Result<Box<dyn Task>, Stop> {
        let mut task = self.begin(container, &[])?;
        task.wait_until_ready()?;
        Ok(Box::new(task))
    }

    fn cri(&self) -> Result<Box<dyn Cri + '_>, NoCri> {
        self.make_room();
        let alone = self.cri.alone();
        let instance = self.cri.get(CriInstance::ended, || CriInstance::start(self.settings, &self.claims.kata))?;
        locked(self.logs).push(instance.log_path().to_string_lossy().into_owned());
        // The name that a RuntimeClass refers to; containerd has its own for runc.
        let handler = self.kata().map_or_else(|| "runc".to_owned(), handler);
        let (record, emulated) = (self.record_paths(), self.emulated());
        Ok(Box::new(CriSession::new(instance, alone, self.runtime, handler, record, emulated)))
    }

    fn docker(&self) -> Result<Box<dyn Docker + '_>, Stop> {
        self.make_room();
        let alone = self.docker.alone();
        let instance = self.docker.get(DockerInstance::ended, || DockerInstance::start(self.settings))?;
        locked(self.logs).push(instance.log_path().to_string_lossy().into_owned());
        let record = self.record_paths();
        Ok(Box::new(DockerSession::new(instance, alone, self.kata(), record)?))
    }

    fn folder(&self) -> Result<PathBuf, Stop> {
        let path = self.instance.disk().join(format!("bind{}", self.instance.fresh_id(self.runtime)));
        fs::create_dir(&path).map_err(|e| Stop::error(format!("making {}: {e}", path.display())))?;
        locked(&self.folders).push(path.clone());
        Ok(path)
    }

    fn network(&self) -> Result<Box<dyn NetworkNamespace>, Stop> {
        let name = self.instance.fresh_id(self.runtime);
        let number = name.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        Ok(Box::new(Namespace::make(&name, number)?))
    }

    fn read_host(&self, path: &str) -> Result<String, Stop> {
        fs::read_to_string(path).map_err(|e| Stop::error(format!("reading {path}: {e}")))
    }

    fn processes(&self, id: &str) -> Vec<Process> {
        // The `ctr` that is attached to it belongs to the harness.
        let is_ctr = |process: &Process| process.argv.first().is_some_and(|name| name.ends_with("/ctr"));
        host::processes(id).into_iter().filter(|process| !is_ctr(process)).collect()
    }

    fn kill_process(&self, pid: u32) -> Result<(), Stop> {
        if host::kill(pid) { Ok(()) } else { Err(Stop::error(format!("there is no process {pid} to kill"))) }
    }

    fn traces(&self) -> BTreeSet<Trace> {
        let prefix = self.instance.prefix(self.runtime);
        let mut all = host::traces(&prefix, &self.instance.folders());
        for (kind, command) in [
            ("container", ["containers", "list", "--quiet"].as_slice()),
            ("task", ["tasks", "list", "--quiet"].as_slice()),
            ("snapshot", ["snapshots", "--snapshotter", self.instance.snapshotter(), "list"].as_slice()),
        ] {
            let listed = self.instance.ctr(command, COMMAND).map(|finished| finished.text()).unwrap_or_default();
            all.extend(ctr::ids(&listed, &prefix).map(|id| Trace::Record { kind, id: id.to_owned() }));
        }
        all
    }

    fn events(&self, id: &str) -> Vec<ContainerdEvent> {
        self.instance.events(id)
    }

    fn golden_arguments(&self, id: &str) -> Result<Vec<String>, Stop> {
        golden::arguments(self.claims, self.profile, id)
    }

    fn note(&self, text: String) {
        locked(self.notes).push(text);
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        for folder in locked(&self.folders).drain(..) {
            let _ = fs::remove_dir_all(folder);
        }
    }
}
