//! A container's process: its end, its streams and its identity.

use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{
    Container, ContainerOutput, ContainerRuntime, ContainerSandbox, Containers, IMAGE_USER, ProbeFacts,
};
use crate::outcome::{Component, FailureDetail};
use crate::row::{Row, row};
use model::foreign::runtimes::says_file_is_missing;
use model::procfs;
use std::time::Duration;

const SOURCE: &str = include_str!("process.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Containers(exit_codes_are_told), &[Capability::KataSmoke], Qemu).blocked_by(&[]).seconds(240),
    row!(Containers(an_image_runs_from_its_snapshot), &[Capability::KataSmoke], Qemu).seconds(180),
    row!(Containers(an_image_brings_its_settings), &[Capability::KataSmoke], Qemu).seconds(180),
    row!(Containers(an_image_brings_its_user), &[Capability::KataSmoke], Qemu).seconds(180),
    row!(Containers(a_missing_program_is_refused), &[Capability::KataSmoke], Qemu),
    row!(Containers(standard_input_arrives_whole), &[Capability::KataSmoke], Qemu),
    row!(Containers(standard_output_and_error_arrive_whole), &[Capability::KataSmoke], Qemu),
    row!(Containers(environment_variables_arrive), &[Capability::KataSmoke], Qemu),
    row!(Containers(the_working_directory_is_the_one_asked_for), &[Capability::KataSmoke], Qemu),
    row!(Containers(user_and_groups_are_the_ones_asked_for), &[Capability::KataSmoke], Qemu),
    row!(Containers(the_first_process_has_id_1), &[Capability::KataSmoke], Kernel),
    row!(Containers(further_processes_run_in_a_container), &[Capability::KataSmoke], Qemu),
    row!(Containers(signals_reach_the_process), &[Capability::KataSmoke], Qemu),
    row!(Containers(sigkill_ends_what_ignores_sigterm), &[Capability::KataSmoke], Qemu),
    row!(Containers(the_hostname_is_the_one_asked_for), &[Capability::KataSmoke], Kernel).seconds(180),
    row!(Containers(seccomp_denies_what_the_profile_denies), &[Capability::KataSmoke], Kernel),
];

/// The number of bytes that are sent through each stream.
const STREAM: usize = 1 << 20;

/// A container started the plain way from an imported image runs, and its root filesystem can be written and read.
///
/// This is the first thing that anybody tries (`ctr run`): containerd's own snapshotter provides the root filesystem,
/// the runtime mounts it, and under Kata virtio-fs carries it into the guest. Kata's documents start their first
/// container this way (docs/how-to/containerd-kata.md@4.1.0).
fn an_image_runs_from_its_snapshot(containers: &dyn Containers) -> Check {
    let read = containers.run_image(&["rewrite", "/etc/greeting", "kata-qualify"])?;
    ensure!(
        read.code == 0 && read.text() == "kata-qualify",
        "expected to read back what was written: {}",
        read.summary()
    );
    Ok(())
}

/// The image's own settings are in force: its environment and working directory.
///
/// They are the contract between the person who builds an image and the person who runs it. containerd writes them into
/// the specification, and the agent applies them (`do_init_child` in src/agent/rustjail/src/container.rs@4.1.0).
fn an_image_brings_its_settings(containers: &dyn Containers) -> Check {
    let facts = parse_facts(&containers.run_image(&["facts"])?)?;
    let variable = facts.environment.get("KATA_QUALIFY_IMAGE").map(String::as_str);
    set_by_agent(containers, variable == Some("yes"), || {
        format!("the image's variable KATA_QUALIFY_IMAGE is {variable:?} inside")
    })?;
    set_by_agent(containers, facts.folder == "/work", || {
        format!("the image's working directory is /work, inside it is {}", facts.folder)
    })
}

