//! What a container test may ask: containers of one runtime, and what the host sees of them.

use super::container::{Container, ContainerOutput, ContainerUsage};
use super::docker::Docker;
use super::pods::{Cri, NoCri};
use super::trace::Trace;
use crate::check::{Check, Stop};
use crate::claims::Claims;
use model::profile::Profile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

/// What runs the containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerRuntime {
    /// runc, the control: it shows what the environment and containerd can do without Kata.
    Runc,
    /// Kata.
    Kata,
}

impl ContainerRuntime {
    /// The word in ids and messages.
    pub fn name(self) -> &'static str {
        match self {
            ContainerRuntime::Runc => "runc",
            ContainerRuntime::Kata => "kata",
        }
    }
}

/// What a guest of Kata boots, where it is not the release's kernel with the initrd of the other tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestFiles {
    /// The release's kernel, and an initrd made by the distro's own tool.
    DistrosInitrd,
    /// Kata's own kernel and initrd.
    Katas,
    /// Kata's own kernel, and an image in the place of an initrd.
    KatasImage,
}

/// The snapshotters of containerd besides the one that all other tests have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snapshotter {
    /// Thin volumes of the kernel's device mapper, each a disk.
    Devmapper,
    /// A file for each, with a filesystem.
    Blockfile,
    /// A read-only EROFS for each layer of an image.
    Erofs,
}

impl Snapshotter {
    /// containerd's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Snapshotter::Devmapper => "devmapper",
            Snapshotter::Blockfile => "blockfile",
            Snapshotter::Erofs => "erofs",
        }
    }
}

/// A process of the host that belongs to containers of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// The program, symbolic links resolved.
    pub program: String,
    /// Its arguments, the program's name first.
    pub argv: Vec<String>,
}

impl Process {
    /// Whether it is QEMU, by its program's name.
    pub fn is_vmm(&self) -> bool {
        let name = self.program.rsplit('/').next().unwrap_or_default();
        name.starts_with("qemu-system-") || name == "qemu-kvm"
    }

    /// Whether it is virtiofsd, by its program's name.
    pub fn is_daemon(&self) -> bool {
        self.program.rsplit('/').next().unwrap_or_default().starts_with("virtiofsd")
    }

    /// Whether it is a shim, by its program's name.
    pub fn is_shim(&self) -> bool {
        self.program.rsplit('/').next().unwrap_or_default().starts_with("containerd-shim-")
    }
}

/// An event that containerd published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerdEvent {
    /// What happened: `/tasks/oom`.
    pub topic: String,
    /// All that was printed of it.
    pub line: String,
}

