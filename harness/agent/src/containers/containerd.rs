//! A containerd of the harness's own, next to anything else on the machine: own root, state, socket and namespace, all
//! removed afterwards.

pub(super) mod folders;

use super::capture::Attached;
use super::settings::Settings;
use super::snapshotters::{self, Prepared};
use super::{ctr, image, shim};
use crate::log::Log;
use crate::process::{how_it_ended, kill_group, prepare, stderr_log, wait};
use crate::system;
use folders::{clean_up, configuration, lay_out, search_path, sweep};
use model::sync::locked;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use suites::check::{Check, Stop};
use suites::containers::{ContainerOutput, ContainerRuntime, ContainerdEvent, Snapshotter};
use suites::ending::is_crash;
use suites::outcome::Component;

/// Directory of the instances' sockets and states: short, because the path of a Unix socket is limited to 108 bytes.
pub(super) const RUN: &str = "/run/kata-qualify/containers";
/// Time limit for containerd's start, under emulation on a busy machine.
pub(super) const START: Duration = Duration::from_secs(60);
/// Time limit for containerd's end once it no longer serves: it stops its plugins, or the kernel writes a core file.
const END: Duration = Duration::from_secs(10);
/// Time limit of a `ctr` command that waits for no container.
pub const COMMAND: Duration = Duration::from_secs(40);

/// A running containerd.
pub struct ContainerdInstance {
    name: String,
    settings: Settings,
    run: PathBuf,
    /// Directory of data on the disk.
    disk: PathBuf,
    child: Mutex<Child>,
    log: Log,
    events: Mutex<Option<Attached>>,
    next: AtomicU64,
    snapshotter: &'static str,
    /// Prerequisites of the snapshotter, if it has any.
    prepared: Option<Prepared>,
    /// Version of `ctr`, if it is one that drops the last output.
    drops_last_words: Option<String>,
}

impl ContainerdInstance {
    /// Starts containerd, waits until it serves, and imports the test's image.
    ///
    /// # Errors
    /// A skip if there is no containerd; a failure of containerd if it ends or does not serve.
    pub fn start(settings: &Settings) -> Result<ContainerdInstance, Stop> {
        ContainerdInstance::start_with(settings, None)
    }

    /// Starts an instance that uses another snapshotter.
    ///
    /// # Errors
    /// As [`ContainerdInstance::start`]; a skip if containerd or the environment has no such snapshotter, a failure
    /// that blames the kernel if it lacks a prerequisite.
    pub fn with_snapshotter(settings: &Settings, snapshotter: Snapshotter) -> Result<ContainerdInstance, Stop> {
        let instance = ContainerdInstance::start_with(settings, Some(snapshotter))?;
        let plugins = instance.ctr(&["plugins", "list"], COMMAND)?;
        if snapshotters::is_loaded(&plugins.text(), snapshotter.name()) {
            return Ok(instance);
        }
        let message =
            format!("containerd does not load its {} snapshotter: {}", snapshotter.name(), instance.last_words());
        Err(Stop::blame(Component::Containerd, message))
    }

    fn start_with(settings: &Settings, requested: Option<Snapshotter>) -> Result<ContainerdInstance, Stop> {
        static GENERATION: AtomicU64 = AtomicU64::new(0);
        sweep();
        let name = format!("kq{}x{}", std::process::id(), GENERATION.fetch_add(1, Ordering::Relaxed));
        has_containerd(settings)?;
        let (run, disk) = (Path::new(RUN).join(&name), settings.disk.join(&name));
        let failed = |e: io::Error| Stop::error(format!("making the folders of containerd: {e}"));
        fs::create_dir_all(&settings.artifacts).map_err(failed)?;
        let prepared = requested.map(|requested| snapshotters::prepare(requested, settings, &name, &disk)).transpose();
        let prepared = prepared.inspect_err(|_| clean_up(&name, &disk, 0))?;
        let text = configuration(&run, &disk, prepared.as_ref());
        lay_out(&name, settings, &run, &disk, &text).map_err(failed)?;
        let started = begin(settings, &run, &format!("{name}.log")).inspect_err(|_| clean_up(&name, &disk, 0));
        let Running { child, log } = started?;
        let snapshotter = prepared.as_ref().map_or_else(|| snapshotter(&disk), |prepared| prepared.name);
        let mut instance = ContainerdInstance {
            name,
            settings: settings.clone(),
            run,
            disk,
            child: Mutex::new(child),
            log,
            events: Mutex::new(None),
            next: AtomicU64::new(1),
            snapshotter,
            prepared,
            drops_last_words: None,
        };
        instance.drops_last_words = ctr::version_that_drops_last_words(&instance.wait_until_it_serves()?.text());
        instance.import()?;
        *locked(&instance.events) = Attached::start(&mut instance.command(&["events"]), &[]).ok();
        Ok(instance)
    }

