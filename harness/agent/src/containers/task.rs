//! A running container, attached to the `ctr run` that started it.

use super::capture::Attached;
use super::containerd::{COMMAND, ContainerdInstance};
use super::host;
use super::shim::Seen;
use super::{ctr, probe, shim};
use crate::launch::memory::{self, Memory};
use model::sync::locked;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use suites::check::Stop;
use suites::containers::{ContainerOutput, ContainerRuntime, ContainerUsage, PROBE, Process, Task};

/// Time that a sandbox may outlive its VMM: Kata may report why the VMM ended, and ends itself if all is well.
const GONE: Duration = Duration::from_secs(60);

/// A container started by `ctr run`; it is removed when this value is dropped.
pub struct ContainerTask {
    instance: Arc<ContainerdInstance>,
    runtime: ContainerRuntime,
    id: String,
    attached: Mutex<Attached>,
    next_exec: AtomicU64,
    /// Its root filesystem and specification.
    folder: Option<PathBuf>,
    finished: bool,
    /// Whether `ctr` ended with an error: then it may have left the container's record.
    refused: bool,
    /// Pod of the container.
    pod: Option<String>,
    emulated: bool,
    /// Under Kata, the paths from the record: a refusal that names one of them may blame the record.
    record: Option<Vec<String>>,
}

impl ContainerTask {
    /// Starts `ctr run` with these arguments.
    ///
    /// # Errors
    /// If `ctr` cannot be started; its own errors are reported later.
    pub fn start(
        instance: &Arc<ContainerdInstance>,
        runtime: ContainerRuntime,
        id: &str,
        folder: Option<PathBuf>,
        arguments: &[String],
        input: &[u8],
    ) -> Result<ContainerTask, Stop> {
        let attached = instance.attach(arguments, input)?;
        Ok(ContainerTask {
            instance: Arc::clone(instance),
            runtime,
            id: id.to_owned(),
            attached: Mutex::new(attached),
            next_exec: AtomicU64::new(1),
            folder,
            finished: false,
            refused: false,
            pod: None,
            emulated: false,
            record: None,
        })
    }

    /// Sets the pod of the container, whose processes run it.
    #[must_use]
    pub fn in_pod(mut self, pod: Option<String>) -> ContainerTask {
        self.pod = pod;
        self
    }

    /// Sets whether its sandbox is a guest of an emulated machine, where silence blames few components.
    #[must_use]
    pub fn emulated(mut self, emulated: bool) -> ContainerTask {
        self.emulated = emulated;
        self
    }

    /// Sets the paths from the record, under Kata.
    #[must_use]
    pub fn with_record(mut self, paths: Option<Vec<String>>) -> ContainerTask {
        self.record = paths;
        self
    }

    /// Waits until the probe inside has reported that it is ready.
    ///
    /// # Errors
    /// If the container ended before, sent no output within the deadline, or its VMM is gone.
    pub fn wait_until_ready(&mut self) -> Result<(), Stop> {
        let ready = |task: &ContainerTask| task.stdout().lines().any(|line| line == probe::READY);
        self.wait_for(|task| ready(task) || task.has_ended())?;
        if ready(self) {
            return Ok(());
        }
        let finished = self.wait(COMMAND)?;
        match ready(self) {
            // It was ready and ended at once; the test judges this.
            true => Ok(()),
            false => Err(Stop::fail(format!("the container ended before it was ready: {}", finished.summary()))),
        }
    }

    /// Waits for the end of a container that ends by itself.
    ///
    /// # Errors
    /// As [`ContainerTask::wait_until_ready`], and if `ctr` refused it.
    pub fn wait_to_end(&mut self) -> Result<ContainerOutput, Stop> {
        self.wait_for(ContainerTask::has_ended)?;
        self.wait(COMMAND)
    }

