//! The operations of container tests: containers of one runtime, and their processes and traces on the host.

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

/// The runtime of the containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerRuntime {
    /// runc, the control: it shows what the environment and containerd can do without Kata.
    Runc,
    /// Kata.
    Kata,
}

impl ContainerRuntime {
    /// Returns the word in ids and messages.
    pub fn name(self) -> &'static str {
        match self {
            ContainerRuntime::Runc => "runc",
            ContainerRuntime::Kata => "kata",
        }
    }
}

/// The files that a Kata guest boots if they are not the release's kernel and the initrd of the other tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestFiles {
    /// The release's kernel, and an initrd made by the distro's own tool.
    DistrosInitrd,
    /// Kata's own kernel and initrd.
    Katas,
    /// Kata's own kernel, and an image instead of an initrd.
    KatasImage,
}

/// containerd's snapshotters other than the one that all other tests use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snapshotter {
    /// Thin volumes of the kernel's device mapper: a disk for each snapshot.
    Devmapper,
    /// A file with a filesystem for each snapshot.
    Blockfile,
    /// A read-only EROFS for each layer of an image.
    Erofs,
}

impl Snapshotter {
    /// Returns the snapshotter's name in containerd.
    pub fn name(self) -> &'static str {
        match self {
            Snapshotter::Devmapper => "devmapper",
            Snapshotter::Blockfile => "blockfile",
            Snapshotter::Erofs => "erofs",
        }
    }
}

/// A process of the host that belongs to the containers of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// The program, symbolic links resolved.
    pub program: String,
    /// Its arguments, the program's name first.
    pub argv: Vec<String>,
}

impl Process {
    /// Checks whether the program's name is one of QEMU's.
    pub fn is_vmm(&self) -> bool {
        let name = self.program.rsplit('/').next().unwrap_or_default();
        name.starts_with("qemu-system-") || name == "qemu-kvm"
    }

    /// Checks whether the program's name is virtiofsd's.
    pub fn is_daemon(&self) -> bool {
        self.program.rsplit('/').next().unwrap_or_default().starts_with("virtiofsd")
    }

    /// Checks whether the program's name is a shim's.
    pub fn is_shim(&self) -> bool {
        self.program.rsplit('/').next().unwrap_or_default().starts_with("containerd-shim-")
    }
}

/// An event that containerd published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerdEvent {
    /// The event's topic: `/tasks/oom`.
    pub topic: String,
    /// The whole line that was printed for the event.
    pub line: String,
}

