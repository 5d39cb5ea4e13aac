//! A containerd of our own, beside whatever else runs: own root, state, socket and namespace, all of it removed again.

use super::capture::Attached;
use super::host;
use super::image;
use crate::log::Log;
use crate::process::{how_it_ended, kill_group, prepare};
use kata_osinfo::hex::hex;
use kata_osinfo::sync::locked;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use suites::check::Stop;
use suites::containers::{Finished, Runtime};
use suites::outcome::Component;

/// Where the sockets and states of our instances lie: short, for a Unix socket's path has 108 bytes.
const RUN: &str = "/run/kata-qualify/containers";
/// How long containerd may take to serve, under emulation on a busy machine.
const START: Duration = Duration::from_secs(60);
/// How long a command of `ctr` may take that waits for no container.
pub const COMMAND: Duration = Duration::from_secs(40);

/// What an instance is made of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The distro's containerd; `ctr` is beside it.
    pub containerd: PathBuf,
    /// A folder on a disk, for images and root filesystems.
    pub disk: PathBuf,
    /// Where logs are kept.
    pub artifacts: PathBuf,
    /// The program that serves as the probe: this binary.
    pub probe: PathBuf,
    /// Folders that are searched for programs before `PATH`.
    pub programs: Vec<PathBuf>,
    /// Kata's shims, by the names that containerd looks for.
    pub kata_shims: BTreeMap<String, PathBuf>,
    /// How long containers may take.
    pub patience: Patience,
}

/// How long a container may take to start, and a short one to its end.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Under runc.
    pub runc: Duration,
    /// Under Kata, which boots a virtual machine for it, perhaps under emulation, and does not give up by itself when
    /// its virtiofsd has exited.
    pub kata: Duration,
}

impl Patience {
    /// What containers are given: a sandbox that is a guest of an emulated machine takes 12 to 70 s to boot, and more
    /// than 120 s were seen beside other work.
    pub fn new(emulated: bool) -> Patience {
        let kata = if emulated { 240 } else { 120 };
        Patience { runc: Duration::from_secs(60), kata: Duration::from_secs(kata) }
    }
}

/// How many of Kata's lines a message has.
const WORDS: usize = 3;

/// The Go shim writes `name=containerd-shim-v2 … sandbox=ID` as logfmt, the Rust one JSON with the id in it.
fn words_about(log: &str, sandbox: &str) -> String {
    let about =
        |line: &&str| line.contains(sandbox) && (line.contains("source=virtcontainers") || line.contains("\"source\""));
    // One of these for every file that is mounted, and none of them explains anything.
    let lines: Vec<&str> = log.lines().filter(about).filter(|l| !l.contains("Block device not supported")).collect();
    let message = |line: &&str| {
        let rest = line.split_once("msg=").map_or(*line, |(_, rest)| rest);
        rest.chars().take(400).collect::<String>()
    };
    lines[lines.len().saturating_sub(WORDS)..].iter().map(message).collect::<Vec<_>>().join(" | ")
}

/// The client's version in what `ctr version` says, which tells the server's after it.
fn client_version(said: &str) -> String {
    let version = said.lines().find_map(|line| line.trim().strip_prefix("Version:"));
    version.unwrap_or_default().trim().to_owned()
}

/// Deleting a task, these close their ends of its streams first and wait for the copying afterwards (`task.Delete` in
/// containerd's `task.go`, 1.6.0 to 1.6.21 and 1.7.0 to 1.7.2): what was still in the pipes is lost, and the shim waits
/// two seconds for somebody to read it.
fn drops_last_words(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten(), numbers.next().flatten()) {
        (Some(1), Some(6), Some(patch)) => patch <= 21,
        (Some(1), Some(7), Some(patch)) => patch <= 2,
        (Some::<u32>(_), Some::<u32>(_), Some::<u32>(_)) => false,
        // Of an unknown one nothing is lost by lingering.
        _ => true,
    }
}

/// Whose instance it is, kept beside its socket: what a killed agent has left is removed by the next one.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    pid: u32,
    started: u64,
    name: String,
    disk: PathBuf,
}

/// A running containerd.
pub struct Instance {
    name: String,
    settings: Settings,
    run: PathBuf,
    /// What lies on the disk.
    disk: PathBuf,
    child: Mutex<Child>,
    log: Log,
    events: Mutex<Option<Attached>>,
    next: AtomicU64,
    snapshotter: &'static str,
    /// The version of `ctr`.
    version: String,
}

