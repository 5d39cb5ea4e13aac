//! Placement of a pod on the host: the control group that its caller asked for, created by the runtime or by systemd.

use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::environment::{ContainerRuntime, Containers, Pod, PodContainer, PodWanted, Process};
use crate::outcome::{Component, Grounds};
use crate::row::{Row, row};
use crate::under;
use model::kata_version::KataVersion;
use model::profile::Runtime;
use std::fs;
use std::path::Path;

const SOURCE: &str = include_str!("placement.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Containers(a_pod_is_in_the_control_group_asked_for), &[Capability::KataCriResources], Kernel)
        .under(&under::CONTROL_GROUPS)
        .seconds(240),
    row!(Containers(systemd_makes_the_control_group_of_a_pod), &[Capability::KataCriResources], Kernel)
        .under(&under::CONTROL_GROUPS)
        .seconds(240),
];

/// The VMM of a pod is, with all its threads, in the pod's control group below the requested one; if Kata's
/// configuration says so (`sandbox_cgroup_only`), the shim and virtiofsd are there, too.
///
/// The pod's limits apply to the processes in its group, and kubelet looks there for the pod's usage. As shipped,
/// runtime-rs puts everything into the group (`CgroupsResourceInner` in
/// `src/runtime-rs/crates/resource/src/cgroups/resource_inner.rs@4.1.0`), and the Go runtime the threads of its vCPUs:
/// with cgroup v2 these take their whole process along, with v1 they do not (`constrainHypervisor` in
/// `src/runtime/virtcontainers/sandbox.go@4.1.0`, AddThread in `src/runtime/pkg/resourcecontrol/cgroups.go@4.1.0`).
/// Under runc the test looks at the pod's first process. Kata's own test is
/// `tests/integration/kubernetes/k8s-sandbox-cgroup-placement.bats@4.1.0`.
fn a_pod_is_in_the_control_group_asked_for(containers: &dyn Containers) -> Check {
    is_placed(containers, &PodWanted::named("kq-group"))
}

/// If the caller names a slice of systemd's, systemd creates a scope for the pod below it, and the pod's processes are
/// in that scope.
///
/// Kubelet asks this way on nearly every node. The runtimes then talk to systemd (`new_cgroup_managers` in
/// `src/runtime-rs/crates/resource/src/cgroups/resource_inner.rs@4.1.0`, `createCgroupsSystemd` in
/// `src/runtime/pkg/resourcecontrol/utils_linux.go@4.1.0`). The Go runtime does so only with `sandbox_cgroup_only`;
/// without it, as shipped, it takes the whole name for that of a group at the root (NewSandboxResourceController in
/// `src/runtime/pkg/resourcecontrol/cgroups.go@4.1.0`), which is noted. Before 4.1 runtime-rs did not wait until
/// systemd had moved the pod, which is noted, too.
fn systemd_makes_the_control_group_of_a_pod(containers: &dyn Containers) -> Check {
    is_placed(containers, &PodWanted { by_systemd: true, ..PodWanted::named("kq-slice") })
}

/// Runs a pod with a container and checks the control groups of its processes.
fn is_placed(containers: &dyn Containers, wanted_pod: &PodWanted) -> Check {
    let cri = containers.cri()?;
    cri.pull()?;
    let pod = cri.run_pod(wanted_pod)?;
    let container = pod.start(&PodContainer::new(&["stay"]))?;
    are_in_its_group(containers, &*pod, wanted_pod.by_systemd)?;
    drop(container);
    pod.remove()
}