/// Containers of one runtime.
pub trait Containers {
    /// Returns the runtime.
    fn runtime(&self) -> ContainerRuntime;
    /// Returns the facts of the record and of the image.
    fn claims(&self) -> &Claims;
    /// Returns the profile under test.
    fn profile(&self) -> &Profile;
    /// Runs a container to its end with this standard input, and removes the container.
    ///
    /// # Errors
    /// When it could not be created or started, or outlives the deadline; the runtime's own words are in the message.
    fn run(&self, container: &Container, input: &[u8]) -> Result<ContainerOutput, Stop>;
    /// Runs a container to its end in a sandbox of its own, starts the same container once more, and removes it.
    ///
    /// # Errors
    /// As for [`Containers::run`].
    fn run_twice(&self, container: &Container) -> Result<[ContainerOutput; 2], Stop>;
    /// Runs a container to its end in a sandbox of its own that boots these files.
    ///
    /// # Errors
    /// As for [`Containers::run`]; a skip if the files are not available.
    fn run_with(&self, files: GuestFiles, container: &Container) -> Result<ContainerOutput, Stop>;
    /// Checks whether this key of the table `runtime` is on in Kata's configuration, as the runtime reads it, drop-ins
    /// included.
    ///
    /// # Errors
    /// A skip if the containers do not run under Kata; an error if Kata's configuration cannot be read.
    fn is_set(&self, key: &str) -> Result<bool, Stop>;
    /// Runs Kata's own check of the host, without its network checks.
    ///
    /// # Errors
    /// A skip if Kata's check program was not brought along.
    fn run_katas_check(&self) -> Result<ContainerOutput, Stop>;
    /// Runs the probe from the imported image in a sandbox of its own, with the root filesystem provided by
    /// containerd's snapshotter.
    ///
    /// # Errors
    /// As for [`Containers::run`].
    fn run_image(&self, command: &[&str]) -> Result<ContainerOutput, Stop>;
    /// Like [`Containers::run_image`], from an image that names [`IMAGE_USER`](crate::containers::IMAGE_USER).
    ///
    /// # Errors
    /// As for [`Containers::run`].
    fn run_image_with_user(&self, command: &[&str]) -> Result<ContainerOutput, Stop>;
    /// Runs a check with another containerd, whose images run from this snapshotter; that containerd ends with the
    /// check.
    ///
    /// # Errors
    /// The check's own; a skip if the release's containerd or the environment has no such snapshotter; a failure that
    /// blames the kernel if the kernel lacks what the snapshotter needs.
    fn by_snapshotter(&self, snapshotter: Snapshotter, check: &dyn Fn(&dyn Containers) -> Check) -> Check;
    /// Starts a container whose probe keeps running, and waits until the probe reports that it is up.
    ///
    /// # Errors
    /// As for [`Containers::run`].
    fn start(&self, container: &Container) -> Result<Box<dyn Task>, Stop>;
    /// Returns another containerd, driven as kubelet does: by CRI, with this runtime's handler.
    ///
    /// No other test may use it at the same time, so a body must call this only once.
    ///
    /// # Errors
    /// The CRI version, if Kubernetes does not use that version; a skip if the environment has no CNI plugins.
    fn cri(&self) -> Result<Box<dyn Cri + '_>, NoCri>;
    /// Returns Docker's engine with this runtime, driven by Docker's client.
    ///
    /// No other test may use it at the same time, so a body must call this only once.
    ///
    /// # Errors
    /// A skip if the environment has no Docker, if an engine already runs there, or if the engine cannot start Kata or
    /// the given Kata.
    fn docker(&self) -> Result<Box<dyn Docker + '_>, Stop>;
    /// Creates an empty directory on the host, for bind mounts; it is removed after the test.
    ///
    /// # Errors
    /// When the directory cannot be created.
    fn folder(&self) -> Result<PathBuf, Stop>;
    /// Creates a network namespace with one interface whose other end is on the host.
    ///
    /// # Errors
    /// A skip where the environment cannot provide it.
    fn network(&self) -> Result<Box<dyn NetworkNamespace>, Stop>;
    /// Reads a file of the host as text.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read_host(&self, path: &str) -> Result<String, Stop>;
    /// Returns the host's processes that belong to the container or sandbox with this id, shim and VMM included.
    fn processes(&self, id: &str) -> Vec<Process>;
    /// Kills a process of the host (SIGKILL).
    ///
    /// # Errors
    /// When the process does not exist.
    fn kill_process(&self, pid: u32) -> Result<(), Stop>;
    /// Returns the traces on the host of containers other than the shared pod.
    fn traces(&self) -> BTreeSet<Trace>;
    /// Returns the events that containerd published about the container with this id.
    fn events(&self, id: &str) -> Vec<ContainerdEvent>;
    /// Returns the arguments that the profile passes to QEMU for the sandbox with this id, with `<placeholders>` for
    /// values that vary between runs.
    ///
    /// # Errors
    /// When no arguments can be made for the profile.
    fn golden_arguments(&self, id: &str) -> Result<Vec<String>, Stop>;
    /// Adds a note for the reader of the report, whatever the outcome.
    fn note(&self, text: String);
}

/// A running container.
pub trait Task {
    /// Returns the container's id.
    fn id(&self) -> &str;
    /// Runs the probe once more inside the container.
    ///
    /// # Errors
    /// When it could not be started or outlives the deadline.
    fn exec(&self, command: &[&str], input: &[u8]) -> Result<ContainerOutput, Stop>;
    /// Sends a signal, by its number, to the container's first process.
    ///
    /// # Errors
    /// When containerd refuses.
    fn signal(&self, number: i32) -> Result<(), Stop>;
    /// Returns the resources that the container's processes use, as containerd reports them.
    ///
    /// # Errors
    /// When containerd refuses, or reports them in an unknown form.
    fn usage(&self) -> Result<ContainerUsage, Stop>;
    /// Pauses all processes of the container.
    ///
    /// # Errors
    /// When containerd refuses.
    fn pause(&self) -> Result<(), Stop>;
    /// Resumes the paused processes.
    ///
    /// # Errors
    /// When containerd refuses.
    fn resume(&self) -> Result<(), Stop>;
    /// Returns the container's standard output so far.
    fn stdout(&self) -> String;
    /// Waits until the container has ended and is removed.
    ///
    /// # Errors
    /// When the container outlives the deadline.
    fn wait(&mut self, deadline: Duration) -> Result<ContainerOutput, Stop>;
}

/// A network namespace, ready for a container; dropping it removes the namespace.
pub trait NetworkNamespace {
    /// Returns the namespace's path.
    fn path(&self) -> PathBuf;
    /// Returns the address inside the namespace.
    fn inside(&self) -> Ipv4Addr;
    /// Returns the host's address on the same link.
    fn outside(&self) -> Ipv4Addr;
}
