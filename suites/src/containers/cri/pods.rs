//! The life of a pod, from RunPodSandbox to its removal, and the resources that its containers share.

use super::in_a_pod;
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::containers::process::{parse_facts, wait_for};
use crate::ensure;
use crate::environment::{
    ContainerRuntime, Containers, Ephemeral, NoCri, PROBE, PodContainer, PodWanted, Process, named_containerd,
};
use crate::row::{Row, row};
use crate::test::Place;

const SOURCE: &str = include_str!("pods.rs");

pub(super) static ROWS: &[Row] = &[
    // This body tests containerd alone, so it has no twin under Kata.
    row!(Containers(containerd_speaks_cri_v1), &[Capability::KataCri], Containerd)
        .places(&[Place::Runc])
        .blocked_by(&[]),
    row!(Containers(a_pod_by_cri_runs_a_container), &[Capability::KataCri], Qemu).blocked_by(&[]).seconds(300),
    row!(Containers(an_image_is_pulled_from_a_registry), &[Capability::KataCri], Containerd).seconds(240),
    row!(Containers(two_containers_of_a_pod_share_its_network_and_name), &[Capability::KataCri], Kernel).seconds(300),
    row!(Containers(containers_of_a_pod_can_share_process_ids), &[Capability::KataCri], Kernel).seconds(300),
    row!(Containers(an_ephemeral_volume_is_seen_by_every_container), &[Capability::KataCri], Virtiofsd).seconds(300),
    row!(Containers(a_pods_sysctl_is_set), &[Capability::KataCri], Kernel).seconds(240),
];

/// The release's containerd speaks CRI v1, the only version that Kubernetes speaks since 1.26.
///
/// If a release's containerd has v1alpha2 only, it can still run containers by `ctr` and Docker, and pods of an old
/// Kubernetes. Neither Kata nor the VMM is to blame, and Kata's own bodies are skipped there. Kata documents containerd
/// 1.7 as the oldest supported version (`externals.containerd.minimum` in versions.yaml@4.1.0).
fn containerd_speaks_cri_v1(containers: &dyn Containers) -> Check {
    match containers.cri() {
        Ok(cri) => {
            containers.note(format!("{} speaks CRI v1", named_containerd(cri.version())));
            Ok(())
        }
        Err(none) => Err(judged(none)),
    }
}

/// Turns the lack of CRI v1 into a failure of the test about it. Without CNI plugins the result stays a skip, because
/// containerd was not asked.
fn judged(none: NoCri) -> Stop {
    match none {
        older @ NoCri::OnlyV1Alpha2 { .. } => Stop::fail(Stop::from(older).words()),
        NoCri::Stopped(stop) => stop,
    }
}

/// A pod runs by CRI with the handler that a RuntimeClass names, a container starts in the pod, a process is executed
/// in the container, and the pod disappears when it is removed; under Kata the container's boot id is not the host's,
/// and one virtual machine carries the pod.
///
/// This is the whole path of Kubernetes, and the beginning of Kata's own integration tests with containerd
/// (testContainerStart in `tests/integration/cri-containerd/integration-tests.sh@4.1.0`). The handler's keys are those
/// that `kata-osinfo configure` writes.
fn a_pod_by_cri_runs_a_container(containers: &dyn Containers) -> Check {
    let cri = containers.cri()?;
    cri.pull()?;
    let pod = cri.run_pod(&PodWanted::named("kq-pod"))?;
    let container = pod.start(&PodContainer::new(&["stay"]))?;
    let facts = parse_facts(&container.exec(&["facts"])?)?;
    let boot = containers.read_host("/proc/sys/kernel/random/boot_id")?;
    let is_hosts = facts.boot_id == boot.trim();
    let of_runc = containers.runtime() == ContainerRuntime::Runc;
    ensure!(is_hosts == of_runc, "the container's boot id is {}, the host's is {}", facts.boot_id, boot.trim());
    let vmms = containers.processes(pod.id()).into_iter().filter(Process::is_vmm).count();
    ensure!(vmms == usize::from(!of_runc), "{vmms} virtual machines carry the pod");
    let failed = container.exec(&["exit", "42"])?;
    ensure!(failed.code == 42, "a process exited with 42, CRI tells {}", failed.summary());
    drop(container);
    pod.remove()
}

