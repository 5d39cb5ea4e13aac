//! What our containerd is made of, and how long its containers may take.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use suites::containers::ContainerRuntime;

/// What an instance is made of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The distro's containerd; `ctr` is beside it.
    pub containerd: PathBuf,
    /// Docker's engine, where the release has one.
    pub docker: Option<PathBuf>,
    /// A folder on a disk, for images and root filesystems.
    pub disk: PathBuf,
    /// Where logs are kept.
    pub artifacts: PathBuf,
    /// The program that serves as the probe: this binary.
    pub probe: PathBuf,
    /// Folders that are searched for programs before `PATH`.
    pub programs: Vec<PathBuf>,
    /// Kata's shims, by the names that containerd looks for.
    pub kata_shims: BTreeMap<String, PathBuf>,
    /// How long containers may take.
    pub patience: ContainerDeadlines,
}

/// How long a container may take to start, and a short one to its end.
#[derive(Debug, Clone, Copy)]
pub struct ContainerDeadlines {
    /// Under runc.
    pub runc: Duration,
    /// Under Kata, which boots a virtual machine for it, perhaps under emulation, and does not give up by itself when
    /// its virtiofsd has exited.
    pub kata: Duration,
}

impl ContainerDeadlines {
    /// What containers are given: a sandbox that is a guest of an emulated machine takes 12 to 70 s to boot, and more
    /// than 120 s were seen beside other work.
    pub fn new(emulated: bool) -> ContainerDeadlines {
        let kata = if emulated { 240 } else { 120 };
        ContainerDeadlines { runc: Duration::from_secs(60), kata: Duration::from_secs(kata) }
    }

    /// How long a container of that runtime may take.
    pub fn of(self, runtime: ContainerRuntime) -> Duration {
        match runtime {
            ContainerRuntime::Runc => self.runc,
            ContainerRuntime::Kata => self.kata,
        }
    }
}
