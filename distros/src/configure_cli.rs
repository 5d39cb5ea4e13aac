//! The calls that configure: `configure`, `unconfigure`, `fallback`, `requirements`.

mod apply;
mod here;
mod ways;

pub(crate) use apply::{configure, unconfigure};
pub(crate) use ways::{fallback, requirements};

use crate::{ArchName, Format};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What the exit codes of these calls mean.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
   0  done; for `fallback`: Kata can be configured with what is there
   2  usage, or input that cannot be used
  10  refused: known not to work, or only assumed; --force, --allow-assumed
  11  something must be installed, or described in /etc/kata-osinfo, first
  12  nothing works: the evidence and build instructions are printed
  13  written, but not everything took effect";

/// How these calls end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Known not to work, or only assumed.
    Refused = 10,
    /// Something must be installed or described first.
    Wanting = 11,
    /// Nothing works.
    NothingWorks = 12,
    /// Written, and something else overrides it.
    NotEffective = 13,
}

/// Which machine, and which Kata.
#[derive(Debug, Args)]
pub(crate) struct Machine {
    /// The release, `debian:13`; by default what the machine's os-release says.
    pub(crate) target: Option<String>,
    /// The Kata family: `go-3.29`, `rs-4.0`.
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: String,
    /// The very version of Kata, `3.30.0`; by default what /opt/kata/VERSION says, else the profile's.
    #[arg(long, value_name = "VERSION")]
    pub(crate) kata_version: Option<String>,
    /// The machine's root directory, where it is mounted elsewhere: `/host`.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    /// The machine's architecture.
    #[arg(long, value_enum, default_value_t = crate::default_arch())]
    pub(crate) arch: ArchName,
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
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// Make Kata use what the distro has: a drop-in beside the configuration that Kata reads, or an edit of it before Kata 2.5.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Configure {
    #[command(flatten)]
    pub(crate) machine: Machine,
    /// The configuration that Kata reads; by default what containerd's handler names, else Kata's own search.
    #[arg(long, value_name = "PATH")]
    pub(crate) kata_config: Option<PathBuf>,
    /// Also make Kata a handler of the container manager; without it a handler that was written before is taken back.
    #[arg(long, value_enum)]
    pub(crate) handler: Option<HandlerName>,
    /// containerd's version, `2.1`; by default that of this machine's containerd.
    #[arg(long, value_name = "VERSION")]
    pub(crate) containerd_version: Option<String>,
    /// Print what would change as a diff, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Take back everything that `configure` wrote, to the byte.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Unconfigure {
    /// The machine's root directory, where it is mounted elsewhere: `/host`.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    /// Take back also files that were changed since.
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
#[command(after_help = EXIT_CODES)]
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
