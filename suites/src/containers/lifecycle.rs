//! Containers and pods as a whole: the resources that they share, and the removal of everything that belongs to them.

use super::process::{parse_facts, wait_for};
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{Container, ContainerRuntime, ContainerSandbox, Containers, PROBE, Process, Trace};
use crate::row::{Row, row};
use model::{procfs, profile};
use std::collections::BTreeSet;
use std::time::Duration;

const SOURCE: &str = include_str!("lifecycle.rs");

/// The number of sandboxes that run at once, and the memory that they need, MiB.
const SEVERAL: usize = 3;
const ROOM: u64 = 3072;
/// How long a paused container, which otherwise prints fifty times a second, must print nothing.
const STILL: Duration = Duration::from_secs(1);

pub(super) static ROWS: &[Row] = &[
    row!(Containers(a_pod_shares_one_sandbox), &[Capability::KataSmoke], Qemu).seconds(240),
    row!(Containers(a_pods_containers_share_processes), &[Capability::KataControl], Kernel).seconds(240),
    row!(Containers(several_sandboxes_run_at_once), &[Capability::KataControl], Qemu).seconds(360),
    row!(Containers(a_container_is_started_again), &[Capability::KataControl], Qemu).seconds(240),
    row!(Containers(a_paused_container_stands_still), &[Capability::KataControl], Kernel),
    row!(Containers(nothing_stays_behind), &[Capability::KataSmoke], Qemu).seconds(600),
    row!(Containers(killing_what_carries_it_cleans_up), &[Capability::KataSmoke], Virtiofsd).seconds(240),
];

/// Three containers of one pod share its sandbox: one virtual machine under Kata, one set of namespaces under runc.
///
/// The pod is described by CRI's annotations, as kubelet has containerd describe it; its containers share one host name
/// and one network, and each has its own files. The shim creates a sandbox for the first container only, and the others
/// in it (`create` in src/runtime/pkg/containerd-shim-v2/create.go@4.1.0).
fn a_pod_shares_one_sandbox(containers: &dyn Containers) -> Check {
    let pod = Container { hostname: Some("kq-pod".to_owned()), ..Container::pod() };
    let pod = containers.start(&pod)?;
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(containers.start(&Container::new(&["stay"]).within(ContainerSandbox::In(pod.id().to_owned())))?);
    }
    let mut boots = Vec::new();
    for task in &tasks {
        let facts = parse_facts(&task.exec(&["facts"], &[])?)?;
        ensure!(facts.hostname == "kq-pod", "a container of the pod kq-pod has the host name {}", facts.hostname);
        boots.push(facts.boot_id);
    }
    ensure!(boots.windows(2).all(|pair| pair[0] == pair[1]), "three containers of one pod see the boots {boots:?}");
    let server = tasks[0].exec(&["rewrite", "/tmp/own", "first"], &[])?;
    ensure!(server.code == 0, "writing in the first container: {}", server.summary());
    let other = tasks[1].exec(&["read", "/tmp/own"], &[])?;
    ensure!(other.code != 0, "the second container of the pod sees the first one's files");
    let vmms = containers.processes(pod.id()).into_iter().filter(Process::is_vmm).count();
    let expected = usize::from(containers.runtime() == ContainerRuntime::Kata);
    ensure!(vmms == expected, "{vmms} virtual machines carry a pod, expected {expected}");
    Ok(())
}

/// Three sandboxes run at the same time, each with one virtual machine of its own under Kata; all answer, and the end
/// of one leaves the others alone.
///
/// A node has many pods. Kata's own test also runs several at once
/// (tests/integration/kubernetes/k8s-parallel.bats@4.1.0).
fn several_sandboxes_run_at_once(containers: &dyn Containers) -> Check {
    let is_kata = containers.runtime() == ContainerRuntime::Kata;
    if is_kata {
        has_room_for_several(containers)?;
    }
    let mut tasks = Vec::new();
    for _ in 0..SEVERAL {
        tasks.push(containers.start(&Container::new(&["stay"]).within(ContainerSandbox::Alone))?);
    }
    let mut boots = BTreeSet::new();
    for task in &tasks {
        boots.insert(parse_facts(&task.exec(&["facts"], &[])?)?.boot_id);
        let vmms = containers.processes(task.id()).into_iter().filter(Process::is_vmm).count();
        ensure!(vmms == usize::from(is_kata), "{vmms} virtual machines carry one of {SEVERAL} sandboxes");
    }
    let expected = if is_kata { SEVERAL } else { 1 };
    ensure!(boots.len() == expected, "{SEVERAL} sandboxes see {} boots of a kernel, expected {expected}", boots.len());
    let mut first = tasks.remove(0);
    first.signal(9)?;
    first.wait(Duration::from_secs(90))?;
    for task in &tasks {
        let code = task.exec(&["exit", "7"], &[])?;
        ensure!(code.code == 7, "one of {SEVERAL} sandboxes was ended, and another one says {}", code.summary());
    }
    Ok(())
}

