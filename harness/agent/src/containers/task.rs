//! A container that runs, attached to the `ctr run` that started it.

use super::capture::Attached;
use super::host;
use super::instance::{COMMAND, Instance};
use super::{probe, signatures};
use crate::server::locked;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use suites::check::Stop;
use suites::containers::{Finished, PROBE, Process, Runtime, Task};

/// A container started by `ctr run`; it is removed when this is dropped.
pub struct ContainerTask {
    instance: Arc<Instance>,
    runtime: Runtime,
    id: String,
    attached: Mutex<Attached>,
    next_exec: AtomicU64,
    /// Its root filesystem and specification.
    folder: Option<PathBuf>,
    finished: bool,
    /// The pod that it is in.
    pod: Option<String>,
    emulated: bool,
}

impl ContainerTask {
    /// Starts `ctr run` with these arguments.
    ///
    /// # Errors
    /// When `ctr` cannot be started; what it says comes later.
    pub fn start(
        instance: &Arc<Instance>,
        runtime: Runtime,
        id: &str,
        folder: Option<PathBuf>,
        arguments: &[String],
        input: &[u8],
    ) -> Result<ContainerTask, Stop> {
        let attached = Attached::start(&mut instance.command(arguments), input)
            .map_err(|e| Stop::skip(format!("the environment has no ctr beside its containerd: {e}")))?;
        Ok(ContainerTask {
            instance: Arc::clone(instance),
            runtime,
            id: id.to_owned(),
            attached: Mutex::new(attached),
            next_exec: AtomicU64::new(1),
            folder,
            finished: false,
            pod: None,
            emulated: false,
        })
    }

    /// Says that it is in a pod, whose processes carry it.
    #[must_use]
    pub fn in_pod(mut self, pod: Option<String>) -> ContainerTask {
        self.pod = pod;
        self
    }

    /// Says whether its sandbox is a guest of an emulated machine, whose silence blames hardly anybody.
    #[must_use]
    pub fn emulated(mut self, emulated: bool) -> ContainerTask {
        self.emulated = emulated;
        self
    }

