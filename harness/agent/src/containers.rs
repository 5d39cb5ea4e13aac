//! Containers under the distro's containerd: what the container tests are given.
//!
//! [`Engine`] runs a containerd of its own beside whatever else runs, drives it by the distro's own `ctr`, and removes
//! everything again. `ctr` and not the gRPC API: it comes with every containerd from 1.4 to 2.3, weighs nothing in the
//! agent, and what it was told stands in a report as a command that a maintainer can repeat.
//!
//! containerd is started with its own configuration, root, state, socket and namespace; CRI and NRI are off.
//! Pods as Kubernetes runs them have a second one beside it, with CRI on ([`cri`]); Docker's engine has a third
//! ([`docker`]), and each other snapshotter one of its own.
//! Containers are described by OCI specifications of ours (`ctr run --config`), which can say what `ctr`'s options
//! cannot: groups, limits on processes, CRI's annotations.
//! The agent's own binary is the only program in them, as the probe; the image that is imported is made of it, and one
//! test runs it from containerd's snapshotter.
//!
//! Tests share one pod for each runtime where they need none of their own, because under Kata a sandbox costs a boot;
//! after a failure the next test gets a fresh pod.
//! In an emulated machine the pod ends before a container brings a sandbox of its own: there, a guest that boots beside
//! another one costs a guest or the machine too often.
//!
//! Every id begins with the instance's name, so that what a container leaves behind (processes, mounts, control groups,
//! folders, containerd's records) can be found and removed.
//! An instance whose agent was killed is removed by the next one.
//! containerd's own crash blames containerd; a kill from outside blames nobody, and the next test gets a new instance.
//! Kata is given deadlines of ours, because it hangs when its virtiofsd has exited; what it says blames a component by
//! known words only.

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