/// Containers of one runtime.
pub trait Containers {
    /// Which runtime runs them.
    fn runtime(&self) -> ContainerRuntime;
    /// What the record and the image say.
    fn claims(&self) -> &Claims;
    /// The profile under test.
    fn profile(&self) -> &Profile;
    /// Runs a container to its end with this standard input, and removes it.
    ///
    /// # Errors
    /// When it could not be created or started, or outlives the deadline; the runtime's own words are in the message.
    fn run(&self, container: &Container, input: &[u8]) -> Result<ContainerOutput, Stop>;
    /// Runs a container to its end in a sandbox of its own, starts the same one once more, and removes it.
    ///
    /// # Errors
    /// As for [`Containers::run`].
    fn run_twice(&self, container: &Container) -> Result<[ContainerOutput; 2], Stop>;
    /// Runs a container to its end in a sandbox of its own that boots these files.
    ///
    /// # Errors
    /// As for [`Containers::run`]; a skip where they are not to be had.
    fn run_with(&self, files: GuestFiles, container: &Container) -> Result<ContainerOutput, Stop>;
    /// Whether Kata's configuration has this key of its table `runtime` on, as the runtime reads it, drop-ins included.
    ///
    /// # Errors
    /// A skip where no Kata runs the containers; an error where its configuration cannot be read.
    fn is_set(&self, key: &str) -> Result<bool, Stop>;
    /// Runs Kata's own check of the host, without its looks at the network.
    ///
    /// # Errors
    /// A skip where it did not come along.
    fn run_katas_check(&self) -> Result<ContainerOutput, Stop>;
    /// Runs the probe from the imported image, root filesystem by containerd's snapshotter, in a sandbox of its own.
    ///
    /// # Errors
    /// As for [`Containers::run`].
    fn run_image(&self, command: &[&str]) -> Result<ContainerOutput, Stop>;
    /// Has a check made with another containerd, whose images run from this snapshotter; it goes with the check.
    ///
    /// # Errors
    /// As the check says; a skip where the release's containerd or the environment has no such snapshotter, a failure that
    /// blames the kernel where it lacks what that takes.
    fn by_snapshotter(&self, snapshotter: Snapshotter, check: &dyn Fn(&dyn Containers) -> Check) -> Check;
    /// Starts a container whose probe stays, and waits until the probe says that it is there.
    ///
    /// # Errors
    /// As for [`Containers::run`].
    fn start(&self, container: &Container) -> Result<Box<dyn Task>, Stop>;
    /// Another containerd, as kubelet speaks with it: by CRI, with this runtime's handler.
    ///
    /// No other test has it meanwhile, so that a body asks once.
    ///
    /// # Errors
    /// What its containerd speaks, where that is no CRI that Kubernetes speaks; a skip where the environment has no CNI
    /// plugins.
    fn cri(&self) -> Result<Box<dyn Cri + '_>, NoCri>;
    /// Docker's engine, as people start containers by it, with this runtime.
    ///
    /// No other test has it meanwhile, so that a body asks once.
    ///
    /// # Errors
    /// A skip where the environment has none, or one already runs there; where it does not start any Kata, or not the one
    /// that is given.
    fn docker(&self) -> Result<Box<dyn Docker + '_>, Stop>;
    /// A fresh folder of the host, for bind mounts; removed after the test.
    ///
    /// # Errors
    /// When it cannot be made.
    fn folder(&self) -> Result<PathBuf, Stop>;
    /// A fresh network namespace with one interface whose other end is the host's.
    ///
    /// # Errors
    /// A skip where the environment cannot provide it.
    fn network(&self) -> Result<Box<dyn Network>, Stop>;
    /// A file of the host as text.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read_host(&self, path: &str) -> Result<String, Stop>;
    /// The host's processes that belong to the container or sandbox of that id, shim and VMM included.
    fn processes(&self, id: &str) -> Vec<Process>;
    /// Kills a process of the host (SIGKILL).
    ///
    /// # Errors
    /// When it is not there.
    fn kill_process(&self, pid: u32) -> Result<(), Stop>;
    /// What there is on the host of containers other than the shared pod.
    fn traces(&self) -> BTreeSet<Trace>;
    /// The events that containerd published about the container of that id.
    fn events(&self, id: &str) -> Vec<ContainerdEvent>;
    /// What the profile passes to QEMU for a sandbox of that id, with `<placeholders>` for what differs from run to run.
    ///
    /// # Errors
    /// When no arguments can be made for the profile.
    fn golden_arguments(&self, id: &str) -> Result<Vec<String>, Stop>;
    /// Something that the reader of the report should know, whatever the outcome.
    fn note(&self, text: String);
}

/// A container that runs.
pub trait Task {
    /// Its id.
    fn id(&self) -> &str;
    /// Runs the probe once more inside it.
    ///
    /// # Errors
    /// When it could not be started or outlives the deadline.
    fn exec(&self, command: &[&str], input: &[u8]) -> Result<ContainerOutput, Stop>;
    /// Sends a signal, by its number, to the container's first process.
    ///
    /// # Errors
    /// When containerd refuses.
    fn signal(&self, number: i32) -> Result<(), Stop>;
    /// What it and what was executed in it use, as containerd tells.
    ///
    /// # Errors
    /// When containerd refuses, or tells it in no known form.
    fn usage(&self) -> Result<ContainerUsage, Stop>;
    /// Has all its processes stand still.
    ///
    /// # Errors
    /// When containerd refuses.
    fn pause(&self) -> Result<(), Stop>;
    /// Has them go on.
    ///
    /// # Errors
    /// When containerd refuses.
    fn resume(&self) -> Result<(), Stop>;
    /// What it has written to standard output so far.
    fn stdout(&self) -> String;
    /// Waits for its end and for its removal.
    ///
    /// # Errors
    /// When it outlives the deadline.
    fn wait(&mut self, deadline: Duration) -> Result<ContainerOutput, Stop>;
}

/// A network namespace, ready for a container; it goes when this is dropped.
pub trait Network {
    /// Its path.
    fn path(&self) -> PathBuf;
    /// The address inside.
    fn inside(&self) -> Ipv4Addr;
    /// The host's address on the same link.
    fn outside(&self) -> Ipv4Addr;
}