    /// Waits until containerd serves; returns the output of `ctr version`.
    fn wait_until_it_serves(&self) -> Result<ContainerOutput, Stop> {
        let end = Instant::now() + START;
        loop {
            let finished = self.ctr(&["version"], COMMAND);
            match finished {
                Ok(finished) if finished.code == 0 => return Ok(finished),
                // A containerd that exits with 0 has been told to end, so it has served before; a program that does
                // nothing and exits with 0 is no containerd.
                _ if self.ended().is_some_and(|status| status.success()) => {
                    let message = format!("containerd ended before it served (exit code 0): {}", self.last_words());
                    return Err(Stop::blame(Component::Containerd, message));
                }
                _ if self.ended().is_some() => return Err(self.crash()),
                _ if Instant::now() > end => {
                    let log = self.log.last_lines(4);
                    return Err(Stop::blame(
                        Component::Containerd,
                        format!("containerd does not serve within {} s: {log}", START.as_secs()),
                    ));
                }
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn import(&self) -> Result<(), Stop> {
        let archive = self.disk.join("image.tar");
        let made = fs::read(&self.settings.probe).and_then(|probe| fs::write(&archive, image::archive(&probe)?));
        made.map_err(|e| Stop::error(format!("making the test's image: {e}")))?;
        let path = archive.to_string_lossy();
        // In containerd 2, unpacking during an import knows only the usual snapshotters; `ctr run` unpacks for any.
        let imported = match self.prepared {
            None => self.ctr(&["images", "import", "--snapshotter", self.snapshotter, &path], COMMAND)?,
            Some(_) => self.ctr(&["images", "import", "--no-unpack", &path], COMMAND)?,
        };
        match imported.code {
            0 => Ok(()),
            _ => Err(Stop::blame(Component::Containerd, format!("importing an OCI image: {}", imported.summary()))),
        }
    }

    /// Returns the version of `ctr`, if it is one that drops unread output of a task when the task ends.
    pub fn drops_last_words(&self) -> Option<&str> {
        self.drops_last_words.as_deref()
    }

    /// Returns the output of `ctr tasks list`.
    ///
    /// # Errors
    /// As [`ContainerdInstance::ctr`].
    pub fn tasks(&self) -> Result<String, Stop> {
        Ok(self.ctr(&["tasks", "list"], COMMAND)?.text())
    }

    /// Returns a command of `ctr` that talks to this instance.
    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(self.settings.containerd.with_file_name("ctr"));
        command.arg("--address").arg(self.run.join("sock")).args(["--namespace", &self.name]).args(arguments);
        command.env("PATH", search_path(&self.run, &self.settings.programs));
        command
    }

    /// Starts a command of `ctr` with `input` on its standard input.
    ///
    /// # Errors
    /// A skip if there is no `ctr`, an error if it cannot be started.
    pub fn attach<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Result<Attached, Stop> {
        Attached::start(&mut self.command(arguments), input).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Stop::skip(format!("the environment has no ctr beside its containerd: {e}")),
            _ => Stop::error(format!("starting ctr: {e}")),
        })
    }

