//! Volumes that Kubernetes mounts into containers: single files, and ConfigMaps that change.

use super::process::wait_for;
use crate::capability::Capability;
use crate::check::{Check, Doing as _};
use crate::ensure;
use crate::environment::{Container, ContainerMount, Containers, Task};
use crate::row::{Row, row};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const SOURCE: &str = include_str!("volumes.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Containers(single_files_are_mounted), &[Capability::KataFs], Virtiofsd),
    row!(Containers(a_configmap_that_changes_is_noticed), &[Capability::KataFs], Virtiofsd).seconds(180),
];

/// Single files of the host's are the container's /etc/hosts and /etc/resolv.conf: the container reads them, writes to
/// a writable one, is refused with EROFS for a read-only one, and sees later changes by the host.
///
/// kubelet mounts both into every container, and CRI mounts a pod's /etc/resolv.conf; the files' neighbours must stay
/// outside. Kata's own test is tests/integration/kubernetes/k8s-file-volume.bats@4.1.0.
fn single_files_are_mounted(containers: &dyn Containers) -> Check {
    let folder = containers.folder()?;
    let (hosts, resolvers) = (folder.join("hosts"), folder.join("resolv"));
    fs::write(&hosts, "192.0.2.1 one").doing("writing on the host")?;
    fs::write(&resolvers, "nameserver 192.0.2.2").doing("writing on the host")?;
    fs::write(folder.join("neighbour"), "outside").doing("writing on the host")?;
    let mount =
        |from: &Path, to: &str, read_only| ContainerMount::Bind { from: from.to_owned(), to: to.to_owned(), read_only };
    let container = Container::new(&["stay"]).with(mount(&hosts, "/etc/hosts", false));
    let task = containers.start(&container.with(mount(&resolvers, "/etc/resolv.conf", true)))?;
    for (path, expected) in [("/etc/hosts", "192.0.2.1 one"), ("/etc/resolv.conf", "nameserver 192.0.2.2")] {
        let read = task.exec(&["read", path], &[])?;
        ensure!(read.text() == expected, "{path} is a file of the host with {expected:?}: {}", read.summary());
    }
    let neighbour = task.exec(&["read", "/etc/neighbour"], &[])?;
    ensure!(neighbour.refusal().as_deref() == Some("ENOENT"), "a file beside it came along: {}", neighbour.summary());
    let refused = task.exec(&["rewrite", "/etc/resolv.conf", "changed"], &[])?;
    ensure!(refused.refusal().as_deref() == Some("EROFS"), "writing a read-only file: {}", refused.summary());
    let written = task.exec(&["rewrite", "/etc/hosts", "192.0.2.3 three"], &[])?;
    ensure!(written.code == 0, "writing a file that is mounted: {}", written.summary());
    let seen = fs::read_to_string(&hosts).doing("reading on the host")?;
    ensure!(seen == "192.0.2.3 three", "the container wrote \"192.0.2.3 three\", on the host it is {seen:?}");
    // Write to the same file: a mount of a file does not show a new file that replaces it.
    fs::write(&resolvers, "nameserver 192.0.2.4").doing("writing on the host")?;
    reads_soon(task.as_ref(), "/etc/resolv.conf", "nameserver 192.0.2.4")
}

/// When kubelet updates a ConfigMap while a container runs, the container notices by inotify, and the key has the new
/// value.
///
/// kubelet writes a new directory and renames the symlink `..data` to it. A share does not notify a guest of changes on
/// the host, so Kata's agent looks for changes of ConfigMaps and Secrets, which it recognises by their paths on the
/// host, and copies them to where the container watches (src/agent/src/watcher.rs@4.1.0, docs/design/inotify.md@4.1.0;
/// Kata's own test is tests/integration/kubernetes/k8s-inotify.bats@4.1.0).
fn a_configmap_that_changes_is_noticed(containers: &dyn Containers) -> Check {
    let folder = containers.folder()?.join("volumes/kubernetes.io~configmap/settings");
    fs::create_dir_all(&folder).doing("making a ConfigMap's folder")?;
    publish(&folder, "..first", "before")?;
    symlink("..data/key", folder.join("key")).doing("making a key of a ConfigMap")?;
    let mount = ContainerMount::Bind { from: folder.clone(), to: "/etc/settings".to_owned(), read_only: true };
    let task = containers.start(&Container::new(&["watch", "/etc/settings"]).with(mount))?;
    reads_soon(task.as_ref(), "/etc/settings/key", "before")?;
    let earlier = task.stdout();
    publish(&folder, "..second", "after")?;
    reads_soon(task.as_ref(), "/etc/settings/key", "after")?;
    wait_for(
        || task.stdout().len() > earlier.len(),
        || format!("a ConfigMap has changed, and inotify reported nothing of it in the container: {:?}", task.stdout()),
    )
}

/// Publishes a version of a ConfigMap in a directory of its own, to which `..data` is switched.
fn publish(folder: &Path, version: &str, value: &str) -> Check {
    fs::create_dir(folder.join(version)).doing("making a version of a ConfigMap")?;
    fs::write(folder.join(version).join("key"), value).doing("writing a key of a ConfigMap")?;
    symlink(version, folder.join("..new")).doing("making a symlink")?;
    fs::rename(folder.join("..new"), folder.join("..data")).doing("swapping a ConfigMap's versions")
}

/// Waits until a file in the container has this text.
fn reads_soon(task: &dyn Task, path: &str, expected: &str) -> Check {
    wait_for(
        || task.exec(&["read", path], &[]).is_ok_and(|read| read.text() == expected),
        || format!("{path} is to have {expected:?} in the container, and does not"),
    )
}