/// Skips if the machine, and not the distro, is too small for several of Kata's sandboxes.
fn has_room_for_several(containers: &dyn Containers) -> Check {
    let kata = containers.claims().kata_for(&containers.profile().name);
    if kata.is_some_and(|kata| kata.emulated) {
        return Err(Stop::skip("an emulated machine loses guests that boot side by side"));
    }
    let table = containers.read_host("/proc/meminfo")?;
    let mib = procfs::meminfo(&table, "MemAvailable").unwrap_or(0) / 1024;
    if mib < ROOM {
        return Err(Stop::skip(format!(
            "the environment has {mib} MiB of memory left, {SEVERAL} sandboxes want {ROOM}"
        )));
    }
    Ok(())
}

/// Containers that share their pod's processes see each other's and the sandbox's; a container that does not share them
/// sees only its own.
///
/// This is `shareProcessNamespace` of a pod. Under Kata the runtime tells the agent whether a namespace was named, and
/// the agent puts the containers into the sandbox's namespace (`handlePidNamespace` in
/// src/runtime/virtcontainers/kata_agent.go@4.1.0; Kata's own test is
/// tests/integration/kubernetes/k8s-pid-ns.bats@4.1.0).
fn a_pods_containers_share_processes(containers: &dyn Containers) -> Check {
    let pod = containers.start(&Container::pod())?;
    let within = |container: Container| container.within(ContainerSandbox::In(pod.id().to_owned()));
    let sharing = |command: &[&str]| within(Container { shares_processes: true, ..Container::new(command) });
    let (first, second) = (containers.start(&sharing(&["tick"]))?, containers.start(&sharing(&["hold", "1"]))?);
    for (name, task) in [("first", &first), ("second", &second)] {
        let seen = task.exec(&["processes"], &[])?;
        let unseen: Vec<&str> = ["stay", "tick", "hold 1"]
            .into_iter()
            .filter(|words| !seen.text().lines().any(|line| line.ends_with(words)))
            .collect();
        ensure!(
            unseen.is_empty(),
            "the {name} of two containers that share their pod's processes does not see {}: {}",
            unseen.join(", "),
            seen.summary()
        );
    }
    let alone = containers.run(&within(Container::new(&["processes"])), &[])?;
    let others = alone.text().lines().filter(|line| !line.is_empty() && !line.ends_with(" processes")).count();
    ensure!(others == 0, "a container that shares no processes sees those of others: {}", alone.summary());
    Ok(())
}

/// A container that has ended can be started again: it runs, and finds its files as it left them.
///
/// `docker restart` and `ctr tasks start` do this; Kubernetes makes a new container in the same pod instead, as every
/// test in the shared pod does. Under Kata the virtual machine ended together with the container, and a new one boots
/// for the same id (`create` in src/runtime/pkg/containerd-shim-v2/create.go@4.1.0), so no remains of the first may be
/// in its way.
fn a_container_is_started_again(containers: &dyn Containers) -> Check {
    let [first, second] = containers.run_twice(&Container::new(&["mkdir", "/tmp/from-the-first-start"]))?;
    ensure!(first.code == 0, "making a folder at the first start: {}", first.summary());
    ensure!(
        second.refusal().as_deref() == Some("EEXIST"),
        "a container was started again, and the folder that it had made is not there: {}",
        second.summary()
    );
    Ok(())
}