    /// Waits until the probe inside has said that it is there.
    ///
    /// # Errors
    /// When it ended before, or said nothing within the deadline.
    pub fn wait_until_ready(&mut self) -> Result<(), Stop> {
        let deadline = self.instance.patience(self.runtime);
        let end = Instant::now() + deadline;
        loop {
            if self.stdout().lines().any(|line| line == probe::READY) {
                return Ok(());
            }
            if locked(&self.attached).ended() {
                let finished = self.wait(COMMAND)?;
                return Err(match self.stdout().lines().any(|line| line == probe::READY) {
                    // It said so and ended at once; that is its test's business.
                    true => return Ok(()),
                    false => Stop::fail(format!("the container ended before it was ready: {}", finished.summary())),
                });
            }
            if Instant::now() > end {
                return Err(self.silence(deadline));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The process that containerd names as the container's.
    ///
    /// # Errors
    /// When containerd does not know the container.
    pub fn pid(&self) -> Result<u32, Stop> {
        let listed = self.instance.ctr(&["tasks", "list"], COMMAND)?.text();
        let row = listed.lines().find(|line| line.split_whitespace().next() == Some(&self.id));
        row.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
            .ok_or_else(|| Stop::error(format!("containerd lists no task {}: {listed}", self.id)))
    }

    /// Why nothing was heard: containerd has ended, or a part of Kata has, or it just took too long.
    fn silence(&self, deadline: Duration) -> Stop {
        if self.instance.ended().is_some() {
            return self.instance.crash();
        }
        let seconds = deadline.as_secs();
        match self.runtime {
            Runtime::Runc => Stop::fail(format!("the container did not get ready or end within {seconds} s")),
            Runtime::Kata => {
                let sandbox = self.pod.as_ref().unwrap_or(&self.id);
                let processes = host::processes(sandbox);
                let (vmm, daemon) = (processes.iter().any(Process::is_vmm), processes.iter().any(Process::is_daemon));
                signatures::silence(vmm, daemon, seconds, &self.instance.words_of_kata(sandbox), self.emulated)
            }
        }
    }

    /// What a finished `ctr` says: the container's end, or why there was none.
    fn judge(&self, finished: Finished) -> Result<Finished, Stop> {
        if self.instance.ended().is_some() {
            return Err(self.instance.crash());
        }
        refused(&finished).map_or(Ok(finished), |words| Err(signatures::refusal(&words)))
    }
}

impl Task for ContainerTask {
    fn id(&self) -> &str {
        &self.id
    }

    fn exec(&self, command: &[&str], input: &[u8]) -> Result<Finished, Stop> {
        let name = format!("{}e{}", self.id, self.next_exec.fetch_add(1, Ordering::Relaxed));
        let fifos = self.instance.fifos();
        let fifos = fifos.to_string_lossy();
        let mut arguments = vec!["tasks", "exec", "--fifo-dir", &fifos, "--exec-id", &name, &self.id];
        match command.first().and_then(|word| word.strip_prefix('!')) {
            Some(program) => arguments.push(program),
            None => arguments.extend([PROBE].iter().chain(command)),
        }
        let mut attached = Attached::start(&mut self.instance.command(&arguments), input)
            .map_err(|e| Stop::error(format!("starting ctr: {e}")))?;
        let deadline = self.instance.patience(self.runtime);
        match attached.wait(deadline) {
            Some(finished) => self.judge(finished),
            None if self.instance.ended().is_some() => Err(self.instance.crash()),
            None => Err(Stop::fail(format!("exec {} did not end within {} s", command.join(" "), deadline.as_secs()))),
        }
    }

    fn signal(&self, number: i32) -> Result<(), Stop> {
        let sent = self.instance.ctr(&["tasks", "kill", "--signal", &number.to_string(), &self.id], COMMAND)?;
        match sent.code {
            0 => Ok(()),
            _ => Err(Stop::fail(format!("sending signal {number}: {}", sent.summary()))),
        }
    }

    fn stdout(&self) -> String {
        String::from_utf8_lossy(&locked(&self.attached).stdout()).into_owned()
    }

    fn wait(&mut self, deadline: Duration) -> Result<Finished, Stop> {
        let finished = locked(&self.attached).wait(deadline).ok_or_else(|| self.silence(deadline))?;
        self.finished = true;
        self.judge(finished)
    }
}

impl Drop for ContainerTask {
    fn drop(&mut self) {
        if !self.finished && self.instance.ended().is_none() {
            let killed = self.instance.ctr(&["tasks", "kill", "--signal", "9", &self.id], COMMAND);
            // The attached ctr removes task and container when the process has ended; where there is no task to kill,
            // or nobody hears of its end, all of it is removed from outside.
            let heard = killed.is_ok_and(|finished| finished.code == 0);
            if !heard || locked(&self.attached).wait(COMMAND).is_none() {
                host::remove(&self.id, &self.instance.folders());
                let _ = self.instance.ctr(&["tasks", "delete", "--force", &self.id], COMMAND);
                let _ = self.instance.ctr(&["containers", "delete", &self.id], COMMAND);
            }
        }
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// What `ctr` itself complained of, if it was not the container that ended so.
fn refused(finished: &Finished) -> Option<String> {
    let text = String::from_utf8_lossy(&finished.stderr);
    let complaint = text.lines().find(|line| line.starts_with("ctr: "))?;
    (finished.code == 1).then(|| complaint.chars().take(2000).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ctrs_own_complaints_are_refusals() {
        let ended = |code, stderr: &str| Finished { code, stdout: Vec::new(), stderr: stderr.as_bytes().to_vec() };
        assert_eq!(refused(&ended(1, "warning\nctr: no such runtime\n")).as_deref(), Some("ctr: no such runtime"));
        assert_eq!(refused(&ended(1, "the program's own words")), None);
        assert_eq!(refused(&ended(7, "ctr: said the program")), None);
    }
}
