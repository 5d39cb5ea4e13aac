//! Guests: virtiofsd and QEMU started as the profile's runtime starts them, watched until their end.

use crate::client::{Client, ClientError};
use crate::compose::{self, Composed, Keeps, Paths, Provided};
use crate::ending::{oops_line, panic_line, process_state, verdict};
use crate::guest::SHARE;
use crate::log::Log;
use crate::process::{how_it_ended, kill_group, prepare, wait};
use crate::protocol::{GuestReply, GuestRequest, Launched};
use kata_osinfo::profile::Profile;
use qemu::launch::FdPurpose;
use qemu::qmp::Qmp;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use suites::catalogue::Configuration;
use suites::check::Stop;
use suites::environment::{Answer, Claims, Ending, Machine, ModuleSet, Question};
use suites::filesystem::{Action, GuestSide, Reply};
use suites::outcome::Component;

/// How long a guest may take to its agent's hello under emulation on a busy machine.
const BOOT: Duration = Duration::from_secs(100);
/// A guest that has not been heard of for so long hangs; heartbeats come twice a second.
const SILENCE: Duration = Duration::from_secs(20);
/// How long QEMU may take to answer QMP.
const QMP: Duration = Duration::from_secs(20);

/// A virtiofsd that was started.
pub struct DaemonProcess {
    child: Child,
    ended: Option<ExitStatus>,
    log: Log,
}

impl DaemonProcess {
    /// Starts the profile's daemon for a share.
    pub fn start(composed: &Composed, paths: &Paths) -> Result<DaemonProcess, Stop> {
        let argv = &composed.daemon;
        let failed = |e: io::Error| Stop::error(format!("starting {}: {e}", argv[0]));
        let fds = match composed.daemon_fd {
            // Go listens itself and hands the listener down; runtime-rs lets the daemon listen.
            Some(number) => vec![(OwnedFd::from(UnixListener::bind(&paths.virtiofsd).map_err(failed)?), number)],
            None => Vec::new(),
        };
        let mut child = spawn(argv, fds)
            .map_err(|e| Stop::blame(Component::Virtiofsd, format!("{} does not start: {e}", argv[0])))?;
        let log = stderr_log(&mut child, &paths.dir.join("virtiofsd.log")).map_err(failed)?;
        let mut daemon = DaemonProcess { child, ended: None, log };
        let end = Instant::now() + Duration::from_secs(15);
        // Without a listener of its own there is nothing to wait for: QEMU's connection waits in the queue.
        while composed.daemon_fd.is_none() && !paths.virtiofsd.exists() && Instant::now() < end {
            if suites::environment::Daemon::wait(&mut daemon, Duration::from_millis(20)).is_some() {
                break;
            }
        }
        Ok(daemon)
    }
}

impl DaemonProcess {
    /// Its last words, for a message.
    fn last_lines(&self) -> String {
        let text = suites::environment::Daemon::log(self);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        if lines.is_empty() {
            return "it printed nothing".to_owned();
        }
        lines[lines.len().saturating_sub(8)..].join(" | ")
    }
}

impl suites::environment::Daemon for DaemonProcess {
    fn log(&self) -> String {
        // With --syslog a refusal goes there and nowhere else.
        format!("{}\n{}", self.log.text(), crate::environment::syslog_of(self.child.id()))
    }

    fn wait(&mut self, deadline: Duration) -> Option<String> {
        if self.ended.is_none() {
            self.ended = wait(&mut self.child, deadline).ok().flatten();
            if self.ended.is_some() {
                settle(&self.log);
            }
        }
        self.ended.map(how_it_ended)
    }
}