/// An image is pulled from a registry by its name, and a container is made of it.
///
/// Under Kata containerd pulls on the host, and the snapshot is shared into the guest
/// (`src/runtime/virtcontainers/mount.go@4.1.0`); the image's own environment and working directory must have come
/// along.
fn an_image_is_pulled_from_a_registry(containers: &dyn Containers) -> Check {
    let cri = containers.cri()?;
    let digest = cri.pull()?;
    ensure!(digest.contains("sha256:"), "what was pulled has no digest: {digest:?}");
    let pod = cri.run_pod(&PodWanted::named("kq-image"))?;
    let container = pod.start(&PodContainer::new(&["stay"]))?;
    let facts = parse_facts(&container.exec(&["facts"])?)?;
    let variable = facts.environment.get("KATA_QUALIFY_IMAGE").map(String::as_str);
    ensure!(variable == Some("yes"), "the image's variable KATA_QUALIFY_IMAGE is {variable:?} inside");
    ensure!(facts.folder == "/work", "the image's working directory is /work, inside it is {}", facts.folder);
    drop(container);
    pod.remove()
}

/// Two containers of a pod have its host name and its network: one reaches the other's port on the loopback, and each
/// has its own files.
///
/// Side-car containers depend on this. Under Kata both run in one guest, whose agent joins them to the sandbox's
/// namespaces (`update_container_namespaces` in `src/agent/src/rpc.rs@4.1.0`).
fn two_containers_of_a_pod_share_its_network_and_name(containers: &dyn Containers) -> Check {
    let cri = containers.cri()?;
    cri.pull()?;
    let pod = cri.run_pod(&PodWanted::named("kq-two"))?;
    let server = pod.start(&PodContainer::new(&["serve", "8080"]))?;
    let client = pod.start(&PodContainer::new(&["stay"]))?;
    for container in [&server, &client] {
        let facts = parse_facts(&container.exec(&["facts"])?)?;
        ensure!(facts.hostname == "kq-two", "a container of the pod kq-two has the host name {}", facts.hostname);
        ensure!(facts.interfaces.contains(&"eth0".to_owned()), "its interfaces are {}", facts.interfaces.join(", "));
    }
    // The server listens a moment after its start.
    wait_for(
        || client.exec(&["fetch", "127.0.0.1", "8080"]).is_ok_and(|fetched| fetched.text() == "served"),
        || {
            let last = client.exec(&["fetch", "127.0.0.1", "8080"]);
            format!("one container does not reach the other's port: {:?}", last.map(|fetched| fetched.summary()))
        },
    )?;
    let address = pod.address()?;
    let by_address = client.exec(&["fetch", &address, "8080"])?;
    ensure!(by_address.text() == "served", "the pod does not reach itself at {address}: {}", by_address.summary());
    let written = server.exec(&["rewrite", "/tmp/own", "first"])?;
    ensure!(written.code == 0, "writing in the first container: {}", written.summary());
    let read = client.exec(&["read", "/tmp/own"])?;
    ensure!(read.code != 0, "the second container of the pod sees the first one's files");
    drop((server, client));
    pod.remove()
}

