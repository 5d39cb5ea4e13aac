//! Files that a container shares with its host, and files that it must not share.

use crate::capability::Capability;
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::{Container, ContainerMount, ContainerOutput, Containers, FileFacts};
use crate::row::{Row, row};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

const SOURCE: &str = include_str!("files.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Containers(a_read_only_root_refuses_writing), &[Capability::KataFs], Virtiofsd),
    row!(Containers(a_bind_mount_goes_both_ways), &[Capability::KataFs], Virtiofsd),
    row!(Containers(ownership_is_the_same_on_both_sides), &[Capability::KataFs], Virtiofsd),
    row!(Containers(a_read_only_bind_mount_refuses_writing), &[Capability::KataFs], Virtiofsd),
    row!(Containers(a_tmpfs_has_its_size), &[Capability::KataFs], Kernel),
    row!(Containers(root_filesystems_are_apart), &[Capability::KataFs], Virtiofsd),
];

/// Writing to a read-only root filesystem fails with EROFS, and reading it works.
///
/// `readOnlyRootFilesystem` is a hardening that much software relies on. Kata's agent remounts such a root read-only
/// (`finish_rootfs` in src/agent/rustjail/src/mount.rs@4.1.0).
fn a_read_only_root_refuses_writing(containers: &dyn Containers) -> Check {
    let container = |command: &[&str]| Container { read_only: true, ..Container::new(command) };
    let refused = containers.run(&container(&["rewrite", "/etc/forbidden", "x"]), &[])?;
    ensure!(refused.code != 0, "a file could be written below a read-only root filesystem");
    ensure!(refused.refusal().as_deref() == Some("EROFS"), "expected EROFS: {}", refused.summary());
    let read = containers.run(&container(&["stat", "/probe"]), &[])?;
    ensure!(read.code == 0, "reading below a read-only root filesystem: {}", read.summary());
    Ok(())
}

/// Files go both ways through a bind mount: the container reads the host's, the host reads the container's.
///
/// Volumes, secrets and configuration maps are bind mounts; under Kata each goes through virtio-fs. Kata shares the
/// source with the guest (`ShareFile` in src/runtime/virtcontainers/fs_share_linux.go@4.1.0,
/// src/runtime-rs/crates/resource/src/volume/share_fs_volume.rs@4.1.0).
fn a_bind_mount_goes_both_ways(containers: &dyn Containers) -> Check {
    let folder = containers.folder()?;
    fs::write(folder.join("from-host"), "host").doing("writing on the host")?;
    let container = |command: &[&str]| {
        let mount = ContainerMount::Bind { from: folder.clone(), to: "/mnt/shared".to_owned(), read_only: false };
        Container::new(command).with(mount)
    };
    let task = containers.start(&container(&["stay"]))?;
    let read = task.exec(&["read", "/mnt/shared/from-host"], &[])?;
    ensure!(read.text() == "host", "the container does not see the host's file: {}", read.summary());
    let written = task.exec(&["rewrite", "/mnt/shared/from-container", "container"], &[])?;
    ensure!(written.code == 0, "writing in the container: {}", written.summary());
    let seen = fs::read_to_string(folder.join("from-container")).doing("reading the container's file on the host")?;
    ensure!(seen.trim() == "container", "the container wrote \"container\", on the host it is {seen:?}");
    // A file that appears while the container runs must be seen, too: kubelet updates secrets that way.
    fs::write(folder.join("later"), "later").doing("writing on the host")?;
    super::process::wait_for(
        || task.exec(&["read", "/mnt/shared/later"], &[]).is_ok_and(|read| read.text() == "later"),
        || "a file that the host made later does not appear in the container".to_owned(),
    )
}

