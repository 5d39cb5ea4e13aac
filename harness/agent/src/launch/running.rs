//! Guests: virtiofsd and QEMU started as the profile's runtime starts them, watched until their end.

use crate::client::{Client, ClientError};
use crate::compose::{self, Composed, Extra, Paths};
use crate::daemon::DaemonProcess;
use crate::ending::{End, Facts, Process, Qmp as QmpFact, judge, oops_line, panic_line, process_state, vmm_ended};
use crate::guest::SHARE;
use crate::log::Log;
use crate::memory::{self, Memory};
use crate::process::{kill_group, spawn, stderr_log, wait};
use crate::protocol::{GuestReply, GuestRequest, Launched};
use crate::provided::{Keeps, Provided};
use crate::waiting::Waiting;
use kata_osinfo::profile::Profile;
use qemu::launch::FdPurpose;
use qemu::qmp::{Qmp, QmpError};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};
use suites::catalogue::Configuration;
use suites::check::Stop;
use suites::environment::{Answer, Claims, Ending, Machine, ModuleSet, Question};
use suites::filesystem::{Action, GuestSide, Reply};
use suites::outcome::Component;

/// A running guest.
pub struct Running {
    profile: Profile,
    launched: Launched,
    guest_cid: Option<u32>,
    paths: Paths,
    qemu: Child,
    qemu_ended: Option<ExitStatus>,
    daemon: Option<DaemonProcess>,
    stderr: Log,
    console: Option<Log>,
    serial: Option<Log>,
    qmp: Option<Qmp<UnixStream>>,
    agent: Option<Client<GuestReply>>,
    waiting: Waiting,
    provided: Provided,
    max_vcpus: u32,
    /// The release of the kernel that it was given.
    kernel: String,
    /// What each use's modules are.
    modules: BTreeMap<String, ModuleSet>,
    boot_time: Duration,
}

/// What it took to fail: why, and how it was tried.
pub struct NotStarted {
    /// Why.
    pub stop: Stop,
    /// How.
    pub launched: Launched,
}

impl Running {
    /// Starts a guest, waits for its agent and mounts its share.
    pub fn start(
        profile: &Profile,
        configuration: Configuration,
        keeps: Keeps,
        provided: Provided,
        claims: &Claims,
        paths: Paths,
    ) -> Result<Running, Box<NotStarted>> {
        let waiting = Waiting::of(provided.nested);
        Running::start_within(profile, configuration, keeps, provided, claims, paths, waiting)
    }

    /// As [`Running::start`], with deadlines of the caller's.
    pub fn start_within(
        profile: &Profile,
        configuration: Configuration,
        keeps: Keeps,
        provided: Provided,
        claims: &Claims,
        paths: Paths,
        waiting: Waiting,
    ) -> Result<Running, Box<NotStarted>> {
        let nothing = |stop| Box::new(NotStarted { stop, launched: Launched::default() });
        let composed = compose::compose(profile, configuration, provided, claims, &paths).map_err(nothing)?;
        let launched = composed.launched();
        let not_started = |stop| Box::new(NotStarted { stop, launched: launched.clone() });
        let mut running = Running::spawn(profile, &composed, paths, waiting).map_err(&not_started)?;
        (running.provided, running.modules) = (provided, claims.modules.clone());
        running.kernel.clone_from(&claims.kernel);
        running.connect().and_then(|()| running.mount(configuration, keeps)).map_err(not_started)?;
        Ok(running)
    }

