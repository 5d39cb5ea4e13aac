//! Shared guest memory on the host.

use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::environment::EnvironmentSide;
use crate::row::{Row, row};
use model::procfs::Mount;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

const SOURCE: &str = include_str!("memory.rs");

pub(super) static ROWS: &[Row] = &[row!(Environment(shm_takes_guest_memory), &[Capability::HostMemory], Kernel)];

/// /dev/shm is a tmpfs that holds a file as large as the profile's guest memory and returns the data written at both of
/// its ends.
///
/// With virtio-fs the guest's memory is a shared file in /dev/shm (`setupFileBackedMem` in
/// src/runtime/virtcontainers/qemu.go@3.29.0); a guest that touches more than fits there dies of SIGBUS.
/// A size smaller than the default guest is noted only, because the admin sets it.
fn shm_takes_guest_memory(env: &dyn EnvironmentSide) -> Check {
    let mounts = env.read("/proc/self/mountinfo")?;
    let shm = Mount::all(mounts.as_bytes()).rfind(|mount| mount.at == Path::new("/dev/shm"));
    ensure!(shm.is_some_and(|mount| mount.kind == "tmpfs"), "/dev/shm is no tmpfs of its own");
    let space = rustix::fs::statvfs("/dev/shm").doing("asking how large /dev/shm is")?;
    let total_mib = (space.f_blocks * space.f_frsize) >> 20;
    let wanted_mib = u64::from(env.profile().qemu.memory_mib);
    if total_mib < wanted_mib {
        env.note(format!("/dev/shm has {total_mib} MiB, less than the profile's guest of {wanted_mib} MiB"));
    }
    let path = format!("/dev/shm/kata-qualify-{}", std::process::id());
    let mut file = std::fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .doing("making a file in /dev/shm")?;
    // Remove the file at once: its memory is freed with the descriptor, however the test ends.
    std::fs::remove_file(&path).doing("removing a file of /dev/shm")?;
    let last = (wanted_mib << 20) - 4;
    file.set_len(wanted_mib << 20).doing("sizing guest memory in /dev/shm")?;
    for at in [0, last] {
        let mut back = [0; 4];
        file.seek(std::io::SeekFrom::Start(at)).doing("seeking in guest memory")?;
        file.write_all(b"kata").doing("writing guest memory in /dev/shm")?;
        file.seek(std::io::SeekFrom::Start(at)).doing("seeking in guest memory")?;
        file.read_exact(&mut back).doing("reading guest memory in /dev/shm")?;
        if &back != b"kata" {
            return Err(Stop::fail(format!("guest memory at {at} reads as {back:?}")));
        }
    }
    Ok(())
}
