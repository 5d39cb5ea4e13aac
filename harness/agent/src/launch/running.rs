//! A running guest: started, connected, and answering requests.

mod another;
mod condition;
mod machine;

use crate::launch::compose::{self, Composed};
use crate::launch::daemon::DaemonProcess;
use crate::launch::deadlines::Deadlines;
use crate::launch::growth::{self, Growth};
use crate::launch::late;
use crate::launch::open_files::Lowered;
use crate::launch::paths::GuestPaths;
use crate::launch::provided::{Provided, RequiredDevice};
use crate::launch::qemu_process;
use crate::launch::without_root;
use crate::log::Log;
use crate::process::{kill_group, stderr_log, wait};
use model::foreign::linux::panic_line;
use model::foreign::qemu::kvm_error;
use model::kernel::KernelRelease;
use model::profile::{DaemonSetting, ModuleUse, Profile};
use protocol::client::{Client, ClientError};
use protocol::message::{GuestReply, GuestRequest, Launched};
use qemu::launch::FdPurpose;
use qemu::qmp::Qmp;
use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};
use suites::catalogue::{Configuration, Test};
use suites::check::Stop;
use suites::environment::{Claims, Effort, Machine as _, ModuleSet, Setting};
use suites::outcome::Component;

/// A running guest.
pub(crate) struct RunningGuest {
    profile: Profile,
    launched: Launched,
    guest_cid: Option<u32>,
    paths: GuestPaths,
    qemu: Child,
    qemu_ended: Option<ExitStatus>,
    daemon: Option<DaemonProcess>,
    /// Number of times that virtiofsd had gone to sleep before the mount of the share.
    woken_at_mount: Option<u64>,
    stderr: Log,
    console: Option<Log>,
    serial: Option<Log>,
    qmp: Option<Qmp<UnixStream>>,
    agent: Option<Client<GuestReply>>,
    deadlines: Deadlines,
    provided: Provided,
    max_vcpus: u32,
    /// Release of the guest's kernel.
    kernel: KernelRelease,
    /// Modules for each use.
    modules: BTreeMap<ModuleUse, ModuleSet>,
    boot_time: Duration,
}

/// A guest that was not started.
pub(crate) struct NotStarted {
    /// Reason.
    pub(crate) stop: Stop,
    /// Command lines of the attempt, if there was one.
    pub(crate) launched: Option<Launched>,
    /// Its logs so far.
    pub(crate) logs: Vec<PathBuf>,
}

impl From<Stop> for Box<NotStarted> {
    fn from(stop: Stop) -> Box<NotStarted> {
        Box::new(NotStarted { stop, launched: None, logs: Vec::new() })
    }
}

impl RunningGuest {
    /// Starts a guest, waits for its agent and mounts its share.
    pub(crate) fn start(
        profile: &Profile,
        configuration: Configuration,
        required: RequiredDevice,
        provided: Provided,
        claims: &Claims,
        paths: GuestPaths,
    ) -> Result<RunningGuest, Box<NotStarted>> {
        let deadlines = Deadlines::of(provided.nested);
        RunningGuest::start_within(profile, configuration, required, provided, claims, paths, deadlines)
    }

    /// Starts a guest as [`RunningGuest::start`], with the caller's deadlines.
    pub(crate) fn start_within(
        profile: &Profile,
        configuration: Configuration,
        required: RequiredDevice,
        provided: Provided,
        claims: &Claims,
        paths: GuestPaths,
        deadlines: Deadlines,
    ) -> Result<RunningGuest, Box<NotStarted>> {
        let folder = paths.dir.clone();
        let not_started = |launched: &Launched, stop| {
            Box::new(NotStarted { stop, launched: Some(launched.clone()), logs: logs_in(&folder) })
        };
        let mut composed = compose::compose(profile, configuration, provided, claims, &paths)
            .map_err(|stop| not_started(&Launched::default(), stop))?;
        if paths.setting == Setting::Rootless {
            without_root::drop_root(&mut composed, claims, &paths, provided)
                .map_err(|stop| not_started(&composed.launched(), stop))?;
        }
        let launched = composed.launched();
        let mut running = RunningGuest::spawn(profile, &composed, claims.kernel.clone(), paths, deadlines)
            .map_err(|stop| not_started(&launched, stop))?;
        (running.provided, running.modules) = (provided, claims.modules.clone());
        let up = running.connect().and_then(|()| running.mount(configuration, required));
        up.map_err(|stop| not_started(&launched, stop))?;
        Ok(running)
    }

