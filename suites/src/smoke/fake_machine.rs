//! A fake guest and a fake environment for the bodies' own tests, with given files, QMP answers and events.

use crate::check::{Check, Stop};
use crate::claims::{Claims, ModuleSet};
use crate::environment::{
    Action, Answer, CommandOutput, Daemon, DiskServer, Ending, EnvironmentSide, Machine, OtherMachine, Question, Reply,
    Setting, Tap, VcpuError, VcpuRun,
};
use crate::outcome::Component;
use crate::share::Share;
use model::arch::Arch;
use model::database::Database;
use model::kernel::KernelRelease;
use model::profile::{ModuleUse, Profile};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// QMP's answer to a command and its arguments.
type Qmp = Box<dyn FnMut(&str, &Value) -> Result<Value, Stop>>;

/// The guest's answer to a question; `None` means that its files answer.
type Answers = Box<dyn FnMut(&Question) -> Option<Answer>>;

/// A fake guest, on hardware by default.
pub(super) struct FakeMachine {
    profile: &'static Profile,
    /// The guest's files; a directory's content is the names in it, one a line.
    pub(super) files: BTreeMap<String, String>,
    /// The CPUs that do work.
    pub(super) cpus: Vec<usize>,
    /// QMP's answers.
    pub(super) qmp: Qmp,
    /// The guest's answers.
    pub(super) answers: Answers,
    /// The result of each wait for an event, in order; after the last, no event comes.
    pub(super) events: VecDeque<Option<Value>>,
    /// The QMP commands that were sent, in order.
    pub(super) sent: Vec<(String, Value)>,
    /// Its serial log.
    pub(super) serial: String,
    /// Whether its processor is emulated.
    pub(super) emulated: bool,
    /// Whether it is silent after `stop`.
    pub(super) pauses: bool,
    /// Whether it is heard again after `cont`.
    pub(super) wakes: bool,
    /// How long it may be silent before it counts as hung.
    pub(super) silence: Duration,
    kernel: KernelRelease,
}

impl FakeMachine {
    /// Creates a guest of the profile, without files, whose QMP answers everything with `{}`.
    pub(super) fn of(profile: &str) -> FakeMachine {
        FakeMachine {
            profile: Profile::find(profile).unwrap(),
            files: BTreeMap::new(),
            cpus: vec![0],
            qmp: Box::new(|_, _| Ok(json!({}))),
            answers: Box::new(|_| None),
            events: VecDeque::new(),
            sent: Vec::new(),
            serial: String::new(),
            emulated: false,
            pauses: true,
            wakes: true,
            silence: Duration::from_secs(60),
            kernel: "6.12.48".parse().unwrap(),
        }
    }

    /// Returns how often a QMP command was sent.
    pub(super) fn count(&self, command: &str) -> usize {
        self.sent.iter().filter(|(name, _)| name == command).count()
    }
}

impl Machine for FakeMachine {
    fn ask(&mut self, question: Question) -> Result<Answer, Stop> {
        if let Some(answer) = (self.answers)(&question) {
            return Ok(answer);
        }
        let none = |path: &str| Answer::Failed { message: format!("{path}: no such file") };
        Ok(match question {
            Question::Read { path } => match self.files.get(&path) {
                Some(text) => Answer::Text { text: text.clone() },
                None => none(&path),
            },
            Question::List { path } => match self.files.get(&path) {
                Some(names) => Answer::Names { names: names.lines().map(str::to_owned).collect() },
                None => none(&path),
            },
            Question::WorkOnEachCpu => Answer::Cpus { cpus: self.cpus.clone() },
            _ => Answer::Done,
        })
    }

    fn act(&mut self, _: Action) -> Result<Reply, Stop> {
        Err(Stop::error("a fake guest has no share"))
    }

    fn qmp(&mut self, command: &str, arguments: Value) -> Result<Value, Stop> {
        let answer = (self.qmp)(command, &arguments);
        self.sent.push((command.to_owned(), arguments));
        answer
    }

    fn qmp_with(&mut self, command: &str, arguments: Value, _: &File) -> Result<Value, Stop> {
        self.qmp(command, arguments)
    }

    fn wait_for_event(&mut self, _: &str, _: Duration) -> Result<Option<Value>, Stop> {
        Ok(self.events.pop_front().flatten())
    }

    fn load_modules(&mut self, _: ModuleUse) -> Check {
        Ok(())
    }

    fn kernel(&self) -> &KernelRelease {
        &self.kernel
    }

