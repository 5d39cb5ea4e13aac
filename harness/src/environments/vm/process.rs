//! QEMU as a child process of the harness: its process group is killed when it is not needed any more, and QEMU itself
//! when the harness dies.
//!
//! QEMU runs as long as its machine, so it has no deadline here: every step of a cell has one. The command sets the
//! death signal itself, as part of its confinement (`confined`). The reader of standard error limits its size; this
//! module does not.

use agent::process::{kill_group, prepare};
use model::sync::locked;
use operator::process::wait_or_stop;
use rustix::process::{Pid, Signal};
use std::io::{self, PipeWriter, Write as _};
use std::os::fd::OwnedFd;
use std::process::{ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

/// A running QEMU; dropping it kills its process group.
///
/// A dedicated thread starts QEMU and waits for it: the kernel sends the death signal when the thread that started a
/// child ends, and a thread of a pool may end long before QEMU does.
pub struct QemuProcess {
    pid: u32,
    /// A byte in it ends QEMU.
    stop: PipeWriter,
    ended: Arc<Mutex<Option<ExitStatus>>>,
    keeper: Option<JoinHandle<()>>,
}

impl QemuProcess {
    /// Starts a command with descriptors at fixed numbers; returns the pipe of its standard error.
    ///
    /// # Errors
    /// If the command cannot be started.
    pub fn start(mut command: Command, fds: Vec<(OwnedFd, i32)>) -> io::Result<(QemuProcess, ChildStderr)> {
        let (sender, receiver) = mpsc::channel();
        let (stopped, stop) = io::pipe()?;
        let ended: Arc<Mutex<Option<ExitStatus>>> = Arc::default();
        let final_status = Arc::clone(&ended);
        let keeper = std::thread::Builder::new().name("machine".to_owned()).spawn(move || {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            let spawned = prepare(&mut command, fds).spawn();
            // The command holds the harness's copies of QEMU's descriptors. While they are open, no reader notices that
            // QEMU has closed its own.
            drop(command);
            let mut child = match spawned {
                Ok(child) => child,
                Err(e) => return drop(sender.send(Err(e))),
            };
            let stderr = child.stderr.take().ok_or_else(|| io::Error::other("no pipe for standard error"));
            let _ = sender.send(stderr.map(|stderr| (child.id(), stderr)));
            match wait_or_stop(&mut child, &stopped) {
                Ok(Some(status)) => *locked(&final_status) = Some(status),
                Ok(None) | Err(_) => kill_group(&mut child),
            }
        })?;
        let (pid, stderr) = receiver.recv().map_err(io::Error::other)??;
        Ok((QemuProcess { pid, stop, ended, keeper: Some(keeper) }, stderr))
    }

    /// Returns the exit status if the process has ended.
    pub fn ended(&self) -> Option<ExitStatus> {
        *locked(&self.ended)
    }

    /// Returns its process id, which is also its group's id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends the process a signal while it runs.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).filter(|_| self.ended().is_none());
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

impl Drop for QemuProcess {
    fn drop(&mut self) {
        // The keeper has ended if nobody reads it.
        let _ = self.stop.write_all(b".");
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::time::{Duration, Instant};

    fn sh(script: &str) -> (QemuProcess, ChildStderr) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        QemuProcess::start(command, Vec::new()).unwrap()
    }

    #[test]
    fn exit_code_and_stderr_of_a_process_are_read() {
        let (process, mut stderr) = sh("echo words >&2; exit 7");
        let mut words = String::new();
        stderr.read_to_string(&mut words).unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while process.ended().is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        let code = process.ended().and_then(|status| status.code());
        assert_eq!((words.as_str(), code), ("words\n", Some(7)));
    }

    #[test]
    fn dropping_a_process_ends_its_whole_group() {
        let (process, mut stderr) = sh("sleep 300 & sleep 300");
        let began = Instant::now();
        drop(process);
        // The pipe closes only when the background child is gone, too.
        stderr.read_to_end(&mut Vec::new()).unwrap();
        assert!(began.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_missing_program_is_an_error() {
        assert!(QemuProcess::start(Command::new("/no/such/program"), Vec::new()).is_err());
    }
}
