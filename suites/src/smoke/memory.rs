//! A guest's memory with settings other than the shipped ones: returned to the host, in huge pages, in NUMA nodes.

use super::BOOTS;
use super::guest_files::{has_module, load, read};
use super::hotplug::waits::{Wait, blame_kernel_if_lacking, within};
use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Machine, Question, SMALL_MIB, Setting, hugepages};
use crate::row::{Row, row};
use crate::test::{Need, Place};
use crate::under;
use model::procfs;
use model::profile::ModuleUse;
use std::time::Duration;

const SOURCE: &str = include_str!("memory.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Environment(freed_memory_is_the_hosts_again), &[Capability::VmmReclaim], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(BOOTS)
        .under(&under::RECLAIM)
        .seconds(240),
    row!(Environment(guest_memory_is_of_huge_pages), &[Capability::VmmHugepages], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(BOOTS)
        .needs(&[Need::Hugepages])
        .under(&under::GO)
        .seconds(180),
    row!(Environment(guest_memory_is_taken_at_the_start), &[Capability::VmmPrealloc], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(BOOTS)
        .seconds(180),
    row!(Environment(guest_has_numa_nodes_with_bound_memory), &[Capability::VmmNuma], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(BOOTS)
        .needs(&[Need::MemoryPolicy])
        .under(&under::NUMA)
        .seconds(180),
];

/// The memory that the guest allocates and frees, MiB.
const TAKEN: u32 = 512;
/// The part of it that must be the host's again: four fifths, because the kernel reports no pieces below 2 MiB.
const GIVEN_BACK: u64 = 409;
/// The guest's kernel options for reporting free pages.
const FOR_REPORTING: &[&str] = &["VIRTIO_BALLOON", "PAGE_REPORTING"];

/// Memory that a guest allocated and freed is returned to the host: QEMU's resident memory drops.
///
/// With `reclaim_guest_freed_memory` a guest has a balloon that reports free pages (`appendBalloonDevice` in
/// src/runtime/virtcontainers/qemu_arch_base.go@4.1.0, `add_virtio_balloon` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0), so that the pods of a node can have more
/// memory than the node.
fn freed_memory_is_the_hosts_again(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with(Setting::ReclaimedMemory)?;
    let machine = machine.as_mut();
    load(machine, ModuleUse::Settings)?;
    let before = resident_mib(env, machine, "VmRSS")?;
    machine.ask(Question::TouchMemory { mib: TAKEN })?.text("taking memory in the guest")?;
    let peak = resident_mib(env, machine, "VmHWM")?;
    ensure!(
        peak >= before + GIVEN_BACK,
        "the guest wrote to {TAKEN} MiB, and QEMU had {before} MiB before and {peak} MiB at most"
    );
    is_given_back(env, machine, peak)
}

/// Waits until QEMU's memory is this much below its peak.
fn is_given_back(env: &dyn EnvironmentSide, machine: &mut dyn Machine, peak: u64) -> Check {
    has_module(env, ModuleUse::Settings, "virtio_balloon")?;
    // The kernel reports freed memory after two seconds, a few pieces at a time.
    let what = format!("QEMU gave {GIVEN_BACK} of its {peak} MiB back to the host");
    let wait = Wait::of_test(machine, Duration::from_secs(15), &what);
    let back = |machine: &mut dyn Machine| Ok::<u64, Stop>(peak.saturating_sub(resident_mib(env, machine, "VmRSS")?));
    let has_returned = |machine: &mut dyn Machine| Ok((back(machine)? >= GIVEN_BACK).then_some(()));
    let progress = |machine: &mut dyn Machine| {
        let back = back(machine)?;
        // More than QEMU itself would free.
        Ok((back > 32).then(|| format!("it has given {back} MiB back")))
    };
    within(env, machine, &wait, FOR_REPORTING, has_returned, progress)
}

/// Returns a number in QEMU's status, MiB: `VmRSS` is its memory now, `VmHWM` its peak.
fn resident_mib(env: &dyn EnvironmentSide, machine: &dyn Machine, key: &str) -> Result<u64, Stop> {
    let status = env.read(&format!("/proc/{}/status", machine.vmm_pid()))?;
    let kib = procfs::status(&status, key).and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib / 1024).ok_or_else(|| Stop::error(format!("QEMU's status has no {key}")))
}

/// A guest's memory consists of the host's huge pages, and works.
///
/// With `enable_hugepages` the Go runtime makes QEMU allocate it in /dev/hugepages (`appendMemoryKnobs` in
/// src/runtime/pkg/govmm/qemu/qemu.go@4.1.0), as vhost-user devices need it; runtime-rs 4.1 passes nothing for it to
/// QEMU.
fn guest_memory_is_of_huge_pages(env: &dyn EnvironmentSide) -> Check {
    let _reserved = Reserved::new(env)?;
    let mut machine = env.boot_with(Setting::Hugepages)?;
    let machine = machine.as_mut();
    let touched = SMALL_MIB / 4;
    machine.ask(Question::TouchMemory { mib: touched })?.text("taking memory in the guest")?;
    let path = format!("/proc/{}/smaps", machine.vmm_pid());
    let huge = huge_kib(&env.read(&path)?) / 1024;
    ensure!(
        huge >= u64::from(touched),
        "the guest wrote to {touched} MiB, and QEMU has {huge} MiB of huge pages ({path})"
    );
    Ok(())
}

/// Returns how much of a process's memory is in huge pages, KiB.
fn huge_kib(smaps: &str) -> u64 {
    let of = |line: &str| {
        let number = line.strip_prefix("Shared_Hugetlb:").or_else(|| line.strip_prefix("Private_Hugetlb:"))?;
        number.split_whitespace().next()?.parse::<u64>().ok()
    };
    smaps.lines().filter_map(of).sum()
}

/// All of a guest's memory is allocated when it has started, and not only the memory that it has used.
///
/// With `enable_mem_prealloc` (`appendMemoryKnobs` in src/runtime/pkg/govmm/qemu/qemu.go@4.1.0, `set_prealloc` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0) a lack of memory on the node shows when a pod
/// starts, and not while it works.
fn guest_memory_is_taken_at_the_start(env: &dyn EnvironmentSide) -> Check {
    let machine = env.boot_with(Setting::Preallocated)?;
    let path = format!("/proc/{}/smaps", machine.vmm_pid());
    let taken = most_taken_kib(&env.read(&path)?) / 1024;
    ensure!(
        taken >= u64::from(SMALL_MIB),
        "QEMU was to take a guest's {SMALL_MIB} MiB at the start, and no piece of its memory has more than {taken} MiB \
         ({path})"
    );
    Ok(())
}

/// Returns how much of one mapping of a process is resident or swapped out, KiB: of the mapping with the most.
fn most_taken_kib(smaps: &str) -> u64 {
    let of = |line: &str| {
        let number = line.strip_prefix("Rss:").or_else(|| line.strip_prefix("Swap:"))?;
        number.split_whitespace().next()?.parse::<u64>().ok()
    };
    let (mut most, mut piece) = (0, 0);
    for line in smaps.lines() {
        // Each mapping begins with its addresses and its size.
        if line.starts_with("Size:") {
            piece = 0;
        }
        piece += of(line).unwrap_or(0);
        most = most.max(piece);
    }
    most
}

/// Huge pages for a small guest; dropping the value frees the pages that were reserved for it.
struct Reserved<'a> {
    env: &'a dyn EnvironmentSide,
    /// The number of huge pages before, if more were reserved.
    before: Option<u64>,
}

/// The kernel's setting of the number of huge pages.
const PAGES: &str = "/proc/sys/vm/nr_hugepages";

impl Reserved<'_> {
    /// Reserves huge pages if too few are free; the test's need ensures that the environment is a machine that may be
    /// changed.
    fn new(env: &dyn EnvironmentSide) -> Result<Reserved<'_>, Stop> {
        let free = || {
            let memory = env.read("/proc/meminfo")?;
            hugepages::Free::of(&memory).ok_or_else(|| Stop::error("the kernel has no huge pages"))
        };
        let now = free()?;
        let wanted = u64::from(SMALL_MIB);
        if now.mib() >= wanted {
            return Ok(Reserved { env, before: None });
        }
        let before = env.read(PAGES)?.trim().parse::<u64>().doing(format!("reading {PAGES}"))?;
        let reserved = Reserved { env, before: Some(before) };
        reserved.set(before + (wanted - now.mib()) * 1024 / now.kib.max(1))?;
        let mib = free()?.mib();
        match mib >= wanted {
            true => Ok(reserved),
            false => Err(Stop::skip(format!("{mib} MiB of huge pages could be had, and a guest needs {wanted}"))),
        }
    }

    fn set(&self, pages: u64) -> Check {
        let script = format!("echo {pages} > {PAGES}");
        let output = self.env.run(&["sh", "-c", &script], Duration::from_secs(30))?;
        if output.ok() { Ok(()) } else { Err(Stop::error(format!("making huge pages: {}", output.tail()))) }
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            let _ = self.set(before);
        }
    }
}

