//! Nothing stays behind: neither after Ctrl-C, nor after `kill -9` once the next run has started.
//!
//! Everything is looked up by this run's own id, so that other runs on the machine do not matter.

use crate::command::{ids, kata_qualify, results, run_id_once_a_guest_started, run_to_end, wait_for};
use model::sync::locked;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Time limit for the start of a guest, long enough to bootstrap an image first.
const UNTIL_A_GUEST_RUNS: Duration = Duration::from_secs(1500);
const UNTIL_IT_IS_GONE: Duration = Duration::from_secs(60);

#[test]
#[cfg_attr(lacks = "containers", ignore = "needs root, x86_64, mmdebstrap and Docker")]
fn ctrl_c_writes_the_reports_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(dir.path());
    running.signal(Signal::INT);
    let output = running.wait();
    assert_eq!(output.code, Some(130), "{}", output.stderr);
    running.assert_gone();
    let out = dir.path().join("out");
    assert_eq!(results(&out)["ending"], "interrupted");
    assert_eq!(results(&out)["exit-code"], 130, "as the process's");
    for report in ["junit/run.xml", "junit/debian-13-x86_64-container.xml", "matrix.md", "index.html"] {
        assert!(out.join(report).is_file(), "no {report} after Ctrl-C: {}", output.stderr);
    }
    assert!(output.stdout.contains("debian 13"), "no matrix after Ctrl-C:\n{}", output.stdout);
    // The static checks, which start virtiofsd, had ended before.
    let log_count = std::fs::read_dir(out.join("artifacts/debian-13-x86_64-container")).map(Iterator::count);
    assert!(log_count.is_ok_and(|count| count > 0), "no log of the units that had ended after Ctrl-C");
}

#[test]
#[cfg_attr(lacks = "containers", ignore = "needs root, x86_64, mmdebstrap and Docker")]
fn clean_removes_the_leftovers_of_a_killed_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(dir.path());
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, None);
    // The processes end without a next run: guests and daemons would hold gigabytes of memory until then.
    let seconds = Duration::from_secs(10);
    wait_for("the killed run's guest and all else in its container to end", seconds, || {
        let alive = running.alive();
        if alive.is_empty() { Ok(()) } else { Err(format!("{alive:?}")) }
    });
    let clean = run_to_end(kata_qualify(dir.path()).arg("clean"));
    assert_eq!(clean.code, Some(0), "{}", clean.stderr);
    running.assert_gone();
    // The journal of the killed run can still be reported.
    let report = run_to_end(kata_qualify(dir.path()).args(["report", "out"]));
    assert_eq!(report.code, Some(3), "it has no end: {}", report.stderr);
    assert_eq!(results(&dir.path().join("out"))["ending"], "killed");
    assert_eq!(results(&dir.path().join("out"))["exit-code"], 3, "as the process's");
}

/// Only one run at a time: a second one would wait for the first one's image, or start while the first one's guest
/// runs.
static ONE: Mutex<()> = Mutex::new(());

/// A run in whose container a guest is running.
struct Running {
    child: Option<Child>,
    pid: Pid,
    /// The run's id.
    run: String,
    /// Processes in the run's container, including the guest's QEMU, with their process ids on this machine.
    processes: Vec<(i32, String)>,
    _guard: MutexGuard<'static, ()>,
}

impl Running {
    fn start(dir: &Path) -> Running {
        let guard = locked(&ONE);
        let mut child = kata_qualify(dir)
            .args(["run", "debian:13", "--profile", "go-3.29", "--test", "virtio_fs::", "--jobs", "1", "--out", "out"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let journal = dir.join("out/journal.jsonl");
        let run = wait_for("a guest that runs tests", UNTIL_A_GUEST_RUNS, || {
            if let Some(status) = child.try_wait().unwrap() {
                let mut stderr = String::new();
                let _ = child.stderr.take().unwrap().read_to_string(&mut stderr);
                panic!("the run ended before it could be interrupted: {status}\n{stderr}");
            }
            run_id_once_a_guest_started(&journal)
        });
        let container = ids(&["ps", "--quiet"], &run).pop().unwrap();
        let processes = wait_for("QEMU in the container", Duration::from_secs(60), || {
            let processes = processes(&container);
            let qemu = processes.iter().any(|(_, name)| name.starts_with("qemu-system"));
            if qemu { Ok(processes) } else { Err(format!("{processes:?}")) }
        });
        assert!(!ids(&["volume", "ls", "--quiet"], &run).is_empty(), "a run without a volume");
        Running { child: Some(child), pid, run, processes, _guard: guard }
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    fn wait(&mut self) -> crate::command::CommandOutput {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        crate::command::CommandOutput {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Returns those of the processes that still run.
    fn alive(&self) -> Vec<&(i32, String)> {
        self.processes.iter().filter(|(pid, name)| name_of(*pid).is_some_and(|now| now == *name)).collect()
    }

    fn assert_gone(&self) {
        wait_for("containers, volumes and processes of the run to be gone", UNTIL_IT_IS_GONE, || {
            let containers = ids(&["ps", "--all", "--quiet"], &self.run);
            let volumes = ids(&["volume", "ls", "--quiet"], &self.run);
            let alive = self.alive();
            if containers.is_empty() && volumes.is_empty() && alive.is_empty() {
                return Ok(());
            }
            Err(format!("containers {containers:?}, volumes {volumes:?}, processes {alive:?}"))
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Returns the processes of a container: process id on this machine, and name.
fn processes(container: &str) -> Vec<(i32, String)> {
    let output = run_to_end(Command::new("docker").args(["top", container, "-eo", "pid,comm"]));
    let pids = output.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().next()?.parse().ok());
    pids.filter_map(|pid| Some((pid, name_of(pid)?))).collect()
}

/// Returns the name of a living process.
fn name_of(pid: i32) -> Option<String> {
    Some(std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned())
}
