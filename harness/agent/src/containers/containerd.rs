//! A containerd of our own, beside whatever else runs: own root, state, socket and namespace, all of it removed again.

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

/// Where the sockets and states of our instances lie: short, because a Unix socket's path has 108 bytes.
pub(super) const RUN: &str = "/run/kata-qualify/containers";
/// How long containerd may take to serve, under emulation on a busy machine.
pub(super) const START: Duration = Duration::from_secs(60);
/// How long it may take to end once it no longer serves: it stops its plugins, or the kernel writes it to a core file.
const END: Duration = Duration::from_secs(10);
/// How long a command of `ctr` may take that waits for no container.
pub const COMMAND: Duration = Duration::from_secs(40);

/// A running containerd.
pub struct ContainerdInstance {
    name: String,
    settings: Settings,
    run: PathBuf,
    /// The folder of data on the disk.
    disk: PathBuf,
    child: Mutex<Child>,
    log: Log,
    events: Mutex<Option<Attached>>,
    next: AtomicU64,
    snapshotter: &'static str,
    /// What that stands on, where it is none that needs nothing.
    prepared: Option<Prepared>,
    /// The version of `ctr`, if it is one that drops last words.
    drops_last_words: Option<String>,
}

impl ContainerdInstance {
    /// Starts containerd, waits until it serves, and imports the test's image.
    ///
    /// # Errors
    /// A skip where there is no containerd, a failure of containerd's where it ends or does not serve.
    pub fn start(settings: &Settings) -> Result<ContainerdInstance, Stop> {
        ContainerdInstance::start_with(settings, None)
    }

    /// The same with images from another snapshotter.
    ///
    /// # Errors
    /// As [`ContainerdInstance::start`]; a skip where containerd or the environment has no such snapshotter, a failure that
    /// blames the kernel where it lacks what that takes.
    pub fn with_snapshotter(settings: &Settings, wanted: Snapshotter) -> Result<ContainerdInstance, Stop> {
        let instance = ContainerdInstance::start_with(settings, Some(wanted))?;
        let listed = instance.ctr(&["plugins", "list"], COMMAND)?;
        if snapshotters::is_loaded(&listed.text(), wanted.name()) {
            return Ok(instance);
        }
        let message = format!("containerd does not load its {} snapshotter: {}", wanted.name(), instance.last_words());
        Err(Stop::blame(Component::Containerd, message))
    }

    fn start_with(settings: &Settings, wanted: Option<Snapshotter>) -> Result<ContainerdInstance, Stop> {
        static GENERATION: AtomicU64 = AtomicU64::new(0);
        sweep();
        let name = format!("kq{}x{}", std::process::id(), GENERATION.fetch_add(1, Ordering::Relaxed));
        has_containerd(settings)?;
        let (run, disk) = (Path::new(RUN).join(&name), settings.disk.join(&name));
        let failed = |e: io::Error| Stop::error(format!("making the folders of containerd: {e}"));
        fs::create_dir_all(&settings.artifacts).map_err(failed)?;
        let prepared = wanted.map(|wanted| snapshotters::prepare(wanted, settings, &name, &disk)).transpose();
        let prepared = prepared.inspect_err(|_| clean_up(&name, &disk, 0))?;
        let text = configuration(&run, &disk, prepared.as_ref());
        lay_out(&name, settings, &run, &disk, &text).map_err(failed)?;
        let begun = begin(settings, &run, &format!("{name}.log")).inspect_err(|_| clean_up(&name, &disk, 0));
        let Running { child, log } = begun?;
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

    /// Gives what `ctr version` said.
    fn wait_until_it_serves(&self) -> Result<ContainerOutput, Stop> {
        let end = Instant::now() + START;
        loop {
            let finished = self.ctr(&["version"], COMMAND);
            match finished {
                Ok(finished) if finished.code == 0 => return Ok(finished),
                // One that is told to end has served before; what does nothing and exits with 0 is no containerd.
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
        // What unpacks while it imports knows the usual snapshotters, in containerd 2; `ctr run` unpacks for any.
        let imported = match self.prepared {
            None => self.ctr(&["images", "import", "--snapshotter", self.snapshotter, &path], COMMAND)?,
            Some(_) => self.ctr(&["images", "import", "--no-unpack", &path], COMMAND)?,
        };
        match imported.code {
            0 => Ok(()),
            _ => Err(Stop::blame(Component::Containerd, format!("importing an OCI image: {}", imported.summary()))),
        }
    }

    /// The version of `ctr`, if it is one that drops what it has not yet read of a task's output when the task ends.
    pub fn drops_last_words(&self) -> Option<&str> {
        self.drops_last_words.as_deref()
    }

    /// What `ctr tasks list` says.
    ///
    /// # Errors
    /// As [`ContainerdInstance::ctr`].
    pub fn tasks(&self) -> Result<String, Stop> {
        Ok(self.ctr(&["tasks", "list"], COMMAND)?.text())
    }

    /// A command of `ctr` that talks to this instance.
    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(self.settings.containerd.with_file_name("ctr"));
        command.arg("--address").arg(self.run.join("sock")).args(["--namespace", &self.name]).args(arguments);
        command.env("PATH", search_path(&self.run, &self.settings.programs));
        command
    }

    /// Starts a command of `ctr` with `input` on its standard input.
    ///
    /// # Errors
    /// A skip where there is no `ctr`, an error where it cannot be started.
    pub fn attach<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Result<Attached, Stop> {
        Attached::start(&mut self.command(arguments), input).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Stop::skip(format!("the environment has no ctr beside its containerd: {e}")),
            _ => Stop::error(format!("starting ctr: {e}")),
        })
    }