    fn spawn(
        profile: &Profile,
        composed: &Composed,
        kernel: KernelRelease,
        paths: GuestPaths,
        deadlines: Deadlines,
    ) -> Result<RunningGuest, Stop> {
        let mut daemon = match composed.daemon.is_empty() {
            true => None,
            false => Some(DaemonProcess::start(composed, &paths, deadlines)?),
        };
        if let Some(daemon) = &mut daemon
            && let Some(ending) = daemon.ending(Duration::from_millis(50))
        {
            return Err(ending.stop("starting virtiofsd"));
        }
        let mut qemu = qemu_process::start(composed, &paths)?;
        let stderr = stderr_log(&mut qemu, &paths.dir.join("qemu.log"))
            .map_err(|e| Stop::error(format!("logging QEMU: {e}")))?;
        Ok(RunningGuest {
            profile: profile.clone(),
            launched: composed.launched(),
            guest_cid: composed.vhost.iter().any(|fd| fd.purpose == FdPurpose::Vsock).then_some(composed.guest_cid),
            paths,
            qemu,
            qemu_ended: None,
            daemon,
            woken_at_mount: None,
            stderr,
            console: None,
            serial: None,
            qmp: None,
            agent: None,
            deadlines,
            provided: Provided::default(),
            max_vcpus: composed.max_vcpus,
            kernel,
            modules: BTreeMap::new(),
            boot_time: Duration::ZERO,
        })
    }

    /// Connects to QEMU's sockets and waits for the guest's agent.
    fn connect(&mut self) -> Result<(), Stop> {
        let began = Instant::now();
        let serial = self.connect_to(self.paths.serial.clone())?;
        self.serial = Some(log_socket(serial, &self.paths.dir.join("serial.log"))?);
        let console = self.connect_to(self.paths.console.clone())?;
        self.console = Some(log_socket(console, &self.paths.dir.join("console.log"))?);
        let agent = self.connect_to(self.paths.agent.clone())?;
        self.agent = Some(Client::new(agent).map_err(|e| Stop::error(format!("listening to the guest's agent: {e}")))?);
        let qmp = self.connect_to(self.paths.qmp.clone())?;
        match Qmp::connect(qmp, self.deadlines.qmp) {
            Ok(qmp) => self.qmp = Some(qmp),
            Err(e) => return Err(self.why("starting QEMU", &e.to_string(), Component::Qemu)),
        }
        if matches!(self.paths.setting, Setting::Clone(_)) {
            // Its agent sends no hello: it has already sent one in the guest whose state this one takes over.
            self.boot_time = began.elapsed();
            return Ok(());
        }
        let (serial, stderr) = (self.serial.clone(), self.stderr.clone());
        let logs = [self.serial.clone(), self.console.clone()];
        let total = move || -> u64 { logs.iter().flatten().map(Log::total).sum() };
        let mut growth = Growth::of(total(), began);
        let qemu = &mut self.qemu;
        let mut ended = self.qemu_ended;
        let hello = self.agent.as_ref().map_or(Err(ClientError::Ended), |agent| {
            agent.wait_for_hello(self.deadlines.boot, || {
                growth.look(total(), Instant::now());
                ended = ended.or(wait(qemu, Duration::ZERO).ok().flatten());
                let panicked = || serial.as_ref().is_some_and(|log| panic_line(&log.text()).is_some());
                ended.is_none() && kvm_error(&stderr.text()).is_none() && !panicked()
            })
        });
        self.qemu_ended = ended;
        self.boot_time = began.elapsed();
        let since_output = growth.since(Instant::now());
        hello.map_err(|e| match e {
            // An emulated guest that still produces output boots slowly, and does not hang.
            ClientError::Late(_) if self.is_emulated() && since_output < self.deadlines.silence && !self.ended() => {
                let last = self.serial.as_ref().map(|log| log.last_lines(3)).unwrap_or_default();
                Stop::error(growth::slow(self.deadlines.boot, since_output, &last))
            }
            e => {
                let stop = self.why("booting the guest to userspace", &e.to_string(), Component::Kernel);
                self.excusing_the_kernel(stop)
            }
        })
    }

