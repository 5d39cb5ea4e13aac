//! Shared guest memory on the host.

use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::environment::EnvironmentSide;
use crate::row::{Row, row};
use crate::test::Need;
use model::procfs::{self, Mount};
use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, openat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

const SOURCE: &str = include_str!("memory.rs");

pub(super) static ROWS: &[Row] =
    &[row!(Environment(shm_holds_a_whole_guests_memory), &[Capability::HostMemory], Kernel)
        .needs(&[Need::Memory])
        .seconds(120)];

const SHM: &str = "/dev/shm";
/// The memory that must stay free for everything else, bytes.
const SPARE: u64 = 256 << 20;

/// /dev/shm is a tmpfs, and the kernel allocates the whole memory of the profile's guest in a file of a tmpfs, which
/// returns the data written at both of its ends.
///
/// With virtio-fs the guest's memory is a shared file in /dev/shm (`setupFileBackedMem` in
/// src/runtime/virtcontainers/qemu.go@3.29.0); a guest that touches more than fits there dies of SIGBUS.
/// How much fits is for the admin to set: if /dev/shm has less room than the guest's memory, that is noted, and the
/// file is in a tmpfs of the test's own.
fn shm_holds_a_whole_guests_memory(env: &dyn EnvironmentSide) -> Check {
    let mounts = env.read("/proc/self/mountinfo")?;
    let shm = Mount::all(mounts.as_bytes()).rfind(|mount| mount.at == Path::new(SHM));
    ensure!(shm.is_some_and(|mount| mount.kind == "tmpfs"), "/dev/shm is no tmpfs of its own");
    let wanted = u64::from(env.profile().qemu.memory_mib) << 20;
    has_memory_for(wanted, &env.read("/proc/meminfo")?)?;
    let space = rustix::fs::statvfs(SHM).doing("asking how large /dev/shm is")?;
    let free = space.f_bavail * space.f_frsize;
    let mut file = if free < wanted {
        let less = format!("/dev/shm has room for {} MiB, the profile's guest has {} MiB", free >> 20, wanted >> 20);
        env.note(less.clone());
        tmpfs_of(wanted).map_err(|e| Stop::skip(format!("{less}; a larger tmpfs could not be made: {e}")))?
    } else {
        file_in_shm()?
    };
    holds(&mut file, wanted)
}

/// Skips if the machine has not this much memory to spare: the kernel would kill processes to find it.
fn has_memory_for(wanted: u64, meminfo: &str) -> Check {
    let available = procfs::meminfo(meminfo, "MemAvailable").unwrap_or(0) << 10;
    match available >= wanted + SPARE {
        true => Ok(()),
        false => Err(Stop::skip(format!(
            "the environment has {} MiB of memory to spare, the profile's guest has {} MiB",
            available >> 20,
            wanted >> 20
        ))),
    }
}

fn file_in_shm() -> Result<File, Stop> {
    let path = format!("{SHM}/kata-qualify-{}", std::process::id());
    let made = File::options().read(true).write(true).create_new(true).open(&path);
    let file = made.doing("making a file in /dev/shm")?;
    // Remove the file at once: its memory is freed with the descriptor, however the test ends.
    std::fs::remove_file(&path).doing("removing a file of /dev/shm")?;
    Ok(file)
}

/// Makes a file in a tmpfs of this size, which is mounted nowhere and ends with the file's descriptor.
fn tmpfs_of(bytes: u64) -> io::Result<File> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let size = bytes.to_string();
    fsconfig_set_string(context.as_fd(), "size", size.as_str())?;
    fsconfig_create(context.as_fd())?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let tmpfs = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    Ok(File::from(openat(&tmpfs, "memory", flags, Mode::from_raw_mode(0o600))?))
}

/// Allocates this much memory for a file, and checks that the file keeps data at both of its ends.
fn holds(file: &mut File, bytes: u64) -> Check {
    let mib = bytes >> 20;
    loop {
        match fallocate(&*file, FallocateFlags::empty(), 0, bytes) {
            Err(Errno::INTR) => {}
            allocated => break allocated.doing(format_args!("allocating {mib} MiB of guest memory in a tmpfs"))?,
        }
    }
    for at in [0, bytes - 4] {
        let mut back = [0; 4];
        file.seek(SeekFrom::Start(at)).doing("seeking in guest memory")?;
        file.write_all(b"kata").doing("writing guest memory in a tmpfs")?;
        file.seek(SeekFrom::Start(at)).doing("seeking in guest memory")?;
        file.read_exact(&mut back).doing("reading guest memory in a tmpfs")?;
        if &back != b"kata" {
            return Err(Stop::fail(format!("guest memory at {at} reads as {back:?}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_not_there_is_not_asked_for() {
        let meminfo = "MemTotal:       8192000 kB\nMemAvailable:    4096000 kB\n";
        assert_eq!(has_memory_for(2 << 30, meminfo), Ok(()));
        assert!(matches!(has_memory_for(4 << 30, meminfo), Err(Stop::Skip { .. })));
        assert!(matches!(has_memory_for(1 << 20, ""), Err(Stop::Skip { .. })));
    }

    #[test]
    fn a_file_for_which_nothing_is_allocated_fails() {
        let mut file = tempfile::tempfile().unwrap();
        assert_eq!(holds(&mut file, 1 << 20), Ok(()));
        let mut read_only = File::open("/proc/self/exe").unwrap();
        let stop = holds(&mut read_only, 1 << 20).unwrap_err();
        assert!(stop.clone().words().starts_with("allocating 1 MiB of guest memory"), "{stop:?}");
    }
}