    /// Runs a command of `ctr` to its end.
    ///
    /// # Errors
    /// When it cannot be started or outlives the deadline; its own failure is an exit code.
    pub fn ctr<S: AsRef<OsStr>>(&self, arguments: &[S], deadline: Duration) -> Result<ContainerOutput, Stop> {
        let words: Vec<String> = arguments.iter().map(|a| a.as_ref().to_string_lossy().into_owned()).collect();
        let mut attached = self.attach(arguments, &[])?;
        attached.wait(deadline).ok_or_else(|| match self.ended() {
            Some(_) => self.crash(),
            None => Stop::error(format!("ctr {} did not end within {} s", words.join(" "), deadline.as_secs())),
        })
    }

    /// A fresh id of a container, or of what belongs to one.
    pub fn fresh_id(&self, runtime: ContainerRuntime) -> String {
        format!("{}{}", self.prefix(runtime), self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// How the ids of a runtime's containers begin.
    pub fn prefix(&self, runtime: ContainerRuntime) -> String {
        let letter = match runtime {
            ContainerRuntime::Runc => 'r',
            ContainerRuntime::Kata => 'k',
        };
        format!("{}{letter}-", self.name)
    }

    /// The control group of a container.
    pub fn control_group(&self, id: &str) -> String {
        format!("/{}/{id}", self.name)
    }

    /// A folder on the disk.
    pub fn disk(&self) -> &Path {
        &self.disk
    }

    /// The folder for the streams of containers.
    pub fn fifos(&self) -> PathBuf {
        self.run.join("fifo")
    }

    /// The snapshotter that works on the disk's filesystem.
    pub fn snapshotter(&self) -> &'static str {
        self.snapshotter
    }

    /// The probe's program.
    pub fn probe(&self) -> &Path {
        &self.settings.probe
    }

    /// How long a container of that runtime may take.
    pub fn patience(&self, runtime: ContainerRuntime) -> Duration {
        self.settings.patience.of(runtime)
    }

    /// containerd's log so far, its last lines.
    pub fn last_words(&self) -> String {
        // What it wrote and its end are told apart from each other, and either may come first.
        if self.ended().is_some() {
            self.log.settle();
        }
        self.log.last_lines(6)
    }

    /// What Kata has written to containerd's log about a sandbox: errors and warnings, the last ones.
    pub fn words_of_kata(&self, sandbox: &str) -> String {
        shim::words_about(&self.log.text(), sandbox)
    }

    /// Where the log is kept.
    pub fn log_path(&self) -> &Path {
        self.log.path()
    }

    /// Folders of containerd's that have an entry for each container.
    pub fn folders(&self) -> Vec<PathBuf> {
        vec![
            self.run.join("state/io.containerd.runtime.v2.task").join(&self.name),
            self.fifos(),
            Path::new("/run/containerd/runc").join(&self.name),
        ]
    }

    /// The events about the container of that id.
    pub fn events(&self, id: &str) -> Vec<ContainerdEvent> {
        let text = locked(&self.events).as_ref().map(Attached::stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let named = format!("\"{id}\"");
        let lines = text.lines().filter(|line| line.contains(&named));
        lines.map(|line| ContainerdEvent { topic: ctr::topic(line).to_owned(), line: line.to_owned() }).collect()
    }

    /// Whether it runs and answers.
    pub fn serves(&self) -> bool {
        self.ended().is_none() && self.ctr(&["version"], COMMAND).is_ok_and(|finished| finished.code == 0)
    }

    /// How containerd has ended, waiting a little for one that is about to.
    pub fn wait_for_its_end(&self) -> Option<ExitStatus> {
        wait(&mut locked(&self.child), END).ok().flatten()
    }

    /// How containerd has ended, if it has.
    pub fn ended(&self) -> Option<ExitStatus> {
        locked(&self.child).try_wait().ok().flatten()
    }

    /// What its end means: a crash blames containerd, a kill from outside blames nobody.
    pub fn crash(&self) -> Stop {
        match self.ended() {
            Some(status) => meaning(status, &self.last_words()),
            None => Stop::error("containerd runs"),
        }
    }

    /// containerd's process id; a test that ends it on purpose needs it.
    pub fn pid(&self) -> u32 {
        locked(&self.child).id()
    }
}

/// A containerd's process, and what it says.
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) log: Log,
}

/// Skips where there is no containerd.
pub(super) fn has_containerd(settings: &Settings) -> Check {
    if settings.containerd.exists() {
        return Ok(());
    }
    let path = settings.containerd.display();
    Err(Stop::skip(format!("the environment has no containerd at {path}: install the distro's package")))
}

/// Starts containerd with the configuration that lies in `run`.
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

/// The snapshotter that works on a disk's filesystem.
pub(super) fn snapshotter(disk: &Path) -> &'static str {
    if system::filesystem_of(disk) == "overlay" { "native" } else { "overlayfs" }
}

/// What such an end of containerd's means. It obeys SIGTERM and SIGINT by exiting with 0, as it never does by itself.
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
        // Politely first: a runtime that is asked takes its own things away.
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
    fn only_a_crash_and_a_failure_of_its_own_blame_containerd() {
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