    /// Returns an error instead of a failure that blames the kernel of a `microvm` without KVM: that machine has no
    /// timer by which a kernel could measure its processor, so the harness tells it the frequency, and a hang may be
    /// the harness's fault.
    fn excusing_the_kernel(&self, stop: Stop) -> Stop {
        let is_helped = matches!(self.paths.setting, Setting::Microvm { .. }) && !self.provided.kvm;
        match stop {
            Stop::Fail { message, blames: Some(Component::Kernel), .. } if is_helped => {
                Stop::error(format!("{message}; without KVM, the harness told the kernel its processor's frequency"))
            }
            other => other,
        }
    }

    /// Connects to a socket of QEMU, as soon as QEMU listens.
    fn connect_to(&mut self, path: PathBuf) -> Result<UnixStream, Stop> {
        let end = Instant::now() + self.deadlines.start;
        loop {
            let error = match UnixStream::connect(&path) {
                Ok(stream) => return Ok(stream),
                Err(e) => e,
            };
            if self.ended() || Instant::now() > end {
                let observed = format!("{} does not answer: {error}", path.display());
                return Err(self.why("starting QEMU", &observed, Component::Qemu));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn mount(&mut self, configuration: Configuration, required: RequiredDevice) -> Result<(), Stop> {
        // Modules for containers are only loaded in plain guests; a share's guest shows what the share needs.
        let used_for = match configuration {
            _ if required == RequiredDevice::Vsock => Some(ModuleUse::Vsock),
            // Tests with these settings load their own modules, and report missing ones.
            _ if !matches!(self.paths.setting, Setting::Shipped | Setting::Disk(_)) => None,
            _ => Some(configuration.share().map_or(ModuleUse::Other, ModuleUse::from)),
        };
        used_for.map_or(Ok(()), |used_for| self.load_modules(used_for))?;
        if let Some(request) = compose::mount(configuration, self.deadlines.device) {
            self.request(request, self.deadlines.mount, "mounting the share in the guest")?;
        }
        Ok(())
    }

    /// Sends a request to the guest; a missing answer becomes a stop that says how the guest ended.
    ///
    /// The deadline is one of [`RunningGuest::deadlines`], where those for answers are longer than the silence.
    pub(crate) fn request(
        &mut self,
        request: GuestRequest,
        deadline: Duration,
        doing: &str,
    ) -> Result<GuestReply, Stop> {
        let (serial, stderr) = (self.serial.clone(), self.stderr.clone());
        let woken_before = self.daemon_wakes();
        let mounts = matches!(request, GuestRequest::Mount { .. });
        if mounts {
            self.woken_at_mount = woken_before;
        }
        let (Some(agent), mut ended) = (&self.agent, self.qemu_ended) else {
            return Err(Stop::error(format!("{doing}: the guest has no agent")));
        };
        let qemu = &mut self.qemu;
        let reply = agent.ask(request, deadline, || {
            ended = ended.or(wait(qemu, Duration::ZERO).ok().flatten());
            let panicked = || serial.as_ref().is_some_and(|log| panic_line(&log.text()).is_some());
            let goes_on = ended.is_none() && agent.silent_for() < self.deadlines.silence;
            goes_on && kvm_error(&stderr.text()).is_none() && !panicked()
        });
        self.qemu_ended = ended;
        match reply {
            Ok(GuestReply::Failed { message }) if mounts => {
                Err(late::refused(&format!("{doing}: {message}"), self.facts(woken_before).as_ref()))
            }
            Ok(GuestReply::Failed { message }) => Err(Stop::fail(format!("{doing}: {message}"))),
            Ok(reply) => Ok(reply),
            Err(ClientError::Late(after)) if self.current_ending().is_none() => {
                // The guest is alive, but the requested action does not end.
                let observed = format!("{doing}: not finished within {after:?}; the guest is alive");
                let is_emulated = self.is_emulated();
                Err(late::unfinished(&observed, self.facts(woken_before).as_ref(), is_emulated))
            }
            Err(e) => Err(self.why(doing, &e.to_string(), Component::Kernel)),
        }
    }

    /// Returns whether QEMU has ended.
    pub(crate) fn ended(&mut self) -> bool {
        self.qemu_ended = self.qemu_ended.or(wait(&mut self.qemu, Duration::ZERO).ok().flatten());
        self.qemu_ended.is_some()
    }

    /// Returns whether the guest can serve another test.
    pub(crate) fn usable(&mut self) -> bool {
        self.current_ending().is_none()
    }

    /// Returns the guest's deadlines.
    pub(crate) fn deadlines(&self) -> Deadlines {
        self.deadlines
    }

    /// Returns QEMU's process id.
    pub(crate) fn vmm_pid(&self) -> u32 {
        self.qemu.id()
    }

    /// Returns how often virtiofsd has gone to sleep; see [`crate::launch::memory::wakes`].
    pub(crate) fn daemon_wakes(&mut self) -> Option<u64> {
        self.daemon.as_mut().and_then(DaemonProcess::wakes)
    }

    /// Adds to a stop the limit that the image's own virtiofsd has lowered, if the limit may be the cause.
    pub(crate) fn with_lowered_limits(&self, stop: Stop, test: &Test, effort: Effort) -> Stop {
        // One setting requests a low limit.
        let daemon = self.daemon.as_ref().filter(|_| test.setting != Some(DaemonSetting::FewDescriptors));
        match daemon.and_then(|daemon| Lowered::of(daemon.pid(), effort)) {
            Some(lowered) => lowered.explains(stop, test.blames),
            None => stop,
        }
    }

    /// Sends QEMU a signal.
    pub(crate) fn signal_vmm(&self, signal: rustix::process::Signal) -> Result<(), Stop> {
        crate::process::signal(self.qemu.id(), signal).map_err(|e| Stop::error(format!("QEMU: {e}")))
    }

    /// Sends virtiofsd a signal.
    pub(crate) fn signal_daemon(&self, signal: rustix::process::Signal) -> Result<(), Stop> {
        self.daemon.as_ref().ok_or_else(|| Stop::error("the guest has no virtiofsd"))?.signal(signal)
    }

    /// Returns how it was started.
    pub(crate) fn launched(&self) -> &Launched {
        &self.launched
    }

    /// Returns the paths of the logs.
    pub(crate) fn artifacts(&self) -> Vec<PathBuf> {
        logs_in(&self.paths.dir)
    }

    /// Returns the share's directory on the host's side.
    pub(crate) fn shared_dir(&self) -> &Path {
        &self.paths.shared_dir
    }
}

impl Drop for RunningGuest {
    fn drop(&mut self) {
        kill_group(&mut self.qemu);
        drop(self.daemon.take());
    }
}

fn log_socket(stream: UnixStream, path: &Path) -> Result<Log, Stop> {
    Log::collect(stream, path).map_err(|e| Stop::error(format!("logging to {}: {e}", path.display())))
}

/// Returns the logs in a guest's directory.
fn logs_in(folder: &Path) -> Vec<PathBuf> {
    let logs = ["serial.log", "console.log", "qemu.log", "virtiofsd.log"].iter().map(|name| folder.join(name));
    logs.filter(|log| log.exists()).collect()
}
