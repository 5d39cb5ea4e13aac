//! The system that the agent runs in, as reported by the kernel: CPUs, memory, mounts.

use model::procfs::{self, Mount, cpu_flags};
use std::fs;
use std::path::Path;

/// Returns the number of CPUs.
pub fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1))
}

/// Returns the RAM in MiB; 0 if it cannot be read.
pub fn memory_mib() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    procfs::meminfo(&meminfo, "MemTotal").unwrap_or(0) / 1024
}

/// Frequency that is assumed if the kernel does not tell the processor's, kHz.
const USUAL_KHZ: u64 = 2_000_000;

/// Returns the frequency of the processor, kHz, in whole MHz.
pub fn processor_khz() -> u64 {
    khz(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

fn khz(cpuinfo: &str) -> u64 {
    let mhz: Option<u64> = procfs::cpu(cpuinfo, "cpu MHz").and_then(|mhz| mhz.split('.').next()?.parse().ok());
    mhz.filter(|mhz| *mhz > 0).map_or(USUAL_KHZ, |mhz| mhz * 1000)
}

/// Returns whether the OOM scores of processes here may be lowered, which takes CAP_SYS_RESOURCE: without it the kernel
/// refuses an `oom_score_adj` below this process's own, and with it a pod whose sandbox should have one.
pub fn may_be_spared() -> bool {
    has_capability(&fs::read_to_string("/proc/self/status").unwrap_or_default(), 24)
}

/// Returns whether a process has a capability, by its number in capabilities(7) and its `status` in /proc.
pub fn has_capability(status: &str, capability: u32) -> bool {
    let effective = procfs::status(status, "CapEff");
    let bits = effective.and_then(|bits| u64::from_str_radix(bits, 16).ok()).unwrap_or(0);
    bits >> capability & 1 == 1
}

/// Signs of a QEMU machine without a processor flag: the board of Arm's `virt`, the model of POWER's `pseries`, the
/// level of a guest on IBM Z.
const HYPERVISOR_SIGNS: [(&str, &str); 3] = [
    ("/proc/device-tree/compatible", "linux,dummy-virt"),
    ("/proc/device-tree/model", "emulated by qemu"),
    ("/proc/sysinfo", "VM00 "),
];

/// Returns whether the system is a virtual machine: on x86_64 by the processor flag, which Kata checks before it uses
/// transitional virtio devices; elsewhere by the machine's description, which Kata does not check.
pub fn is_under_a_hypervisor() -> bool {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let by_flag = cpu_flags(&cpuinfo).is_some_and(|flags| flags.contains(&"hypervisor"));
    by_flag || cfg!(not(target_arch = "x86_64")) && has_hypervisor_sign(|path| fs::read(path).unwrap_or_default())
}

fn has_hypervisor_sign(read: impl Fn(&str) -> Vec<u8>) -> bool {
    HYPERVISOR_SIGNS.iter().any(|(path, word)| String::from_utf8_lossy(&read(path)).contains(word))
}

/// Returns the type of the filesystem mounted nearest above `path`.
pub fn filesystem_of(path: &Path) -> String {
    nearest(&fs::read("/proc/self/mountinfo").unwrap_or_default(), path)
}

fn nearest(mountinfo: &[u8], path: &Path) -> String {
    let above = Mount::all(mountinfo).filter(|mount| path.starts_with(&mount.at));
    // If several are mounted at the same place, this is the last.
    let nearest = above.max_by_key(|mount| mount.at.as_os_str().len());
    nearest.map_or_else(|| "unknown".to_owned(), |mount| mount.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frequency_is_read_in_whole_mhz() {
        assert_eq!(khz("processor\t: 0\ncpu MHz\t\t: 2445.434\n"), 2_445_000);
        for unknown in ["", "cpu MHz\t\t: 0.000\n", "cpu MHz\t\t: fast\n"] {
            assert_eq!(khz(unknown), USUAL_KHZ, "{unknown:?}");
        }
    }

    #[test]
    fn the_nearest_mount_is_found_even_for_escaped_paths() {
        let table = b"20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      21 20 0:3 / /a\\040b rw - tmpfs none rw\n\
                      22 21 0:4 / /a\\040b rw shared:1 - xfs /dev/sdb rw\n";
        assert_eq!(nearest(table, Path::new("/a b/c")), "xfs");
        assert_eq!(nearest(table, Path::new("/a bc")), "ext4");
        assert_eq!(nearest(b"", Path::new("/")), "unknown");
    }
}
