//! Huge pages of the host, where Kata puts a guest's memory with `enable_hugepages`.

use model::procfs;

/// Where runtimes look for them (`appendMemoryKnobs` in src/runtime/pkg/govmm/qemu/qemu.go@4.1.0).
pub const MOUNT: &str = "/dev/hugepages";

/// What `/proc/meminfo` says of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    /// How many are free.
    pub pages: u64,
    /// How large one is, KiB.
    pub kib: u64,
    /// Memory that could become some, MiB.
    pub available_mib: u64,
}

impl Free {
    /// Out of `/proc/meminfo`; `None` of a kernel without huge pages.
    pub fn of(meminfo: &str) -> Option<Free> {
        let number = |key: &str| procfs::meminfo(meminfo, key);
        let available_mib = number("MemAvailable").unwrap_or(0) / 1024;
        Some(Free { pages: number("HugePages_Free")?, kib: number("Hugepagesize")?, available_mib })
    }

    /// How much is free, MiB.
    pub fn mib(self) -> u64 {
        self.pages * self.kib / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_told_in_pages_of_their_size() {
        let meminfo = "MemAvailable:    3145728 kB\nHugePages_Total:     300\nHugePages_Free:      256\n\
                       Hugepagesize:       2048 kB\n";
        let free = Free::of(meminfo).unwrap();
        assert_eq!((free, free.mib()), (Free { pages: 256, kib: 2048, available_mib: 3072 }, 512));
        assert_eq!(Free::of("MemTotal: 1 kB\n"), None);
    }
}
