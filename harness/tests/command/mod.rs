//! The command under test, its needs on this machine, and its output.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The path of `kata-qualify`.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_kata-qualify");

/// Verdicts by profile and capability.
pub(crate) type Verdicts = BTreeMap<String, BTreeMap<String, String>>;

/// Returns the image cache shared by tests and runs: the developer's own cache, or one below cargo's target directory.
pub(crate) fn cache() -> PathBuf {
    match std::env::var_os("KATA_QUALIFY_CACHE").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
    }
}

/// Returns `kata-qualify` in its own directory, with the tests' cache and independent of this terminal.
pub(crate) fn kata_qualify(folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.current_dir(folder).env("KATA_QUALIFY_CACHE", cache()).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Result of a finished command.
pub(crate) struct CommandOutput {
    /// The exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

/// Runs a command to its end.
pub(crate) fn run_to_end(command: &mut Command) -> CommandOutput {
    let output = command.output().unwrap();
    CommandOutput {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Reads the `results.json` of an output directory.
pub(crate) fn results(out: &Path) -> Value {
    let text = std::fs::read_to_string(out.join("results.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Returns a cell of the results by the start of its name: `debian:13/`.
pub(crate) fn cell<'a>(results: &'a Value, name: &str) -> &'a Value {
    let cells = results["cells"].as_array().unwrap();
    cells.iter().find(|c| c["cell"].as_str().unwrap().starts_with(name)).unwrap()
}

/// Returns the messages of a cell's errors.
pub(crate) fn errors(cell: &Value) -> Vec<String> {
    let text = |e: &Value| format!("{}: {}", e["phase"].as_str().unwrap(), e["message"].as_str().unwrap());
    cell["errors"].as_array().unwrap().iter().map(text).collect()
}

/// Returns the verdicts of a cell.
pub(crate) fn verdicts(cell: &Value) -> Verdicts {
    let word = |j: &Value| j["verdict"].as_str().unwrap().to_owned();
    let row = |all: &Value| all.as_object().unwrap().iter().map(|(c, j)| (c.clone(), word(j))).collect();
    cell["verdicts"].as_object().unwrap().iter().map(|(profile, all)| (profile.clone(), row(all))).collect()
}

/// Returns the outcome of each test under each profile: `go-3.29 smoke::x` → `pass`.
pub(crate) fn outcomes(cell: &Value) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for test in cell["tests"].as_array().unwrap() {
        for profile in test["profiles"].as_array().unwrap() {
            let name = format!("{} {}", profile.as_str().unwrap(), test["test"].as_str().unwrap());
            all.insert(name, test["outcome"].as_str().unwrap_or("none").to_owned());
        }
    }
    all
}

/// Waits until `look` succeeds; panics with `what` and the last error when the deadline passes.
pub(crate) fn wait_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let began = std::time::Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(error) if began.elapsed() > deadline => panic!("waited {deadline:?} for {what}, saw last: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Returns the run's id once its journal shows a guest.
pub(crate) fn run_id_once_a_guest_started(journal: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(journal).map_err(|e| e.to_string())?;
    let events: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let run = events.iter().find_map(|e| e["event"]["run"].as_str()).ok_or("no start of a run")?;
    match events.iter().any(|e| e["event"]["event"] == "guest-started") {
        true => Ok(run.to_owned()),
        false => Err(text.lines().next_back().unwrap_or_default().to_owned()),
    }
}

/// Returns the ids that `docker` lists for a run.
pub(crate) fn ids(arguments: &[&str], run: &str) -> Vec<String> {
    let filter = format!("label={}={run}", harness::environments::container::RUN_LABEL);
    let output = run_to_end(Command::new("docker").args(arguments).args(["--filter", &filter]));
    assert_eq!(output.code, Some(0), "docker {arguments:?}: {}", output.stderr);
    output.stdout.lines().map(str::to_owned).collect()
}

/// Returns how often each attempt at a test has ended, by profiles, test and number of the attempt.
pub(crate) fn finished(journal: &Path) -> BTreeMap<[String; 3], u32> {
    let mut all = BTreeMap::new();
    for event in events(journal).iter().filter(|event| event["event"] == "test-finished") {
        *all.entry(["profiles", "test", "attempt"].map(|key| event[key].to_string())).or_default() += 1;
    }
    all
}

/// Returns the events of a journal that is still being written, without their times.
pub(crate) fn events(journal: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(journal).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.map(|mut line| line["event"].take()).collect()
}

/// A small disk in memory, which only the calling thread and what it starts see, unmounted when dropped.
pub(crate) struct SmallDisk(pub(crate) PathBuf);

impl SmallDisk {
    pub(crate) fn mount(path: PathBuf, size: &str) -> Result<SmallDisk, String> {
        std::fs::create_dir(&path).map_err(|e| e.to_string())?;
        own_mounts().map_err(|e| format!("separating the mounts: {e}"))?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=755"), "tmpfs"])
            .arg(&path)
            .output();
        match output {
            Ok(output) if output.status.success() => Ok(SmallDisk(path)),
            Ok(output) => Err(format!("mounting a tmpfs: {}", String::from_utf8_lossy(&output.stderr).trim())),
            Err(e) => Err(format!("running mount: {e}")),
        }
    }
}

/// Gives this thread mounts of its own, which the threads and programs that it starts share: they vanish with it, also
/// if the tests are killed.
fn own_mounts() -> std::io::Result<()> {
    use rustix::mount::{MountPropagationFlags, mount_change};
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
    Ok(mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?)
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
