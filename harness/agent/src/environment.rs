//! The environment's agent: runs tests, boots guests for them, and answers the harness over its standard streams.

use crate::compose::{self, Extra, Paths};
use crate::containers::engine::Left;
use crate::containers::{Engine, Patience, Settings};
use crate::daemon::DaemonProcess;
use crate::fact::{self, Fact};
use crate::guest::in_fresh_directory;
use crate::home::Home;
use crate::launch::{NotStarted, Running, against_a_silent_daemon};
use crate::native::{self, Controls};
use crate::process::{kill_children, kill_group, prepare, wait};
use crate::protocol::{
    Bytes, CHUNK, EnvironmentReply, EnvironmentRequest, Fault, GuestReply, GuestRequest, Launched, VM_PORT,
};
use crate::provided::{Keeps, Provided};
use crate::rehearsal;
use crate::server;
use crate::slots::{FOR_GUESTS, SlotGuard, Slots};
use crate::syslog;
use crate::waiting::{Waiting, patience};
use crate::{guest, probe};
use kata_osinfo::profile::{ImageDriver, Profile};
use kata_osinfo::sync::locked;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use suites::catalogue::{self, Body, Configuration, Test};
use suites::check::{Check, Stop};
use suites::environment::{Claims, Daemon, Ending, Environment, Kind, Machine, Ran, VcpuRun};
use suites::filesystem::Pair;
use suites::share::Share;

/// How long a guest may take to boot under KVM before KVM counts as unusable; a machine without hangs for ever.
const KVM_BOOT: Duration = Duration::from_secs(60);

/// Serves until the line ends: over standard input and output, or in a virtual machine over its virtio-serial port.
pub fn run(home: Home) -> io::Result<()> {
    home.settle()?;
    if home.kind == Kind::Vm {
        let port = guest::open_port(VM_PORT, Duration::from_secs(60))?;
        let output = port.try_clone()?;
        return serve(home, port, output);
    }
    let input = File::from(rustix::io::dup(rustix::stdio::stdin())?);
    let output = File::from(rustix::io::dup(rustix::stdio::stdout())?);
    serve(home, input, output)
}

fn serve(home: Home, input: impl Read, output: impl Write + Send + 'static) -> io::Result<()> {
    syslog::serve(&home.artifacts());
    let agent = Agent::new(home.clone());
    let containers = Arc::clone(&agent.containers);
    let stays = Arc::clone(&agent.stays);
    let result = server::serve(input, output, "environment", move |request| agent.handle(request));
    // Whoever asked for what still runs is gone, by SIGKILL perhaps: tests in the middle of their work keep their guests.
    if home.kind == Kind::Container && !stays.load(Ordering::Relaxed) {
        home.end();
    }
    kill_children();
    containers.stop();
    home.leave();
    result
}

type SharedGuest = Arc<Mutex<Option<Running>>>;

struct Agent {
    home: Home,
    /// What the environment provides of what Kata wants, once it has been probed.
    provided: Mutex<Provided>,
    claims: Mutex<Option<Arc<Claims>>>,
    guests: Arc<Mutex<BTreeMap<u64, SharedGuest>>>,
    next: AtomicU64,
    slots: Arc<Slots>,
    controls: Controls,
    containers: Arc<Engine>,
    pjdfstest: Mutex<Option<Result<Vec<u8>, Stop>>>,
    /// The environment is to be left as it is when the line ends.
    stays: Arc<AtomicBool>,
    /// A guest has not come up: whatever it costs, the next one's kernel tells everything.
    wary: AtomicBool,
}

impl Agent {
    fn new(home: Home) -> Agent {
        Agent {
            slots: Arc::new(Slots::new(home.clone())),
            home,
            provided: Mutex::default(),
            claims: Mutex::default(),
            guests: Arc::default(),
            next: AtomicU64::default(),
            controls: Controls::default(),
            containers: Arc::default(),
            pjdfstest: Mutex::default(),
            stays: Arc::default(),
            wary: AtomicBool::default(),
        }
    }

