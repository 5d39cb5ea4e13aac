//! What a test may ask of Docker: containers by its client, as people start them.

use super::container::ContainerOutput;
use super::trace::Trace;
use crate::check::Stop;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// A network of Docker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DockerNetwork {
    /// The bridge that a container is in where nothing else is said.
    Bridge,
    /// One that was made beside it, by `docker network create`.
    Made,
}

/// A container to run: the image's probe, with what the client's options ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerContainer {
    /// What the probe is to do.
    pub command: Vec<String>,
    /// Folders of the host, each with its place inside.
    pub volumes: Vec<(PathBuf, String)>,
    /// The networks that it is in, in the order of its interfaces; without one it has no network at all.
    pub networks: Vec<DockerNetwork>,
}

impl DockerContainer {
    /// One in the default network that runs the probe with these words.
    pub fn new(command: &[&str]) -> DockerContainer {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        DockerContainer { command, volumes: Vec::new(), networks: vec![DockerNetwork::Bridge] }
    }
}

/// Docker's engine with one runtime.
pub trait Docker {
    /// Runs a container to its end, and removes it.
    ///
    /// # Errors
    /// When it is refused or outlives the deadline; the engine's own words are in the message.
    fn run(&self, container: &DockerContainer) -> Result<ContainerOutput, Stop>;
    /// Starts a container whose probe stays, and waits until the probe says that it is there; it is removed when that is
    /// dropped.
    ///
    /// # Errors
    /// As for [`Docker::run`].
    fn start(&self, container: &DockerContainer) -> Result<Box<dyn DockerProcess + '_>, Stop>;
    /// The host's own address in a network.
    fn host_in(&self, network: DockerNetwork) -> Ipv4Addr;
    /// What there is of the containers that were started so far.
    fn traces(&self) -> BTreeSet<Trace>;
}

/// A container of Docker's that runs.
pub trait DockerProcess {
    /// Runs the probe once more inside it, to its end.
    ///
    /// # Errors
    /// When it could not be started or outlives the deadline.
    fn exec(&self, command: &[&str]) -> Result<ContainerOutput, Stop>;
    /// Its address in a network.
    ///
    /// # Errors
    /// When the engine tells none.
    fn address(&self, network: DockerNetwork) -> Result<Ipv4Addr, Stop>;
}
