//! Kernel features for a guest's memory that Kata's settings need: huge pages for volumes, and the statistics that
//! Kata's memory agent reads.

use super::BOOTS;
use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::child::OwnProcess;
use crate::ensure;
use crate::group::{Group, TENTH};
use crate::row::{Row, row};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs::{self, File};
use std::path::Path;

const SOURCE: &str = include_str!("guest_memory.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Inside(guest_has_volumes_of_huge_pages), &[Capability::KernelGuestMemory], Kernel).blocked_by(BOOTS),
    row!(Inside(guest_tells_of_pressure), &[Capability::KernelGuestMemory], Kernel).blocked_by(BOOTS),
    row!(Inside(guest_ages_memory_by_generations), &[Capability::KernelGuestMemory], Kernel).blocked_by(BOOTS),
];

/// The kernel's directory of huge pages of 2 MiB, and the number of pages in a volume.
const HUGE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";
const PAGES: u64 = 4;
const PAGE: u64 = 2 << 20;

/// A volume of huge pages provides the requested number of pages to files, and refuses one more.
///
/// Kata's agent reserves the pages of an `emptyDir` with `medium: HugePages` in the guest and mounts a hugetlbfs
/// (`allocate_hugepages` in src/agent/src/storage/ephemeral_handler.rs@4.1.0).
fn guest_has_volumes_of_huge_pages() -> Check {
    let volume = HugePages::mount()?;
    let file = File::create(volume.folder().join("file")).doing("making a file of huge pages")?;
    fallocate(&file, FallocateFlags::empty(), 0, PAGES * PAGE).doing("giving a file huge pages")?;
    let free = number("free_hugepages")?;
    ensure!(free == 0, "a file was given {PAGES} huge pages of {PAGES}, and {free} are free");
    let more = fallocate(&file, FallocateFlags::empty(), PAGES * PAGE, PAGE);
    ensure!(more.is_err(), "a volume of {PAGES} huge pages gave a file one more");
    drop(file);
    fs::remove_file(volume.folder().join("file")).doing("removing a file of huge pages")?;
    let free = number("free_hugepages")?;
    ensure!(free == PAGES, "a file of {PAGES} huge pages was removed, and {free} are free");
    Ok(())
}

/// A hugetlbfs with its pages reserved; dropping it unmounts it and frees the pages.
struct HugePages;

impl HugePages {
    fn mount() -> Result<HugePages, Stop> {
        let reserved = Path::new(HUGE).join("nr_hugepages");
        fs::write(&reserved, PAGES.to_string()).doing("reserving huge pages of 2 MiB")?;
        let volume = HugePages;
        let there = number("nr_hugepages")?;
        if there < PAGES {
            return Err(Stop::error(format!("of {PAGES} huge pages the guest has memory for {there}")));
        }
        fs::create_dir_all(volume.folder()).doing("making a folder")?;
        let options = c"pagesize=2M,size=8M";
        mount("nodev", volume.folder(), "hugetlbfs", MountFlags::empty(), options).doing("mounting a hugetlbfs")?;
        Ok(volume)
    }

    fn folder(&self) -> &'static Path {
        Path::new("/scratch/huge")
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let _ = unmount(self.folder(), UnmountFlags::DETACH);
        let _ = fs::write(Path::new(HUGE).join("nr_hugepages"), "0");
    }
}

/// Reads a number about huge pages from the kernel.
fn number(file: &str) -> Result<u64, Stop> {
    let text = fs::read_to_string(Path::new(HUGE).join(file)).doing(format!("reading {file}"))?;
    text.trim().parse().map_err(|_| Stop::fail(format!("{file} of huge pages is {:?}", text.trim())))
}

/// The kernel reports pressure (PSI) of the guest and of each control group: if two processes want more CPU time than
/// their group may have, the group's waiting time grows.
///
/// Kata's memory agent works while no process has to wait (src/libs/mem-agent/src/psi.rs@4.1.0); Kata's kernel has PSI
/// (tools/packaging/kernel/configs/fragments/common/mem_agent.conf@4.1.0), switched off by default.
fn guest_tells_of_pressure() -> Check {
    if let Err(e) = fs::read_to_string("/proc/pressure/cpu") {
        let arguments = fs::read_to_string("/proc/cmdline").doing("reading the kernel's arguments")?;
        ensure!(!arguments.split(' ').any(|argument| argument.starts_with("psi=")), "reading /proc/pressure/cpu: {e}");
        return Err(Stop::skip("the kernel has no PSI, or waits for psi=1, which no profile passes"));
    }
    let group = Group::new(&["cpu"])?;
    group.may_work(Some(TENTH))?;
    let before = waited(&group.get("cpu.pressure")?)?;
    let start = || OwnProcess::start(&["spin", "400"]);
    let processes = [start()?, start()?];
    processes.iter().try_for_each(|process| group.take(process.pid()))?;
    let ended = std::thread::scope(|scope| {
        processes.map(|process| scope.spawn(move || process.finish())).map(std::thread::ScopedJoinHandle::join)
    });
    for one in ended {
        let (status, output) = one.map_err(|_| Stop::error("a thread of the test's has panicked"))??;
        ensure!(status.success(), "a process in a group with a tenth of a CPU: {status}: {output}");
    }
    let after = waited(&group.get("cpu.pressure")?)?;
    ensure!(
        after > before,
        "two processes shared a tenth of a CPU for 400 ms, and cpu.pressure of their group went from {before} to {after}"
    );
    Ok(())
}