    fn boot_time(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn has_kvm(&self) -> bool {
        true
    }

    fn is_emulated(&self) -> bool {
        self.emulated
    }

    fn max_vcpus(&self) -> u32 {
        1
    }

    fn profile(&self) -> &Profile {
        self.profile
    }

    fn console(&self) -> String {
        String::new()
    }

    fn serial(&self) -> String {
        self.serial.clone()
    }

    fn wait_for_end(&mut self, _: Duration) -> Result<Ending, Stop> {
        Err(Stop::error("a fake guest has no end"))
    }

    fn silence(&self) -> Duration {
        self.silence
    }

    fn silent_for(&self) -> Option<Duration> {
        let was_sent = |command: &str| self.count(command) > 0;
        let sleeps = was_sent("stop") && self.pauses && !(was_sent("cont") && self.wakes);
        Some(if sleeps { Duration::from_secs(3600) } else { Duration::ZERO })
    }

    fn vmm_pid(&self) -> u32 {
        1
    }

    fn guest_cid(&self) -> Option<u32> {
        None
    }

    fn kill_vmm(&mut self) -> Check {
        Ok(())
    }

    fn wait_for_daemon(&mut self, _: Duration) -> Check {
        Ok(())
    }
}

/// A fake environment with these files, and no programs.
pub(super) struct FakeEnvironment {
    pub(super) claims: Claims,
    profile: &'static Profile,
    /// The files by their paths: the contents of one reading after another; the last stays for ever.
    pub(super) files: RefCell<BTreeMap<String, VecDeque<String>>>,
    /// The notes that were added.
    pub(super) notes: RefCell<Vec<String>>,
}

impl FakeEnvironment {
    /// Creates Debian 13's environment under a profile; its kernel has no readable configuration.
    pub(super) fn of(profile: &str) -> FakeEnvironment {
        let release = Database::embedded().record("debian").unwrap().release("13", Arch::X86_64).unwrap();
        FakeEnvironment {
            claims: Claims::of(release, "6.12".parse().unwrap()),
            profile: Profile::find(profile).unwrap(),
            files: RefCell::default(),
            notes: RefCell::default(),
        }
    }

    /// Adds a file with these contents, one for each reading.
    pub(super) fn with(self, path: &str, contents: &[&str]) -> FakeEnvironment {
        let contents = contents.iter().map(|text| (*text).to_owned()).collect();
        self.files.borrow_mut().insert(path.to_owned(), contents);
        self
    }

    /// Removes a module of a use from the kernel's packages.
    pub(super) fn without(mut self, used_for: ModuleUse, module: &str) -> FakeEnvironment {
        let lacks = ModuleSet { missing: vec![module.to_owned()], ..ModuleSet::default() };
        self.claims.modules.insert(used_for, lacks);
        self
    }
}

impl EnvironmentSide for FakeEnvironment {
    fn claims(&self) -> &Claims {
        &self.claims
    }

    fn profile(&self) -> &Profile {
        self.profile
    }

    fn run(&self, argv: &[&str], _: Duration) -> Result<CommandOutput, Stop> {
        Err(Stop::error(format!("a fake environment has no {argv:?}")))
    }

    fn read(&self, path: &str) -> Result<String, Stop> {
        let mut files = self.files.borrow_mut();
        let contents = files.get_mut(path).ok_or_else(|| Stop::fail(format!("reading {path}: no such file")))?;
        let first = if contents.len() > 1 { contents.pop_front() } else { contents.front().cloned() };
        Ok(first.unwrap_or_default())
    }

    fn start_virtiofsd(&self) -> Result<Box<dyn Daemon>, Stop> {
        Err(nothing())
    }

    fn serve_disk(&self, _: &Path) -> Result<Box<dyn DiskServer>, Stop> {
        Err(nothing())
    }

    fn start_qemu_against_a_silent_daemon(&self) -> Check {
        Err(nothing())
    }

    fn boot(&self) -> Result<Box<dyn Machine>, Stop> {
        Err(nothing())
    }

    fn boot_with(&self, _: Setting) -> Result<Box<dyn Machine>, Stop> {
        Err(nothing())
    }

    fn boot_with_vsock(&self) -> Result<Box<dyn Machine>, Stop> {
        Err(nothing())
    }

    fn dial(&self, _: u32, _: u32) -> io::Result<OwnedFd> {
        Err(io::Error::other("a fake environment has no vsock"))
    }

    fn listen(&self, _: u32) -> io::Result<OwnedFd> {
        Err(io::Error::other("a fake environment has no vsock"))
    }

    fn boot_with_network(&self) -> Result<Box<dyn Machine>, Stop> {
        Err(nothing())
    }

    fn boot_with_peer(&self, _: SocketAddr) -> Result<Box<dyn Machine>, Stop> {
        Err(nothing())
    }

    fn boot_with_virtio_fs(&self) -> Result<Box<dyn Machine>, Stop> {
        Err(nothing())
    }

    fn boot_with_a_root_port(&self) -> Result<Box<dyn Machine>, Stop> {
        Err(nothing())
    }

    fn boot_with_disk(&self, _: &Path) -> Result<Box<dyn Machine>, Stop> {
        Err(nothing())
    }

    fn boot_by(&self, _: Component, _: Option<Share>) -> Result<Box<dyn OtherMachine>, Stop> {
        Err(nothing())
    }

    fn tap(&self) -> Result<Tap, Stop> {
        Err(nothing())
    }

    fn run_a_vcpu(&self) -> Result<VcpuRun, VcpuError> {
        Err(VcpuError::Unfinished("there is none".to_owned()))
    }

    fn note(&self, text: String) {
        self.notes.borrow_mut().push(text);
    }
}

fn nothing() -> Stop {
    Stop::error("a fake environment starts nothing")
}
