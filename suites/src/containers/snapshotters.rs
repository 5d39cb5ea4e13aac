//! Root filesystems by containerd's other snapshotters; under Kata they are disks of the guest and not part of the
//! share.

use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{Containers, Snapshotter};
use crate::row::{Row, row};
use crate::under::EROFS;
use model::procfs::Mount;
use std::path::Path;

const SOURCE: &str = include_str!("snapshotters.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Containers(a_root_filesystem_is_by_devmapper), &[Capability::KataDevmapper], Qemu).seconds(420),
    // The Go runtime plugs the loop device that the root filesystem is mounted from (`hotplugDrive` in
    // src/runtime/virtcontainers/container.go@4.1.0), runtime-rs the file (`is_block_rootfs` in
    // src/runtime-rs/crates/resource/src/rootfs/block_rootfs.rs@3.20.0).
    row!(Containers(a_root_filesystem_is_by_blockfile), &[Capability::KataBlockfile], Qemu).seconds(420),
    row!(Containers(a_root_filesystem_is_by_erofs), &[Capability::KataErofs], Kernel).under(&EROFS).seconds(420),
];

/// A container whose image the devmapper snapshotter provides has a disk with ext4 as its root, can read and write it,
/// and another container of the same image does not see its changes.
///
/// Kata is run this way without a shared filesystem, and with VMMs that have none. It plugs the thin volume into the
/// guest, where the agent mounts it (`checkAndMount` in src/runtime/pkg/containerd-shim-v2/create.go@4.1.0,
/// src/runtime-rs/crates/resource/src/rootfs/block_rootfs.rs@4.1.0). The pool is created as in Kata's own tests
/// (`configure_devmapper` in tests/integration/kubernetes/gha-run.sh@4.1.0).
fn a_root_filesystem_is_by_devmapper(containers: &dyn Containers) -> Check {
    by(containers, Snapshotter::Devmapper, "ext4")
}

/// A container whose image the blockfile snapshotter provides has a disk with ext4 as its root, can read and write it,
/// and another container of the same image does not see its changes.
///
/// containerd has this snapshotter from 1.7 on. Kata's templates of virtual machines require it, because they can have
/// no share (docs/how-to/how-to-use-template-in-runtime-rs.md@4.1.0). Kata plugs the file or its loop device into the
/// guest (`is_block_rootfs` in src/runtime-rs/crates/resource/src/rootfs/block_rootfs.rs@4.1.0, `hotplugDrive` in
/// src/runtime/virtcontainers/container.go@4.1.0).
fn a_root_filesystem_is_by_blockfile(containers: &dyn Containers) -> Check {
    by(containers, Snapshotter::Blockfile, "ext4")
}

/// A container whose image the EROFS snapshotter provides has the stacked layers as its root, can read and write it,
/// and another container of the same image does not see its changes.
///
/// containerd has this snapshotter from 2.1 on. Kata plugs each layer into the guest as a disk, and the agent mounts
/// and stacks them (`shareRootFilesystemWithErofs` in src/runtime/virtcontainers/fs_share_linux.go@4.1.0,
/// src/runtime-rs/crates/resource/src/rootfs/erofs_rootfs.rs@4.1.0), so the guest's kernel needs EROFS and overlayfs.
/// If the host stacked the layers, the guest would see them through the share, as virtiofs.
fn a_root_filesystem_is_by_erofs(containers: &dyn Containers) -> Check {
    by(containers, Snapshotter::Erofs, "overlay")
}

/// Checks that images run from the snapshotter, with a root filesystem of this type.
fn by(containers: &dyn Containers, snapshotter: Snapshotter, filesystem: &str) -> Check {
    let name = snapshotter.name();
    containers.by_snapshotter(snapshotter, &|containers| {
        let table = containers.run_image(&["read", "/proc/self/mountinfo"])?;
        ensure!(table.code == 0, "a container by {name}: {}", table.summary());
        let table = table.text();
        let Mount { kind, source, .. } = root(&table)
            .ok_or_else(|| Stop::fail(format!("a container by {name} has no root among its mounts: {table}")))?;
        let is_its_own = kind == filesystem && (kind == "overlay" || source.starts_with("/dev/"));
        ensure!(is_its_own, "the root of a container by {name} is to be of {filesystem}, it is {kind} of {source}");
        let written = containers.run_image(&["rewrite", "/etc/greeting", "kata-qualify"])?;
        ensure!(
            written.code == 0 && written.text() == "kata-qualify",
            "expected to read back what was written by {name}: {}",
            written.summary()
        );
        let other = containers.run_image(&["read", "/etc/greeting"])?;
        ensure!(
            other.refusal().as_deref() == Some("ENOENT"),
            "another container by {name} sees what the first one wrote: {}",
            other.summary()
        );
        Ok(())
    })
}

/// Returns the root mount in mountinfo: the last one mounted there is the visible one.
fn root(mountinfo: &str) -> Option<Mount> {
    Mount::all(mountinfo.as_bytes()).rfind(|mount| mount.at == Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mount_on_the_root_counts() {
        let table = "20 1 0:2 / / rw - rootfs rootfs rw\n\
                     31 20 8:16 / / rw,relatime shared:1 - ext4 /dev/sdb rw,discard\n\
                     32 31 0:5 / /proc rw - proc proc rw\n";
        let found = root(table).unwrap();
        assert_eq!((found.kind.as_str(), found.source.as_str()), ("ext4", "/dev/sdb"));
        assert_eq!(root("32 31 0:5 / /proc rw - proc proc rw\n"), None);
    }
}