/// A container runs as the user and the group that its image names.
///
/// Images name a user so that their program does not run as root; a runtime that ignores it gives the program more
/// rights. The agent changes to it (`setid` in src/agent/rustjail/src/container.rs@4.1.0).
fn an_image_brings_its_user(containers: &dyn Containers) -> Check {
    let facts = parse_facts(&containers.run_image_with_user(&["facts"])?)?;
    let (user, group) = IMAGE_USER;
    set_by_agent(containers, (facts.user, facts.group) == IMAGE_USER, || {
        format!("the image's user is {user}:{group}, it runs as {}:{}", facts.user, facts.group)
    })
}

/// Exit codes are reported unchanged, 0 and 255 included.
///
/// Kubernetes uses them to decide whether a job has succeeded and whether a container is to be restarted. The agent
/// answers with the code (`do_wait_process` in src/agent/src/rpc.rs@4.1.0), and the shim publishes it
/// (src/runtime/pkg/containerd-shim-v2/wait.go@4.1.0).
fn exit_codes_are_told(containers: &dyn Containers) -> Check {
    for code in [0, 7, 255] {
        let finished = containers.run(&Container::new(&["exit", &code.to_string()]), &[])?;
        ensure!(finished.code == code, "a process exited with {code}, the runtime reported {}", finished.summary());
    }
    Ok(())
}

/// A program that does not exist is refused with an error, and not reported as if it had run.
///
/// Under Kata the agent in the guest notices this, and the refusal has to come all the way back. The agent looks for
/// the program before it runs it (`find_file` in src/agent/rustjail/src/container.rs@4.1.0).
fn a_missing_program_is_refused(containers: &dyn Containers) -> Check {
    let task = containers.start(&Container::new(&["stay"]))?;
    // `!` tells the engine that the word is a program of its own and not a command for the probe.
    let (refusal, is_missing) = match task.exec(&["!/no/such/program"], &[]) {
        Ok(finished) if finished.code == 0 => {
            return Err(Stop::fail("the reported exit code of /no/such/program is 0"));
        }
        Ok(finished) => (finished.summary(), says_file_is_missing(&finished.summary())),
        Err(Stop::Fail { message, detail, .. }) => (message, *detail == FailureDetail::FileMissing),
        Err(other) => return Err(other),
    };
    set_by_agent(containers, is_missing, || {
        format!("expected a refusal that says that the file is not there: {refusal}")
    })
}

/// 1 MiB sent to standard input comes back from standard output whole and unchanged.
///
/// Kata carries the streams over vsock in pieces; this test detects a piece that is lost or repeated at the end of a
/// buffer. The shim copies it to the agent (`ioCopy` in src/runtime/pkg/containerd-shim-v2/stream.go@4.1.0,
/// `do_write_stream` in src/agent/src/rpc.rs@4.1.0).
fn standard_input_arrives_whole(containers: &dyn Containers) -> Check {
    let sent = pattern(STREAM);
    let finished = containers.run(&Container::new(&["cat", &STREAM.to_string()]), &sent)?;
    ensure!(finished.code == 0, "cat ended with {}", String::from_utf8_lossy(&finished.stderr));
    same_bytes("standard output", &finished.stdout, &sent)
}

/// 1 MiB each on standard output and standard error arrive whole, and not mixed with each other.
///
/// A process may end while its last output is still on its way: that output must not be cut off. The shim reads each
/// until the agent reports its end (`ioCopy` in src/runtime/pkg/containerd-shim-v2/stream.go@4.1.0, `do_read_stream` in
/// src/agent/src/rpc.rs@4.1.0).
fn standard_output_and_error_arrive_whole(containers: &dyn Containers) -> Check {
    let finished = containers.run(&Container::new(&["flood", &STREAM.to_string()]), &[])?;
    ensure!(finished.code == 0, "the writer ended with {}", finished.code);
    same_bytes("standard output", &finished.stdout, &pattern(STREAM))?;
    let mut reversed = pattern(STREAM);
    reversed.reverse();
    same_bytes("standard error", &finished.stderr, &reversed)
}