    /// Runs a command of `ctr` to its end.
    ///
    /// # Errors
    /// If it cannot be started or outlives the deadline; a failure of the command itself is an exit code.
    pub fn ctr<S: AsRef<OsStr>>(&self, arguments: &[S], deadline: Duration) -> Result<ContainerOutput, Stop> {
        let words: Vec<String> = arguments.iter().map(|a| a.as_ref().to_string_lossy().into_owned()).collect();
        let mut attached = self.attach(arguments, &[])?;
        attached.wait(deadline).ok_or_else(|| match self.ended() {
            Some(_) => self.crash(),
            None => Stop::error(format!("ctr {} did not end within {} s", words.join(" "), deadline.as_secs())),
        })
    }

    /// Returns a fresh id for a container, or for something that belongs to one.
    pub fn fresh_id(&self, runtime: ContainerRuntime) -> String {
        format!("{}{}", self.prefix(runtime), self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the prefix of the ids of a runtime's containers.
    pub fn prefix(&self, runtime: ContainerRuntime) -> String {
        let letter = match runtime {
            ContainerRuntime::Runc => 'r',
            ContainerRuntime::Kata => 'k',
        };
        format!("{}{letter}-", self.name)
    }

    /// Returns the control group of a container.
    pub fn control_group(&self, id: &str) -> String {
        format!("/{}/{id}", self.name)
    }

    /// Returns a directory on the disk.
    pub fn disk(&self) -> &Path {
        &self.disk
    }

    /// Returns the directory for the streams of containers.
    pub fn fifos(&self) -> PathBuf {
        self.run.join("fifo")
    }

    /// Returns the snapshotter that works on the disk's filesystem.
    pub fn snapshotter(&self) -> &'static str {
        self.snapshotter
    }

    /// Returns the path of the probe's program.
    pub fn probe(&self) -> &Path {
        &self.settings.probe
    }

    /// Returns the time limit for a container of that runtime.
    pub fn patience(&self, runtime: ContainerRuntime) -> Duration {
        self.settings.patience.of(runtime)
    }

    /// Returns the last lines of containerd's log so far.
    pub fn last_words(&self) -> String {
        // Its output and its end are observed separately, in any order.
        if self.ended().is_some() {
            self.log.settle();
        }
        self.log.last_lines(6)
    }

    /// Returns Kata's last errors and warnings about a sandbox in containerd's log.
    pub fn words_of_kata(&self, sandbox: &str) -> String {
        shim::words_about(&self.log.text(), sandbox)
    }

    /// Returns the path of the log.
    pub fn log_path(&self) -> &Path {
        self.log.path()
    }

    /// Returns containerd's directories that have an entry for each container.
    pub fn folders(&self) -> Vec<PathBuf> {
        vec![
            self.run.join("state/io.containerd.runtime.v2.task").join(&self.name),
            self.fifos(),
            Path::new("/run/containerd/runc").join(&self.name),
        ]
    }

    /// Returns the events about the container of that id.
    pub fn events(&self, id: &str) -> Vec<ContainerdEvent> {
        let text = locked(&self.events).as_ref().map(Attached::stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let named = format!("\"{id}\"");
        let lines = text.lines().filter(|line| line.contains(&named));
        lines.map(|line| ContainerdEvent { topic: ctr::topic(line).to_owned(), line: line.to_owned() }).collect()
    }

    /// Returns whether containerd runs and answers.
    pub fn serves(&self) -> bool {
        self.ended().is_none() && self.ctr(&["version"], COMMAND).is_ok_and(|finished| finished.code == 0)
    }

    /// Returns containerd's exit status, after waiting a little for a containerd that is about to end.
    pub fn wait_for_its_end(&self) -> Option<ExitStatus> {
        wait(&mut locked(&self.child), END).ok().flatten()
    }

    /// Returns containerd's exit status, if it has ended.
    pub fn ended(&self) -> Option<ExitStatus> {
        locked(&self.child).try_wait().ok().flatten()
    }

    /// Returns the verdict on containerd's end: a crash blames containerd, a kill from outside blames no component.
    pub fn crash(&self) -> Stop {
        match self.ended() {
            Some(status) => meaning(status, &self.last_words()),
            None => Stop::error("containerd runs"),
        }
    }

    /// Returns containerd's process id, for a test that kills it.
    pub fn pid(&self) -> u32 {
        locked(&self.child).id()
    }
}

/// A containerd's process, and its log.
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) log: Log,
}

