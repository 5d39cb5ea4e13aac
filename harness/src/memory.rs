//! The memory of this machine, by `MemAvailable` of `/proc/meminfo` (Linux 3.14 and later; proc_meminfo(5)).

/// How much memory programs can have without anything being swapped out, KiB; nothing where the kernel does not say.
pub(crate) fn available_kib() -> Option<u64> {
    read(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn read(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_number_of_kib() {
        let meminfo = "MemTotal:       16384256 kB\nMemFree:         1024000 kB\nMemAvailable:    8192128 kB\n";
        assert_eq!(read(meminfo), Some(8_192_128));
        assert_eq!(read("MemTotal:       16384256 kB\n"), None);
    }
}