    fn handle(&self, request: EnvironmentRequest) -> EnvironmentReply {
        let failed = |e: io::Error| failure(Stop::error(e.to_string()));
        match request {
            EnvironmentRequest::Probe { profile } => {
                let mut facts = probe::probe(&self.home);
                if self.home.kind == Kind::Host {
                    facts.note(fact::KVM, self.kvm_by_booting(&profile));
                }
                *locked(&self.provided) = probe::provided(self.home.kind, &facts);
                EnvironmentReply::Probed { facts }
            }
            EnvironmentRequest::SetUp { claims } => {
                *locked(&self.claims) = Some(Arc::from(claims));
                EnvironmentReply::Done
            }
            EnvironmentRequest::PutFile { path, mode, offset, bytes } => {
                put_file(Path::new(&path), mode, offset, &bytes.0).map_or_else(failed, |()| EnvironmentReply::Done)
            }
            EnvironmentRequest::GetFile { path, offset } => {
                get_file(Path::new(&path), offset).map_or_else(failed, |bytes| EnvironmentReply::Chunk { bytes })
            }
            EnvironmentRequest::ListArtifacts => {
                let mut files = Vec::new();
                list(&self.home.artifacts(), &mut files);
                EnvironmentReply::Artifacts { files }
            }
            EnvironmentRequest::StartGuest { profile, configuration } => self.start_guest(&profile, configuration),
            EnvironmentRequest::Stay => {
                self.stays.store(true, Ordering::Relaxed);
                EnvironmentReply::Done
            }
            EnvironmentRequest::StopGuest { guest } => {
                // Taken out first: dropping it waits for QEMU and must not hold the lock.
                let stopped = locked(&self.guests).remove(&guest);
                drop(stopped.map(|guest| locked(&guest).take()));
                EnvironmentReply::Done
            }
            EnvironmentRequest::Rehearse { profile, fault } => match self.rehearse(&profile, fault) {
                Ok(ending) => EnvironmentReply::Rehearsed { ending },
                Err(stop) => failure(stop),
            },
            EnvironmentRequest::RunTest { test, profile, guest } => self.run_test(&test, &profile, guest),
        }
    }

    fn claims(&self) -> Result<Arc<Claims>, Stop> {
        locked(&self.claims).clone().ok_or_else(|| Stop::error("the environment has not been set up"))
    }

    fn paths(&self) -> Result<(Paths, SlotGuard), Stop> {
        let slot = self.slots.take()?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let paths = Paths::new(&self.home, &slot.dir(), number).map_err(|e| Stop::error(e.to_string()))?;
        Ok((paths, slot))
    }

    /// What a guest may be given here, with what its test insists on.
    fn terms(&self, keeps: Keeps) -> Provided {
        let provided = locked(&self.provided).with(keeps);
        Provided { terse: provided.terse && !self.wary.load(Ordering::Relaxed), ..provided }
    }

    /// Whether KVM boots a guest: `yes`, or why not.
    fn kvm_by_booting(&self, profile: &Profile) -> Fact {
        if let Err(e) = crate::kvm::run_a_vcpu() {
            return Fact::Lacks(e);
        }
        let started = self.claims().and_then(|claims| Ok((claims, self.paths()?)));
        let (claims, (mut paths, slot)) = match started {
            Ok(ready) => ready,
            Err(stop) => return Fact::Lacks(format!("{stop:?}")),
        };
        paths.slot = Some(slot);
        let terms = Provided { kvm: true, ..Provided::default() };
        let waiting = Waiting { boot: KVM_BOOT, ..Waiting::of(false) };
        match Running::start_within(profile, Configuration::Plain, Keeps::Nothing, terms, &claims, paths, waiting) {
            Ok(_) => Fact::Has,
            Err(e) => match e.stop {
                Stop::Fail { message, .. }
                | Stop::Error { message }
                | Stop::Unanswered { message }
                | Stop::Skip { reason: message } => Fact::Lacks(format!("no guest boots under KVM: {message}")),
            },
        }
    }

    fn start_guest(&self, profile: &Profile, configuration: Configuration) -> EnvironmentReply {
        let started = self.claims().and_then(|claims| Ok((claims, self.paths()?)));
        let (claims, (mut paths, slot)) = match started {
            Ok(ready) => ready,
            Err(stop) => return failure(stop),
        };
        paths.slot = Some(slot);
        let dir = paths.dir.clone();
        match Running::start(profile, configuration, Keeps::Nothing, self.terms(Keeps::Nothing), &claims, paths) {
            Ok(running) => {
                let launched = running.launched().clone();
                let guest = self.next.fetch_add(1, Ordering::Relaxed);
                locked(&self.guests).insert(guest, Arc::new(Mutex::new(Some(running))));
                EnvironmentReply::Started { guest, launched }
            }
            Err(e) => {
                self.wary.store(true, Ordering::Relaxed);
                let NotStarted { stop, launched } = *e;
                let mut files = Vec::new();
                list(&dir, &mut files);
                let artifacts = files.into_iter().map(|(path, _)| path).collect();
                EnvironmentReply::Failed { stop, artifacts, launched: Some(launched) }
            }
        }
    }