/// The guest's kernel options for NUMA nodes and the nodes of devices.
pub(super) const FOR_NODES: &[&str] = &["NUMA", "ACPI_NUMA"];

/// A guest with two NUMA nodes has half of its memory and one of its CPUs in each, and QEMU's memory is bound to the
/// host's node.
///
/// With `enable_numa` the guest's nodes correspond to the host's (`buildNUMATopology` in
/// src/runtime/virtcontainers/qemu.go@3.32.0, `appendMultiNUMAMemoryKnobs` in
/// src/runtime/pkg/govmm/qemu/qemu.go@3.32.0). Here `numa_mapping` is `["0", "0"]`: both are on the one node that every
/// host has.
fn guest_has_numa_nodes_with_bound_memory(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with(Setting::Numa)?;
    let machine = machine.as_mut();
    has_two_nodes(machine).map_err(|stop| blame_kernel_if_lacking(env, FOR_NODES, stop))?;
    let path = format!("/proc/{}/numa_maps", machine.vmm_pid());
    let bound = bound_pieces(&env.read(&path)?);
    ensure!(bound >= 2, "QEMU was told to bind the memory of two nodes to node 0, and {bound} pieces are ({path})");
    Ok(())
}

fn has_two_nodes(machine: &mut dyn Machine) -> Check {
    let folder = "/sys/devices/system/node";
    let online = read(machine, &format!("{folder}/online"))?;
    ensure!(online.trim() == "0-1", "the guest was given two NUMA nodes, and has {:?}", online.trim());
    let half_kib = u64::from(machine.profile().qemu.memory_mib) * 1024 / 2;
    for node in 0..2 {
        let cpus = read(machine, &format!("{folder}/node{node}/cpulist"))?;
        ensure!(cpus.trim() == node.to_string(), "CPU {node} was put into node {node}, which has {:?}", cpus.trim());
        let memory = read(machine, &format!("{folder}/node{node}/meminfo"))?;
        let total =
            memory.lines().find_map(|line| line.split("MemTotal:").nth(1)?.split_whitespace().next()?.parse().ok());
        let total: u64 = total.unwrap_or(0);
        // The kernel keeps about a tenth of a node for itself.
        ensure!(
            total >= half_kib / 5 * 4 && total <= half_kib,
            "node {node} was given {} MiB, and the guest sees {} MiB",
            half_kib / 1024,
            total / 1024
        );
    }
    Ok(())
}

