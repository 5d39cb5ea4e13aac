//! The calls that configure: `configure`, `unconfigure`, `fallback`, `requirements`.

mod apply;
mod here;
mod ways;

pub(crate) use apply::{configure, unconfigure};
pub(crate) use ways::{fallback, requirements};

use crate::commands::Format;
use crate::commands::system::About;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Which machine, and which Kata.
#[derive(Debug, Args)]
pub(crate) struct Machine {
    #[command(flatten)]
    pub(crate) about: About,
    /// The Kata family: `go-3.29`, `rs-4.0`.
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: String,
    /// The very version of Kata, `3.30.0`; by default what /opt/kata/VERSION says, else the profile's.
    #[arg(long, value_name = "VERSION")]
    pub(crate) kata_version: Option<String>,
    /// The guest's kernel: `distro` (the newest of the release's, needs --initrd), `kata` (what Kata's configuration names; not for production), or a path.
    #[arg(long, value_name = "KERNEL")]
    pub(crate) kernel: Option<String>,
    /// An initrd with Kata's agent and the kernel's modules.
    #[arg(long, value_name = "PATH")]
    pub(crate) initrd: Option<String>,
    /// Nothing is accelerated here: give guests more time.
    #[arg(long)]
    pub(crate) emulated: bool,
    /// Do also what is known not to work.
    #[arg(long)]
    pub(crate) force: bool,
    /// Use facts of the record that nobody has checked.
    #[arg(long)]
    pub(crate) allow_assumed: bool,
}

/// Make Kata use what the distro has: a drop-in beside the configuration that Kata reads, or an edit of it before Kata 2.5.
#[derive(Debug, Args)]
pub(crate) struct Configure {
    #[command(flatten)]
    pub(crate) machine: Machine,
    /// The configuration that Kata reads; by default what containerd's handler names, else Kata's own search.
    #[arg(long, value_name = "PATH")]
    pub(crate) kata_config: Option<PathBuf>,
    /// Also make Kata a handler of the container manager; without it a handler that was written before is taken back.
    #[arg(long, value_enum)]
    pub(crate) handler: Option<HandlerName>,
    /// containerd's main configuration; by default that of the k3s, RKE2, k0s or MicroK8s that is there, else /etc/containerd/config.toml.
    #[arg(long, value_name = "PATH")]
    pub(crate) containerd_config: Option<PathBuf>,
    /// containerd's version, `2.1`; by default that of this machine's containerd.
    #[arg(long, value_name = "VERSION")]
    pub(crate) containerd_version: Option<String>,
    /// Print what would change as a diff, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Take back everything that `configure` wrote, to the byte; what others have changed since stays.
#[derive(Debug, Args)]
pub(crate) struct Unconfigure {
    /// Take back also what of it was changed since, and what is certainly ours where no state says so any more.
    #[arg(long)]
    pub(crate) force: bool,
    /// Print what would change as a diff, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// Say what to do where something is missing or does not work: the next best, packages, one's own entry, or a build.
#[derive(Debug, Args)]
pub(crate) struct Fallback {
    #[command(flatten)]
    pub(crate) machine: Machine,
    /// Print how to build this component, whatever is there, as a shell script.
    #[arg(long, value_enum)]
    pub(crate) build: Option<Buildable>,
}

/// Print what a distro's package must have, with Kata's source for each demand.
#[derive(Debug, Args)]
pub(crate) struct Requirements {
    /// The Kata family: `go-3.29`, `rs-4.0`.
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: String,
    /// The component.
    #[arg(long, value_enum)]
    pub(crate) component: ComponentName,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// A container manager on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HandlerName {
    /// containerd, configuration versions 2 and later.
    Containerd,
    /// CRI-O.
    Crio,
}

/// What there are build instructions for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Buildable {
    /// The VMM.
    Qemu,
    /// The virtio-fs daemon, the Rust one.
    Virtiofsd,
}

/// A component on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ComponentName {
    /// The VMM.
    Qemu,
    /// The virtio-fs daemon.
    Virtiofsd,
    /// The kernel, as a guest's.
    Kernel,
    /// The container manager.
    Containerd,
}