    /// Waits for an expected state of a container that was just started.
    fn wait_for(&self, expected: impl Fn(&ContainerTask) -> bool) -> Result<(), Stop> {
        let deadline = self.instance.patience(self.runtime);
        let began = Instant::now();
        let mut vmm = VmmWatch::default();
        while !expected(self) {
            // Without its VMM a sandbox never comes up, but Kata may wait for it far beyond any deadline.
            if began.elapsed() > deadline || self.runtime == ContainerRuntime::Kata && vmm.has_gone(|| self.vmm_runs())
            {
                return Err(self.silence(began.elapsed()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn has_ended(&self) -> bool {
        locked(&self.attached).ended()
    }

    fn vmm_runs(&self) -> bool {
        host::processes(self.sandbox()).iter().any(Process::is_vmm)
    }

    /// Returns the id of the container's sandbox.
    fn sandbox(&self) -> &str {
        self.pod.as_ref().unwrap_or(&self.id)
    }

    /// Returns the process id that containerd lists for the container.
    ///
    /// # Errors
    /// If containerd does not know the container.
    pub fn pid(&self) -> Result<u32, Stop> {
        let listed = self.instance.tasks()?;
        ctr::process_of(&listed, &self.id)
            .ok_or_else(|| Stop::error(format!("containerd lists no task {}: {listed}", self.id)))
    }

    /// Returns the verdict on silence: containerd has ended, or a part of Kata has, or it took too long.
    fn silence(&self, deadline: Duration) -> Stop {
        if self.instance.ended().is_some() {
            return self.instance.crash();
        }
        let seconds = deadline.as_secs();
        match self.runtime {
            ContainerRuntime::Runc => Stop::fail(format!("the container did not get ready or end within {seconds} s")),
            ContainerRuntime::Kata => {
                let sandbox = self.sandbox();
                let processes = host::processes(sandbox);
                let pid = |is: fn(&Process) -> bool| processes.iter().find(|one| is(one)).map(|one| one.pid);
                let (vmm, daemon) = (pid(Process::is_vmm), pid(Process::is_daemon));
                let is_private = |(vmm, daemon)| memory::between(vmm, daemon, None) == Memory::PrivateInVmm;
                let private = vmm.zip(daemon).is_some_and(is_private);
                let seen = Seen { vmm: vmm.is_some(), daemon: daemon.is_some(), private };
                shim::silence(seen, seconds, &self.instance.words_of_kata(sandbox), self.emulated)
            }
        }
    }

    /// Runs a command of `ctr tasks` for the container, which must succeed.
    fn run_checked(&self, words: &[&str], doing: &str) -> Result<ContainerOutput, Stop> {
        let finished = self.instance.ctr(&[&["tasks"][..], words, &[self.id.as_str()]].concat(), COMMAND)?;
        match finished.code {
            0 => Ok(finished),
            _ => Err(Stop::fail(format!("{doing}: {}", finished.summary()))),
        }
    }

    /// Returns the container's output from a finished `ctr`, or the reason why the container did not run.
    fn judge(&self, finished: ContainerOutput) -> Result<ContainerOutput, Stop> {
        if self.instance.ended().is_some() {
            return Err(self.instance.crash());
        }
        match ctr::complaint(&finished) {
            Some(complaint) => Err(shim::refusal(&complaint, self.record.as_deref())),
            None => Ok(finished),
        }
    }
}

impl Task for ContainerTask {
    fn id(&self) -> &str {
        &self.id
    }

    fn exec(&self, command: &[&str], input: &[u8]) -> Result<ContainerOutput, Stop> {
        let name = format!("{}e{}", self.id, self.next_exec.fetch_add(1, Ordering::Relaxed));
        let fifos = self.instance.fifos();
        let fifos = fifos.to_string_lossy();
        let mut arguments = vec!["tasks", "exec", "--fifo-dir", &fifos, "--exec-id", &name, &self.id];
        match command.first().and_then(|word| word.strip_prefix('!')) {
            Some(program) => arguments.push(program),
            None => arguments.extend([PROBE].iter().chain(command)),
        }
        let mut attached = self.instance.attach(&arguments, input)?;
        let deadline = self.instance.patience(self.runtime);
        match attached.wait(deadline) {
            Some(finished) => self.judge(finished),
            None if self.instance.ended().is_some() => Err(self.instance.crash()),
            None => Err(Stop::fail(format!("exec {} did not end within {} s", command.join(" "), deadline.as_secs()))),
        }
    }

    fn signal(&self, number: i32) -> Result<(), Stop> {
        self.run_checked(&["kill", "--signal", &number.to_string()], &format!("sending signal {number}")).map(drop)
    }

    fn usage(&self) -> Result<ContainerUsage, Stop> {
        let output = self.run_checked(&["metrics", "--format", "json"], "asking what a container uses")?;
        ctr::usage(&output.text())
            .ok_or_else(|| Stop::fail(format!("containerd tells nothing of memory and CPU time: {}", output.summary())))
    }

    fn pause(&self) -> Result<(), Stop> {
        self.run_checked(&["pause"], "pausing a container").map(drop)
    }

    fn resume(&self) -> Result<(), Stop> {
        self.run_checked(&["resume"], "resuming a container").map(drop)
    }

    fn stdout(&self) -> String {
        String::from_utf8_lossy(&locked(&self.attached).stdout()).into_owned()
    }

    fn wait(&mut self, deadline: Duration) -> Result<ContainerOutput, Stop> {
        let finished = locked(&self.attached).wait(deadline).ok_or_else(|| self.silence(deadline))?;
        self.finished = true;
        self.refused = ctr::complaint(&finished).is_some();
        self.judge(finished)
    }
}

/// Observations of a sandbox's VMM.
#[derive(Default)]
struct VmmWatch {
    last_look: Option<Instant>,
    seen: bool,
    /// Time since when the VMM has been missing.
    missing_since: Option<Instant>,
}

impl VmmWatch {
    /// Returns whether the VMM was seen and has been missing for [`GONE`]. Looks once a second, because each look goes
    /// through all processes.
    fn has_gone(&mut self, runs: impl FnOnce() -> bool) -> bool {
        let now = Instant::now();
        if self.last_look.is_none_or(|last| now - last >= Duration::from_secs(1)) {
            self.last_look = Some(now);
            match runs() {
                true => (self.seen, self.missing_since) = (true, None),
                false if self.seen => drop(self.missing_since.get_or_insert(now)),
                false => {}
            }
        }
        self.missing_since.is_some_and(|since| now - since >= GONE)
    }
}

impl Drop for ContainerTask {
    fn drop(&mut self) {
        if !self.finished && self.instance.ended().is_none() {
            let killed = self.instance.ctr(&["tasks", "kill", "--signal", "9", &self.id], COMMAND);
            // The attached ctr removes task and container when the process has ended; if there is no task to kill, or
            // its end is not noticed, everything is removed from outside.
            let is_killed = killed.is_ok_and(|finished| finished.code == 0);
            if !is_killed || locked(&self.attached).wait(COMMAND).is_none() {
                host::remove(&self.id, &self.instance.folders());
                let _ = self.instance.ctr(&["tasks", "delete", "--force", &self.id], COMMAND);
                let _ = self.instance.ctr(&["containers", "delete", &self.id], COMMAND);
            }
        }
        if self.refused && self.instance.ended().is_none() {
            let _ = self.instance.ctr(&["containers", "delete", &self.id], COMMAND);
        }
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_vmm_that_was_seen_can_have_disappeared() {
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
        let mut vmm = VmmWatch::default();
        assert!(!vmm.has_gone(|| false));
        assert!(vmm.missing_since.is_none(), "it has not come yet");
        vmm.last_look = ago(2);
        assert!(!vmm.has_gone(|| true) && vmm.seen);
        assert!(!vmm.has_gone(|| panic!("looked twice within a second")));
        vmm.last_look = ago(2);
        assert!(!vmm.has_gone(|| false) && vmm.missing_since.is_some());
        vmm.missing_since = ago(GONE.as_secs());
        assert!(vmm.has_gone(|| false));
        vmm.last_look = ago(2);
        assert!(!vmm.has_gone(|| true), "another one came");
    }
}