fn are_in_its_group(containers: &dyn Containers, pod: &dyn Pod, by_systemd: bool) -> Check {
    let of_kata = containers.runtime() == ContainerRuntime::Kata;
    let everything = !of_kata || containers.is_set("sandbox_cgroup_only")?;
    let go = containers.claims().kata_for(&containers.profile().name).is_some_and(|kata| kata.kind == Runtime::Go);
    let place = GroupOfPod {
        parent: pod.parent_group().to_owned(),
        id: pod.id().to_owned(),
        is_named_whole: of_kata && go && by_systemd && !everything,
    };
    if place.is_named_whole {
        let note = "without sandbox_cgroup_only Kata's Go runtime does not ask systemd for a pod's control group";
        containers.note(note.to_owned());
    }
    let processes: Vec<Process> = containers
        .processes(pod.id())
        .into_iter()
        .filter(
            |process| if of_kata { process.is_vmm() || everything && is_around(process) } else { !is_shim(process) },
        )
        .collect();
    let kind = if of_kata { "virtual machine" } else { "process" };
    ensure!(
        processes.iter().any(|process| !of_kata || process.is_vmm()),
        "no {kind} of the pod's is found on the host"
    );
    let all_threads = everything || Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    for process in &processes {
        let groups = groups_of_threads(process)?;
        ensure!(!groups.is_empty(), "{} of the pod's ended while it was looked at", process.program);
        let inside = groups.iter().filter(|group| place.has(group)).count();
        if inside == groups.len() || (inside > 0 && !all_threads) {
            continue;
        }
        let elsewhere = groups.iter().find(|group| !place.has(group)).map(|group| group.trim()).unwrap_or_default();
        let message = format!(
            "{inside} of {} threads of {} are in a control group of the pod's, expected below {}; others are in {elsewhere}",
            groups.len(),
            process.program,
            place.parent
        );
        if by_systemd && of_kata && !waits_for_systemd(containers) {
            containers.note(format!("Kata before 4.1 does not wait for systemd: {message}"));
            continue;
        }
        let component = if of_kata { Component::Kata } else { Component::Containerd };
        return Err(Stop::blame(component, message).resting_on(Grounds::Measured));
    }
    Ok(())
}

/// Checks whether a process is a helper of the VMM: virtiofsd or the shim.
fn is_around(process: &Process) -> bool {
    process.is_daemon() || is_shim(process)
}

fn is_shim(process: &Process) -> bool {
    process.program.rsplit('/').next().unwrap_or_default().starts_with("containerd-shim")
}

/// Checks whether the runtime waits until systemd has moved the pod: runtime-rs does from 4.1.0 on
/// (`place_runtime_in_sandbox_cgroup_v2_sync`), the Go runtime always.
fn waits_for_systemd(containers: &dyn Containers) -> bool {
    let kata = containers.claims().kata_for(&containers.profile().name);
    kata.is_none_or(|kata| kata.kind == Runtime::Go || kata.version.release() >= KataVersion::new(4, 1, 0))
}

/// Reads `/proc/PID/task/TID/cgroup` of each thread of a process.
fn groups_of_threads(process: &Process) -> Result<Vec<String>, Stop> {
    let threads = fs::read_dir(format!("/proc/{}/task", process.pid))
        .doing(format!("listing the threads of {}", process.program))?;
    // A thread that has ended meanwhile has no such file.
    Ok(threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("cgroup")).ok()).collect())
}

/// The control group of a pod.
struct GroupOfPod {
    /// The parent group, `/kubepods` or `/kubepods.slice`.
    parent: String,
    /// The pod's id, which is part of the group's name.
    id: String,
    /// Whether `SLICE:PREFIX:ID` as a whole is the name of a group at the root.
    is_named_whole: bool,
}

impl GroupOfPod {
    /// Checks whether the text of /proc/PID/cgroup names this group, in any hierarchy.
    fn has(&self, cgroups: &str) -> bool {
        let joint = if self.is_named_whole { ':' } else { '/' };
        let above = format!("{}{joint}", self.parent);
        cgroups
            .lines()
            .filter_map(|line| line.splitn(3, ':').nth(2))
            .any(|path| path.split_once(&above).is_some_and(|(_, below)| below.contains(&self.id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_cgroup_is_recognised_by_its_parent_and_id() {
        let place = |parent: &str, is_named_whole| GroupOfPod {
            parent: parent.to_owned(),
            id: "a1b2".to_owned(),
            is_named_whole,
        };
        let plain = place("/kq1", false);
        for cgroups in ["0::/kq1/kata_a1b2\n", "12:pids:/\n3:cpu,cpuacct:/kq1/a1b2\n1:name=systemd:/\n"] {
            assert!(plain.has(cgroups), "{cgroups}");
        }
        for cgroups in ["0::/kata_overhead/a1b2\n", "0::/kq12/a1b2\n", "0::/kq1/c3\n", "0::/\n", ""] {
            assert!(!plain.has(cgroups), "{cgroups}");
        }
        let scope = "0::/kq1.slice/cri-containerd-a1b2.scope\n";
        let whole = "0::/kq1.slice:cri-containerd:a1b2\n";
        assert!(place("/kq1.slice", false).has(scope) && !place("/kq1.slice", false).has(whole));
        assert!(place("/kq1.slice", true).has(whole) && !place("/kq1.slice", true).has(scope));
    }
}