/// Environment variables arrive unchanged: with spaces, quotes, an equals sign, UTF-8, an empty value, and a value of
/// 32 KiB.
///
/// Configuration and service addresses reach containers this way. Kata's own test is
/// tests/integration/kubernetes/k8s-env.bats@4.1.0.
fn environment_variables_arrive(containers: &dyn Containers) -> Check {
    let long = "x".repeat(32 << 10);
    let wanted = [
        ("KQ_PLAIN", "value"),
        ("KQ_ODD", "a b 'c' \"d\" $e =f"),
        ("KQ_UTF8", "žlutý kůň"),
        ("KQ_EMPTY", ""),
        ("KQ_LONG", long.as_str()),
    ];
    let environment = wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let facts = parse_facts(&containers.run(&Container { environment, ..Container::new(&["facts"]) }, &[])?)?;
    for (name, value) in wanted {
        let seen = facts.environment.get(name);
        let shown = seen.map(|s| s.chars().take(60).collect::<String>());
        set_by_agent(containers, seen.map(String::as_str) == Some(value), || {
            format!("{name} ({} bytes) is {shown:?} inside", value.len())
        })?;
    }
    Ok(())
}

/// The process starts in the requested working directory.
///
/// Images rely on it (`WORKDIR`); under Kata the agent changes to it in the guest. That is `do_init_child` in
/// src/agent/rustjail/src/container.rs@4.1.0.
fn the_working_directory_is_the_one_asked_for(containers: &dyn Containers) -> Check {
    let container = Container { folder: "/srv/deep/folder".to_owned(), ..Container::new(&["facts"]) };
    let facts = parse_facts(&containers.run(&container, &[])?)?;
    set_by_agent(containers, facts.folder == "/srv/deep/folder", || {
        format!("expected /srv/deep/folder, inside it is {}", facts.folder)
    })
}

/// The process has the requested user, group and supplementary groups, and no other group.
///
/// `runAsUser`, `fsGroup` and `supplementalGroups` of a pod end up as these ids. The agent sets them (`setid` in
/// src/agent/rustjail/src/container.rs@4.1.0); Kata's own test is
/// tests/integration/kubernetes/k8s-security-context.bats@4.1.0.
fn user_and_groups_are_the_ones_asked_for(containers: &dyn Containers) -> Check {
    let container = Container { user: 1000, group: 1001, groups: vec![2001, 2002], ..Container::new(&["facts"]) };
    let facts = parse_facts(&containers.run(&container, &[])?)?;
    set_by_agent(containers, (facts.user, facts.group) == (1000, 1001), || {
        format!("expected 1000:1001, it runs as {}:{}", facts.user, facts.group)
    })?;
    let others: Vec<u32> = facts.groups.into_iter().filter(|g| *g != 1001).collect();
    set_by_agent(containers, others == [2001, 2002], || {
        format!("expected the supplementary groups 2001 and 2002, it has {others:?}")
    })
}

/// The first process has id 1 in a PID namespace of its own.
///
/// The signals that reach the process and the reaping of orphans depend on this. The agent makes that namespace in the
/// guest (`get_pid_namespace` in src/agent/rustjail/src/container.rs@4.1.0).
fn the_first_process_has_id_1(containers: &dyn Containers) -> Check {
    let facts = parse_facts(&containers.run(&Container::new(&["facts"]), &[])?)?;
    ensure!(facts.pid == 1, "the container's first process has the id {}", facts.pid);
    Ok(())
}

