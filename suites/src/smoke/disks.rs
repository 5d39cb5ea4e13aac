//! Kernel features for the disks of containers: files as disks, filesystems on them, limits.
//!
//! Kata's default path needs none of them. Its own kernel has all of them, for images and volumes that are not ext4,
//! and for containers that build images. The filesystems are created here, byte by byte, so that no program is needed
//! for them.

mod crc32c;
mod erofs;
mod xfs;

use super::BOOTS;
use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::child;
use crate::ensure;
use crate::group::Group;
use crate::loop_device::LoopDevice;
use crate::row::{Row, row};
use model::profile::ModuleUse;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SOURCE: &str = include_str!("disks.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Inside(guest_uses_files_as_disks), &[Capability::KernelGuestDisk], Kernel)
        .blocked_by(BOOTS)
        .loads(ModuleUse::Loop),
    row!(Inside(guest_mounts_erofs), &[Capability::KernelGuestDisk], Kernel)
        .blocked_by(&["smoke::guest_uses_files_as_disks"])
        .loads(ModuleUse::Erofs),
    row!(Inside(guest_mounts_xfs), &[Capability::KernelGuestDisk], Kernel)
        .blocked_by(&["smoke::guest_uses_files_as_disks"])
        .loads(ModuleUse::Xfs),
    row!(Inside(guest_limits_a_disks_use), &[Capability::KernelGuestDisk], Kernel)
        .blocked_by(&["smoke::guest_uses_files_as_disks"])
        .loads(ModuleUse::Loop),
];

/// A directory in the guest's memory.
const SCRATCH: &str = "/scratch";
/// The content of a file.
const WORDS: &str = "a file on a filesystem that was made byte by byte\n";

/// A loop device makes a file a disk of the same size: data written to the disk is in the file, and the other way
/// round.
///
/// Kata's kernel has BLK_DEV_LOOP (tools/packaging/kernel/configs/fragments/common/fs.conf@4.1.0): direct volumes that
/// are files, and containers that build images, use loop devices.
fn guest_uses_files_as_disks() -> Check {
    files_are_disks(Path::new(SCRATCH))
}

fn files_are_disks(folder: &Path) -> Check {
    const BYTES: u64 = 4 << 20;
    let mut file = ScratchFile::new(folder, "disk", &[], BYTES)?;
    file.write_at(1 << 20, b"from the file")?;
    let disk = LoopDevice::attach(&file.file).doing("attaching a file to a loop device")?;
    let mut device = disk.open().doing(format!("opening {}", disk.path.display()))?;
    let bytes = device.seek(SeekFrom::End(0)).doing("asking how large the disk is")?;
    ensure!(bytes == BYTES, "a file of {BYTES} bytes is a disk of {bytes}");
    let mut read = [0; 13];
    device.seek(SeekFrom::Start(1 << 20)).and_then(|_| device.read_exact(&mut read)).doing("reading the disk")?;
    ensure!(&read == b"from the file", "the disk does not have what was written to the file");
    let written = device.seek(SeekFrom::Start(2 << 20)).and_then(|_| device.write_all(b"from the disk"));
    written.and_then(|()| device.sync_all()).doing("writing to the disk")?;
    drop(device);
    drop(disk);
    file.file.seek(SeekFrom::Start(2 << 20)).and_then(|_| file.file.read_exact(&mut read)).doing("reading the file")?;
    ensure!(&read == b"from the disk", "the file does not have what was written to the disk");
    Ok(())
}

/// An EROFS on a disk can be mounted, its file can be read, and writing to it is refused.
///
/// Kata's images can be EROFS, and the erofs snapshotter's layers are (`rootfs_type`, src/runtime-rs/config and
/// tools/packaging/kernel/configs/fragments/common/fs.conf@4.1.0).
fn guest_mounts_erofs() -> Check {
    read_only_erofs(Path::new(SCRATCH), &erofs::image(WORDS))
}

fn read_only_erofs(folder: &Path, image: &[u8]) -> Check {
    let file = ScratchFile::new(folder, "erofs", image, image.len() as u64)?;
    let disk = LoopDevice::attach(&file.file).doing("attaching a file to a loop device")?;
    let mounted = Mounted::mount(&disk.path, &folder.join("erofs"), "erofs", MountFlags::RDONLY, c"")?;
    let words = mounted.0.join(erofs::FILE);
    let read = fs::read_to_string(&words).doing("reading a file of an EROFS")?;
    ensure!(read == WORDS, "a file of an EROFS reads as {read:?}");
    ensure!(fs::write(&words, "else").is_err(), "a file of an EROFS, which is read-only, was written to");
    Ok(())
}

/// An XFS on a disk can be mounted, and data written to it is there after another mount.
///
/// Volumes of Kubernetes are often XFS, and Kata's images can be (`rootfs_type`;
/// tools/packaging/kernel/configs/fragments/common/fs.conf@4.1.0).
fn guest_mounts_xfs() -> Check {
    kept_by_xfs(Path::new(SCRATCH), &xfs::image())
}