/// Returns how many mappings of a process are bound to node 0.
fn bound_pieces(numa_maps: &str) -> usize {
    numa_maps
        .lines()
        .filter(|line| {
            line.split(' ').nth(1).is_some_and(|policy| policy.starts_with("bind") && policy.ends_with(":0"))
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Component;
    use crate::smoke::fake_machine::{FakeEnvironment, FakeMachine};

    fn rss(mib: u64) -> String {
        format!("VmHWM:\t  {} kB\nVmRSS:\t  {} kB\n", 900 * 1024, mib * 1024)
    }

    #[test]
    fn falling_resident_memory_counts_as_given_back() {
        let texts = [880, 700, 350].map(rss);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let env = FakeEnvironment::of("go-3.32").with("/proc/1/status", &texts);
        assert_eq!(is_given_back(&env, &mut FakeMachine::of("go-3.32"), 900), Ok(()));
    }

    #[test]
    fn a_kernel_without_a_balloon_is_blamed_and_not_qemu() {
        let judged = |module: &str, mib: u64| {
            let env = FakeEnvironment::of("go-3.32").with("/proc/1/status", &[rss(mib).as_str()]);
            is_given_back(&env.without(ModuleUse::Settings, module), &mut FakeMachine::of("go-3.32"), 900)
        };
        let lacks = "kernel 6.12 has neither a module nor built-in code for virtio_balloon";
        assert_eq!(judged("virtio_balloon", 880), Err(Stop::blame(Component::Kernel, lacks)));
        // The lack of another module of the same use does not matter.
        assert_eq!(judged("virtio_mem", 350), Ok(()));
    }

    #[test]
    fn a_status_without_the_field_is_an_error() {
        let env = FakeEnvironment::of("go-3.32").with("/proc/1/status", &["VmRSS:\t 2048 kB\n"]);
        let machine = FakeMachine::of("go-3.32");
        assert_eq!(resident_mib(&env, &machine, "VmRSS"), Ok(2));
        assert_eq!(resident_mib(&env, &machine, "VmHWM"), Err(Stop::error("QEMU's status has no VmHWM")));
    }

    #[test]
    fn huge_pages_are_counted_shared_or_private() {
        let smaps = "7f00-7f40 rw-s 0 00:0f 1 /dev/hugepages/x\nRss: 0 kB\nShared_Hugetlb:  4096 kB\n\
                     Private_Hugetlb:    2048 kB\n7f50-7f60 rw-p\nShared_Hugetlb:  0 kB\n";
        assert_eq!(huge_kib(smaps), 6144);
        assert_eq!(huge_kib("Rss: 5 kB\n"), 0);
    }

    #[test]
    fn the_largest_mapping_counts_including_swap() {
        let smaps = "7f00-7f40 rw-p 0 00:00 0\nSize: 524288 kB\nRss: 524000 kB\nPss: 9 kB\nSwap: 288 kB\nSwapPss: 5 kB\n\
                     7f50-7f60 rw-p 0 00:00 0\nSize: 999999 kB\nRss: 400000 kB\nSwap: 0 kB\n";
        assert_eq!(most_taken_kib(smaps), 524288);
        assert_eq!(most_taken_kib(""), 0);
    }

    #[test]
    fn mappings_bound_to_node_0_are_counted() {
        let maps = "7f871bc00000 bind:0 anon=44032 dirty=44032 N0=44032\n7f875be00000 bind=static:0 anon=1\n\
                    7f00 default anon=3\n7f01 bind:1 anon=1\n";
        assert_eq!(bound_pieces(maps), 2);
    }

    #[test]
    fn nodes_are_judged_by_their_cpus_and_their_memory() {
        let guest = |online: &str, cpus: [&str; 2], mib: [u64; 2]| {
            let mut machine = FakeMachine::of("go-3.32");
            let folder = "/sys/devices/system/node";
            machine.files.insert(format!("{folder}/online"), format!("{online}\n"));
            for node in 0..2 {
                machine.files.insert(format!("{folder}/node{node}/cpulist"), format!("{}\n", cpus[node]));
                let memory = format!("Node {node} MemTotal:  {} kB\nNode {node} MemFree: 1 kB\n", mib[node] * 1024);
                machine.files.insert(format!("{folder}/node{node}/meminfo"), memory);
            }
            has_two_nodes(&mut machine)
        };
        assert_eq!(guest("0-1", ["0", "1"], [1006, 896]), Ok(()));
        assert!(guest("0", ["0", "1"], [1006, 896]).is_err());
        assert_eq!(
            guest("0-1", ["0-1", ""], [1006, 896]),
            Err(Stop::fail("CPU 0 was put into node 0, which has \"0-1\""))
        );
        let little = Stop::fail("node 1 was given 1024 MiB, and the guest sees 500 MiB");
        assert_eq!(guest("0-1", ["0", "1"], [1006, 500]), Err(little));
    }
}
