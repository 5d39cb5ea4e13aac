//! The memory of this machine.

use model::procfs;

/// Returns how much memory programs can get without swapping, in KiB; `None` if the kernel does not say.
pub(crate) fn available_kib() -> Option<u64> {
    procfs::meminfo(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable")
}