    fn rehearse(&self, profile: &Profile, fault: Fault) -> Result<Ending, Stop> {
        let claims = self.claims()?;
        let (mut paths, slot) = self.paths()?;
        paths.slot = Some(slot);
        let terms = self.terms(Keeps::Nothing);
        let started = Running::start(profile, fault.configuration(), Keeps::Nothing, terms, &claims, paths);
        rehearsal::rehearse(&mut started.map_err(|e| e.stop)?, fault)
    }

    fn run_test(&self, id: &str, profile: &Profile, guest: Option<u64>) -> EnvironmentReply {
        let Some(test) = catalogue::find(id) else {
            return failure(Stop::error(format!("the agent knows no test {id}")));
        };
        let Some(body) = catalogue::body(test) else { return failure(Stop::error(format!("{id} has no body"))) };
        let claims = match self.claims() {
            Ok(claims) => claims,
            Err(stop) => return failure(stop),
        };
        let at = At {
            agent: self,
            claims,
            profile,
            notes: Mutex::default(),
            artifacts: Mutex::default(),
            launched: Mutex::default(),
        };
        let shared = guest.and_then(|guest| locked(&self.guests).get(&guest).cloned());
        let (stop, guest_alive) = match (body, shared) {
            (Body::Environment(body), _) => (caught(|| body(&at)).err(), true),
            (Body::Containers(body), _) => {
                let mut left = Left::default();
                let settings = container_settings(&self.home, &at.claims);
                let result = self.containers.run(test, body, &settings, &at.claims, profile, &mut left);
                locked(&at.notes).append(&mut left.notes);
                locked(&at.artifacts).append(&mut left.artifacts);
                (result.err(), true)
            }
            (_, None) => (Some(Stop::error(format!("{id} wants a guest that is not there"))), false),
            (body, Some(shared)) => {
                let mut running = locked(&shared);
                match running.as_mut() {
                    None => (Some(Stop::error("the guest has been stopped")), false),
                    Some(running) => {
                        let result = caught(|| self.run_with_guest(test, body, running));
                        at.keep_artifacts(running);
                        (result.err(), running.usable())
                    }
                }
            }
        };
        EnvironmentReply::Tested {
            stop,
            notes: std::mem::take(&mut *locked(&at.notes)),
            artifacts: std::mem::take(&mut *locked(&at.artifacts)),
            launched: std::mem::take(&mut *locked(&at.launched)),
            guest_alive,
        }
    }

    fn run_with_guest(&self, test: &Test, body: Body, running: &mut Running) -> Check {
        let root = native_root(&self.home);
        match body {
            Body::Environment(_) | Body::Containers(_) => Err(Stop::error("an environment's body was given a guest")),
            Body::Machine(body) => body(running),
            Body::Inside(_) => run_inside(self.home.kind, test, running),
            Body::Guest(_) | Body::BesideNative(_) => {
                self.controls.check(test, &root, &self.home.pjdfstest())?;
                if let Body::BesideNative(_) = body {
                    self.send_native_failures(running, &root)?;
                }
                run_inside(self.home.kind, test, running)
            }
            Body::Pair(body) => {
                let share = test.share.unwrap_or(Share::VirtioFs);
                let top = running.shared_dir().to_owned();
                in_fresh_directory(&top, |host| {
                    let relative =
                        host.strip_prefix(&top).map(Path::to_owned).map_err(|e| Stop::error(e.to_string()))?;
                    body(&mut Pair { host, relative, share, deadline: Duration::from_secs(10), guest: running })
                })
            }
        }
    }

    /// pjdfstest is judged by what differs from the native filesystem: the guest must know what fails there.
    fn send_native_failures(&self, running: &mut Running, root: &Path) -> Check {
        let failures = locked(&self.pjdfstest)
            .get_or_insert_with(|| native::pjdfstest_failures(root, &self.home.pjdfstest()))
            .clone()?;
        let path = format!("{}/{}", guest::SCRATCH, suites::filesystem::NATIVE_FAILURES);
        let request = GuestRequest::PutFile { path, mode: 0o644, bytes: Bytes(failures) };
        running.request(request, Duration::from_secs(30), "sending the native result to the guest").map(drop)
    }
}