/// Returns for how many microseconds some of a group's processes waited.
fn waited(pressure: &str) -> Result<u64, Stop> {
    let some = pressure.lines().find_map(|line| line.strip_prefix("some "));
    let total = some.and_then(|line| line.split(' ').find_map(|word| word.strip_prefix("total=")?.parse().ok()));
    total.ok_or_else(|| Stop::fail(format!("the pressure on a group has no total: {pressure:?}")))
}

/// The switch for generations of memory, and the debugfs file that lists and creates them.
const SWITCH: &str = "/sys/kernel/mm/lru_gen/enabled";
const GENERATIONS: &str = "/sys/kernel/debug/lru_gen";

/// The kernel groups memory by generations (LRU_GEN), lists them in debugfs, and creates a new one on request.
///
/// Kata's memory agent uses them to find memory that a container has not used for long, and frees it
/// (src/libs/mem-agent/src/mglru.rs@4.1.0).
fn guest_ages_memory_by_generations() -> Check {
    let earlier = fs::read_to_string(SWITCH).doing(format!("reading {SWITCH}"))?;
    fs::write(SWITCH, "y").doing("switching memory's generations on")?;
    let aged = ages();
    let _ = fs::write(SWITCH, earlier.trim());
    aged
}

fn ages() -> Check {
    let switched = fs::read_to_string(SWITCH).doing(format!("reading {SWITCH}"))?;
    let parts = u32::from_str_radix(switched.trim().trim_start_matches("0x"), 16).unwrap_or(0);
    ensure!(parts & 1 == 1, "memory's generations were switched on, and {SWITCH} is {:?}", switched.trim());
    match mount("debugfs", "/sys/kernel/debug", "debugfs", MountFlags::empty(), c"") {
        Ok(()) | Err(rustix::io::Errno::BUSY) => {}
        Err(e) => return Err(Stop::fail(format!("mounting debugfs: {e}"))),
    }
    let before = newest()?;
    let Generation { group, node, number } = before;
    // The last two arguments: include pages that would be swapped, and scan all memory.
    fs::write(GENERATIONS, format!("+ {group} {node} {number} 1 1")).doing("making a generation of memory")?;
    let after = newest()?;
    ensure!(
        after.number > number,
        "a generation of memory was made after number {number}, and the newest is {}",
        after.number
    );
    Ok(())
}

/// A generation of the memory of a control group on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Generation {
    group: u64,
    node: u64,
    number: u64,
}

/// Returns the newest generation of the first group, which is the root.
fn newest() -> Result<Generation, Stop> {
    let text = fs::read_to_string(GENERATIONS).doing(format!("reading {GENERATIONS}"))?;
    let begin: String = text.chars().take(200).collect();
    newest_in(&text).ok_or_else(|| Stop::fail(format!("{GENERATIONS} tells of no generation: {begin:?}")))
}

fn newest_in(text: &str) -> Option<Generation> {
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let group = lines.find_map(|words| (words.first() == Some(&"memcg")).then(|| words.get(1)?.parse().ok())?)?;
    let node = lines.find_map(|words| (words.first() == Some(&"node")).then(|| words.get(1)?.parse().ok())?)?;
    let numbers = lines.map_while(|words| words.first()?.parse().ok());
    Some(Generation { group, node, number: numbers.max()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_generation_of_the_root_group_is_found() {
        let text = "memcg     1 /\n node     0\n          0     100  5   6\n          1      90  0   0\n          \
                    2      10  0   0\nmemcg    12 /other\n node     0\n          7      90  0   0\n";
        assert_eq!(newest_in(text), Some(Generation { group: 1, node: 0, number: 2 }));
        assert_eq!(newest_in("memcg     1 /\n node     0\n"), None);
        assert_eq!(newest_in(""), None);
    }

    #[test]
    fn the_waiting_time_is_the_total_of_the_some_line() {
        let text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9";
        assert_eq!(waited(text), Ok(1234));
        assert!(waited("full total=3").is_err() && waited("").is_err());
    }
}
