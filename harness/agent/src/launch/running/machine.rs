//! The view of tests on a guest.

use super::RunningGuest;
use crate::launch::compose;
use crate::log::Log;
use crate::process::{kill_group, wait};
use model::kernel::KernelRelease;
use model::profile::{ModuleUse, Profile};
use protocol::client::Client;
use protocol::message::{GuestReply, GuestRequest};
use qemu::qmp::QmpError;
use rustix::process::Signal;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};
use suites::check::Stop;
use suites::environment::{Answer, Ending, Machine, Question};
use suites::filesystem::{Action, DaemonSignal, GuestSide, Reply};
use suites::outcome::Component;

impl RunningGuest {
    /// Loads the modules for a use, all of which the kernel must have.
    ///
    /// # Errors
    /// Names the modules that the kernel lacks or does not load.
    pub(crate) fn load_all(&mut self, used_for: ModuleUse) -> Result<(), Stop> {
        let missing = self.modules.get(&used_for).map(|set| set.missing.join(", ")).unwrap_or_default();
        if !missing.is_empty() {
            let message = format!("kernel {} has neither a module nor built-in code for {missing}", self.kernel);
            return Err(Stop::blame(Component::Kernel, message));
        }
        // Whatever the test is about, what its kernel does not load is the kernel's.
        self.load_modules(used_for).map_err(|stop| match stop {
            Stop::Fail { message, blames: None, .. } => Stop::blame(Component::Kernel, message),
            other => other,
        })
    }
}

impl Machine for RunningGuest {
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
        if matches!(question, Question::SwitchRoot { .. }) {
            return self.ask_for_another(question);
        }
        match self.request(GuestRequest::Ask { question }, self.deadlines.answer, "asking the guest")? {
            GuestReply::Answered { answer } => Ok(answer),
            other => Err(Stop::error(format!("asking the guest: unexpected reply {other:?}"))),
        }
    }

    fn act(&mut self, action: Action) -> Result<Reply, Stop> {
        match self.request(GuestRequest::Act { action }, self.deadlines.act, "acting in the guest") {
            Ok(GuestReply::Acted { reply }) => Ok(reply),
            Ok(other) => Err(Stop::error(format!("acting in the guest: unexpected reply {other:?}"))),
            Err(stop) => Err(stop),
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

    fn load_modules(&mut self, used_for: ModuleUse) -> Result<(), Stop> {
        let Some(request) = compose::load(&self.modules, used_for) else { return Ok(()) };
        self.request(request, self.deadlines.modules, "loading modules").map(drop)
    }

    fn kernel(&self) -> &KernelRelease {
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
        let deadline = deadline * self.deadlines.times;
        let end = Instant::now() + deadline;
        loop {
            if self.ended() {
                break;
            }
            if Instant::now() > end {
                let last = self.serial.as_ref().map(|log| log.last_lines(3)).unwrap_or_default();
                let state = match self.current_ending() {
                    Some(
                        ending @ (Ending::KvmGaveUp { .. }
                        | Ending::VmmStopped { .. }
                        | Ending::DaemonStopped
                        | Ending::LineClosed),
                    ) => return Err(ending.stop("waiting for QEMU's end")),
                    ending => ending.map_or_else(|| "alive".to_owned(), |ending| format!("{ending:?}")),
                };
                return Err(Stop::fail(format!(
                    "QEMU did not end within {deadline:?}; the guest is {state}; last on the serial console: {last}"
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.current_ending().ok_or_else(|| Stop::error("QEMU ended in an unknown way"))
    }

    fn silence(&self) -> Duration {
        self.deadlines.silence
    }

    fn silent_for(&self) -> Option<Duration> {
        self.agent.as_ref().map(Client::silent_for)
    }

    fn vmm_pid(&self) -> u32 {
        RunningGuest::vmm_pid(self)
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
        let deadline = deadline * self.deadlines.times;
        self.daemon.as_mut().map_or(Ok(()), |daemon| daemon.must_end(deadline))
    }
}

impl GuestSide for RunningGuest {
    fn act(&mut self, action: Action) -> Result<Reply, Stop> {
        Machine::act(self, action)
    }

    fn attempt(&mut self, action: Action, deadline: Duration) -> Result<Option<Reply>, Stop> {
        let Some(agent) = &self.agent else { return Err(Stop::error("the guest has no agent")) };
        let patient = || agent.silent_for() < self.deadlines.silence;
        match agent.ask(GuestRequest::Act { action }, deadline, patient) {
            Ok(GuestReply::Acted { reply }) => Ok(Some(reply)),
            Ok(other) => Err(Stop::error(format!("acting in the guest: unexpected reply {other:?}"))),
            // Whether the guest is still alive is another question.
            Err(_) => Ok(None),
        }
    }

    fn end_daemon(&mut self, by: DaemonSignal, deadline: Duration) -> Result<bool, Stop> {
        let daemon = self.daemon.as_mut().ok_or_else(|| Stop::error("this guest has no virtiofsd"))?;
        let signal = match by {
            DaemonSignal::Kill => Signal::KILL,
            DaemonSignal::Terminate => Signal::TERM,
        };
        daemon.end_by(signal, deadline)
    }

    fn answers(&mut self) -> Result<bool, Stop> {
        let Some(agent) = &self.agent else { return Err(Stop::error("the guest has no agent")) };
        let question = Question::Read { path: "/proc/uptime".to_owned() };
        let patient = || agent.silent_for() < self.deadlines.silence;
        Ok(agent.ask(GuestRequest::Ask { question }, self.deadlines.answer, patient).is_ok())
    }

    fn quit_vmm(&mut self, deadline: Duration) -> Result<bool, Stop> {
        // QEMU may end before it answers.
        if let Some(qmp) = &mut self.qmp {
            let _ = qmp.execute("quit", serde_json::json!({}));
        }
        self.qemu_ended = self.qemu_ended.or(wait(&mut self.qemu, deadline).ok().flatten());
        Ok(self.qemu_ended.is_some())
    }

    fn daemon_descriptors(&mut self) -> Result<usize, Stop> {
        let daemon = self.daemon.as_ref().ok_or_else(|| Stop::error("this guest has no virtiofsd"))?;
        daemon.descriptors()
    }

    fn kill_vmm(&mut self) -> Result<(), Stop> {
        Machine::kill_vmm(self)
    }
}
