//! Containers by Docker: the engine that the release packages, on a containerd of its own, asked by its own client.
//!
//! The client and not the engine's API: what it was told stands in a report as a command that a maintainer can repeat.
//!
//! The engine has data, socket, configuration and bridge of its own, and leaves the machine's firewall and routing as they
//! are: nothing is translated or forwarded, and host and containers reach each other across the bridge.
//! Only its folder for running containers is the usual one, because Kata knows namespaces of Docker's by that path
//! (`DOCKER_NETNS_PREFIXES` in `src/libs/kata-sys-util/src/oci_docker.rs@4.1.0`); so no second engine may run.
//! Shims are found by containerd, which has the folder with Kata's in its search path.

pub mod instance;
pub mod session;
mod version;