/// Further processes run in a running container, see its files, and their exit codes and streams come back.
///
/// `kubectl exec` and exec probes work this way; Kata's shim multiplexes them over one connection to the agent. That is
/// `do_exec_process` in src/agent/src/rpc.rs@4.1.0; Kata's own test is
/// tests/integration/kubernetes/k8s-exec.bats@4.1.0.
fn further_processes_run_in_a_container(containers: &dyn Containers) -> Check {
    let task = containers.start(&Container::new(&["stay"]))?;
    let written = task.exec(&["rewrite", "/tmp/from-exec", "here"], &[])?;
    ensure!(written.code == 0, "writing a file: {}", written.summary());
    let read = task.exec(&["read", "/tmp/from-exec"], &[])?;
    ensure!(read.text() == "here", "another process of the container does not see the file: {}", read.summary());
    let code = task.exec(&["exit", "42"], &[])?;
    ensure!(code.code == 42, "a further process exited with 42, the runtime reported {}", code.summary());
    let sent = pattern(64 << 10);
    let echoed = task.exec(&["cat", &sent.len().to_string()], &sent)?;
    same_bytes("a further process's standard output", &echoed.stdout, &sent)
}

/// Signals reach the container's first process, which may handle them: SIGUSR1, then SIGTERM.
///
/// Graceful termination of a pod is a SIGTERM that the process handles. Kata's own test is
/// tests/integration/kubernetes/k8s-graceful-termination.bats@4.1.0.
fn signals_reach_the_process(containers: &dyn Containers) -> Check {
    let mut task = containers.start(&Container::new(&["handle"]))?;
    task.signal(10)?;
    wait_for(|| task.stdout().contains("signal 10"), || format!("SIGUSR1 was sent, printed was {:?}", task.stdout()))?;
    task.signal(15)?;
    let finished = task.wait(Duration::from_secs(60))?;
    ensure!(finished.code == 33, "the handler of SIGTERM exits with 33: {}", finished.summary());
    ensure!(finished.text().contains("signal 15"), "the handler of SIGTERM did not run: {}", finished.summary());
    Ok(())
}

/// A process that ignores SIGTERM is ended by SIGKILL, which is reported as 137.
///
/// A pod's grace period ends with SIGKILL. The agent sends both (`do_signal_process` in src/agent/src/rpc.rs@4.1.0).
fn sigkill_ends_what_ignores_sigterm(containers: &dyn Containers) -> Check {
    let mut task = containers.start(&Container::new(&["defy"]))?;
    task.signal(15)?;
    wait_for(|| task.stdout().contains("signal 15"), || format!("SIGTERM was sent, printed was {:?}", task.stdout()))?;
    task.signal(9)?;
    let finished = task.wait(Duration::from_secs(60))?;
    ensure!(was_killed(containers, finished.code), "killed by signal 9, the runtime reported {}", finished.summary());
    Ok(())
}

/// Checks whether the exit code says that SIGKILL ended the process: 137.
///
/// Before 4.0 Kata's agent reports the signal's bare number (`src/agent/src/signal.rs@3.30.0`, and at 4.0.0).
pub(super) fn was_killed(containers: &dyn Containers, code: i32) -> bool {
    let kata = containers.claims().kata_for(&containers.profile().name);
    let bare = containers.runtime() == ContainerRuntime::Kata && kata.is_some_and(|kata| kata.is_before_4());
    if bare && code == 9 {
        containers.note("Kata before 4.0 reports 9 for a process that SIGKILL ended, not 137".to_owned());
        return true;
    }
    code == 137
}

/// The container has the requested host name.
///
/// A pod's name is its host name; peers of a StatefulSet find each other by it. The agent sets it (`do_init_child` in
/// src/agent/rustjail/src/container.rs@4.1.0); Kata's own test is tests/integration/kubernetes/k8s-hostname.bats@4.1.0.
fn the_hostname_is_the_one_asked_for(containers: &dyn Containers) -> Check {
    let container = Container { hostname: Some("kata-qualify-host".to_owned()), ..Container::new(&["facts"]) };
    let facts = parse_facts(&containers.run(&container.within(ContainerSandbox::Alone), &[])?)?;
    ensure!(facts.hostname == "kata-qualify-host", "expected kata-qualify-host, inside it is {}", facts.hostname);
    Ok(())
}

