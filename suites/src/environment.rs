//! The operations that a test's body may perform on its environment, on a guest, and on containers.
//!
//! The agent implements these traits; bodies stay free of processes, sockets and argument lists.

mod action;
mod container;
mod containers;
mod docker;
pub mod firmware;
pub mod hugepages;
mod other_machine;
mod pods;
mod question;
mod setting;
mod site;
mod trace;

use crate::check::Stop;
use crate::outcome::Component;
use crate::share::Share;
use model::kernel::KernelRelease;
use model::profile::{ModuleUse, Profile};
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

pub use crate::claims::{Claims, ElfKernel, ModuleSet};
pub use crate::effort::Effort;
pub use crate::ending::Ending;
pub use action::{Action, Bytes, FileKind, Reply, Status};
pub use container::{
    Container, ContainerDisk, ContainerLimits, ContainerMount, ContainerOutput, ContainerSandbox, ContainerUsage,
    DiskFacts, FileFacts, IMAGE_USER, PROBE, ProbeFacts,
};
pub use containers::{
    ContainerRuntime, ContainerdEvent, Containers, GuestFiles, NetworkNamespace, Process, Snapshotter, Task,
};
pub use docker::{Docker, DockerContainer, DockerNetwork, DockerProcess};
pub use model::environment::Environment;
pub use other_machine::OtherMachine;
pub(crate) use pods::named_containerd;
pub use pods::{
    ContainerEnd, Cri, Ephemeral, NoCri, Pod, PodContainer, PodLimits, PodProcess, PodUsage, PodWanted, ProfileWanted,
    TerminalSize,
};
pub use question::{Answer, Question, Traffic};
pub use setting::{HARDWARE_ADDRESS, SMALL_MIB, Setting};
pub use site::{DaemonSignal, GuestSide, Pair, Site};
pub use trace::Trace;

/// The result of a finished command.
#[derive(Debug, Clone)]
pub struct CommandOutput {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output, capped.
    pub stdout: String,
    /// Standard error, capped.
    pub stderr: String,
}

impl CommandOutput {
    /// Checks whether the command exited with 0.
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Returns the last lines of both streams, for a message.
    pub fn tail(&self) -> String {
        let text = format!("{}\n{}", self.stdout.trim_end(), self.stderr.trim_end());
        let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(6)..].join(" | ")
    }
}

/// Runs the program at a path with arguments and additional environment variables to its end, for at most `deadline`.
///
/// `Err` only if the program outlived the deadline or could not be waited for.
pub type RunCommand = fn(argv: &[&str], variables: &[(&str, &str)], deadline: Duration) -> Result<CommandOutput, Stop>;

