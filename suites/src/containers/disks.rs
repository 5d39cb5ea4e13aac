//! Disks of the host passed through to containers: block volumes.

use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::environment::{Container, ContainerDisk, ContainerOutput, ContainerRuntime, Containers, DiskFacts};
use crate::loop_device::LoopDevice;
use crate::row::{Row, row};
use std::fs::File;
use std::io::{Read as _, Write as _};

const SOURCE: &str = include_str!("disks.rs");

/// The size of a disk, bytes: small, and used by no other disk.
const SIZE: u64 = 17 << 20;
/// The disk's node in the container.
const NODE: &str = "/dev/xda";
/// The texts that host and container write.
const FROM_HOST: &str = "written on the host";
const FROM_INSIDE: &str = "written in the container";

pub(super) static ROWS: &[Row] =
    &[row!(Containers(a_disk_of_the_hosts_is_a_containers_volume), &[Capability::KataBlock], Qemu).seconds(240)];

/// A disk of the host's that a container is given has its size there and can be read and written, and each side reads
/// what the other one wrote; under Kata it is a virtio disk of the guest.
///
/// `volumeDevices` of a pod end up as such disks, with no filesystem of the runtime's in between. Under Kata the disk
/// is plugged into the guest, and the agent creates its node at the requested path (`attachDevices` in
/// src/runtime/virtcontainers/container.go@4.1.0, `handler_devices` in
/// src/runtime-rs/crates/resource/src/manager_inner.rs@4.1.0; Kata's own test is
/// tests/integration/kubernetes/k8s-block-volume.bats@4.1.0).
fn a_disk_of_the_hosts_is_a_containers_volume(containers: &dyn Containers) -> Check {
    let path = containers.folder()?.join("disk");
    let mut file = File::create_new(&path).doing("making a disk's file")?;
    file.write_all(FROM_HOST.as_bytes()).and_then(|()| file.set_len(SIZE)).doing("filling a disk's file")?;
    let attached = LoopDevice::of_host(&file)?;
    let container = Container { disks: vec![described(&attached)?], ..Container::new(&["stay"]) };
    let task = containers.start(&container)?;
    let facts = parse_disk(&task.exec(&["disk", NODE], &[])?)?;
    ensure!(facts.size == SIZE, "a disk of {SIZE} bytes has {} in the container", facts.size);
    let is_virtio = facts.device.contains("/virtio");
    match containers.runtime() {
        ContainerRuntime::Runc => ensure!(!is_virtio, "under runc the disk is {}, not the host's", facts.device),
        ContainerRuntime::Kata => ensure!(is_virtio, "in the guest the disk is {}, no virtio device", facts.device),
    }
    let read = task.exec(&["head", NODE, &FROM_HOST.len().to_string()], &[])?;
    ensure!(read.text() == FROM_HOST, "the disk has {FROM_HOST:?}, and a container reads {}", read.summary());
    let written = task.exec(&["put", NODE, FROM_INSIDE], &[])?;
    ensure!(written.code == 0, "writing to a disk in a container: {}", written.summary());
    let mut seen = vec![0; FROM_INSIDE.len()];
    let mut host = File::open(&path).doing("opening the disk's file on the host")?;
    host.read_exact(&mut seen).doing("reading the disk's file on the host")?;
    let seen = String::from_utf8_lossy(&seen).into_owned();
    ensure!(
        seen == FROM_INSIDE,
        "a container has written {FROM_INSIDE:?} and synced it, on the host's disk is {seen:?}"
    );
    Ok(())
}

/// Describes the loop device as the disk that a container gets.
fn described(attached: &LoopDevice) -> Result<ContainerDisk, Stop> {
    let unread = |why: String| Stop::error(format!("asking for the number of {}: {why}", attached.path.display()));
    let number = attached.number().map_err(|e| unread(e.to_string()))?;
    let (major, minor) = number.split_once(':').ok_or_else(|| unread(number.clone()))?;
    let parsed = |part: &str| part.parse::<u32>().map_err(|e| unread(e.to_string()));
    Ok(ContainerDisk { major: parsed(major)?, minor: parsed(minor)?, to: NODE.to_owned() })
}

fn parse_disk(finished: &ContainerOutput) -> Result<DiskFacts, Stop> {
    serde_json::from_slice(&finished.stdout)
        .map_err(|e| Stop::fail(format!("the container did not describe its disk ({e}): {}", finished.summary())))
}