/// A system call that the container's seccomp profile denies fails with EPERM, and others go on working.
///
/// Kata applies the profile inside the guest, by the guest kernel's seccomp, unless its configuration disables that.
/// That is `init_seccomp` in src/agent/rustjail/src/seccomp.rs@4.1.0; Kata's own test is
/// tests/integration/kubernetes/k8s-seccomp.bats@4.1.0.
fn seccomp_denies_what_the_profile_denies(containers: &dyn Containers) -> Check {
    let free = containers.run(&Container::new(&["mkdir", "/tmp/free"]), &[])?;
    ensure!(free.code == 0, "without a profile mkdir works: {}", free.summary());
    let denied = vec!["mkdir".to_owned(), "mkdirat".to_owned()];
    // Kata decides when a sandbox is created whether seccomp is on.
    let container = Container { denied, ..Container::new(&["mkdir", "/tmp/denied"]).within(ContainerSandbox::Alone) };
    let refused = containers.run(&container, &[])?;
    if refused.code == 0 && containers.runtime() == ContainerRuntime::Kata {
        // The Rust shim does not ask whether the agent can apply a profile; the guest's kernel shows whether one was
        // applied.
        let status = containers.run(&Container { command: vec!["read".into(), STATUS.into()], ..container }, &[])?;
        if procfs::status(&status.text(), "Seccomp") == Some("0") {
            return Err(Stop::error("Kata's agent applied no profile: the one given was built without seccomp"));
        }
    }
    ensure!(refused.code != 0, "mkdir is denied by the profile, and still succeeded");
    ensure!(refused.refusal().as_deref() == Some("EPERM"), "mkdir is denied with EPERM: {}", refused.summary());
    Ok(())
}

/// Checks what Kata's agent alone gives to a container's process, or refuses: under Kata a difference is Kata's, and not
/// that of QEMU, which carried the request.
fn set_by_agent(containers: &dyn Containers, is_right: bool, message: impl FnOnce() -> String) -> Check {
    match containers.runtime() {
        _ if is_right => Ok(()),
        ContainerRuntime::Kata => Err(Stop::blame(Component::Kata, message())),
        ContainerRuntime::Runc => Err(Stop::fail(message())),
    }
}

/// Parses the facts that the probe printed.
pub(super) fn parse_facts(finished: &ContainerOutput) -> Result<ProbeFacts, Stop> {
    serde_json::from_slice(&finished.stdout)
        .map_err(|e| Stop::fail(format!("the container did not describe itself ({e}): {}", finished.summary())))
}

/// The kernel's description of a process.
pub(super) const STATUS: &str = "/proc/self/status";

/// Returns a field of [`STATUS`] as a process in a container has read it.
pub(super) fn status_line(read: &ContainerOutput, key: &str) -> Result<String, Stop> {
    let missing = || Stop::fail(format!("{STATUS} of a container has no {key}: {}", read.summary()));
    procfs::status(&read.text(), key).map(str::to_owned).ok_or_else(missing)
}

/// Bytes with a period that divides no buffer size, so that a lost or repeated piece shows.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

pub(super) fn same_bytes(what: &str, seen: &[u8], expected: &[u8]) -> Check {
    ensure!(seen.len() == expected.len(), "{what} has {} bytes, expected {}", seen.len(), expected.len());
    match seen.iter().zip(expected).position(|(a, b)| a != b) {
        None => Ok(()),
        Some(at) => Err(Stop::fail(format!("{what} differs from what was sent at byte {at} of {}", expected.len()))),
    }
}

/// Waits up to a minute for a condition; if it does not hold by then, `seen` describes the last state.
pub(super) fn wait_for(holds: impl Fn() -> bool, seen: impl Fn() -> String) -> Check {
    wait_within(Duration::from_secs(60), holds, seen)
}

/// Waits up to a deadline for a condition that holds sooner or never.
pub(super) fn wait_within(deadline: Duration, holds: impl Fn() -> bool, seen: impl Fn() -> String) -> Check {
    let end = std::time::Instant::now() + deadline;
    while std::time::Instant::now() < end {
        if holds() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(Stop::fail(format!("waited {} s: {}", deadline.as_secs(), seen())))
}
