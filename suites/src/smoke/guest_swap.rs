//! Swap in a guest.
#![expect(unsafe_code, reason = "swapon(2) and swapoff(2) have no safe interface")]

use super::BOOTS;
use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::group::Group;
use crate::loop_device::LoopDevice;
use crate::row::{Row, row};
use crate::scratch::Scratch;
use model::profile::ModuleUse;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const SOURCE: &str = include_str!("guest_swap.rs");

pub(super) static ROWS: &[Row] = &[row!(Inside(guest_swaps_to_a_disk), &[Capability::KernelGuestSwap], Kernel)
    .blocked_by(BOOTS)
    .loads(ModuleUse::Loop)];

/// The size of the disk, and the limit of the group, MiB.
const DISK: u64 = 64;
const LIMIT: u64 = 32;
/// The memory that a process takes in the group: more than the limit, and less than limit and disk together, MiB.
const TAKEN: &str = "72";

/// A disk becomes swap space, a process that takes more memory than its control group may have goes on with a part of
/// it on that disk and finds its bytes again, and the disk can be taken back.
///
/// With `enable_guest_swap` (src/runtime/config/configuration-qemu.toml.in@4.1.0) Kata plugs a disk into the guest, and
/// its agent calls swapon(2) on it (`do_add_swap` in src/agent/src/rpc.rs@4.1.0): a pod is then slow where it would be
/// killed. Kata's kernel has SWAP (tools/packaging/kernel/configs/fragments/common/cgroup.conf@4.1.0). Here the disk is
/// a file in the guest's memory.
fn guest_swaps_to_a_disk() -> Check {
    let before = total()?;
    let swap = Swap::on()?;
    let (grown, expected) = (total()?.saturating_sub(before), (DISK << 10) - page_size() / 1024);
    ensure!(grown == expected, "a disk of {DISK} MiB became swap: expected {expected} KiB more of it, saw {grown}");
    let out_before = swapped_out()?;
    let group = Group::new(&["memory"])?;
    group.set("memory.max", &(LIMIT << 20).to_string())?;
    let (status, output) = group.run(&["fill", TAKEN])?;
    ensure!(
        status.success(),
        "a process that took {TAKEN} MiB in a group of {LIMIT} MiB, with {DISK} MiB of swap, ended with {status}: \
         {output}"
    );
    drop(group);
    let out = swapped_out()?.saturating_sub(out_before);
    ensure!(out > 0, "a process took {TAKEN} MiB in a group of {LIMIT} MiB, and the kernel has swapped nothing out");
    swap.off()?;
    let after = total()?;
    ensure!(after == before, "the swap was taken back: expected {before} KiB of it as before, saw {after}");
    Ok(())
}

fn page_size() -> u64 {
    rustix::param::page_size() as u64
}

/// Returns the size of all swap, KiB.
fn total() -> Result<u64, Stop> {
    let text = fs::read_to_string("/proc/meminfo").doing("reading /proc/meminfo")?;
    counted(&text, "SwapTotal:").ok_or_else(|| Stop::fail("/proc/meminfo has no SwapTotal"))
}

/// Returns the number of pages that were swapped out so far, to a disk or compressed before it (zswap).
fn swapped_out() -> Result<u64, Stop> {
    let text = fs::read_to_string("/proc/vmstat").doing("reading /proc/vmstat")?;
    Ok(["pswpout", "zswpout"].iter().filter_map(|key| counted(&text, key)).sum())
}

/// Returns the number after a key.
fn counted(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, rest) = line.split_once(char::is_whitespace)?;
        (name == key).then(|| rest.split_whitespace().next()?.parse().ok())?
    })
}

/// A disk that is swap space; dropping it takes the disk back and removes it.
struct Swap {
    path: CString,
    _disk: LoopDevice,
    _file: Scratch,
}

impl Swap {
    fn on() -> Result<Swap, Stop> {
        let scratch = Scratch::within("/scratch", "swap");
        let file = make(&scratch.0).map_err(|e| Stop::error(format!("making {}: {e}", scratch.0.display())))?;
        let disk = LoopDevice::attach(&file).doing("attaching a file to a loop device")?;
        let path = CString::new(disk.path.as_os_str().as_bytes());
        let path = path.map_err(|e| Stop::error(format!("the path of a loop device: {e}")))?;
        // SAFETY: the path ends with its NUL, and lives until the call returns.
        match unsafe { libc::swapon(path.as_ptr(), 0) } {
            0 => Ok(Swap { path, _disk: disk, _file: scratch }),
            _ => Err(io::Error::last_os_error()).doing("swapon of a disk"),
        }
    }

    fn off(self) -> Check {
        self.take_back().doing("swapoff of a disk")
    }

    fn take_back(&self) -> io::Result<()> {
        // SAFETY: as for swapon.
        match unsafe { libc::swapoff(self.path.as_ptr()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Swap {
    /// After [`Swap::off`] the kernel refuses, which does not matter.
    fn drop(&mut self) {
        let _ = self.take_back();
    }
}

/// Makes a file with the header of swap space, as mkswap(8) does (`union swap_header` of linux/swap.h).
///
/// All of it is written, so that swapping needs no memory for it.
fn make(path: &Path) -> io::Result<File> {
    let mut file = File::options().read(true).write(true).create_new(true).open(path)?;
    let piece = vec![0_u8; 1 << 20];
    (0..DISK).try_for_each(|_| file.write_all(&piece))?;
    let last_page = u32::try_from((DISK << 20) / page_size() - 1).map_err(io::Error::other)?;
    // Version, last page, number of bad pages.
    file.write_all_at(&[1, last_page, 0].map(u32::to_ne_bytes).concat(), 1024)?;
    file.write_all_at(b"SWAPSPACE2", page_size() - 10)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_whole_names() {
        let text = "SwapCached:            5 kB\nSwapTotal:         65532 kB\npswpout 12\npswpout_x 9\n";
        assert_eq!(counted(text, "SwapTotal:"), Some(65_532));
        assert_eq!(counted(text, "pswpout"), Some(12));
        assert_eq!(counted(text, "zswpout"), None);
    }

    #[test]
    fn the_file_has_the_header_of_swap_space() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("swap");
        let file = make(&path).expect("it can be made");
        assert_eq!(file.metadata().expect("it is there").len(), DISK << 20);
        let mut begin = [0; 12];
        file.read_exact_at(&mut begin, 1024).expect("it can be read");
        let last = (DISK << 20) / page_size() - 1;
        let expected = [1, u32::try_from(last).expect("it is small"), 0].map(u32::to_ne_bytes).concat();
        assert_eq!(begin.as_slice(), expected);
        let mut magic = [0; 10];
        file.read_exact_at(&mut magic, page_size() - 10).expect("it can be read");
        assert_eq!(&magic, b"SWAPSPACE2");
    }
}