/// Owner, group and mode are the same on both sides of a bind mount, whichever side sets them.
///
/// A volume's files belong to the user of the pod; a runtime that maps them all to root or nobody breaks databases.
/// Kata's own test of a volume's group is tests/integration/kubernetes/k8s-empty-dirs.bats@4.1.0.
fn ownership_is_the_same_on_both_sides(containers: &dyn Containers) -> Check {
    let folder = containers.folder()?;
    let theirs = folder.join("host-owned");
    fs::write(&theirs, "x").doing("writing on the host")?;
    std::os::unix::fs::chown(&theirs, Some(1234), Some(2345)).doing("changing the owner on the host")?;
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o640)).doing("changing the mode on the host")?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).doing("opening the folder")?;
    let mount = |command: &[&str]| {
        Container::new(command).with(ContainerMount::Bind {
            from: folder.clone(),
            to: "/mnt/shared".to_owned(),
            read_only: false,
        })
    };
    let seen = parse_file(&containers.run(&mount(&["stat", "/mnt/shared/host-owned"]), &[])?)?;
    ensure!(
        (seen.user, seen.group, seen.mode & 0o777) == (1234, 2345, 0o640),
        "1234:2345 640 on the host is {}:{} {:o} in the container",
        seen.user,
        seen.group,
        seen.mode & 0o777
    );
    let writer = Container { user: 3000, group: 3001, ..mount(&["rewrite", "/mnt/shared/container-owned", "x"]) };
    let written = containers.run(&writer, &[])?;
    ensure!(written.code == 0, "writing as 3000:3001 in the container: {}", written.summary());
    let ours = fs::metadata(folder.join("container-owned")).doing("looking at the container's file on the host")?;
    ensure!(
        (ours.uid(), ours.gid()) == (3000, 3001),
        "3000:3001 in the container is {}:{} on the host",
        ours.uid(),
        ours.gid()
    );
    Ok(())
}

/// Writing to a read-only bind mount fails with EROFS, and the host's file is unchanged.
///
/// Secrets are mounted read-only; the refusal must not depend on the guest alone. Kata's own test is
/// tests/integration/kubernetes/k8s-file-volume.bats@4.1.0.
fn a_read_only_bind_mount_refuses_writing(containers: &dyn Containers) -> Check {
    let folder = containers.folder()?;
    fs::write(folder.join("secret"), "as it was").doing("writing on the host")?;
    let mount = ContainerMount::Bind { from: folder.clone(), to: "/mnt/secret".to_owned(), read_only: true };
    let refused = containers.run(&Container::new(&["rewrite", "/mnt/secret/secret", "changed"]).with(mount), &[])?;
    ensure!(refused.code != 0, "a file of a read-only bind mount could be written");
    ensure!(refused.refusal().as_deref() == Some("EROFS"), "expected EROFS: {}", refused.summary());
    let now = fs::read_to_string(folder.join("secret")).doing("reading on the host")?;
    ensure!(now == "as it was", "the host's file has changed to {now:?}");
    Ok(())
}

/// A tmpfs mount is memory of the size asked for: it can be written, is a tmpfs, and fills up.
///
/// `emptyDir` with `medium: Memory` and `/dev/shm` are tmpfs; without its limit one container eats the pod's memory.
/// Kata's agent mounts it with the options of the specification (`mount_from` in
/// src/agent/rustjail/src/mount.rs@4.1.0).
fn a_tmpfs_has_its_size(containers: &dyn Containers) -> Check {
    let container = |command: &[&str]| {
        Container::new(command).with(ContainerMount::Tmpfs { to: "/mnt/memory".to_owned(), kib: 4096 })
    };
    let seen = parse_file(&containers.run(&container(&["stat", "/mnt/memory"]), &[])?)?;
    ensure!(seen.filesystem == "tmpfs", "expected a tmpfs, it is {}", seen.filesystem);
    ensure!(seen.filesystem_kib == 4096, "4096 KiB were asked for, it has {}", seen.filesystem_kib);
    let full = containers.run(&container(&["fill", "/mnt/memory/file", "8"]), &[])?;
    ensure!(full.refusal().as_deref() == Some("ENOSPC"), "writing 8 MiB into 4 MiB: {}", full.summary());
    Ok(())
}

/// The root filesystems of two containers are separate: a file that one writes is not seen by the other.
///
/// Both come from the same image and, under Kata, through the same share. Kata gives each container a directory of its
/// own in it (`ShareRootFilesystem` in src/runtime/virtcontainers/fs_share_linux.go@4.1.0,
/// src/runtime-rs/crates/resource/src/rootfs/share_fs_rootfs.rs@4.1.0).
fn root_filesystems_are_apart(containers: &dyn Containers) -> Check {
    let first = containers.start(&Container::new(&["stay"]))?;
    let second = containers.start(&Container::new(&["stay"]))?;
    let written = first.exec(&["rewrite", "/etc/mine", "mine"], &[])?;
    ensure!(written.code == 0, "writing in the first container: {}", written.summary());
    let seen = second.exec(&["read", "/etc/mine"], &[])?;
    ensure!(seen.refusal().as_deref() == Some("ENOENT"), "the second container sees it: {}", seen.summary());
    Ok(())
}

pub(super) fn parse_file(finished: &ContainerOutput) -> Result<FileFacts, Stop> {
    serde_json::from_slice(&finished.stdout)
        .map_err(|e| Stop::fail(format!("the container did not describe the file ({e}): {}", finished.summary())))
}