/// Containers of a pod that is to share process ids see each other's processes.
///
/// `shareProcessNamespace` of a pod; under Kata the agent keeps a namespace for the sandbox (`sandbox_pidns` in
/// `src/agent/src/rpc.rs@4.1.0`).
fn containers_of_a_pod_can_share_process_ids(containers: &dyn Containers) -> Check {
    let cri = containers.cri()?;
    cri.pull()?;
    let pod = cri.run_pod(&PodWanted { shares_processes: true, ..PodWanted::named("kq-pids") })?;
    let first = pod.start(&PodContainer::new(&["handle"]))?;
    let second = pod.start(&PodContainer::new(&["stay"]))?;
    // Both look for the process that the first container was started with.
    for container in [&first, &second] {
        let seen = container.exec(&["processes"])?;
        let is_seen = seen.text().lines().any(|line| line == format!("{PROBE} handle"));
        ensure!(is_seen, "a process of the first container is not seen: {}", seen.summary());
    }
    drop((first, second));
    pod.remove()
}

/// An ephemeral volume, on disk or in memory, is seen by both containers of a pod: one reads what the other writes.
///
/// `emptyDir`. Kata recognises the volume by kubelet's path, turns one in memory into a tmpfs of the guest's and shares
/// one on disk (`K8sEmptyDir` in `src/runtime/virtcontainers/mount.go@4.1.0`).
fn an_ephemeral_volume_is_seen_by_every_container(containers: &dyn Containers) -> Check {
    let cri = containers.cri()?;
    cri.pull()?;
    for kind in [Ephemeral::Disk, Ephemeral::Memory] {
        let volume = cri.volume(kind)?;
        let pod = cri.run_pod(&PodWanted::named("kq-volume"))?;
        let with = PodContainer { mounts: vec![(volume, "/mnt".to_owned())], ..PodContainer::new(&["stay"]) };
        let (writer, reader) = (pod.start(&with)?, pod.start(&with)?);
        let written = writer.exec(&["rewrite", "/mnt/file", "ephemeral"])?;
        ensure!(written.code == 0, "writing to a volume ({kind:?}): {}", written.summary());
        let read = reader.exec(&["read", "/mnt/file"])?;
        ensure!(read.text() == "ephemeral", "the other container does not see it ({kind:?}): {}", read.summary());
        drop((writer, reader));
        pod.remove()?;
    }
    Ok(())
}

/// A sysctl that a pod asks for is in force in its containers, and the host's value is unchanged.
///
/// `securityContext.sysctls`, for a sysctl that Kubernetes calls safe; under Kata the agent writes it in the guest
/// (`set_sysctls` in `src/agent/rustjail/src/container.rs@4.1.0`).
fn a_pods_sysctl_is_set(containers: &dyn Containers) -> Check {
    const NAME: &str = "kernel.shm_rmid_forced";
    const PATH: &str = "/proc/sys/kernel/shm_rmid_forced";
    let host = containers.read_host(PATH)?;
    let wanted = if host.trim() == "0" { "1" } else { "0" };
    let sysctls = vec![(NAME.to_owned(), wanted.to_owned())];
    let pod = PodWanted { sysctls, ..PodWanted::named("kq-sysctl") };
    in_a_pod(containers, &pod, &PodContainer::new(&["stay"]), |container| {
        let read = container.exec(&["read", PATH])?;
        ensure!(read.text() == wanted, "{NAME} was to be {wanted}: {}", read.summary());
        let after = containers.read_host(PATH)?;
        ensure!(after == host, "{NAME} of the host has changed from {} to {}", host.trim(), after.trim());
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_cri_fails_its_own_test_and_skips_the_others() {
        let older = NoCri::OnlyV1Alpha2 { containerd: "1.4.13".parse().ok() };
        assert!(matches!(judged(older.clone()), Stop::Fail { message, .. } if message.contains("containerd 1.4.13")));
        assert!(matches!(Stop::from(older), Stop::Skip { reason } if reason.contains("containerd 1.4.13")));
        // A skip stays a skip, whatever its text mentions: containerd was not asked.
        let unasked = Stop::skip("no CNI plugins: whether it speaks v1alpha2 is not known");
        assert_eq!(judged(NoCri::from(unasked.clone())), unasked);
    }
}