/// Runs a body in the guest, to the test's deadline.
fn run_inside(kind: Kind, test: &Test, running: &mut Running) -> Check {
    let deadline = Duration::from_secs(u64::from(test.seconds) * patience(kind));
    match running.request(GuestRequest::Run { test: test.id.clone() }, deadline, "running in the guest")? {
        GuestReply::Ran { stop: None } => Ok(()),
        GuestReply::Ran { stop: Some(stop) } => Err(stop),
        other => Err(Stop::error(format!("running in the guest: unexpected reply {other:?}"))),
    }
}

/// The environment as one test sees it.
struct At<'a> {
    agent: &'a Agent,
    claims: Arc<Claims>,
    profile: &'a Profile,
    notes: Mutex<Vec<String>>,
    artifacts: Mutex<Vec<String>>,
    launched: Mutex<Vec<Launched>>,
}

impl At<'_> {
    fn keep_artifacts(&self, running: &Running) {
        let paths = running.artifacts().into_iter().map(|p| p.to_string_lossy().into_owned());
        locked(&self.artifacts).extend(paths);
    }

    fn boot_as(&self, configuration: Configuration, keeps: Keeps) -> Result<Box<dyn Machine>, Stop> {
        self.boot_profile(self.profile, configuration, keeps, Extra::Nothing)
    }

    fn boot_profile(
        &self,
        profile: &Profile,
        configuration: Configuration,
        keeps: Keeps,
        extra: Extra,
    ) -> Result<Box<dyn Machine>, Stop> {
        let (mut paths, slot) = self.agent.paths()?;
        paths.slot = Some(slot);
        paths.extra = extra;
        match Running::start(profile, configuration, keeps, self.agent.terms(keeps), &self.claims, paths) {
            Ok(running) => {
                self.keep_artifacts(&running);
                locked(&self.launched).push(running.launched().clone());
                Ok(Box::new(running))
            }
            Err(e) => {
                self.agent.wary.store(true, Ordering::Relaxed);
                locked(&self.launched).push(e.launched.clone());
                Err(e.stop)
            }
        }
    }
}

impl Environment for At<'_> {
    fn claims(&self) -> &Claims {
        &self.claims
    }

    fn profile(&self) -> &Profile {
        self.profile
    }

    fn run(&self, argv: &[&str], deadline: Duration) -> Result<Ran, Stop> {
        let Some((program, arguments)) = argv.split_first() else { return Err(Stop::error("no program to run")) };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("LC_ALL", "C");
        let mut child = match prepare(&mut command, Vec::new()).spawn() {
            Ok(child) => child,
            // A path of the record that is not there is a finding, not a fault of ours.
            Err(e) => return Ok(Ran { code: None, stdout: String::new(), stderr: format!("{program}: {e}") }),
        };
        let stdout = child.stdout.take().map(capped);
        let stderr = child.stderr.take().map(capped);
        let status = wait(&mut child, deadline).map_err(|e| Stop::error(format!("waiting for {program}: {e}")))?;
        if status.is_none() {
            kill_group(&mut child);
            return Err(Stop::fail(format!("{} did not end within {deadline:?}", argv.join(" "))));
        }
        let text =
            |reader: Option<std::thread::JoinHandle<String>>| reader.and_then(|r| r.join().ok()).unwrap_or_default();
        Ok(Ran { code: status.and_then(|s| s.code()), stdout: text(stdout), stderr: text(stderr) })
    }

    fn read(&self, path: &str) -> Result<String, Stop> {
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(4 << 20).read_to_end(&mut text));
        read.map_err(|e| Stop::fail(format!("reading {path}: {e}")))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn start_virtiofsd(&self) -> Result<Box<dyn Daemon>, Stop> {
        let (mut paths, slot) = self.agent.paths()?;
        paths.slot = Some(slot);
        let terms = self.agent.terms(Keeps::Nothing);
        let composed = compose::compose(self.profile, Configuration::VirtioFs, terms, &self.claims, &paths)?;
        locked(&self.launched).push(composed.launched());
        let process = DaemonProcess::start(&composed, &paths)?;
        Ok(Box::new(Alone { process, _paths: paths }))
    }

    fn start_qemu_against_a_silent_daemon(&self) -> Result<(), Stop> {
        let (mut paths, slot) = self.agent.paths()?;
        paths.slot = Some(slot);
        let terms = self.agent.terms(Keeps::Nothing);
        let composed = compose::compose(self.profile, Configuration::VirtioFs, terms, &self.claims, &paths)?;
        against_a_silent_daemon(&composed, &paths)
    }

    fn boot(&self) -> Result<Box<dyn Machine>, Stop> {
        self.boot_as(Configuration::Own, Keeps::Nothing)
    }

    fn boot_with_vcpus(&self, vcpus: u32) -> Result<Box<dyn Machine>, Stop> {
        let mut profile = self.profile.clone();
        profile.qemu.vcpus = vcpus;
        self.boot_profile(&profile, Configuration::Own, Keeps::Nothing, Extra::Nothing)
    }

    fn boot_with_vsock(&self) -> Result<Box<dyn Machine>, Stop> {
        self.boot_as(Configuration::Own, Keeps::Vsock)
    }

    fn boot_with_network(&self) -> Result<Box<dyn Machine>, Stop> {
        self.boot_as(Configuration::Own, Keeps::Network)
    }

    fn boot_with_peer(&self, peer: SocketAddr) -> Result<Box<dyn Machine>, Stop> {
        self.boot_as(Configuration::Own, Keeps::Peer(peer))
    }

    fn boot_with_virtio_fs(&self) -> Result<Box<dyn Machine>, Stop> {
        self.boot_as(Configuration::VirtioFs, Keeps::Nothing)
    }

    fn boot_with_image(&self, file: &Path, driver: ImageDriver) -> Result<Box<dyn Machine>, Stop> {
        let extra = Extra::Image { file: file.to_owned(), driver };
        self.boot_profile(self.profile, Configuration::Own, Keeps::Nothing, extra)
    }

    fn boot_with_a_root_port(&self) -> Result<Box<dyn Machine>, Stop> {
        self.boot_profile(self.profile, Configuration::Own, Keeps::Nothing, Extra::RootPort)
    }

    fn run_a_vcpu(&self) -> Result<VcpuRun, String> {
        crate::kvm::run_a_vcpu()
    }

    fn note(&self, text: String) {
        locked(&self.notes).push(text);
    }
}