fn kept_by_xfs(folder: &Path, image: &[u8]) -> Check {
    let file = ScratchFile::new(folder, "xfs", image, xfs::BYTES)?;
    let disk = LoopDevice::attach(&file.file).doing("attaching a file to a loop device")?;
    let at = folder.join("xfs");
    let mounted = Mounted::mount(&disk.path, &at, "xfs", MountFlags::empty(), c"nouuid")?;
    fs::create_dir(at.join("folder")).doing("making a folder on an XFS")?;
    fs::write(at.join("folder/words"), WORDS.repeat(1000)).doing("writing a file to an XFS")?;
    mounted.unmount()?;
    let _mounted = Mounted::mount(&disk.path, &at, "xfs", MountFlags::RDONLY, c"nouuid")?;
    let read = fs::read_to_string(at.join("folder/words")).doing("reading a file of an XFS")?;
    ensure!(read == WORDS.repeat(1000), "a file of an XFS has other bytes when it has been mounted again");
    Ok(())
}

/// Limits on writing to a disk and on reading from it slow both down to the limit, and the transferred bytes are
/// counted.
///
/// Kata's kernel has BLK_CGROUP and BLK_DEV_THROTTLING
/// (tools/packaging/kernel/configs/fragments/common/cgroup.conf@4.1.0); the agent sets a container's limits of
/// `linux.resources.blockIO` (`set_block_io_resources` in src/agent/rustjail/src/cgroups/fs/mod.rs@4.1.0).
fn guest_limits_a_disks_use() -> Check {
    const MIB: u64 = 2;
    // The first piece is transferred at once, and the kernel counts in slices of a tenth of a second.
    const LEAST: Duration = Duration::from_millis(MIB * 750);
    let file = ScratchFile::new(Path::new(SCRATCH), "limited", &[], 4 << 20)?;
    let disk = LoopDevice::attach(&file.file).doing("attaching a file to a loop device")?;
    let number = disk.number().doing("asking for the disk's number")?;
    let (path, mib) = (disk.path.to_string_lossy().into_owned(), MIB.to_string());
    let mut slow = None;
    for (way, limit, counter) in [("write", "wbps", "wbytes"), ("read", "rbps", "rbytes")] {
        let task = [way, path.as_str(), mib.as_str()];
        let began = Instant::now();
        child::run(&task, &format!("a process without a limit that is to {way} {MIB} MiB of a disk"))?;
        let without = began.elapsed();
        let group = Group::new(&["io"])?;
        group.set("io.max", &format!("{number} {limit}=1048576"))?;
        let began = Instant::now();
        group.holds(&task, &format!("a process that is to {way} {MIB} MiB of a disk within a limit"))?;
        let within = began.elapsed();
        ensure!(
            within >= LEAST,
            "to {way} {MIB} MiB took {within:?} within a limit of 1 MiB/s ({limit}), expected {LEAST:?} or more"
        );
        let counted = counted(&group.get("io.stat")?, &number, counter);
        ensure!(counted >= Some(MIB << 20), "{MIB} MiB went by, and the group's io.stat counts {counted:?} {counter}");
        slow = slow.or((without > LEAST).then_some(without));
    }
    match slow {
        None => Ok(()),
        Some(took) => {
            Err(Stop::skip(format!("the environment is so slow that {MIB} MiB take {took:?} without a limit")))
        }
    }
}

/// Returns the bytes written to a disk or read from it according to a group's `io.stat`.
fn counted(stat: &str, number: &str, counter: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix(number)?.strip_prefix(' '))?;
    line.split(' ').find_map(|word| word.strip_prefix(counter)?.strip_prefix('=')?.parse().ok())
}

/// Writes bytes of a filesystem at their offset.
fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// A file of a test; dropping it removes the file.
struct ScratchFile {
    file: File,
    path: PathBuf,
}

impl ScratchFile {
    /// Creates a file of this size that begins with these bytes.
    fn new(folder: &Path, name: &str, content: &[u8], bytes: u64) -> Result<ScratchFile, Stop> {
        let path = folder.join(format!("{name}.file"));
        let made = || -> io::Result<File> {
            let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
            file.set_len(bytes)?;
            file.write_all(content)?;
            Ok(file)
        };
        let file = made().map_err(|e| Stop::error(format!("making {}: {e}", path.display())))?;
        Ok(ScratchFile { file, path })
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Check {
        let written = self.file.seek(SeekFrom::Start(offset)).and_then(|_| self.file.write_all(bytes));
        written.doing("writing to the file")
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A mounted filesystem; dropping it unmounts the filesystem.
struct Mounted(PathBuf);

impl Mounted {
    fn mount(disk: &Path, at: &Path, kind: &str, flags: MountFlags, options: &CStr) -> Result<Mounted, Stop> {
        fs::create_dir_all(at).map_err(|e| Stop::error(format!("making {}: {e}", at.display())))?;
        mount(disk, at, kind, flags, options).doing(format!("mounting {} as {kind}", disk.display()))?;
        Ok(Mounted(at.to_owned()))
    }

    fn unmount(self) -> Check {
        unmount(&self.0, UnmountFlags::empty()).doing(format!("unmounting {}", self.0.display()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.0);
    }
}

#[cfg(test)]
mod tests;
