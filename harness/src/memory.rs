//! The memory of this machine.

use model::procfs;

/// How much memory programs can have without anything being swapped out, KiB; nothing where the kernel does not say.
pub(crate) fn available_kib() -> Option<u64> {
    procfs::meminfo(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable")
}
