//! What the kernel says of the system that the agent runs in: CPUs, memory, mounts.

use std::fs;
use std::path::Path;
use suites::procfs::cpu_flags;

/// How many CPUs it has.
pub fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1))
}

/// Its RAM in MiB; 0 where that cannot be read.
pub fn memory_mib() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: Option<u64> =
        meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0) / 1024
}

/// Whether it is a virtual machine by its own processor: what Kata looks for before it asks for transitional virtio
/// devices.
pub fn is_under_a_hypervisor() -> bool {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpu_flags(&cpuinfo).is_some_and(|flags| flags.contains(&"hypervisor"))
}

/// The type of the filesystem mounted nearest above `path`.
pub fn filesystem_of(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut best = (0, "unknown".to_owned());
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let dash = fields.iter().position(|f| *f == "-").unwrap_or(usize::MAX - 1);
        if let (Some(target), Some(kind)) = (fields.get(4), fields.get(dash + 1))
            && path.starts_with(target)
            && target.len() >= best.0
        {
            best = (target.len(), (*kind).to_owned());
        }
    }
    best.1
}
