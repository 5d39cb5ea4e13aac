//! The VM environment on this machine: a release is booted, and the cause of its end is named.
//!
//! One boot under emulation takes from seconds to minutes, so the faults share machines where possible.
//! Root, mmdebstrap and a mirror or a warm cache are needed.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails by panicking")]

use harness::environments::vm::outer::OuterQemu;
use harness::environments::vm::{self, Size, Vm, pinned};
use harness::line::ask;
use harness::seed::{Content, SeedFile};
use images::{Disk, Options, prepare_disk};
use model::arch::Arch;
use model::database::Database;
use model::procfs;
use model::sync::locked;
use protocol::message::EnvironmentRequest;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Tests run one at a time, because they count processes by the disk that they share.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Setup {
    _guard: MutexGuard<'static, ()>,
    outer: OuterQemu,
    disk: Disk,
    folder: tempfile::TempDir,
}

fn set_up() -> Setup {
    let guard = locked(&ONE_AT_A_TIME);
    let options = Options::new(cache());
    let database = Database::embedded();
    let release = database.record("debian").unwrap().release("13", Arch::X86_64).unwrap();
    let disk = prepare_disk(&release, &options, &vm::files(release.arch), &|_| {});
    let disk = disk.unwrap_or_else(|e| panic!("no disk of debian:13: {e}"));
    let outer = pinned::prepare(&options, &|_| {}).unwrap();
    Setup { _guard: guard, outer, disk, folder: tempfile::tempdir().unwrap() }
}

impl Setup {
    async fn boot(&self, name: &str) -> Vm {
        let size = Size { memory_mib: 1024, cpus: 1 };
        let logs = self.folder.path().join(name);
        let agent = SeedFile { name: "agent".to_owned(), content: Content::Static(harness::built_in::AGENT) };
        vm::start(&self.outer, &self.disk, size, &[agent], &logs).await.unwrap()
    }
}

/// Writes to a file of the machine; the machine may end before it answers.
async fn write(vm: &Vm, path: &str, text: &str) {
    let bytes = protocol::message::Base64Bytes(text.as_bytes().to_vec());
    let request = EnvironmentRequest::PutFile { path: path.to_owned(), mode: 0o600, offset: 0, bytes };
    let _ = ask(&vm.line, request, 5).await;
}

async fn wait_for_end(vm: &Vm, within: Duration) -> String {
    let end = Instant::now() + within;
    loop {
        if let Some(ending) = vm.ending().await {
            return ending;
        }
        assert!(Instant::now() < end, "nothing was seen for {within:?}; last: {}", vm.last_words());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
async fn the_causes_of_a_machines_end_are_distinguished() {
    let setup = set_up();

    // The machine's kernel panics.
    let panics = setup.boot("panics").await;
    write(&panics, "/proc/sysrq-trigger", "c").await;
    let ending = wait_for_end(&panics, Duration::from_secs(60)).await;
    assert!(ending.contains("kernel panicked"), "{ending}");
    panics.stop().await;

    // The machine's QEMU is killed from outside during a request.
    let killed = setup.boot("killed").await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(killed.pid()).unwrap()).unwrap();
    let pending_request = {
        let line = killed.line.clone();
        tokio::spawn(async move { line.ask(EnvironmentRequest::ListArtifacts, Duration::from_secs(60)).await })
    };
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    let ending = wait_for_end(&killed, Duration::from_secs(30)).await;
    assert!(ending.contains("signal 9"), "{ending}");
    // The request ends with the machine and not with its deadline.
    let _ = tokio::time::timeout(Duration::from_secs(20), pending_request).await.unwrap();
    killed.stop().await;

    // A flood on the serial line produces a bounded log, and the machine goes on.
    let flooded = setup.boot("flooded").await;
    let flood = "x".repeat(1 << 20);
    for _ in 0..agent::log::DISK_CAP / (1 << 20) + 2 {
        let bytes = protocol::message::Base64Bytes(flood.clone().into_bytes());
        let request = EnvironmentRequest::PutFile { path: "/dev/ttyS0".to_owned(), mode: 0o600, offset: 0, bytes };
        ask(&flooded.line, request, 300).await.unwrap();
    }
    let log = setup.folder.path().join("flooded/serial.log");
    let size = std::fs::metadata(log).unwrap().len();
    assert!((agent::log::DISK_CAP..agent::log::DISK_CAP + 200).contains(&size), "{size}");

    // The agent in the machine is killed, with everything in its unit.
    write(&flooded, "/sys/fs/cgroup/system.slice/kata-qualify.service/cgroup.kill", "1").await;
    let ending = wait_for_end(&flooded, Duration::from_secs(60)).await;
    assert!(ending.contains("the agent in it ended"), "{ending}");
    assert_eq!(machines_of(std::process::id(), &setup.disk), [flooded.pid()], "the others are gone");
    flooded.stop().await;
    assert!(machines_of(std::process::id(), &setup.disk).is_empty(), "nothing of a machine stays");
}

/// A killed run takes its machines along: the kernel ends them, because nothing else is left to do so.
#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_killed_run_leaves_no_machine() {
    let setup = set_up();
    // An inherited descriptor, as left by a shell's `exec 9<file`: exec does not close it.
    let open = setup.folder.path().join("open");
    let inherited = std::fs::File::create(&open).unwrap();
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_kata-qualify"))
        .args(["run", "debian:13", "--in", "vm", "--vm-memory", "1024", "--test", "host::cpu_can_virtualize"])
        .arg("--cache")
        .arg(cache())
        .arg("--out")
        .arg(setup.folder.path().join("out"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut machines = Vec::new();
    wait_for(
        || {
            machines = machines_of(run.id(), &setup.disk);
            !machines.is_empty()
        },
        Duration::from_secs(120),
        "the machine to be started",
    );
    let mut status = String::new();
    wait_for(
        || {
            status = machines.first().map(|pid| process_status(*pid)).unwrap_or_default();
            status.contains("Seccomp:\t2")
        },
        Duration::from_secs(60),
        "QEMU to be under its filter",
    );
    let held = |pid: u32| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        files.filter(|file| std::fs::read_link(file.as_ref().unwrap().path()).is_ok_and(|to| to == open)).count()
    };
    let (of_run, of_machine) = (held(run.id()), held(machines[0]));
    run.kill().unwrap();
    run.wait().unwrap();
    assert_eq!((of_run, of_machine), (1, 0), "QEMU has what the run was left with");
    let line = |key: &str| procfs::status(&status, key).unwrap_or_default();
    for user in ["Uid", "Gid"].iter().flat_map(|key| line(key).split_whitespace()) {
        assert!(user.parse::<u32>().unwrap() >= 1_900_000_000, "{status}");
    }
    for key in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(line(key), "0000000000000000", "{status}");
    }
    assert_eq!(line("NoNewPrivs"), "1", "{status}");
    let is_ended = || machines.iter().all(|pid| !is_machine(*pid, &setup.disk));
    wait_for(is_ended, Duration::from_secs(10), "the machine to be gone");
}