    fn spawn(profile: &Profile, composed: &Composed, paths: Paths, waiting: Waiting) -> Result<Running, Stop> {
        let mut daemon = match composed.daemon.is_empty() {
            true => None,
            false => Some(DaemonProcess::start(composed, &paths)?),
        };
        if let Some(daemon) = &mut daemon
            && let Some(ending) = daemon.ending(Duration::from_millis(50))
        {
            return Err(ending.stop("starting virtiofsd"));
        }
        let listener =
            UnixListener::bind(&paths.qmp).map_err(|e| Stop::error(format!("binding {}: {e}", paths.qmp.display())))?;
        let mut fds: Vec<(OwnedFd, i32)> =
            composed.qmp_fd.map(|number| (OwnedFd::from(listener), number)).into_iter().collect();
        for fd in &composed.vhost {
            fds.push((crate::vhost::open(fd.purpose, composed.guest_cid, &composed.disk)?, fd.number));
        }
        if composed.qmp_fd.is_none() {
            // QEMU binds the path itself; the listener above has been dropped.
            let _ = std::fs::remove_file(&paths.qmp);
        }
        let mut qemu = spawn(&composed.qemu, fds)
            .map_err(|e| Stop::blame(Component::Qemu, format!("{} does not start: {e}", composed.qemu[0])))?;
        let stderr = stderr_log(&mut qemu, &paths.dir.join("qemu.log"))
            .map_err(|e| Stop::error(format!("logging QEMU: {e}")))?;
        Ok(Running {
            profile: profile.clone(),
            launched: composed.launched(),
            guest_cid: composed.vhost.iter().any(|fd| fd.purpose == FdPurpose::Vsock).then_some(composed.guest_cid),
            paths,
            qemu,
            qemu_ended: None,
            daemon,
            stderr,
            console: None,
            serial: None,
            qmp: None,
            agent: None,
            waiting,
            provided: Provided::default(),
            max_vcpus: composed.max_vcpus,
            kernel: String::new(),
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
        match Qmp::connect(qmp, self.waiting.qmp) {
            Ok(qmp) => self.qmp = Some(qmp),
            Err(e) => return Err(self.why("starting QEMU", &e.to_string(), Component::Qemu)),
        }
        let serial = self.serial.clone();
        let qemu = &mut self.qemu;
        let mut ended = self.qemu_ended;
        let hello = self.agent.as_ref().map_or(Err(ClientError::Ended), |agent| {
            agent.wait_for_hello(self.waiting.boot, || {
                ended = ended.or(wait(qemu, Duration::ZERO).ok().flatten());
                ended.is_none() && serial.as_ref().is_none_or(|log| panic_line(&log.text()).is_none())
            })
        });
        self.qemu_ended = ended;
        self.boot_time = began.elapsed();
        hello.map_err(|e| self.why("booting the guest to userspace", &e.to_string(), Component::Kernel))
    }

    /// Connects to a socket that QEMU listens on, as soon as it does.
    fn connect_to(&mut self, path: PathBuf) -> Result<UnixStream, Stop> {
        let end = Instant::now() + self.waiting.start;
        loop {
            let error = match UnixStream::connect(&path) {
                Ok(stream) => return Ok(stream),
                Err(e) => e,
            };
            if self.ended() || Instant::now() > end {
                let seen = format!("{} does not answer: {error}", path.display());
                return Err(self.why("starting QEMU", &seen, Component::Qemu));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn mount(&mut self, configuration: Configuration, keeps: Keeps) -> Result<(), Stop> {
        // What containers need is loaded in plain guests only; a share's guest shows what the share needs.
        let used_for: &[&str] = match configuration {
            _ if keeps == Keeps::Vsock => &["vsock"],
            // Their tests load what they need, and say what is missing.
            _ if self.paths.extra != Extra::Nothing => &[],
            Configuration::VirtioFs | Configuration::VirtioFsXattr | Configuration::VirtioFsAcl => &["virtio-fs"],
            Configuration::Virtio9p => &["virtio-9p"],
            Configuration::VirtioBlk => &["virtio-blk"],
            _ => &["other"],
        };
        used_for.iter().try_for_each(|used_for| self.load_modules(used_for))?;
        if let Some((source, fstype, options)) = compose::mount(configuration) {
            let request = GuestRequest::Mount {
                source: source.to_owned(),
                fstype: fstype.to_owned(),
                options: options.to_owned(),
                target: SHARE.to_owned(),
            };
            self.request(request, Duration::from_secs(60), "mounting the share in the guest")?;
        }
        Ok(())
    }

    /// Sends a request to the guest; no answer becomes a stop that says how the guest ended.
    pub fn request(&mut self, request: GuestRequest, deadline: Duration, doing: &str) -> Result<GuestReply, Stop> {
        let serial = self.serial.clone();
        let woken_before = self.daemon_wakes();
        let (Some(agent), mut ended) = (&self.agent, self.qemu_ended) else {
            return Err(Stop::error(format!("{doing}: the guest has no agent")));
        };
        let qemu = &mut self.qemu;
        let reply = agent.ask(request, deadline, || {
            ended = ended.or(wait(qemu, Duration::ZERO).ok().flatten());
            let panicked = || serial.as_ref().is_some_and(|log| panic_line(&log.text()).is_some());
            ended.is_none() && agent.silent_for() < self.waiting.silence && !panicked()
        });
        self.qemu_ended = ended;
        match reply {
            Ok(GuestReply::Failed { message }) => Err(Stop::fail(format!("{doing}: {message}"))),
            Ok(reply) => Ok(reply),
            Err(ClientError::Late(after)) if self.how_it_is().is_none() => {
                // The guest lives, what it was asked for does not end.
                let late = format!("{doing}: not finished within {after:?}; the guest is alive");
                let woken = self.daemon_wakes();
                if woken.is_some() && woken == woken_before {
                    return Err(memory::unheard(&late));
                }
                Err(memory::blame(&late, self.memory()))
            }
            Err(e) => Err(self.why(doing, &e.to_string(), Component::Kernel)),
        }
    }

    /// Whether what the daemon writes into the guest's memory can reach the guest; `None` without a daemon.
    fn memory(&mut self) -> Option<Memory> {
        let daemon = self.daemon.as_ref()?.pid();
        let said = self.qmp.as_mut().and_then(|qmp| qmp.execute("query-memdev", serde_json::json!({})).ok());
        Some(memory::between(self.qemu.id(), daemon, said.as_ref()))
    }

    /// Whether QEMU has ended.
    pub fn ended(&mut self) -> bool {
        self.qemu_ended = self.qemu_ended.or(wait(&mut self.qemu, Duration::ZERO).ok().flatten());
        self.qemu_ended.is_some()
    }

    /// Whether the guest can serve another test.
    pub fn usable(&mut self) -> bool {
        self.how_it_is().is_none()
    }

    /// QEMU's process id.
    pub fn vmm_pid(&self) -> u32 {
        self.qemu.id()
    }

    /// How often virtiofsd has gone to sleep; see [`memory::wakes`].
    pub fn daemon_wakes(&mut self) -> Option<u64> {
        self.daemon.as_mut().and_then(DaemonProcess::wakes)
    }

    /// Sends QEMU a signal.
    pub fn signal_vmm(&self, signal: rustix::process::Signal) -> Result<(), Stop> {
        crate::process::signal(self.qemu.id(), signal).map_err(|e| Stop::error(format!("QEMU: {e}")))
    }

    /// Sends virtiofsd a signal.
    pub fn signal_daemon(&self, signal: rustix::process::Signal) -> Result<(), Stop> {
        self.daemon.as_ref().ok_or_else(|| Stop::error("the guest has no virtiofsd"))?.signal(signal)
    }

    /// How it was started.
    pub fn launched(&self) -> &Launched {
        &self.launched
    }

    /// Paths of the logs.
    pub fn artifacts(&self) -> Vec<PathBuf> {
        ["serial.log", "console.log", "qemu.log", "virtiofsd.log"]
            .iter()
            .map(|name| self.paths.dir.join(name))
            .filter(|p| p.exists())
            .collect()
    }

    /// The share's folder on the host's side.
    pub fn shared_dir(&self) -> &Path {
        &self.paths.shared_dir
    }

    /// The profile.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    fn kernel_line(&self, find: fn(&str) -> Option<String>) -> Option<String> {
        [&self.serial, &self.console].into_iter().flatten().find_map(|log| find(&log.text()))
    }

    /// The stop for an unexpected end, which is awaited first; without one `otherwise` is blamed for what was seen.
    fn why(&mut self, doing: &str, seen: &str, otherwise: Component) -> Stop {
        self.await_the_vmms_end();
        match self.how_it_is() {
            Some(ending) => ending.stop(doing),
            None => {
                let last = self.serial.as_ref().map(|log| log.last_lines(3)).unwrap_or_default();
                Stop::blame(otherwise, format!("{doing}: {seen}; last on the serial console: {last}"))
            }
        }
    }

    /// Lines and daemons end a moment before the process whose crash ended them can be reaped.
    fn await_the_vmms_end(&mut self) {
        if self.qemu_ended.is_none() {
            self.qemu_ended = wait(&mut self.qemu, self.waiting.end).ok().flatten();
        }
    }

    /// How the guest ended, or what is wrong with it; `None` if nothing is.
    pub fn how_it_is(&mut self) -> Option<Ending> {
        let facts = self.facts();
        judge(&facts)
    }

    fn facts(&mut self) -> Facts {
        let line_ended = self.agent.as_ref().is_some_and(Client::ended);
        let daemon_ended = self.daemon.as_mut().is_some_and(|daemon| daemon.end(Duration::ZERO).is_some());
        if line_ended || daemon_ended {
            self.await_the_vmms_end();
        }
        let ended = self.ended();
        if ended {
            // The kernel's last words and the exit race each other through different sockets.
            for log in [&self.serial, &self.console, &Some(self.stderr.clone())].into_iter().flatten() {
                log.settle();
            }
        }
        let daemon_has = if ended { Duration::from_secs(1) } else { Duration::ZERO };
        let mut facts = Facts {
            panic: self.kernel_line(panic_line),
            oops: self.kernel_line(oops_line),
            vmm: match self.qemu_ended {
                Some(status) => {
                    Process::Ended { end: End::of_qemu(status, &self.stderr.text()), words: self.stderr.last_lines(4) }
                }
                None => living(self.qemu.id()),
            },
            daemon: self.daemon.as_mut().map(|daemon| match daemon.end(daemon_has) {
                Some(end) => Process::Ended { end, words: daemon.last_lines() },
                None => living(daemon.pid()),
            }),
            line_ended,
            silent: None,
            qmp: None,
        };
        let silent = self.agent.as_ref().map_or(Duration::ZERO, Client::silent_for);
        if silent >= self.waiting.silence && facts.vmm == Process::Runs {
            facts.silent = Some(silent.as_secs());
            facts.qmp = Some(self.status());
        }
        facts
    }

    fn status(&mut self) -> QmpFact {
        let Some(qmp) = &mut self.qmp else { return QmpFact::Nothing };
        match qmp.execute("query-status", serde_json::json!({})) {
            Ok(status) if status.get("status") == Some(&"running".into()) => QmpFact::Running,
            Ok(status) => QmpFact::Other(status.to_string()),
            Err(QmpError::Command { description, .. }) => QmpFact::Other(description),
            Err(_) => QmpFact::Nothing,
        }
    }

    /// Whose fault it is that a QMP command has no answer.
    fn refused(&mut self, command: &str, error: &QmpError) -> Stop {
        match error {
            QmpError::Command { .. } | QmpError::Protocol { .. } => {
                Stop::blame(Component::Qemu, format!("QMP {command}: {error}"))
            }
            // The connection is gone or silent: QEMU's end says whose fault that is.
            _ => self.why(&format!("QMP {command}"), &error.to_string(), Component::Qemu),
        }
    }
}

/// A process that has not been reaped: stopped, or else running.
fn living(pid: u32) -> Process {
    if process_state(pid) == Some('T') { Process::Stopped } else { Process::Runs }
}

impl Machine for Running {
    fn ask(&mut self, question: Question) -> Result<Answer, Stop> {
        let last_words = match &question {
            Question::PowerOff | Question::Spin | Question::Oops => true,
            Question::Write { path, .. } => path == "/proc/sysrq-trigger",
            _ => false,
        };
        if last_words {
            let sent = self.agent.as_ref().map(|agent| agent.send(GuestRequest::Ask { question }));
            return sent.transpose().map(|_| Answer::Done).map_err(|e| Stop::error(e.to_string()));
        }
        match self.request(GuestRequest::Ask { question }, self.waiting.answer, "asking the guest")? {
            GuestReply::Answered { answer } => Ok(answer),
            other => Err(Stop::error(format!("asking the guest: unexpected reply {other:?}"))),
        }
    }

    fn qmp(&mut self, command: &str, arguments: serde_json::Value) -> Result<serde_json::Value, Stop> {
        let Some(qmp) = &mut self.qmp else { return Err(Stop::error("the guest has no QMP connection")) };
        let result = qmp.execute(command, arguments);
        result.map_err(|e| self.refused(command, &e))
    }

    fn qmp_with(
        &mut self,
        command: &str,
        arguments: serde_json::Value,
        file: &File,
    ) -> Result<serde_json::Value, Stop> {
        let Some(qmp) = &mut self.qmp else { return Err(Stop::error("the guest has no QMP connection")) };
        let result = qmp.execute_with(command, arguments, file.as_fd());
        result.map_err(|e| self.refused(command, &e))
    }

    fn wait_for_event(&mut self, name: &str, deadline: Duration) -> Result<Option<serde_json::Value>, Stop> {
        let Some(qmp) = &mut self.qmp else { return Err(Stop::error("the guest has no QMP connection")) };
        match qmp.wait_event(name, deadline) {
            Ok(event) => Ok(Some(event)),
            Err(QmpError::Timeout { .. }) => Ok(None),
            Err(e) => Err(self.why(&format!("waiting for {name}"), &e.to_string(), Component::Qemu)),
        }
    }

    fn load_modules(&mut self, used_for: &str) -> Result<(), Stop> {
        let Some(set) = self.modules.get(used_for).cloned() else { return Ok(()) };
        let request = GuestRequest::LoadModules { names: set.load };
        self.request(request, Duration::from_secs(60) * self.waiting.times, "loading modules").map(drop)
    }

    fn kernel(&self) -> &str {
        &self.kernel
    }

    fn boot_time(&self) -> Duration {
        self.boot_time
    }

    fn has_kvm(&self) -> bool {
        self.provided.kvm
    }

    fn is_emulated(&self) -> bool {
        !self.provided.kvm || self.provided.nested
    }

    fn max_vcpus(&self) -> u32 {
        self.max_vcpus
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn console(&self) -> String {
        self.console.as_ref().map(Log::text).unwrap_or_default()
    }

    fn serial(&self) -> String {
        self.serial.as_ref().map(Log::text).unwrap_or_default()
    }

    fn wait_for_end(&mut self, deadline: Duration) -> Result<Ending, Stop> {
        let deadline = deadline * self.waiting.times;
        let end = Instant::now() + deadline;
        loop {
            if self.ended() {
                break;
            }
            if Instant::now() > end {
                let last = self.serial.as_ref().map(|log| log.last_lines(3)).unwrap_or_default();
                let state = match self.how_it_is() {
                    Some(ending @ (Ending::VmmStopped { .. } | Ending::DaemonStopped | Ending::LineClosed)) => {
                        return Err(ending.stop("waiting for QEMU's end"));
                    }
                    ending => ending.map_or_else(|| "alive".to_owned(), |ending| format!("{ending:?}")),
                };
                return Err(Stop::fail(format!(
                    "QEMU did not end within {deadline:?}; the guest is {state}; last on the serial console: {last}"
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.how_it_is().ok_or_else(|| Stop::error("QEMU ended in an unknown way"))
    }

    fn silence(&self) -> Duration {
        self.waiting.silence
    }

    fn heard(&self, within: Duration) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.silent_for() < within)
    }

    fn vmm_pid(&self) -> u32 {
        Running::vmm_pid(self)
    }

    fn guest_cid(&self) -> Option<u32> {
        self.guest_cid
    }

    fn kill_vmm(&mut self) -> Result<(), Stop> {
        kill_group(&mut self.qemu);
        self.ended();
        Ok(())
    }

    fn wait_for_daemon(&mut self, deadline: Duration) -> Result<(), Stop> {
        match &mut self.daemon {
            None => Ok(()),
            Some(daemon) => daemon.end(deadline).map(drop).ok_or_else(|| Stop::fail("virtiofsd still runs")),
        }
    }
}

impl GuestSide for Running {
    fn act(&mut self, action: Action) -> Result<Reply, Stop> {
        match self.request(GuestRequest::Act { action }, Duration::from_secs(60), "acting in the guest") {
            Ok(GuestReply::Acted { reply }) => Ok(reply),
            Ok(other) => Err(Stop::error(format!("acting in the guest: unexpected reply {other:?}"))),
            Err(stop) => Err(stop),
        }
    }

    fn daemon_descriptors(&mut self) -> Result<usize, Stop> {
        let daemon = self.daemon.as_ref().ok_or_else(|| Stop::error("this guest has no virtiofsd"))?;
        daemon.descriptors()
    }

    fn kill_vmm(&mut self) -> Result<(), Stop> {
        Machine::kill_vmm(self)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        kill_group(&mut self.qemu);
        drop(self.daemon.take());
        self.paths.remove_sockets();
    }
}

fn log_socket(stream: UnixStream, path: &Path) -> Result<Log, Stop> {
    Log::collect(stream, path).map_err(|e| Stop::error(format!("logging to {}: {e}", path.display())))
}

/// Starts QEMU's virtio-fs half against a listener of ours; `Ok` when it has begun to speak vhost-user.
pub fn against_a_silent_daemon(composed: &Composed, paths: &Paths) -> Result<(), Stop> {
    let failed = |e: io::Error| Stop::error(format!("listening on {}: {e}", paths.virtiofsd.display()));
    let listener = UnixListener::bind(&paths.virtiofsd).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let qmp = UnixListener::bind(&paths.qmp).map_err(failed)?;
    let mut fds: Vec<(OwnedFd, i32)> = composed.qmp_fd.map(|number| (OwnedFd::from(qmp), number)).into_iter().collect();
    for fd in &composed.vhost {
        fds.push((crate::vhost::open(fd.purpose, composed.guest_cid, &composed.disk)?, fd.number));
    }
    if composed.qmp_fd.is_none() {
        let _ = std::fs::remove_file(&paths.qmp);
    }
    let mut qemu =
        spawn(&composed.qemu, fds).map_err(|e| Stop::fail(format!("{} does not start: {e}", composed.qemu[0])))?;
    let result = spoken_to(&listener, &mut qemu, &paths.dir.join("qemu.log"));
    kill_group(&mut qemu);
    paths.remove_sockets();
    result
}

/// Waits for the first bytes of QEMU's first vhost-user message.
fn spoken_to(listener: &UnixListener, qemu: &mut Child, log: &Path) -> Result<(), Stop> {
    let stderr = stderr_log(qemu, log).map_err(|e| Stop::error(format!("logging QEMU: {e}")))?;
    let end = Instant::now() + Duration::from_secs(30);
    let mut connection: Option<UnixStream> = None;
    while Instant::now() < end {
        if connection.is_none()
            && let Ok((stream, _)) = listener.accept()
        {
            stream.set_nonblocking(true).map_err(|e| Stop::error(e.to_string()))?;
            connection = Some(stream);
        }
        let mut header = [0; 12];
        if let Some(stream) = &mut connection
            && matches!(io::Read::read(stream, &mut header), Ok(1..))
        {
            return Ok(());
        }
        if let Some(status) = wait(qemu, Duration::from_millis(10)).map_err(|e| Stop::error(e.to_string()))? {
            stderr.settle();
            let ending = vmm_ended(End::of_qemu(status, &stderr.text()), &stderr.last_lines(4));
            return Err(ending.stop("starting QEMU against a listener of ours"));
        }
    }
    Err(Stop::fail(format!("QEMU did not speak vhost-user within 30 s: {}", stderr.last_lines(4))))
}
