//! Reads the root filesystem of another disk, such as a vendor's cloud image, in a guest that does nothing else.
//!
//! Nothing on the disk is executed, so that it may be of any distro: its filesystems are mounted read-only, and this
//! program writes their content as an archive.

mod archive;
mod superblock;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use superblock::{DiskContent, Superblock};

/// Mount point of the root filesystem.
const ROOT: &str = "/mnt/root";
/// Size limit of an fstab, in bytes.
const FSTAB: u64 = 1 << 20;

/// A disk or partition with its superblock.
struct Volume {
    device: PathBuf,
    superblock: Superblock,
}

/// Result of reading a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// Length of the archive in bytes.
    pub bytes: u64,
    /// Source: `/dev/vda1 (ext4)`.
    pub from: String,
}

/// Writes the root filesystem of a disk, `vda`, to another disk, as a tar archive.
///
/// # Errors
/// If the disk has no root filesystem that this kernel can read; the error lists the filesystems that it has.
pub fn archive(disk: &str, to: &Path) -> io::Result<Archived> {
    let volumes = volumes(disk)?;
    fs::create_dir_all(ROOT)?;
    let root = mount_root(&volumes)?;
    mount_boot(&volumes)?;
    let output = OpenOptions::new().write(true).open(to).map_err(|e| doing("opening", to, &e))?;
    let bytes = archive::write(Path::new(ROOT), &output)?;
    output.sync_all().map_err(|e| doing("writing", to, &e))?;
    Ok(Archived { bytes, from: root.to_string() })
}

impl std::fmt::Display for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.device.display(), self.superblock.content.name())
    }
}

/// Returns the disk and its partitions, in order.
fn volumes(disk: &str) -> io::Result<Vec<Volume>> {
    let partition = |name: &String| name.strip_prefix(disk).is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let mut names: Vec<String> = fs::read_dir("/sys/class/block")?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(partition)
        .collect();
    names.sort_by_key(|name| (name.len(), name.clone()));
    let volume = |name: String| {
        let device = Path::new("/dev").join(name);
        let superblock = superblock::read(&device).map_err(|e| doing("reading", &device, &e))?;
        Ok(Volume { device, superblock })
    };
    names.into_iter().map(volume).collect()
}

/// Mounts the first filesystem that is a system's root.
fn mount_root(volumes: &[Volume]) -> io::Result<&Volume> {
    let mut refused = Vec::new();
    for volume in volumes {
        for options in options(volume.superblock.content) {
            match mount_to_read(volume, ROOT, options) {
                Ok(()) if is_root(Path::new(ROOT)) => return Ok(volume),
                Ok(()) => unmount(ROOT, UnmountFlags::empty())?,
                // A subvolume that does not exist.
                Err(e) if options.starts_with("subvol") && e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => refused.push(e.to_string()),
            }
        }
    }
    let found: Vec<String> = volumes.iter().map(ToString::to_string).chain(refused).collect();
    Err(io::Error::other(format!(
        "no root filesystem: expected an ext4, xfs or btrfs with /etc/os-release and /usr, on the disk or a partition of it; seen: {}",
        found.join(", ")
    )))
}

/// Returns the options for mounting a filesystem read-only: without its journal, because replaying it would write.
fn options(content: DiskContent) -> &'static [&'static str] {
    match content {
        DiskContent::Ext4 => &["noload"],
        DiskContent::Xfs => &["norecovery"],
        // The default subvolume, and the names that vendors use for the root.
        DiskContent::Btrfs => &["", "subvol=root", "subvol=@"],
        _ => &[],
    }
}

fn mount_to_read(volume: &Volume, target: &str, options: &str) -> io::Result<()> {
    let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    let options = CString::new(options)?;
    let mounted = mount(&volume.device, target, volume.superblock.content.name(), flags, options.as_c_str());
    mounted.map_err(|e| {
        let e = io::Error::from(e);
        io::Error::new(e.kind(), format!("mounting {volume}: {e}"))
    })
}

/// Returns whether a directory is the root of a system.
fn is_root(folder: &Path) -> bool {
    let there = |name: &str| folder.join(name).symlink_metadata().is_ok();
    (there("etc/os-release") || there("usr/lib/os-release")) && (there("usr") || there("bin"))
}

/// Mounts `/boot` if the system's fstab lists it as a separate filesystem.
fn mount_boot(volumes: &[Volume]) -> io::Result<()> {
    let path = Path::new(ROOT).join("etc/fstab");
    // A link could lead out of the system, and to a device.
    if !path.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
        return Ok(());
    }
    let mut text = Vec::new();
    File::open(&path)?.take(FSTAB).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let Some(named) = boot_of(&text) else { return Ok(()) };
    let found = volumes.iter().find(|volume| is_named(&volume.superblock, named));
    let volume = found.ok_or_else(|| {
        let partitions: Vec<String> = volumes.iter().map(ToString::to_string).collect();
        io::Error::other(format!("/boot is {named}, by etc/fstab, which no partition is: {}", partitions.join(", ")))
    })?;
    let options = options(volume.superblock.content).first().copied().unwrap_or_default();
    mount_to_read(volume, &format!("{ROOT}/boot"), options)
}

/// Returns the device that an fstab mounts on `/boot`.
fn boot_of(fstab: &str) -> Option<&str> {
    fstab.lines().filter(|line| !line.trim_start().starts_with('#')).find_map(|line| {
        let mut words = line.split_whitespace();
        let (named, target) = (words.next()?, words.next()?);
        (target.trim_end_matches('/') == "/boot").then_some(named)
    })
}

fn is_named(superblock: &Superblock, named: &str) -> bool {
    let (by, name) = named.split_once('=').unwrap_or_default();
    let name = name.trim_matches('"');
    match by {
        "LABEL" => superblock.label == name && !name.is_empty(),
        "UUID" => superblock.uuid.eq_ignore_ascii_case(name) && !name.is_empty(),
        _ => false,
    }
}

fn doing(what: &str, path: &Path, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{what} {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_is_found_in_an_fstab() {
        let fstab = "# LABEL=OLD /boot ext4\n\nLABEL=cloudimg-rootfs / ext4 discard 0 1\nLABEL=BOOT\t/boot\text4\tdefaults 0 2\nLABEL=UEFI /boot/efi vfat umask=0077 0 1\n";
        assert_eq!(boot_of(fstab), Some("LABEL=BOOT"));
        assert_eq!(boot_of("UUID=1 / xfs defaults 0 0\n/boot\n"), None);
    }

    #[test]
    fn a_volume_is_named_by_its_label_or_uuid() {
        let of = |label: &str, uuid: &str| Superblock {
            content: DiskContent::Ext4,
            label: label.to_owned(),
            uuid: uuid.to_owned(),
        };
        assert!(is_named(&of("BOOT", ""), "LABEL=BOOT"));
        assert!(is_named(&of("", "0a-b"), "UUID=\"0A-B\""));
        assert!(!is_named(&of("", ""), "LABEL="));
        assert!(!is_named(&of("vda1", "vda1"), "/dev/vda1"));
    }

    #[test]
    fn a_root_filesystem_is_recognised_by_its_os_release() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_root(dir.path()));
        fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
        fs::write(dir.path().join("usr/lib/os-release"), "").unwrap();
        assert!(is_root(dir.path()));
    }
}