impl Instance {
    /// Starts containerd, waits until it serves, and imports the test's image.
    ///
    /// # Errors
    /// A skip where there is no containerd, a failure of containerd's where it ends or does not serve.
    pub fn start(settings: &Settings) -> Result<Instance, Stop> {
        static GENERATION: AtomicU64 = AtomicU64::new(0);
        sweep();
        let name = format!("kq{}x{}", std::process::id(), GENERATION.fetch_add(1, Ordering::Relaxed));
        if !settings.containerd.exists() {
            let path = settings.containerd.display();
            return Err(Stop::skip(format!(
                "the environment has no containerd at {path}: install the distro's package"
            )));
        }
        let (run, disk) = (Path::new(RUN).join(&name), settings.disk.join(&name));
        let failed = |e: io::Error| Stop::error(format!("making the folders of containerd: {e}"));
        lay_out(&name, settings, &run, &disk).map_err(failed)?;
        let mut command = Command::new(&settings.containerd);
        command.arg("--config").arg(run.join("config.toml")).arg("--address").arg(run.join("sock"));
        command.env("PATH", search_path(&run, &settings.programs)).env_remove("KATA_CONF_FILE");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let spawned = prepare(&mut command, Vec::new()).spawn();
        let mut child = spawned.map_err(|e| {
            clean_up(&name, &disk, 0);
            Stop::blame(Component::Containerd, format!("{} does not start: {e}", settings.containerd.display()))
        })?;
        fs::create_dir_all(&settings.artifacts).map_err(failed)?;
        let log =
            child.stderr.take().map(|stderr| Log::collect(stderr, &settings.artifacts.join(format!("{name}.log"))));
        let log = log.unwrap_or_else(|| Err(io::Error::other("it has no standard error"))).map_err(failed)?;
        let snapshotter = if crate::probe::filesystem_of(&disk) == "overlay" { "native" } else { "overlayfs" };
        let mut instance = Instance {
            name,
            settings: settings.clone(),
            run,
            disk,
            child: Mutex::new(child),
            log,
            events: Mutex::new(None),
            next: AtomicU64::new(1),
            snapshotter,
            version: String::new(),
        };
        instance.version = client_version(&instance.wait_until_it_serves()?.text());
        instance.import()?;
        *locked(&instance.events) = Attached::start(&mut instance.command(&["events"]), &[]).ok();
        Ok(instance)
    }