/// A daemon without a guest; its share's slot is free again when it goes.
struct Alone {
    process: DaemonProcess,
    _paths: Paths,
}

impl Daemon for Alone {
    fn log(&self) -> String {
        self.process.log()
    }

    fn wait(&mut self, deadline: Duration) -> Option<String> {
        self.process.wait(deadline)
    }
}

/// The release's containerd, and this program as the probe of its containers.
fn container_settings(home: &Home, claims: &Claims) -> Settings {
    let manager = claims.release.container_manager.as_ref();
    Settings {
        containerd: manager.map_or_else(|| PathBuf::from("/usr/bin/containerd"), |m| PathBuf::from(&m.path)),
        disk: home.dir.join("containers"),
        artifacts: home.artifacts().join("containerd"),
        probe: PathBuf::from("/proc/self/exe"),
        programs: Vec::new(),
        kata_shims: claims.kata.iter().map(|kata| (kata.shim_name().to_owned(), PathBuf::from(&kata.shim))).collect(),
        patience: Patience::new(claims.kata.iter().any(|kata| kata.emulated)),
    }
}

fn native_root(home: &Home) -> PathBuf {
    let root = home.slot(FOR_GUESTS);
    // Absent where the environment made no small filesystems; searchable by all for the tests as another user.
    let _ = fs::create_dir_all(&root);
    let _ = fs::set_permissions(&root, fs::Permissions::from_mode(0o755));
    root
}

fn failure(stop: Stop) -> EnvironmentReply {
    EnvironmentReply::Failed { stop, artifacts: Vec::new(), launched: None }
}

/// A body that panics is our fault.
fn caught(body: impl FnOnce() -> Check) -> Check {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(body))
        .unwrap_or_else(|_| Err(Stop::error("the test's body panicked; see the agent's standard error")))
}

fn capped(from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut bytes, mut from) = (Vec::new(), from);
        let _ = (&mut from).take(4 << 20).read_to_end(&mut bytes);
        // Whatever comes beyond the cap is read and dropped, so that the program does not block.
        let _ = io::copy(&mut from, &mut io::sink());
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn put_file(path: &Path, mode: u32, offset: u64, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(offset == 0).mode(mode).open(path)?;
    // A device at its beginning may have no place to seek to.
    if offset > 0 {
        file.seek(SeekFrom::Start(offset))?;
    }
    file.write_all(bytes)?;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

fn get_file(path: &Path, offset: u64) -> io::Result<Bytes> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(CHUNK as u64).read_to_end(&mut bytes)?;
    Ok(Bytes(bytes))
}

/// Regular files below `dir` with their sizes.
fn list(dir: &Path, files: &mut Vec<(String, u64)>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => list(&entry.path(), files),
            Ok(meta) if meta.is_file() => files.push((entry.path().to_string_lossy().into_owned(), meta.len())),
            _ => {}
        }
    }
}
