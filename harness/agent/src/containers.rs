//! Containers under the distro's containerd, for the container tests.
//!
//! [`Engine`] runs a separate containerd next to anything else on the machine, drives it with the distro's own `ctr`,
//! and removes everything afterwards. `ctr` is used instead of the gRPC API because it comes with every containerd from
//! 1.4 to 2.3, adds nothing to the agent's size, and appears in a report as a command that a maintainer can repeat.
//!
//! containerd is started with its own configuration, root, state, socket and namespace; CRI and NRI are off.
//! Pods, as run by Kubernetes, use a second containerd with CRI on ([`cri`]); Docker's engine uses a third
//! ([`docker`]), and each other snapshotter has one of its own.
//! Containers are described by the harness's OCI specifications (`ctr run --config`), which can express more than
//! `ctr`'s options: groups, limits on processes, CRI's annotations.
//! The agent's own binary is the only program in them, as the probe; the imported image is made from it, and one test
//! runs it from containerd's snapshotter.
//!
//! Tests share one pod for each runtime unless they need their own, because under Kata a sandbox costs a boot; after a
//! failure the next test gets a fresh pod.
//! In an emulated machine the pod is ended before a container gets a sandbox of its own: there, booting a guest next to
//! another one too often crashes a guest or the machine.
//!
//! Every id begins with the instance's name, so that the remains of a container (processes, mounts, control groups,
//! directories, containerd's records) can be found and removed.
//! An instance whose agent was killed is removed by the next one.
//! A crash of containerd blames containerd; a kill from outside blames no component, and the next test gets a new
//! instance. The harness sets its own deadlines for Kata, because Kata hangs when its virtiofsd has exited; Kata's
//! messages blame a component only by known phrases.

pub mod capture;
pub mod containerd;
pub mod cri;
mod ctr;
pub mod docker;
pub mod engine;
mod golden;
pub mod guests;
pub mod host;
pub mod image;
pub mod init;
pub mod kata;
pub mod network;
pub mod pods;
pub mod probe;
pub mod session;
pub mod settings;
pub mod shared;
mod shim;
mod snapshotters;
pub mod spec;
pub mod task;

pub use engine::Engine;
pub use settings::{ContainerDeadlines, Settings};
