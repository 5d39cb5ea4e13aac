//! Settings of the harness's containerd, and time limits of its containers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use suites::containers::ContainerRuntime;

/// Settings of an instance.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The distro's containerd; `ctr` is next to it.
    pub containerd: PathBuf,
    /// Docker's engine, if the release has one.
    pub docker: Option<PathBuf>,
    /// Directory on a disk, for images and root filesystems.
    pub disk: PathBuf,
    /// Directory of the logs.
    pub artifacts: PathBuf,
    /// Program that serves as the probe: this binary.
    pub probe: PathBuf,
    /// Directories that are searched for programs before `PATH`.
    pub programs: Vec<PathBuf>,
    /// Kata's shims, by the names under which containerd looks for them.
    pub kata_shims: BTreeMap<String, PathBuf>,
    /// Time limits of containers.
    pub patience: ContainerDeadlines,
}

/// Time limits for starting a container, and for a short container to end.
#[derive(Debug, Clone, Copy)]
pub struct ContainerDeadlines {
    /// Limit under runc.
    pub runc: Duration,
    /// Limit under Kata, which boots a virtual machine, perhaps under emulation, and does not give up by itself if its
    /// virtiofsd has exited.
    pub kata: Duration,
}

impl ContainerDeadlines {
    /// Returns the limits: a sandbox that is a guest of an emulated machine takes 12 to 70 s to boot, and more than 120
    /// s were seen on a busy machine.
    pub fn new(emulated: bool) -> ContainerDeadlines {
        let kata = if emulated { 240 } else { 120 };
        ContainerDeadlines { runc: Duration::from_secs(60), kata: Duration::from_secs(kata) }
    }

    /// Returns the limit of a runtime.
    pub fn of(self, runtime: ContainerRuntime) -> Duration {
        match runtime {
            ContainerRuntime::Runc => self.runc,
            ContainerRuntime::Kata => self.kata,
        }
    }
}
