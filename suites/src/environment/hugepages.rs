//! Huge pages of the host, in which Kata puts a guest's memory with `enable_hugepages`.

use model::procfs;

/// The mount point at which runtimes look for huge pages (`appendMemoryKnobs` in
/// src/runtime/pkg/govmm/qemu/qemu.go@4.1.0).
pub const MOUNT: &str = "/dev/hugepages";

/// The state of the huge pages in `/proc/meminfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    /// The number of free pages.
    pub pages: u64,
    /// The size of a page, KiB.
    pub kib: u64,
    /// Memory that could be turned into huge pages, MiB.
    pub available_mib: u64,
}

impl Free {
    /// Parses `/proc/meminfo`; `None` if the kernel has no huge pages.
    pub fn of(meminfo: &str) -> Option<Free> {
        let number = |key: &str| procfs::meminfo(meminfo, key);
        let available_mib = number("MemAvailable").unwrap_or(0) / 1024;
        Some(Free { pages: number("HugePages_Free")?, kib: number("Hugepagesize")?, available_mib })
    }

    /// Returns the size of all free pages, MiB.
    pub fn mib(self) -> u64 {
        self.pages * self.kib / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_hugepages_are_read_with_their_size() {
        let meminfo = "MemAvailable:    3145728 kB\nHugePages_Total:     300\nHugePages_Free:      256\n\
                       Hugepagesize:       2048 kB\n";
        let free = Free::of(meminfo).unwrap();
        assert_eq!((free, free.mib()), (Free { pages: 256, kib: 2048, available_mib: 3072 }, 512));
        assert_eq!(Free::of("MemTotal: 1 kB\n"), None);
    }
}
