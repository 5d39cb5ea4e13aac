//! The mount of the share in the guest.

use super::proves::{FILES, SETTINGS};
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::Site;
use crate::reproducer::Reproducer;
use crate::row::{Row, row, test_id};
use crate::share::Share;
use model::procfs::Mount;
use model::test_id::TestId;
use std::fs;
use std::path::Path;

const SOURCE: &str = include_str!("mount.rs");

pub(super) static ROWS: &[Row] =
    &[row!(Guest(mounts_in_the_guest), FILES).also_with(SETTINGS).reproduced(Reproducer::QemuRefuses)];

/// Returns the tests that must have passed before a share is mounted.
pub(super) fn blockers(share: Share) -> Vec<TestId> {
    let own: &[&str] = match share {
        Share::VirtioFs => &[
            "smoke::virtiofsd_accepts_the_profiles_flags",
            "smoke::qemu_has_the_devices_of_virtio_fs",
            "smoke::kernel_has_the_modules_of_virtio_fs",
        ],
        Share::Virtio9p => &["smoke::qemu_has_the_devices_of_virtio_9p", "smoke::kernel_has_the_modules_of_virtio_9p"],
        Share::VirtioBlk => &["smoke::kernel_has_the_modules_of_virtio_blk"],
    };
    own.iter().chain(&["smoke::kernel_boots_to_userspace"]).map(|id| test_id(id)).collect()
}

/// The share is mounted where the guest expects it, with its own filesystem type, and a file can be written and read
/// back.
///
/// Kata's agent mounts `kataShared` before any container exists (`VirtioFsHandler` in
/// src/agent/src/storage/fs_handler.rs@4.1.0), so without this no pod starts.
fn mounts_in_the_guest(site: &Site) -> Check {
    if let Some(share) = site.share {
        let table = fs::read("/proc/self/mountinfo").map_err(|e| Stop::error(format!("reading mountinfo: {e}")))?;
        let expected = match share {
            Share::VirtioFs => "virtiofs",
            Share::Virtio9p => "9p",
            Share::VirtioBlk => "ext4",
        };
        let seen = mounted_type(&table, &site.root);
        ensure!(
            seen.as_deref() == Some(expected),
            "{}: expected a mount of type {expected}, saw {}",
            site.root.display(),
            seen.as_deref().unwrap_or("no mount there")
        );
    }
    let status = rustix::fs::statfs(&site.root).doing(format_args!("statfs of {}", site.root.display()))?;
    ensure!(status.f_bsize > 0, "statfs of {}: expected a block size, saw {}", site.root.display(), status.f_bsize);
    let file = site.file("first", "a first file\n")?;
    let seen = fs::read(&file).doing("reading the first file back")?;
    super::expect::same_bytes(&seen, b"a first file\n", "the first file")
}

/// Returns the type of the uppermost mount at `root`.
fn mounted_type(mountinfo: &[u8], root: &Path) -> Option<String> {
    Mount::all(mountinfo).rfind(|mount| mount.at == root).map(|mount| mount.kind)
}

#[cfg(test)]
mod tests {
    use super::mounted_type;
    use std::path::Path;

    #[test]
    fn the_uppermost_mount_counts() {
        let table = b"1 0 0:1 / /a\\040b rw - tmpfs none rw\n2 0 0:2 / /a\\040b rw shared:1 - virtiofs kataShared rw\n";
        assert_eq!(mounted_type(table, Path::new("/a b")).as_deref(), Some("virtiofs"));
        assert_eq!(mounted_type(table, Path::new("/a")), None);
    }
}
