//! The view of tests on a guest of another VMM.

use super::ApiGuest;
use crate::process::{kill_group, wait};
use model::kernel::KernelRelease;
use model::profile::{ModuleUse, Profile};
use protocol::client::Client;
use protocol::message::{GuestReply, GuestRequest};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use suites::check::Stop;
use suites::environment::{Action, Answer, Ending, Machine, OtherMachine, Question, Reply};
use vmms::guest::GUEST_CID;
use vmms::hybrid_vsock;
use vmms::vmm::plug_disk;

impl Machine for ApiGuest {
    fn ask(&mut self, question: Question) -> Result<Answer, Stop> {
        match self.request(GuestRequest::Ask { question }, self.deadlines.answer, "asking the guest")? {
            GuestReply::Answered { answer } => Ok(answer),
            other => Err(Stop::error(format!("asking the guest: unexpected reply {other:?}"))),
        }
    }

    fn act(&mut self, action: Action) -> Result<Reply, Stop> {
        match self.request(GuestRequest::Act { action }, self.deadlines.act, "acting in the guest")? {
            GuestReply::Acted { reply } => Ok(reply),
            other => Err(Stop::error(format!("acting in the guest: unexpected reply {other:?}"))),
        }
    }

    fn qmp(&mut self, command: &str, _: serde_json::Value) -> Result<serde_json::Value, Stop> {
        Err(self.no_qmp(command))
    }

    fn qmp_with(&mut self, command: &str, _: serde_json::Value, _: &File) -> Result<serde_json::Value, Stop> {
        Err(self.no_qmp(command))
    }

    fn wait_for_event(&mut self, name: &str, _: Duration) -> Result<Option<serde_json::Value>, Stop> {
        Err(self.no_qmp(name))
    }

    fn load_modules(&mut self, used_for: ModuleUse) -> Result<(), Stop> {
        self.load(used_for)
    }

    fn kernel(&self) -> &KernelRelease {
        &self.kernel
    }

    fn boot_time(&self) -> Duration {
        self.boot_time
    }

    fn has_kvm(&self) -> bool {
        true
    }

    fn is_emulated(&self) -> bool {
        self.provided.nested
    }

    fn max_vcpus(&self) -> u32 {
        self.max_vcpus
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Neither VMM has a console in addition to the serial port.
    fn console(&self) -> String {
        String::new()
    }

    fn serial(&self) -> String {
        self.serial.text()
    }

    fn wait_for_end(&mut self, deadline: Duration) -> Result<Ending, Stop> {
        let deadline = deadline * self.deadlines.times;
        self.ended = self.ended.or(wait(&mut self.process, deadline).ok().flatten());
        let vmm = self.vmm;
        match self.has_ended() {
            true => self.ending(Duration::ZERO).ok_or_else(|| Stop::error(format!("{vmm} ended in an unknown way"))),
            false => Err(Stop::fail(format!("{vmm} did not end within {deadline:?}"))),
        }
    }

    fn silence(&self) -> Duration {
        self.deadlines.silence
    }

    fn silent_for(&self) -> Option<Duration> {
        self.agent.as_ref().map(Client::silent_for)
    }

    fn vmm_pid(&self) -> u32 {
        self.process.id()
    }

    fn guest_cid(&self) -> Option<u32> {
        Some(GUEST_CID)
    }

    fn kill_vmm(&mut self) -> Result<(), Stop> {
        kill_group(&mut self.process);
        self.has_ended();
        Ok(())
    }

    fn wait_for_daemon(&mut self, deadline: Duration) -> Result<(), Stop> {
        self.daemon.as_mut().map_or(Ok(()), |daemon| daemon.must_end(deadline))
    }
}

impl OtherMachine for ApiGuest {
    fn plug_disk(&mut self, file: &Path) -> Result<(), Stop> {
        let request = plug_disk(self.kind, &self.profile, &file.to_string_lossy());
        self.ask_the_vmm(&request, "giving the running guest a disk").map(drop)
    }

    fn shared_dir(&self) -> Option<PathBuf> {
        self.share.map(|_| self.paths.shared_dir.clone())
    }

    fn dial(&mut self, port: u32) -> Result<OwnedFd, Stop> {
        let end = Instant::now() + self.deadlines.answer;
        let dialled = hybrid_vsock::dial(&self.vsock(), self.profile.runtime, port, || Instant::now() <= end);
        dialled.map(OwnedFd::from).map_err(|e| {
            let doing = "dialling the guest over vsock";
            self.unexpected_end(Duration::ZERO, doing).unwrap_or_else(|| Stop::fail(format!("{doing}: {e}")))
        })
    }

    fn listen(&mut self, port: u32) -> Result<OwnedFd, Stop> {
        let listener = hybrid_vsock::listen(&self.vsock(), port);
        listener.map(OwnedFd::from).map_err(|e| Stop::error(format!("listening for the guest on the host: {e}")))
    }
}

impl ApiGuest {
    fn no_qmp(&self, what: &str) -> Stop {
        Stop::error(format!("{what}: {} speaks no QMP", self.vmm))
    }
}