impl Drop for DaemonProcess {
    fn drop(&mut self) {
        kill_group(&mut self.child);
    }
}

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
    /// How long it may be silent before it hangs.
    silence: Duration,
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
        // A guest of an emulated machine is emulated twice over.
        let boot = if provided.nested { BOOT * 3 } else { BOOT };
        Running::start_within(profile, configuration, keeps, provided, claims, paths, boot)
    }

    /// As [`Running::start`], with a deadline of the caller's for the guest's boot.
    pub fn start_within(
        profile: &Profile,
        configuration: Configuration,
        keeps: Keeps,
        provided: Provided,
        claims: &Claims,
        paths: Paths,
        boot: Duration,
    ) -> Result<Running, Box<NotStarted>> {
        let nothing = |stop| Box::new(NotStarted { stop, launched: Launched::default() });
        let composed = compose::compose(profile, configuration, provided, claims, &paths).map_err(nothing)?;
        let launched = composed.launched();
        let not_started = |stop| Box::new(NotStarted { stop, launched: launched.clone() });
        let mut running = Running::spawn(profile, &composed, paths).map_err(&not_started)?;
        if provided.nested {
            // On a busy machine 20 s without a heartbeat say little of a guest that is emulated twice over.
            running.silence = SILENCE * 3;
        }
        running.connect(boot).and_then(|()| running.mount(configuration, keeps, claims)).map_err(not_started)?;
        Ok(running)
    }

    fn spawn(profile: &Profile, composed: &Composed, paths: Paths) -> Result<Running, Stop> {
        let mut daemon = match composed.daemon.is_empty() {
            true => None,
            false => Some(DaemonProcess::start(composed, &paths)?),
        };
        if let Some(daemon) = &mut daemon
            && let Some(how) = suites::environment::Daemon::wait(daemon, Duration::from_millis(50))
        {
            let said = daemon.last_lines();
            return Err(Stop::blame(Component::Virtiofsd, format!("virtiofsd ended at once ({how}): {said}")));
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
            silence: SILENCE,
        })
    }

    /// Connects to QEMU's sockets and waits for the guest's agent.
    fn connect(&mut self, boot: Duration) -> Result<(), Stop> {
        let serial = self.connect_to(self.paths.serial.clone())?;
        self.serial = Some(log_socket(serial, &self.paths.dir.join("serial.log"))?);
        let console = self.connect_to(self.paths.console.clone())?;
        self.console = Some(log_socket(console, &self.paths.dir.join("console.log"))?);
        let agent = self.connect_to(self.paths.agent.clone())?;
        self.agent = Some(Client::new(agent).map_err(|e| Stop::error(format!("listening to the guest's agent: {e}")))?);
        let qmp = self.connect_to(self.paths.qmp.clone())?;
        match Qmp::connect(qmp, QMP) {
            Ok(qmp) => self.qmp = Some(qmp),
            Err(e) => {
                // A QEMU that refuses its arguments closes its sockets a moment before it exits.
                self.qemu_ended = wait(&mut self.qemu, Duration::from_secs(2)).ok().flatten();
                return Err(self.why("starting QEMU", &e.to_string()));
            }
        }
        let serial = self.serial.clone();
        let qemu = &mut self.qemu;
        let mut ended = self.qemu_ended;
        let hello = self.agent.as_ref().map_or(Err(ClientError::Ended), |agent| {
            agent.wait_for_hello(boot, || {
                ended = ended.or(wait(qemu, Duration::ZERO).ok().flatten());
                ended.is_none() && serial.as_ref().is_none_or(|log| panic_line(&log.text()).is_none())
            })
        });
        self.qemu_ended = ended;
        hello.map_err(|e| self.why("booting the guest to userspace", &e.to_string()))
    }

    /// Connects to a socket that QEMU listens on, as soon as it does.
    fn connect_to(&mut self, path: PathBuf) -> Result<UnixStream, Stop> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let error = match UnixStream::connect(&path) {
                Ok(stream) => return Ok(stream),
                Err(e) => e,
            };
            if self.ended() || Instant::now() > end {
                return Err(self.why("starting QEMU", &format!("{} does not answer: {error}", path.display())));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn mount(&mut self, configuration: Configuration, keeps: Keeps, claims: &Claims) -> Result<(), Stop> {
        // What containers need is loaded in plain guests only; a share's guest shows what the share needs.
        let used_for: &[&str] = match configuration {
            _ if keeps == Keeps::Vsock => &["vsock"],
            Configuration::VirtioFs | Configuration::VirtioFsXattr | Configuration::VirtioFsAcl => &["virtio-fs"],
            Configuration::Virtio9p => &["virtio-9p"],
            Configuration::VirtioBlk => &["virtio-blk"],
            _ => &["other"],
        };
        let sets: Vec<ModuleSet> = used_for.iter().filter_map(|u| claims.modules.get(*u).cloned()).collect();
        for set in sets {
            self.request(GuestRequest::LoadModules { names: set.load }, Duration::from_secs(60), "loading modules")?;
        }
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
        let (Some(agent), mut ended) = (&self.agent, self.qemu_ended) else {
            return Err(Stop::error(format!("{doing}: the guest has no agent")));
        };
        let qemu = &mut self.qemu;
        let reply = agent.ask(request, deadline, || {
            ended = ended.or(wait(qemu, Duration::ZERO).ok().flatten());
            let panicked = || serial.as_ref().is_some_and(|log| panic_line(&log.text()).is_some());
            ended.is_none() && agent.silent_for() < self.silence && !panicked()
        });
        self.qemu_ended = ended;
        match reply {
            Ok(GuestReply::Failed { message }) => Err(Stop::fail(format!("{doing}: {message}"))),
            Ok(reply) => Ok(reply),
            Err(ClientError::Late(after)) if self.agent.as_ref().is_some_and(|a| a.silent_for() < SILENCE) => {
                if let Some(ending @ Ending::DaemonDied { .. }) = self.how_it_is() {
                    return Err(verdict(doing, &ending));
                }
                // The guest lives, what it was asked for does not end.
                Err(Stop::fail(format!("{doing}: not finished within {after:?}; the guest is alive")))
            }
            Err(e) => Err(self.why(doing, &e.to_string())),
        }
    }

    /// Whether QEMU has ended.
    pub fn ended(&mut self) -> bool {
        self.qemu_ended = self.qemu_ended.or(wait(&mut self.qemu, Duration::ZERO).ok().flatten());
        self.qemu_ended.is_some()
    }

    /// Whether the guest can serve another test.
    pub fn usable(&mut self) -> bool {
        !self.ended()
            && self.agent.as_ref().is_some_and(|a| a.silent_for() < SILENCE)
            && self.kernel_line(panic_line).is_none()
            && self.kernel_line(oops_line).is_none()
    }

    /// QEMU's process id.
    pub fn vmm_pid(&self) -> u32 {
        self.qemu.id()
    }

    /// Sends QEMU a signal.
    pub fn signal_vmm(&self, signal: rustix::process::Signal) -> Result<(), Stop> {
        let pid = i32::try_from(self.qemu.id()).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.ok_or_else(|| Stop::error("QEMU has no process id"))?;
        rustix::process::kill_process(pid, signal).map_err(|e| Stop::error(format!("sending QEMU {signal:?}: {e}")))
    }

    /// Kills virtiofsd, if there is one.
    pub fn kill_daemon(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            kill_group(&mut daemon.child);
        }
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

    /// The stop for an unexpected end, or for silence without an end.
    fn why(&mut self, doing: &str, seen: &str) -> Stop {
        match self.how_it_is() {
            Some(ending) => verdict(doing, &ending),
            None => {
                let last = self.serial.as_ref().map(|log| log.last_lines(3)).unwrap_or_default();
                Stop::blame(Component::Kernel, format!("{doing}: {seen}; last on the serial console: {last}"))
            }
        }
    }

    /// How the guest ended, or what is wrong with it; `None` if nothing is.
    pub fn how_it_is(&mut self) -> Option<Ending> {
        // The kernel's last words and the exit race each other through different sockets.
        if self.ended() {
            for log in [&self.serial, &self.console, &Some(self.stderr.clone())].into_iter().flatten() {
                settle(log);
            }
        }
        if let Some(line) = self.kernel_line(panic_line) {
            return Some(Ending::Panicked { line });
        }
        if let Some(status) = self.qemu_ended {
            return Some(match (status.code(), status.signal()) {
                (Some(0), _) => Ending::PoweredOff,
                (Some(code), _) => Ending::VmmExited { code, stderr: self.stderr.last_lines(4) },
                (None, signal) => Ending::VmmKilled { signal: signal.unwrap_or(0) },
            });
        }
        if let Some(daemon) = &mut self.daemon
            && let Some(how) = suites::environment::Daemon::wait(daemon, Duration::ZERO)
        {
            return Some(Ending::DaemonDied { how: format!("{how}: {}", daemon.last_lines()) });
        }
        if let Some(line) = self.kernel_line(oops_line) {
            return Some(Ending::Oopsed { line });
        }
        if process_state(self.qemu.id()) == Some('T') {
            return Some(Ending::VmmStopped { state: "its process is in state T".to_owned() });
        }
        let silent = self.agent.as_ref().map_or(Duration::ZERO, Client::silent_for);
        if silent < self.silence {
            return None;
        }
        match self.qmp("query-status", serde_json::json!({})) {
            Err(_) => Some(Ending::VmmStopped { state: "QMP does not answer".to_owned() }),
            Ok(status) if status.get("status") == Some(&"running".into()) => {
                Some(Ending::Hung { silent: silent.as_secs() })
            }
            Ok(status) => Some(Ending::VmmStopped { state: format!("QMP says {status}") }),
        }
    }
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
        match self.request(GuestRequest::Ask { question }, Duration::from_secs(40), "asking the guest")? {
            GuestReply::Answered { answer } => Ok(answer),
            other => Err(Stop::error(format!("asking the guest: unexpected reply {other:?}"))),
        }
    }

    fn qmp(&mut self, command: &str, arguments: serde_json::Value) -> Result<serde_json::Value, Stop> {
        let Some(qmp) = &mut self.qmp else { return Err(Stop::error("the guest has no QMP connection")) };
        qmp.execute(command, arguments).map_err(|e| Stop::blame(Component::Qemu, format!("QMP {command}: {e}")))
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
        let end = Instant::now() + deadline;
        loop {
            if self.ended() {
                break;
            }
            if Instant::now() > end {
                let last = self.serial.as_ref().map(|log| log.last_lines(3)).unwrap_or_default();
                let state = self.how_it_is().map_or_else(|| "alive".to_owned(), |ending| format!("{ending:?}"));
                return Err(Stop::fail(format!(
                    "QEMU did not end within {deadline:?}; the guest is {state}; last on the serial console: {last}"
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.how_it_is().ok_or_else(|| Stop::error("QEMU ended in an unknown way"))
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
            Some(daemon) => suites::environment::Daemon::wait(daemon, deadline)
                .map(drop)
                .ok_or_else(|| Stop::fail("virtiofsd still runs")),
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

/// Starts a program with no input and a pipe for its standard error.
fn spawn(argv: &[String], fds: Vec<(OwnedFd, i32)>) -> io::Result<Child> {
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    prepare(&mut command, fds).spawn()
}

fn stderr_log(child: &mut Child, path: &Path) -> io::Result<Log> {
    let stderr = child.stderr.take().ok_or_else(|| io::Error::other("no pipe for standard error"))?;
    Log::collect(stderr, path)
}

fn log_socket(stream: UnixStream, path: &Path) -> Result<Log, Stop> {
    Log::collect(stream, path).map_err(|e| Stop::error(format!("logging to {}: {e}", path.display())))
}

/// Gives a log's collector a moment to see the end of a program that has ended.
fn settle(log: &Log) {
    let end = Instant::now() + Duration::from_secs(2);
    while !log.closed() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
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
            settle(&stderr);
            return Err(Stop::fail(format!("QEMU refused ({}): {}", how_it_ended(status), stderr.last_lines(4))));
        }
    }
    Err(Stop::fail(format!("QEMU did not speak vhost-user within 30 s: {}", stderr.last_lines(4))))
}