/// The environment: a place where the distro's programs run.
pub trait EnvironmentSide {
    /// Returns the facts of the record and of the image.
    fn claims(&self) -> &Claims;
    /// Returns the profile under test.
    fn profile(&self) -> &Profile;
    /// Runs one of the distro's programs to its end; `Err` only when it could not be started or outlived `deadline`.
    fn run(&self, argv: &[&str], deadline: Duration) -> Result<CommandOutput, Stop>;
    /// Reads a file of the environment, capped.
    fn read(&self, path: &str) -> Result<String, Stop>;
    /// Starts the profile's virtiofsd as its runtime would, until it is ready or ended.
    fn start_virtiofsd(&self) -> Result<Box<dyn Daemon>, Stop>;
    /// Starts QEMU with the profile's virtio-fs arguments against a socket of the harness's in the daemon's place. `Ok`
    /// once QEMU has spoken vhost-user on the socket; else QEMU's own words.
    fn start_qemu_against_a_silent_daemon(&self) -> Result<(), Stop>;
    /// Serves a file as a disk over vhost-user by the release's `qemu-storage-daemon`, in the place of SPDK. Skips if the
    /// release has no such program, or one that cannot do that.
    fn serve_disk(&self, file: &Path) -> Result<Box<dyn DiskServer>, Stop>;
    /// Boots a guest of the profile without a share, to the point where its agent answers.
    fn boot(&self) -> Result<Box<dyn Machine>, Stop>;
    /// Boots a guest of the profile with a setting other than the shipped one. A guest that takes over a saved state is
    /// started, and waits for that state.
    fn boot_with(&self, setting: Setting) -> Result<Box<dyn Machine>, Stop>;
    /// Boots a guest of the profile with its vhost-vsock device, which containers without KVM do not have.
    fn boot_with_vsock(&self) -> Result<Box<dyn Machine>, Stop>;
    /// Opens a vsock connection from the host's side to a guest of the environment's. An error with an errno comes from
    /// the kernel; one without an errno means that the kernel was not asked.
    fn dial(&self, cid: u32, port: u32) -> std::io::Result<OwnedFd>;
    /// Opens a vsock listener on the host's side, on one of the tests' ports.
    fn listen(&self, port: u32) -> std::io::Result<OwnedFd>;
    /// Boots a guest of the profile with its vhost-net interface on a tap of the harness's.
    fn boot_with_network(&self) -> Result<Box<dyn Machine>, Stop>;
    /// Boots a guest of the profile with its network interface on a tap whose other end sends test packets back; if the
    /// environment has no taps, QEMU connects the interface to `peer`.
    fn boot_with_peer(&self, peer: SocketAddr) -> Result<Box<dyn Machine>, Stop>;
    /// Boots a guest of the profile with virtio-fs.
    fn boot_with_virtio_fs(&self) -> Result<Box<dyn Machine>, Stop>;
    /// Boots a guest of the profile that mounts, as its disk, an ext4 filesystem in a file of the environment's.
    fn boot_with_disk(&self, file: &Path) -> Result<Box<dyn Machine>, Stop>;
    /// Boots a guest of the profile with one PCIe root port.
    fn boot_with_a_root_port(&self) -> Result<Box<dyn Machine>, Stop>;
    /// Boots a guest of the profile on a VMM other than QEMU, driven as by the profile's runtime, with a share that the
    /// guest mounts or without one.
    fn boot_by(&self, vmm: Component, share: Option<Share>) -> Result<Box<dyn OtherMachine>, Stop>;
    /// Opens a tap whose other end sends test packets back, and vhost-net for it.
    fn tap(&self) -> Result<Tap, Stop>;
    /// Runs one vCPU of a bare machine through KVM; returns the API's version and the vCPU's exits. The error names the
    /// KVM call that failed.
    fn run_a_vcpu(&self) -> Result<VcpuRun, VcpuError>;
    /// Adds a note for the reader of the report, whatever the outcome.
    fn note(&self, text: String);
}

/// A tap, opened as Kata's runtimes open it before they hand it to QEMU.
#[derive(Debug)]
pub struct Tap {
    /// The interface's only queue; the interface disappears when this descriptor is closed.
    pub tap: File,
    /// `/dev/vhost-net`.
    pub vhost: File,
}

/// The reason why KVM runs no vCPU.
#[derive(Debug, thiserror::Error)]
pub enum VcpuError {
    /// A call failed.
    #[error("{call}: {source}")]
    Call {
        /// `KVM_CREATE_VM`, or a description of the step.
        call: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The vCPU ran, but did not halt.
    #[error("a vCPU did not come to its end: {0}")]
    Unfinished(String),
}

/// The result of running one vCPU under KVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VcpuRun {
    /// The result of KVM_GET_API_VERSION.
    pub api: i32,
    /// The vCPU's exits, in order.
    pub exits: Vec<VcpuExit>,
}

impl VcpuRun {
    /// Checks whether the vCPU reached the program's end.
    pub fn has_halted(&self) -> bool {
        self.exits.last() == Some(&VcpuExit::Halted)
    }

    /// Lists the vCPU's exits, for a message.
    pub fn seen(&self) -> String {
        let words: Vec<String> = self.exits.iter().map(VcpuExit::to_string).collect();
        words.join(", ")
    }
}

/// The reason for which a vCPU returned from KVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VcpuExit {
    /// The program wrote this byte: to port 0xe9 on x86_64, to address 0 on Arm.
    Wrote(u8),
    /// The vCPU halted, or on Arm asked to be switched off.
    Halted,
    /// An exit that the program does not ask for, in KVM's words.
    Other(String),
}

impl std::fmt::Display for VcpuExit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            VcpuExit::Wrote(byte) => write!(f, "out 0x{byte:02x}"),
            VcpuExit::Halted => f.write_str("hlt"),
            VcpuExit::Other(exit) => f.write_str(exit),
        }
    }
}

