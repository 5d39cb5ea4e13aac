//! Resources of a pod's containers: limits that change while they run or are exceeded, and usage that is reported.

use super::in_a_pod;
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::containers::limits::quota_and_period;
use crate::containers::process::{parse_facts, wait_for};
use crate::ensure;
use crate::environment::{ContainerRuntime, Containers, PodContainer, PodLimits, PodProcess, PodWanted};
use crate::row::{Row, row};
use crate::test::Need;
use model::procfs;
use std::time::Duration;

const SOURCE: &str = include_str!("resources.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Containers(the_memory_of_a_running_container_can_be_changed), &[Capability::KataCriResources], Kernel)
        .seconds(300),
    row!(Containers(the_cpu_time_of_a_running_container_can_be_changed), &[Capability::KataCriResources], Kernel)
        .seconds(300),
    row!(Containers(memory_is_plugged_for_a_container_that_gets_more), &[Capability::KataCriResources], Qemu)
        .seconds(300),
    row!(Containers(cpus_are_plugged_for_a_container_that_gets_more), &[Capability::KataCriResources], Qemu)
        .needs(&[Need::Cpus])
        .seconds(300),
    row!(Containers(what_a_container_uses_is_told), &[Capability::KataCriResources], Kernel).seconds(240),
    row!(Containers(a_container_that_ran_out_of_memory_is_told_so), &[Capability::KataCriResources], Kernel)
        .seconds(300),
];

const MIB: u64 = 1 << 20;

/// A running container's memory limit is raised and lowered again, and the container sees each new limit.
///
/// In-place resizing of a pod; Kata plugs memory into the guest for it (TestContainerMemoryUpdate in
/// `tests/integration/cri-containerd/integration-tests.sh@4.1.0`).
fn the_memory_of_a_running_container_can_be_changed(containers: &dyn Containers) -> Check {
    let limits = |mib: u64| PodLimits { memory: Some(mib * MIB), cpu_millis: None };
    let wanted = PodContainer { limits: limits(256), ..PodContainer::new(&["stay"]) };
    in_a_pod(containers, &PodWanted::named("kq-memory"), &wanted, |container| {
        for mib in [256, 512, 320] {
            container.update(limits(mib))?;
            let facts = parse_facts(&container.exec(&["facts"])?)?;
            let wanted = (mib * MIB).to_string();
            ensure!(
                facts.memory_max.as_deref() == Some(wanted.as_str()),
                "its memory was to be {wanted} bytes, inside: {:?}",
                facts.memory_max
            );
        }
        Ok(())
    })
}

/// A running container's share of CPU time is changed, and seen inside.
///
/// In-place resizing of a pod; if the share grows beyond a CPU, Kata plugs CPUs into the guest, and the agent sets the
/// container's control group (`src/agent/src/rpc.rs@4.1.0`).
fn the_cpu_time_of_a_running_container_can_be_changed(containers: &dyn Containers) -> Check {
    let limits = |millis: u32| PodLimits { memory: None, cpu_millis: Some(millis) };
    let wanted = PodContainer { limits: limits(500), ..PodContainer::new(&["stay"]) };
    in_a_pod(containers, &PodWanted::named("kq-cpu"), &wanted, |container| {
        for millis in [500_u32, 900, 250] {
            container.update(limits(millis))?;
            let (quota, period) = quota_and_period(&parse_facts(&container.exec(&["facts"])?)?)?;
            let seen = quota * 1000 / period;
            ensure!(seen == u64::from(millis), "it was to have {millis} thousandths of a CPU, inside it has {seen}");
        }
        Ok(())
    })
}

