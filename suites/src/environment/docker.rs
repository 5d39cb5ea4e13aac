//! The operations of Docker tests: containers by Docker's client, as people start them.

use super::container::ContainerOutput;
use super::trace::Trace;
use crate::check::Stop;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// A network of Docker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DockerNetwork {
    /// The bridge that Docker uses by default.
    Bridge,
    /// A second network, made by `docker network create`.
    Made,
}

/// A container to run: the image's probe, with what the client's options ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerContainer {
    /// The command for the probe.
    pub command: Vec<String>,
    /// Directories of the host, each with its path in the container.
    pub volumes: Vec<(PathBuf, String)>,
    /// The container's networks, in the order of its interfaces; if empty, the container has no network at all.
    pub networks: Vec<DockerNetwork>,
}

impl DockerContainer {
    /// Describes a container in the default network that runs the probe with these words.
    pub fn new(command: &[&str]) -> DockerContainer {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        DockerContainer { command, volumes: Vec::new(), networks: vec![DockerNetwork::Bridge] }
    }
}

/// Docker's engine with one runtime.
pub trait Docker {
    /// Runs a container to its end, and removes the container.
    ///
    /// # Errors
    /// When it is refused or outlives the deadline; the engine's own words are in the message.
    fn run(&self, container: &DockerContainer) -> Result<ContainerOutput, Stop>;
    /// Starts a container whose probe keeps running, and waits until the probe reports that it is up; dropping the
    /// result removes the container.
    ///
    /// # Errors
    /// As for [`Docker::run`].
    fn start(&self, container: &DockerContainer) -> Result<Box<dyn DockerProcess + '_>, Stop>;
    /// Returns the host's own address in a network.
    fn host_in(&self, network: DockerNetwork) -> Ipv4Addr;
    /// Returns the traces of all containers started so far.
    fn traces(&self) -> BTreeSet<Trace>;
}

/// A running container of Docker's.
pub trait DockerProcess {
    /// Runs the probe once more inside the container, to its end.
    ///
    /// # Errors
    /// When it could not be started or outlives the deadline.
    fn exec(&self, command: &[&str]) -> Result<ContainerOutput, Stop>;
    /// Returns the container's address in a network.
    ///
    /// # Errors
    /// When the engine reports no address.
    fn address(&self, network: DockerNetwork) -> Result<Ipv4Addr, Stop>;
}
