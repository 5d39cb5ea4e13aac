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

/// Whether processes here may be spared when memory runs out, which takes CAP_SYS_RESOURCE: without it the kernel refuses
/// an `oom_score_adj` below this process's own, and with it the pod whose sandbox is to have one.
pub fn may_be_spared() -> bool {
    has_capability(&fs::read_to_string("/proc/self/status").unwrap_or_default(), 24)
}

/// Whether a process has a capability, by its number in capabilities(7) and its `status` in /proc.
pub fn has_capability(status: &str, capability: u32) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
    bits >> capability & 1 == 1
}

/// What of a machine of QEMU's tells that it is one, where no flag of the processor does: the board of Arm's `virt`, the
/// model of POWER's `pseries`, the level of a guest on IBM Z.
const TELLS: [(&str, &str); 3] = [
    ("/proc/device-tree/compatible", "linux,dummy-virt"),
    ("/proc/device-tree/model", "emulated by qemu"),
    ("/proc/sysinfo", "VM00 "),
];

/// Whether it is a virtual machine: on x86_64 by its processor, which is what Kata looks for before it asks for
/// transitional virtio devices; elsewhere by what it is made of, which Kata does not look for.
pub fn is_under_a_hypervisor() -> bool {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let by_flag = cpu_flags(&cpuinfo).is_some_and(|flags| flags.contains(&"hypervisor"));
    by_flag || cfg!(not(target_arch = "x86_64")) && tells(|path| fs::read(path).unwrap_or_default())
}

fn tells(read: impl Fn(&str) -> Vec<u8>) -> bool {
    TELLS.iter().any(|(path, word)| String::from_utf8_lossy(&read(path)).contains(word))
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