/// A running container without a memory limit that gets one sees it; if Kata plugs memory, the guest grows by that
/// amount, and the container's memory is not taken out of what the guest had before.
///
/// The Go runtime plugs the sum of all containers' limits on top of the guest's own memory, and has the agent put it
/// online (`updateResources` in `src/runtime/virtcontainers/sandbox.go@4.1.0`). runtime-rs does the same unless it
/// sizes a sandbox once, as it does when shipped; then only the container's control group changes
/// (`update_linux_resource` in `src/runtime-rs/crates/resource/src/manager_inner.rs@4.1.0`,
/// `static_sandbox_resource_mgmt`).
fn memory_is_plugged_for_a_container_that_gets_more(containers: &dyn Containers) -> Check {
    const MORE: u64 = 256;
    in_a_pod(containers, &PodWanted::named("kq-plugged-memory"), &PodContainer::new(&["stay"]), |container| {
        let before = kernels_memory(container)?;
        container.update(PodLimits { memory: Some(MORE * MIB), cpu_millis: None })?;
        let facts = parse_facts(&container.exec(&["facts"])?)?;
        let wanted = (MORE * MIB).to_string();
        ensure!(
            facts.memory_max.as_deref() == Some(wanted.as_str()),
            "its memory was to be {wanted} bytes, inside: {:?}",
            facts.memory_max
        );
        if !is_plugged(containers, "memory")? {
            return Ok(());
        }
        // Kata gives no guest more memory than the host has (`defaultMaxMemSz` in
        // src/runtime/pkg/katautils/config.go@4.1.0).
        let hosts = memory_of(&containers.read_host("/proc/meminfo")?).unwrap_or_default();
        if hosts < before + 2 * MORE {
            return Err(Stop::skip(format!(
                "the host has {hosts} MiB, too little for a guest that grows by {MORE} MiB"
            )));
        }
        // The guest's kernel keeps some of the plugged memory for itself.
        let least = before + MORE * 3 / 4;
        wait_for(
            || kernels_memory(container).is_ok_and(|now| now >= least),
            || {
                let now = kernels_memory(container);
                format!("a container was to get {MORE} MiB, its guest had {before} MiB and has {now:?}")
            },
        )
    })
}

/// A running container without a CPU limit that gets one sees it; if Kata plugs CPUs, the guest has more of them than
/// before.
///
/// In addition to its own CPU, a guest gets as many as its containers may use (`updateResources` in
/// `src/runtime/virtcontainers/sandbox.go@4.1.0`).
fn cpus_are_plugged_for_a_container_that_gets_more(containers: &dyn Containers) -> Check {
    const MILLIS: u32 = 900;
    in_a_pod(containers, &PodWanted::named("kq-plugged-cpus"), &PodContainer::new(&["stay"]), |container| {
        let before = kernels_cpus(container)?;
        container.update(PodLimits { memory: None, cpu_millis: Some(MILLIS) })?;
        let (quota, period) = quota_and_period(&parse_facts(&container.exec(&["facts"])?)?)?;
        let seen = quota * 1000 / period;
        ensure!(seen == u64::from(MILLIS), "it was to have {MILLIS} thousandths of a CPU, inside it has {seen}");
        if !is_plugged(containers, "CPUs")? {
            return Ok(());
        }
        wait_for(
            || kernels_cpus(container).is_ok_and(|now| now > before),
            || {
                let now = kernels_cpus(container);
                format!(
                    "a container was to get {MILLIS} thousandths of a CPU, its guest had {before} CPUs and has {now:?}"
                )
            },
        )
    })
}

/// Checks whether the runtime plugs resources into a running guest; if not, adds a note.
fn is_plugged(containers: &dyn Containers, what: &str) -> Result<bool, Stop> {
    const SIZED_ONCE: &str = "static_sandbox_resource_mgmt";
    if containers.runtime() == ContainerRuntime::Runc {
        return Ok(false);
    }
    let sized_once = containers.is_set(SIZED_ONCE)?;
    if sized_once {
        containers.note(format!(
            "nothing ({what}) is plugged: by its configuration Kata sizes a sandbox once ({SIZED_ONCE})"
        ));
    }
    Ok(!sized_once)
}

