//! The bare script: starts a container with Docker's own command and sends it one request after the other.

use crate::replay::{Unit, Work, normalised};
use agent::home::{SLOTS, VOLUME};
use anyhow::Context as _;
use harness::environments::container::{LOCK_LABEL, RUN_LABEL};
use harness::seed::Content;
use harness::sweep::RunLock;
use model::sync::{locked, unlocked};
use protocol::client::Client;
use protocol::message::{EnvironmentReply, EnvironmentRequest, Launched};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use suites::environment::Claims;

/// Longer than any test body may take; the agent enforces the deadlines of the bodies.
const DEADLINE: Duration = Duration::from_secs(1800);
const AGENT: &str = "/kata-qualify-agent";

/// Results and timings of the script.
pub(crate) struct Floor {
    /// Seconds from the container's creation to its removal.
    pub(crate) seconds: f64,
    /// Durations of the script's phases.
    pub(crate) phases: String,
    /// The arguments of each guest and daemon, as [`normalised`].
    pub(crate) launched: Vec<String>,
    /// Each attempt and whether it passed.
    pub(crate) outcomes: Vec<(String, bool)>,
}

/// Repeats the work; `files` are the claims and the initramfs.
pub(crate) fn run(files: &(Claims, Content), work: &Work, jobs: usize, locks: &Path) -> anyhow::Result<Floor> {
    let name = format!("kata-qualify-floor-{}", std::process::id());
    // `sweep` removes nothing that belongs to a lock which is held.
    let lock = RunLock::take(locks, &name)?;
    let folder = tempfile::tempdir()?;
    // One `docker cp` of the directory places all files, because it becomes the volume's root.
    std::io::copy(&mut files.1.open()?.1, &mut std::fs::File::create(folder.path().join("initramfs"))?)?;
    for suite in &harness::external::SUITES {
        if let Some(binary) = suite.binary {
            executable(&folder.path().join(suite.name), binary)?;
        }
    }
    let agent = folder.path().join("agent");
    executable(&agent, harness::built_in::AGENT)?;

    let began = Instant::now();
    let mut script = Script { name, lock: lock.path().to_string_lossy().into_owned(), exec: None };
    let line = script.bring_up(&work.image, folder.path())?;
    ask(&line, EnvironmentRequest::SetUp { claims: Box::new(files.0.clone()) })?;
    let up = began.elapsed().as_secs_f64();
    let done = Mutex::new(Done::default());
    let queue = Mutex::new(work.units.iter());
    let result = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|_| {
                scope.spawn(|| -> anyhow::Result<()> {
                    loop {
                        let Some(unit) = locked(&queue).next() else { return Ok(()) };
                        run_unit(&line, unit, &done)?;
                    }
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(_) => Err(anyhow::anyhow!("a worker panicked")),
        })
    });
    let tested = began.elapsed().as_secs_f64();
    drop(line);
    drop(script);
    let seconds = began.elapsed().as_secs_f64();
    result?;
    let Done { launched, outcomes } = unlocked(done);
    let phases = format!("container {up:.1}, tests {:.1}, removal {:.1}", tested - up, seconds - tested);
    Ok(Floor { seconds, phases, launched, outcomes })
}

#[derive(Default)]
struct Done {
    launched: Vec<String>,
    outcomes: Vec<(String, bool)>,
}

impl Done {
    fn launched(&mut self, launched: &Launched) {
        self.launched.push(normalised(&launched.argv, &launched.daemon));
    }
}

