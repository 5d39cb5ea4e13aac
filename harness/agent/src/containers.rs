//! Containers under the distro's containerd: what the container tests are given.
//!
//! [`Engine`] runs a containerd of its own beside whatever else runs, drives it by the distro's own `ctr`, and removes
//! everything again. `ctr` and not the gRPC API: it comes with every containerd, weighs nothing in the agent, and what
//! it was told stands in a report as a command that a maintainer can repeat.

pub mod capture;
pub mod containerd;
mod ctr;
pub mod engine;
pub mod guests;
pub mod host;
pub mod image;
pub mod init;
pub mod kata;
pub mod network;
pub mod probe;
pub mod session;
pub mod settings;
mod shim;
pub mod spec;
pub mod task;

pub use engine::Engine;
pub use settings::{Patience, Settings};
