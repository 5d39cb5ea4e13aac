//! Containers by Docker: the distro's packaged engine and client, on the engine's containerd.
//!
//! From 23.0 on the engine starts a shim by its name, as containerd does. 20.10 only starts programs that take runc's
//! arguments, and no Kata since 2.0 has one, so Kata's tests are skipped there.

use super::lifecycle::no_trace_remains;
use super::network::{converse, reaches_the_host};
use super::process::parse_facts;
use crate::capability::Capability;
use crate::check::{Check, Doing as _};
use crate::ensure;
use crate::environment::{ContainerRuntime, Containers, Docker, DockerContainer, DockerNetwork, DockerProcess};
use crate::row::{Row, row};
use model::words::list_and;
use std::fs;

const SOURCE: &str = include_str!("docker.rs");

/// The body that must pass before any other one by Docker.
pub(super) const FIRST: &str = "docker_runs_a_container";

pub(super) static ROWS: &[Row] = &[
    row!(Containers(docker_runs_a_container), &[Capability::KataDocker], Qemu).blocked_by(&[]).seconds(420),
    row!(Containers(docker_mounts_a_folder_of_the_host), &[Capability::KataDocker], Virtiofsd).seconds(300),
    row!(Containers(docker_gives_a_container_its_network), &[Capability::KataDocker], Kernel).seconds(300),
    row!(Containers(docker_gives_a_container_two_networks), &[Capability::KataDocker], Kernel).seconds(300),
];

/// Docker runs a container to its end and reports its exit code, executes a process in another container, and removes
/// both without a trace; under Kata a virtual machine runs the container.
///
/// The image is a root filesystem that `docker import` takes, so that no registry is asked. Kata's own test runs one
/// container under runc and one under Kata (`run` in tests/integration/docker/gha-run.sh@4.1.0); the engine starts the
/// shim by its name (docs/how-to/how-to-use-kata-with-docker.md@4.1.0).
fn docker_runs_a_container(containers: &dyn Containers) -> Check {
    let docker = containers.docker()?;
    let before = docker.traces();
    let finished = docker.run(&DockerContainer::new(&["exit", "7"]))?;
    ensure!(finished.code == 7, "a process exited with 7, docker reported {}", finished.summary());
    let process = docker.start(&DockerContainer::new(&["stay"]))?;
    let facts = parse_facts(&process.exec(&["facts"])?)?;
    let host = containers.read_host("/proc/sys/kernel/random/boot_id")?;
    let is_of_host = facts.boot_id == host.trim();
    match containers.runtime() {
        ContainerRuntime::Runc => ensure!(is_of_host, "under runc the boot id is {}, not the host's", facts.boot_id),
        ContainerRuntime::Kata => ensure!(!is_of_host, "the boot id inside is the host's: there is no virtual machine"),
    }
    let code = process.exec(&["exit", "42"])?;
    ensure!(code.code == 42, "a further process exited with 42, docker reported {}", code.summary());
    drop(process);
    no_trace_remains(containers, &|| docker.traces(), &before, "after two containers of Docker's")
}

/// A directory of the host's that Docker mounts can be read and written from both sides.
///
/// `docker run --volume` is a bind mount, which goes through virtio-fs under Kata (`handler_volumes` in
/// src/runtime-rs/crates/resource/src/volume/mod.rs@4.1.0).
fn docker_mounts_a_folder_of_the_host(containers: &dyn Containers) -> Check {
    let folder = containers.folder()?;
    fs::write(folder.join("from-host"), "host").doing("writing on the host")?;
    let docker = containers.docker()?;
    let volumes = vec![(folder.clone(), "/mnt/shared".to_owned())];
    let process = docker.start(&DockerContainer { volumes, ..DockerContainer::new(&["stay"]) })?;
    let read = process.exec(&["read", "/mnt/shared/from-host"])?;
    ensure!(read.text() == "host", "the container does not see the host's file: {}", read.summary());
    let written = process.exec(&["rewrite", "/mnt/shared/from-container", "container"])?;
    ensure!(written.code == 0, "writing in the container: {}", written.summary());
    let seen = fs::read_to_string(folder.join("from-container")).doing("reading the container's file on the host")?;
    ensure!(seen == "container", "the container wrote \"container\", on the host it is {seen:?}");
    Ok(())
}

/// A container in Docker's bridge has the address that Docker reports, can be reached there from the host, and reaches
/// the host.
///
/// Docker creates the namespace, and from 26.0 on its interface, after it has created the container. Kata finds the
/// namespace by a hook's arguments and looks for interfaces before it starts the container (`docker_netns_path` in
/// src/libs/kata-sys-util/src/oci_docker.rs@4.1.0, src/runtime/pkg/katautils/create.go@4.1.0).
fn docker_gives_a_container_its_network(containers: &dyn Containers) -> Check {
    let docker = containers.docker()?;
    let process = docker.start(&DockerContainer::new(&["serve", "8080"]))?;
    has_interfaces(process.as_ref(), &["eth0"])?;
    is_reached(docker.as_ref(), process.as_ref(), DockerNetwork::Bridge)
}

/// A container in two of Docker's networks has an interface in each, and can be reached through both.
///
/// Kata takes over every interface of a namespace (`addAllEndpoints` in
/// src/runtime/virtcontainers/network_linux.go@4.1.0).
fn docker_gives_a_container_two_networks(containers: &dyn Containers) -> Check {
    let docker = containers.docker()?;
    let networks = vec![DockerNetwork::Bridge, DockerNetwork::Made];
    let wanted = DockerContainer { networks: networks.clone(), ..DockerContainer::new(&["serve", "8080"]) };
    let process = docker.start(&wanted)?;
    has_interfaces(process.as_ref(), &["eth0", "eth1"])?;
    networks.into_iter().try_for_each(|network| is_reached(docker.as_ref(), process.as_ref(), network))
}

fn has_interfaces(process: &dyn DockerProcess, wanted: &[&str]) -> Check {
    let interfaces = parse_facts(&process.exec(&["facts"])?)?.interfaces;
    let missing: Vec<&str> = wanted.iter().copied().filter(|name| !interfaces.iter().any(|one| one == name)).collect();
    ensure!(missing.is_empty(), "no {} inside, only {}", list_and(missing), interfaces.join(", "));
    Ok(())
}

/// Checks that host and container reach each other in a network.
fn is_reached(docker: &dyn Docker, process: &dyn DockerProcess, network: DockerNetwork) -> Check {
    let address = process.address(network)?;
    let reply = converse(&address.to_string(), 8080)?;
    ensure!(reply == "served", "the container's server said {reply:?} at {address}");
    reaches_the_host(docker.host_in(network), |words| process.exec(words))
}