/// Boots the unit's guest and runs its tests back to back, with a fresh guest wherever the run had a fresh one.
fn run_unit(line: &Client<EnvironmentReply>, unit: &Unit, done: &Mutex<Done>) -> anyhow::Result<()> {
    let mut guest = None;
    for (test, times) in &unit.tests {
        for time in 1..=*times {
            let wants_guest = test.shares_a_guest();
            if wants_guest && guest.is_none() {
                let profile = Box::new(unit.profile.clone());
                match ask(line, EnvironmentRequest::StartGuest { profile, configuration: unit.configuration })? {
                    EnvironmentReply::Started { guest: handle, launched } => {
                        locked(done).launched(&launched);
                        guest = Some(handle);
                    }
                    EnvironmentReply::Failed { launched, .. } => {
                        let mut done = locked(done);
                        launched.iter().for_each(|launched| done.launched(launched));
                        done.outcomes.push((test.id.to_string(), false));
                        continue;
                    }
                    other => anyhow::bail!("starting a guest: {other:?}"),
                }
            }
            let profile = Box::new(unit.profile.clone());
            let reply = ask(line, EnvironmentRequest::RunTest { test: test.id.clone(), profile, guest })?;
            let (passed, alive) = match reply {
                EnvironmentReply::Tested { stop, launched, guest_alive, .. } => {
                    let mut done = locked(done);
                    launched.iter().for_each(|launched| done.launched(launched));
                    (stop.is_none(), guest_alive)
                }
                EnvironmentReply::Failed { .. } => (false, true),
                other => anyhow::bail!("running {}: {other:?}", test.id),
            };
            locked(done).outcomes.push((test.id.to_string(), passed));
            // The run, too, tries a test again in a fresh guest.
            if (wants_guest && !alive) || time < *times {
                stop(line, &mut guest)?;
            }
        }
    }
    stop(line, &mut guest)
}

fn stop(line: &Client<EnvironmentReply>, guest: &mut Option<u64>) -> anyhow::Result<()> {
    match guest.take() {
        Some(guest) => ask(line, EnvironmentRequest::StopGuest { guest }).map(drop),
        None => Ok(()),
    }
}

fn ask(line: &Client<EnvironmentReply>, request: EnvironmentRequest) -> anyhow::Result<EnvironmentReply> {
    Ok(line.ask(request, DEADLINE, || true)?)
}

/// The container, and the `docker exec` process that is the line to its agent; dropping the value ends both.
struct Script {
    name: String,
    lock: String,
    exec: Option<Child>,
}

impl Script {
    /// Brings up the same container as the harness, with Docker's command.
    fn bring_up(&mut self, image: &str, folder: &Path) -> anyhow::Result<Client<EnvironmentReply>> {
        let mut create = Command::new("docker");
        create.args(["create", "--name", &self.name, "--network=none", "--init", "--shm-size=16g"]);
        let filter = folder.join("seccomp.json");
        std::fs::write(&filter, harness::environments::container::seccomp::profile().to_string())?;
        create.arg(format!("--security-opt=seccomp={}", filter.display())).arg("--cap-add=DAC_READ_SEARCH");
        create.args(["--ulimit=nofile=1000000", "--ulimit=nproc=-1", "--ulimit=memlock=-1", "--pids-limit=-1"]);
        create.arg(format!("--label={RUN_LABEL}={}", self.name)).arg(format!("--label={LOCK_LABEL}={}", self.lock));
        create.arg(format!("--mount=type=volume,target={VOLUME}"));
        for slot in 0..SLOTS {
            let mount = format!("type=tmpfs,target={VOLUME}/slot{slot}/small,tmpfs-size=16777216,tmpfs-mode=1777");
            create.args(["--mount", &mount]);
        }
        docker(create.args([image, AGENT, "idle"]))?;
        let into = |path: &str| format!("{}:{path}", self.name);
        docker(Command::new("docker").arg("cp").arg(folder.join("agent")).arg(into(AGENT)))?;
        docker(Command::new("docker").args(["start", &self.name]))?;
        let suites = harness::external::SUITES.iter().map(|suite| suite.name);
        for file in suites.chain(["initramfs"]).map(|file| folder.join(file)).filter(|path| path.exists()) {
            docker(Command::new("docker").arg("cp").arg(file).arg(into(&format!("{VOLUME}/"))))?;
        }
        let (own_end, agent_end) = UnixStream::pair()?;
        let exec = Command::new("docker")
            .args(["exec", "-i", &self.name, AGENT, "environment"])
            .stdin(OwnedFd::from(agent_end.try_clone()?))
            .stdout(OwnedFd::from(agent_end))
            .stderr(Stdio::null())
            .spawn()
            .context("docker exec")?;
        self.exec = Some(exec);
        let line = Client::new(own_end)?;
        line.wait_for_hello(Duration::from_secs(60), || true)?;
        Ok(line)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if let Err(e) = docker(Command::new("docker").args(["rm", "--force", "--volumes", &self.name])) {
            eprintln!("warning: {e:#}");
        }
        if let Some(exec) = &mut self.exec {
            let _ = exec.kill();
            let _ = exec.wait();
        }
    }
}

fn docker(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().context("docker")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{command:?}: {}", stderr.trim());
    Ok(())
}

fn executable(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, bytes)?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}