/// Skips if there is no containerd.
pub(super) fn has_containerd(settings: &Settings) -> Check {
    if settings.containerd.exists() {
        return Ok(());
    }
    let path = settings.containerd.display();
    Err(Stop::skip(format!("the environment has no containerd at {path}: install the distro's package")))
}

/// Starts containerd with the configuration in `run`.
pub(super) fn begin(settings: &Settings, run: &Path, log: &str) -> Result<Running, Stop> {
    let mut command = Command::new(&settings.containerd);
    command.arg("--config").arg(run.join("config.toml")).arg("--address").arg(run.join("sock"));
    command.env("PATH", search_path(run, &settings.programs)).env_remove("KATA_CONF_FILE");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let spawned = prepare(&mut command, Vec::new()).spawn();
    let mut child = spawned.map_err(|e| {
        Stop::blame(Component::Containerd, format!("{} does not start: {e}", settings.containerd.display()))
    })?;
    let log = stderr_log(&mut child, &settings.artifacts.join(log)).map_err(|e| {
        kill_group(&mut child);
        Stop::error(format!("logging containerd: {e}"))
    })?;
    Ok(Running { child, log })
}

/// Returns the snapshotter that works on a disk's filesystem.
pub(super) fn snapshotter(disk: &Path) -> &'static str {
    if system::filesystem_of(disk) == "overlay" { "native" } else { "overlayfs" }
}

/// Returns the verdict on containerd's end. On SIGTERM and SIGINT it exits with 0, as it never does otherwise.
pub(super) fn meaning(status: ExitStatus, last_words: &str) -> Stop {
    let message = format!("containerd ended ({}): {last_words}", how_it_ended(status));
    match (status.code(), status.signal()) {
        (Some(1..), _) => Stop::blame(Component::Containerd, message),
        (_, Some(signal)) if is_crash(signal) => Stop::blame(Component::Containerd, message),
        _ => Stop::error(message),
    }
}

impl Drop for ContainerdInstance {
    fn drop(&mut self) {
        locked(&self.events).take();
        // Gracefully first: a runtime that is asked to end cleans up after itself.
        if self.serves() {
            for runtime in [ContainerRuntime::Runc, ContainerRuntime::Kata] {
                let listed = self.ctr(&["tasks", "list", "--quiet"], COMMAND);
                let listed = listed.map(|finished| finished.text()).unwrap_or_default();
                for id in listed.lines().filter(|id| id.starts_with(&self.prefix(runtime))) {
                    let _ = self.ctr(&["tasks", "kill", "--signal", "SIGKILL", id], COMMAND);
                }
            }
        }
        kill_group(&mut locked(&self.child));
        drop(self.prepared.take());
        clean_up(&self.name, &self.disk, self.next.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containerd_is_blamed_only_for_its_own_crash_or_failure() {
        let blamed = |raw: i32| match meaning(ExitStatus::from_raw(raw), "last words") {
            Stop::Fail { blames, .. } => blames == Some(Component::Containerd),
            Stop::Error { message } => !message.contains("last words"),
            other => panic!("{other:?}"),
        };
        for crash in [libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGSEGV, libc::SIGSYS, 1 << 8, 2 << 8] {
            assert!(blamed(crash), "{crash}");
        }
        for from_outside in [libc::SIGKILL, libc::SIGTERM, libc::SIGHUP, 0] {
            assert!(!blamed(from_outside), "{from_outside}");
        }
    }
}