    /// Gives what `ctr version` said.
    fn wait_until_it_serves(&self) -> Result<Finished, Stop> {
        let end = Instant::now() + START;
        loop {
            let finished = self.ctr(&["version"], COMMAND);
            match finished {
                Ok(finished) if finished.code == 0 => return Ok(finished),
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
        let imported = self.ctr(&["images", "import", "--snapshotter", self.snapshotter, &path], COMMAND)?;
        match imported.code {
            0 => Ok(()),
            _ => Err(Stop::blame(Component::Containerd, format!("importing an OCI image: {}", imported.summary()))),
        }
    }

    /// The version of `ctr`, if it is one that drops what it has not yet read of a task's output when the task ends.
    pub fn drops_last_words(&self) -> Option<&str> {
        drops_last_words(&self.version).then_some(&self.version)
    }

    /// A command of `ctr` that talks to this instance.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(self.settings.containerd.with_file_name("ctr"));
        command.arg("--address").arg(self.run.join("sock")).args(["--namespace", &self.name]).args(arguments);
        command.env("PATH", search_path(&self.run, &self.settings.programs));
        command
    }

    /// Runs a command of `ctr` to its end.
    ///
    /// # Errors
    /// When it cannot be started or outlives the deadline; its own failure is an exit code.
    pub fn ctr<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S], deadline: Duration) -> Result<Finished, Stop> {
        let words: Vec<String> = arguments.iter().map(|a| a.as_ref().to_string_lossy().into_owned()).collect();
        let mut attached = Attached::start(&mut self.command(arguments), &[])
            .map_err(|e| Stop::skip(format!("the environment has no ctr beside its containerd: {e}")))?;
        attached.wait(deadline).ok_or_else(|| match self.ended() {
            Some(_) => self.crash(),
            None => Stop::error(format!("ctr {} did not end within {} s", words.join(" "), deadline.as_secs())),
        })
    }

    /// A fresh id of a container, or of what belongs to one.
    pub fn fresh_id(&self, runtime: Runtime) -> String {
        format!("{}{}", self.prefix(runtime), self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// How the ids of a runtime's containers begin.
    pub fn prefix(&self, runtime: Runtime) -> String {
        let letter = match runtime {
            Runtime::Runc => 'r',
            Runtime::Kata => 'k',
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
    pub fn patience(&self, runtime: Runtime) -> Duration {
        match runtime {
            Runtime::Runc => self.settings.patience.runc,
            Runtime::Kata => self.settings.patience.kata,
        }
    }

    /// containerd's log so far, its last lines.
    pub fn last_words(&self) -> String {
        self.log.last_lines(6)
    }

    /// What Kata has written to containerd's log about a sandbox: errors and warnings, the last ones.
    pub fn words_of_kata(&self, sandbox: &str) -> String {
        words_about(&self.log.text(), sandbox)
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
    pub fn events(&self, id: &str) -> Vec<String> {
        let text = locked(&self.events).as_ref().map(Attached::stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().filter(|line| line.contains(&format!("\"{id}\""))).map(str::to_owned).collect()
    }

    /// How containerd has ended, if it has.
    pub fn ended(&self) -> Option<std::process::ExitStatus> {
        locked(&self.child).try_wait().ok().flatten()
    }

    /// What its end means: a crash is containerd's, a kill from outside nobody's.
    pub fn crash(&self) -> Stop {
        let Some(status) = self.ended() else { return Stop::error("containerd runs") };
        let message = format!("containerd ended ({}): {}", how_it_ended(status), self.last_words());
        match status.signal() {
            Some(libc::SIGILL | libc::SIGABRT | libc::SIGBUS | libc::SIGFPE | libc::SIGSEGV) | None => {
                Stop::blame(Component::Containerd, message)
            }
            Some(_) => Stop::error(message),
        }
    }

    /// containerd's process id, for a rehearsal of its end.
    pub fn pid(&self) -> u32 {
        locked(&self.child).id()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        locked(&self.events).take();
        // Politely first: a runtime that is asked takes its own things away.
        if self.ended().is_none() {
            for runtime in [Runtime::Runc, Runtime::Kata] {
                let listed = self.ctr(&["tasks", "list", "--quiet"], COMMAND);
                let listed = listed.map(|finished| finished.text()).unwrap_or_default();
                for id in listed.lines().filter(|id| id.starts_with(&self.prefix(runtime))) {
                    let _ = self.ctr(&["tasks", "kill", "--signal", "SIGKILL", id], COMMAND);
                }
            }
        }
        kill_group(&mut locked(&self.child));
        clean_up(&self.name, &self.disk, self.next.load(Ordering::Relaxed));
    }
}

/// Takes everything of an instance away: processes, mounts, control groups, sockets, folders.
///
/// `ids` is the highest number that it has given to a container.
fn clean_up(name: &str, disk: &Path, ids: u64) {
    let run = Path::new(RUN).join(name);
    for number in 1..=ids {
        for letter in ['r', 'k'] {
            let _ = fs::remove_file(shims_socket(&run.join("sock"), name, &format!("{name}{letter}-{number}")));
        }
    }
    for id in [format!("{name}r-"), format!("{name}k-"), name.to_owned()] {
        host::remove(&id, &[]);
    }
    for folder in [&run, disk, &Path::new("/run/containerd/runc").join(name)] {
        let _ = fs::remove_dir_all(folder);
    }
    // Ours if they are empty; a containerd of the machine's keeps its own.
    for folder in ["/run/containerd/runc", "/run/containerd/s", "/run/containerd", RUN, "/run/kata-qualify"] {
        let _ = fs::remove_dir(folder);
    }
}

/// Where the shim of a container listens (`SocketAddress` in containerd's `runtime/v2/shim/util_unix.go`): a shim of
/// Kata's that refuses its first container leaves its socket there.
fn shims_socket(address: &Path, namespace: &str, id: &str) -> PathBuf {
    let hashed = address.join(namespace).join(id);
    let digest = Sha256::digest(hashed.as_os_str().as_encoded_bytes());
    Path::new("/run/containerd/s").join(hex(&digest))
}

/// Removes what agents that were killed have left.
fn sweep() {
    for entry in fs::read_dir(RUN).into_iter().flatten().flatten() {
        let text = fs::read(entry.path().join("owner")).unwrap_or_default();
        if let Ok(owner) = serde_json::from_slice::<Owner>(&text)
            && host::started(owner.pid) != Some(owner.started)
            && entry.file_name().to_str() == Some(&owner.name)
        {
            // Nobody knows any more how many there were: more than a run has containers.
            clean_up(&owner.name, &owner.disk, 1000);
        }
    }
}

fn lay_out(name: &str, settings: &Settings, run: &Path, disk: &Path) -> io::Result<()> {
    for folder in [run.join("state"), run.join("fifo"), run.join("bin"), disk.join("root"), disk.join("containers")] {
        fs::create_dir_all(folder)?;
    }
    let pid = std::process::id();
    let started = host::started(pid).ok_or_else(|| io::Error::other("reading the own start time"))?;
    let owner = Owner { pid, started, name: name.to_owned(), disk: disk.to_owned() };
    fs::write(run.join("owner"), serde_json::to_vec(&owner)?)?;
    for (name, shim) in &settings.kata_shims {
        symlink(shim, run.join("bin").join(name))?;
    }
    fs::write(run.join("config.toml"), configuration(run, disk))
}

/// Version 2 is understood from containerd 1.3 to 2.x. Whatever listens elsewhere or writes outside its folders is off.
fn configuration(run: &Path, disk: &Path) -> String {
    const DISABLED: [&str; 9] = [
        "io.containerd.grpc.v1.cri",
        "io.containerd.cri.v1.images",
        "io.containerd.cri.v1.runtime",
        "io.containerd.internal.v1.opt",
        "io.containerd.nri.v1.nri",
        // Where these find no filesystem of their own, some versions fail everything that lists snapshotters.
        "io.containerd.snapshotter.v1.btrfs",
        "io.containerd.snapshotter.v1.zfs",
        "io.containerd.snapshotter.v1.devmapper",
        "io.containerd.snapshotter.v1.blockfile",
    ];
    let quoted = |path: PathBuf| format!("{:?}", path.to_string_lossy());
    format!(
        "version = 2\nroot = {}\nstate = {}\ndisabled_plugins = {DISABLED:?}\n\n[grpc]\naddress = {}\n",
        quoted(disk.join("root")),
        quoted(run.join("state")),
        quoted(run.join("sock")),
    )
}

fn search_path(run: &Path, programs: &[PathBuf]) -> OsString {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = programs.to_vec();
    folders.push(run.join("bin"));
    folders.extend(std::env::split_paths(&inherited));
    // What an agent is started with is not always what a login has.
    folders.extend(["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from));
    std::env::join_paths(folders).unwrap_or(inherited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_that_drop_output_are_known() {
        let said = "Client:\n  Version:  1.6.20~ds1\n  Revision: 1\n\nServer:\n  Version:  9.9.9\n";
        assert_eq!(client_version(said), "1.6.20~ds1");
        for version in ["1.6.0", "1.6.20~ds1", "v1.6.21", "1.7.2", "", "unknown"] {
            assert!(drops_last_words(version), "{version}");
        }
        for version in ["1.4.13~ds1", "1.5.18", "1.6.22", "1.7.3", "1.7.24~ds1", "v2.1.9", "2.3.4+unknown"] {
            assert!(!drops_last_words(version), "{version}");
        }
    }

    #[test]
    fn what_kata_said_of_a_sandbox_is_found_among_the_rest() {
        let log = "level=info msg=\"loading plugin\"\n\
                   level=error msg=\"QEMU exited\" name=containerd-shim-v2 sandbox=kq1k-5 source=virtcontainers\n\
                   level=warning msg=\"Block device not supported\" sandbox=kq1k-5 source=virtcontainers\n\
                   level=error msg=\"other\" sandbox=kq1k-6 source=virtcontainers\n";
        let words = words_about(log, "kq1k-5");
        assert!(words.starts_with("\"QEMU exited\"") && !words.contains("other") && !words.contains('|'), "{words}");
    }

    #[test]
    fn the_configuration_keeps_everything_in_its_folders() {
        let text = configuration(Path::new("/run/x"), Path::new("/disk/x"));
        assert!(text.starts_with("version = 2\nroot = \"/disk/x/root\"\nstate = \"/run/x/state\"\n"), "{text}");
        assert!(text.contains("address = \"/run/x/sock\"") && text.contains("io.containerd.nri.v1.nri"), "{text}");
    }
}
