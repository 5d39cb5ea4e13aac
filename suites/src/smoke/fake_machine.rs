//! A guest that is not there, for the bodies' own tests: its files, what QMP answers, and which events come.

use crate::check::{Check, Stop};
use crate::environment::{Action, Answer, Ending, Machine, Question, Reply};
use model::profile::{ModuleUse, Profile};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::time::Duration;

/// What QMP answers to a command, by its arguments.
type Qmp = Box<dyn FnMut(&str, &Value) -> Result<Value, Stop>>;

/// A guest on hardware.
pub(super) struct FakeMachine {
    profile: &'static Profile,
    /// The guest's files; a folder is the names in it, one a line.
    pub(super) files: BTreeMap<String, String>,
    /// The CPUs that do work.
    pub(super) cpus: Vec<usize>,
    /// What QMP answers.
    pub(super) qmp: Qmp,
    /// What each wait for an event finds, in order; nothing comes after the last.
    pub(super) events: VecDeque<Option<Value>>,
    /// The QMP commands that came, in order.
    pub(super) sent: Vec<(String, Value)>,
    /// Its serial log.
    pub(super) serial: String,
}

impl FakeMachine {
    /// One of the profile, with no files, whose QMP answers everything with `{}`.
    pub(super) fn of(profile: &str) -> FakeMachine {
        FakeMachine {
            profile: Profile::find(profile).unwrap(),
            files: BTreeMap::new(),
            cpus: vec![0],
            qmp: Box::new(|_, _| Ok(json!({}))),
            events: VecDeque::new(),
            sent: Vec::new(),
            serial: String::new(),
        }
    }

    /// How often a QMP command came.
    pub(super) fn count(&self, command: &str) -> usize {
        self.sent.iter().filter(|(name, _)| name == command).count()
    }
}

impl Machine for FakeMachine {
    fn ask(&mut self, question: Question) -> Result<Answer, Stop> {
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

    fn kernel(&self) -> &str {
        "6.12.48"
    }

    fn boot_time(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn has_kvm(&self) -> bool {
        true
    }

    fn is_emulated(&self) -> bool {
        false
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
        Duration::from_secs(60)
    }

    fn heard(&self, _: Duration) -> bool {
        true
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