/// A running virtiofsd.
pub trait Daemon {
    /// Returns everything that the daemon has written to standard error and to syslog so far.
    fn log(&self) -> String;
    /// Waits until the daemon has ended and describes its end; `None` if the daemon outlives `deadline`.
    fn wait(&mut self, deadline: Duration) -> Option<String>;
    /// Returns the time that the daemon may take to get ready, which depends on where it runs.
    fn deadline(&self) -> Duration;
    /// Checks whether the daemon has its socket.
    fn listens(&self) -> bool;
    /// Returns the last lines of the daemon's log, for a message.
    fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match lines.len() {
            0 => "it printed nothing".to_owned(),
            count => lines[count.saturating_sub(8)..].join(" | "),
        }
    }
}

/// A running process that serves a disk over vhost-user.
pub trait DiskServer {
    /// Returns the socket on which it waits for QEMU.
    fn socket(&self) -> &Path;
    /// Describes how the process ended, with its last words; `None` if it outlives `deadline`.
    fn ended(&mut self, deadline: Duration) -> Option<String>;
}

/// A running guest, seen from its host.
pub trait Machine {
    /// Asks the guest's agent.
    fn ask(&mut self, question: Question) -> Result<Answer, Stop>;
    /// Has the guest do something under its share's mount point.
    fn act(&mut self, action: Action) -> Result<Reply, Stop>;
    /// Executes a QMP command.
    fn qmp(&mut self, command: &str, arguments: serde_json::Value) -> Result<serde_json::Value, Stop>;
    /// Executes a QMP command that takes a descriptor, and passes this file's.
    fn qmp_with(&mut self, command: &str, arguments: serde_json::Value, file: &File)
    -> Result<serde_json::Value, Stop>;
    /// Waits for a QMP event of this name and consumes it; `None` if none arrives within `deadline`.
    fn wait_for_event(&mut self, name: &str, deadline: Duration) -> Result<Option<serde_json::Value>, Stop>;
    /// Loads the kernel modules of a use in the guest.
    fn load_modules(&mut self, used_for: ModuleUse) -> Result<(), Stop>;
    /// Returns the release of the kernel that the guest was given, `6.12.48+deb13-amd64`.
    fn kernel(&self) -> &KernelRelease;
    /// Returns the time from the start to the agent's hello.
    fn boot_time(&self) -> Duration;
    /// Checks whether the guest runs under KVM.
    fn has_kvm(&self) -> bool;
    /// Checks whether the guest may be slow: its processor is emulated, or the guest is nested.
    fn is_emulated(&self) -> bool;
    /// Returns the number of CPUs that the guest's arguments allow it to grow to.
    fn max_vcpus(&self) -> u32;
    /// Returns the profile whose arguments the guest was started with.
    fn profile(&self) -> &Profile;
    /// Returns the output of Kata's console (`hvc0`) so far.
    fn console(&self) -> String;
    /// Returns the output of the serial console so far.
    fn serial(&self) -> String;
    /// Waits until the guest ends and returns how; the deadline is extended if guests are slow.
    fn wait_for_end(&mut self, deadline: Duration) -> Result<Ending, Stop>;
    /// Returns how long the guest may be silent before it counts as hung; this depends on where the guest runs.
    fn silence(&self) -> Duration;
    /// Checks whether the guest's agent has been heard within this time.
    fn heard(&self, within: Duration) -> bool {
        self.silent_for().is_some_and(|silent| silent < within)
    }
    /// Returns the time since the guest's agent was last heard; `None` without an agent.
    fn silent_for(&self) -> Option<Duration>;
    /// Returns QEMU's process id.
    fn vmm_pid(&self) -> u32;
    /// Returns the guest's context id, if the guest has a vsock device.
    fn guest_cid(&self) -> Option<u32>;
    /// Kills QEMU (SIGKILL).
    fn kill_vmm(&mut self) -> Result<(), Stop>;
    /// Waits for virtiofsd to end by itself after QEMU has ended; longer for a guest that is emulated twice over, as
    /// its other deadlines are.
    fn wait_for_daemon(&mut self, deadline: Duration) -> Result<(), Stop>;
}