/// Returns the memory of the kernel that a container runs on, in MiB.
fn kernels_memory(container: &dyn PodProcess) -> Result<u64, Stop> {
    let read = container.exec(&["read", "/proc/meminfo"])?;
    let unreadable = || Stop::fail(format!("a container cannot read the kernel's memory: {}", read.summary()));
    memory_of(&read.text()).ok_or_else(unreadable)
}

/// Returns `MemTotal` of `/proc/meminfo`, in MiB.
fn memory_of(meminfo: &str) -> Option<u64> {
    Some(procfs::meminfo(meminfo, "MemTotal")? / 1024)
}

/// Returns the number of online CPUs of the kernel that a container runs on.
fn kernels_cpus(container: &dyn PodProcess) -> Result<u32, Stop> {
    let read = container.exec(&["read", "/sys/devices/system/cpu/online"])?;
    in_list(read.text().trim())
        .ok_or_else(|| Stop::fail(format!("a container cannot read the kernel's CPUs: {}", read.summary())))
}

/// Counts the numbers in a list in the kernel's format: `0-1,3`.
fn in_list(list: &str) -> Option<u32> {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.split(',').map(count).sum()
}

/// The CPU time and memory that a container uses are reported, and the CPU time grows when it works.
///
/// `kubectl top` and the autoscaler depend on this; under Kata the shim asks the agent
/// (`src/runtime/pkg/containerd-shim-v2/metrics.go@4.1.0`).
fn what_a_container_uses_is_told(containers: &dyn Containers) -> Check {
    in_a_pod(containers, &PodWanted::named("kq-usage"), &PodContainer::new(&["stay"]), |container| {
        let before = container.usage()?;
        let (Some(cpu), Some(memory)) = (before.cpu, before.memory) else {
            return Err(Stop::fail(format!("CRI reports neither or one only: {before:?}")));
        };
        ensure!(memory > 0, "the reported use of memory of a container that runs is 0");
        let burnt = container.exec(&["spin", "300"])?;
        ensure!(burnt.code == 0, "using a CPU: {}", burnt.summary());
        // containerd reports values that it collected a moment ago.
        wait_for(
            || container.usage().is_ok_and(|usage| usage.cpu.is_some_and(|now| now >= cpu + 100_000_000)),
            || format!("300 ms of CPU time were used after {cpu} ns, reported is {:?}", container.usage()),
        )
    })
}

/// A container that uses more memory than its limit is killed, and CRI reports the reason `OOMKilled`.
///
/// A pod's status shows this reason; under Kata the agent notices the kill in the guest, and the shim has to pass it on
/// (`get_oom_event` in `src/agent/src/rpc.rs@4.1.0`).
fn a_container_that_ran_out_of_memory_is_told_so(containers: &dyn Containers) -> Check {
    let limits = PodLimits { memory: Some(48 * MIB), cpu_millis: None };
    let wanted = PodContainer { limits, ..PodContainer::new(&["eat", "256"]) };
    in_a_pod(containers, &PodWanted::named("kq-oom"), &wanted, |container| {
        let end = container.wait(Duration::from_secs(120))?;
        ensure!(end.code != 0, "a container of 48 MiB used 256 MiB, and the reported exit code is 0");
        // The OOM event may arrive after the container's end.
        wait_for(
            || matches!(container.end(), Ok(Some(end)) if end.reason == "OOMKilled"),
            || format!("the reported end of the container is {:?}", container.end()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_a_kernel_list_are_counted() {
        for (list, count) in [("0", Some(1)), ("0-1", Some(2)), ("0-1,3,5-7", Some(6)), ("", None), ("1-0", None)] {
            assert_eq!(in_list(list), count, "{list:?}");
        }
    }

    #[test]
    fn mem_total_is_converted_to_mib() {
        assert_eq!(memory_of("MemTotal:        2041852 kB\nMemFree:  1 kB\n"), Some(1993));
        assert_eq!(memory_of("MemFree:  1 kB\n"), None);
    }
}