/// A container that is paused does nothing until it is resumed, and then goes on.
///
/// Under Kata the agent freezes the container's control group in the guest (`pause_container` in
/// src/agent/src/rpc.rs@4.1.0), and the virtual machine goes on running.
fn a_paused_container_stands_still(containers: &dyn Containers) -> Check {
    let task = containers.start(&Container::new(&["tick"]))?;
    let printed = || task.stdout().len();
    let at_first = printed();
    wait_for(|| printed() > at_first, || "a container that prints all the time prints nothing".to_owned())?;
    task.pause()?;
    // Output from before the pause may still be on its way.
    let stood_still = wait_for(
        || {
            let before = printed();
            std::thread::sleep(STILL);
            printed() == before
        },
        || format!("a container was paused, and goes on printing within {} ms", STILL.as_millis()),
    );
    let until_then = printed();
    // Resume first: a container that stays paused could not be ended.
    task.resume()?;
    stood_still?;
    wait_for(|| printed() > until_then, || "a container was resumed, and prints nothing more".to_owned())
}

/// Containers that were created, run and deleted again leave nothing on the host: 20 under runc, 5 under Kata.
///
/// No process, mount, control group, directory or record of containerd's may stay, because a node lives for months.
/// Empty control groups of Kata's Go runtime are noted and do not count as a failure of the distro (Kata's issues 6422
/// and 11815). Kata's own test compares mounts and processes, too (`check_mounts` in
/// tests/stability/soak_parallel_rm.sh@4.1.0).
fn nothing_stays_behind(containers: &dyn Containers) -> Check {
    let rounds = match containers.runtime() {
        ContainerRuntime::Runc => 20,
        ContainerRuntime::Kata => 5,
    };
    // The shared pod, if a test has started it, is no trace; traces of earlier tests are those tests' fault.
    let before = containers.traces();
    for round in 1..=rounds {
        let finished = containers.run(&Container::new(&["exit", "0"]).within(ContainerSandbox::Alone), &[])?;
        ensure!(finished.code == 0, "in round {round} of {rounds}: {}", finished.summary());
    }
    no_trace_remains(containers, &|| containers.traces(), &before, &format!("after {rounds} containers"))
}

/// Waits until no trace is new, except for those that Kata's Go runtime is known to leave on any distro.
pub(super) fn no_trace_remains(
    containers: &dyn Containers,
    traces: &dyn Fn() -> BTreeSet<Trace>,
    before: &BTreeSet<Trace>,
    when: &str,
) -> Check {
    let kata = containers.claims().kata_for(&containers.profile().name);
    let excused =
        containers.runtime() == ContainerRuntime::Kata && kata.is_some_and(|kata| kata.kind == profile::Runtime::Go);
    let new = || -> BTreeSet<Trace> { traces().difference(before).cloned().collect() };
    let known = |trace: &Trace| excused && matches!(trace, Trace::ControlGroup { empty: true, .. });
    wait_for(
        || new().iter().all(known),
        || {
            let remaining: Vec<String> = new().iter().filter(|trace| !known(trace)).map(Trace::to_string).collect();
            format!("{when} there still is: {}", remaining.join(", "))
        },
    )?;
    let empty = new().iter().filter(|trace| known(trace)).count();
    if empty > 0 {
        let issues = "kata-containers issues 6422 and 11815";
        containers.note(format!("{when} Kata's Go runtime leaves {empty} empty control groups ({issues})"));
    }
    Ok(())
}

/// If the process that runs a container is killed (QEMU under Kata, the container's first process under runc),
/// everything else that belongs to the container goes away.
///
/// From Kata's own test (`TestKilledVmmCleanup` in tests/integration/cri-containerd/integration-tests.sh@4.1.0):
/// containerd must be told that the container has ended, and virtiofsd, shim, mounts and control groups must not stay.
fn killing_what_carries_it_cleans_up(containers: &dyn Containers) -> Check {
    let before = containers.traces();
    let mut task = containers.start(&Container::new(&["stay"]).within(ContainerSandbox::Alone))?;
    let processes = containers.processes(task.id());
    let victim = match containers.runtime() {
        ContainerRuntime::Kata => processes.iter().find(|p| p.is_vmm()),
        ContainerRuntime::Runc => processes.iter().find(|p| p.argv.first().is_some_and(|a| a == PROBE)),
    };
    let victim = victim.ok_or_else(|| Stop::error(format!("nothing to kill among {}", names(&processes))))?;
    containers.kill_process(victim.pid)?;
    let finished = task.wait(Duration::from_secs(90))?;
    ensure!(finished.code != 0, "its carrier was killed, and the reported exit code of the container is 0");
    no_trace_remains(containers, &|| containers.traces(), &before, "after the kill")
}

/// Returns the processes' programs, for a message.
pub(super) fn names(processes: &[Process]) -> String {
    let names: Vec<&str> = processes.iter().map(|p| p.program.as_str()).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