/// A machine that is killed during a test costs that test one attempt. The test and the remaining ones go on in a fresh
/// machine, and the other cell is not affected.
#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn remaining_tests_continue_in_a_new_machine() {
    let setup = set_up();
    let journal = lose_a_machine_of_debian_13(&setup, "debian:12,13", Signal::KILL);
    assert!(journal.contains("QEMU ended: signal 9"), "the loss has a name: {journal}");
    let other = finished(&journal, "debian:12");
    let untouched = |line: &String| !line.contains("during this test") && !line.contains("\"outcome\":\"error\"");
    assert!(!other.is_empty() && other.iter().all(untouched), "{other:#?}");
}

/// A running machine from which nothing is heard any more counts as lost, like one that has ended.
#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_stopped_machine_is_treated_as_lost() {
    let setup = set_up();
    let journal = lose_a_machine_of_debian_13(&setup, "debian:13", Signal::STOP);
    assert!(journal.contains("runs, but its agent has been silent for"), "the loss has a name: {journal}");
}

/// Runs the host suite, sends Debian 13's machine the signal during its first test, and returns the journal. The run
/// must succeed nevertheless.
fn lose_a_machine_of_debian_13(setup: &Setup, releases: &str, signal: Signal) -> String {
    let out = setup.folder.path().join("out");
    let mut run = Command::new(env!("CARGO_BIN_EXE_kata-qualify"))
        .args(["run", releases, "--in", "vm", "--vm-memory", "3072", "--profile", "go-3.29", "--test", "host::"])
        .arg("--cache")
        .arg(cache())
        .arg("--out")
        .arg(&out)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let journal = || std::fs::read_to_string(out.join("journal.jsonl")).unwrap_or_default();
    let has_started = |line: &str| line.contains("test-started") && line.contains("debian:13/");
    wait_for(|| journal().lines().any(has_started), Duration::from_secs(900), "the first test");
    let machines = machines_of(run.id(), &setup.disk);
    let [machine] = machines[..] else { panic!("{machines:?}") };
    let pid = rustix::process::Pid::from_raw(i32::try_from(machine).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
    let status = run.wait().unwrap();

    let journal = journal();
    assert!(!journal.contains("cell-error"), "the cell goes on: {journal}");
    assert!(finished(&journal, "debian:13").iter().any(|line| line.contains("\"machine\":2")), "{journal}");
    let results: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("results.json")).unwrap()).unwrap();
    let text = results.to_string();
    assert!(!text.contains("could not go on"), "{text}");
    assert_eq!(status.code(), Some(0), "everything required of the host passed in the end: {text}");
    journal
}

/// Returns the journal's lines about finished tests of this release's machine.
fn finished(journal: &str, release: &str) -> Vec<String> {
    let is_about = |line: &&str| line.contains("test-finished") && line.contains(&format!("{release}/x86_64/vm"));
    journal.lines().filter(is_about).map(str::to_owned).collect()
}

fn wait_for(mut condition: impl FnMut() -> bool, within: Duration, what: &str) {
    let end = Instant::now() + within;
    while !condition() {
        assert!(Instant::now() < end, "waited {within:?} for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Returns the processes that `parent` started for machines with this disk; other runs may use the same disk.
fn machines_of(parent: u32, disk: &Disk) -> Vec<u32> {
    let parent = format!("PPid:\t{parent}\n");
    let child =
        |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| status.contains(&parent));
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
        .filter(|pid| child(pid) && is_machine(*pid, disk))
        .collect()
}

/// Returns a process's status, which has its privileges.
fn process_status(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}

fn is_machine(pid: u32, disk: &Disk) -> bool {
    let cmdline = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&cmdline).contains(&vm::name(disk))
}

fn cache() -> PathBuf {
    match std::env::var_os("KATA_QUALIFY_CACHE").filter(|dir| !dir.is_empty()) {
        Some(dir) => std::path::absolute(dir).unwrap(),
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
    }
}
