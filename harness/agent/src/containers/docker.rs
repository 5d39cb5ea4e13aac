//! Containers by Docker: the release's own engine, on a separate containerd, driven by its own client.
//!
//! The client is used instead of the engine's API because its calls appear in a report as commands that a maintainer
//! can repeat.
//!
//! The engine has data, socket, configuration and bridge of its own, and leaves the machine's firewall and routing
//! unchanged: there is no NAT or forwarding, and host and containers reach each other across the bridge.
//! Only its directory for running containers is the default one, because Kata recognizes Docker's namespaces by that
//! path (`DOCKER_NETNS_PREFIXES` in `src/libs/kata-sys-util/src/oci_docker.rs@4.1.0`); so no second engine may run.
//! containerd finds the shims, because its search path has the directory with Kata's.

pub mod instance;
pub mod session;
mod version;
