//! What a test's body may ask of the environment it runs in, of a guest it talks to, and of containers.
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
    Container, ContainerLimits, ContainerOutput, ContainerUsage, Disk, DiskFacts, FileFacts, Mount, PROBE, ProbeFacts,
    Sandbox,
};
pub use containers::{ContainerRuntime, ContainerdEvent, Containers, GuestFiles, Network, Process, Snapshotter, Task};
pub use docker::{Docker, DockerContainer, DockerNetwork, DockerProcess};
pub use model::environment::Environment;
pub use other_machine::OtherMachine;
pub use pods::{
    ContainerEnd, Cri, Ephemeral, NoCri, Pod, PodContainer, PodLimits, PodProcess, PodUsage, PodWanted, ProfileWanted,
    TerminalSize,
};
pub use question::{Answer, Question, Traffic};
pub use setting::{HARDWARE_ADDRESS, SMALL_MIB, Setting};
pub use site::{DaemonSignal, GuestSide, Pair, Site};
pub use trace::Trace;

/// How a finished command ended.
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
    /// Whether it exited with 0.
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Both streams' last lines, for a message.
    pub fn tail(&self) -> String {
        let text = format!("{}\n{}", self.stdout.trim_end(), self.stderr.trim_end());
        let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(6)..].join(" | ")
    }
}

/// Runs a program to its end, with these variables besides its own: by its path and arguments, at most that long.
///
/// `Err` only when it outlived its time or could not be waited for.
pub type RunCommand = fn(argv: &[&str], variables: &[(&str, &str)], deadline: Duration) -> Result<CommandOutput, Stop>;

/// The environment: a place where the distro's programs run.
pub trait EnvironmentSide {
    /// What the record and the image say.
    fn claims(&self) -> &Claims;
    /// The profile under test.
    fn profile(&self) -> &Profile;
    /// Runs one of the distro's programs to its end; `Err` only when it could not be started or outlived `deadline`.
    fn run(&self, argv: &[&str], deadline: Duration) -> Result<CommandOutput, Stop>;
    /// Reads a file of the environment, capped.
    fn read(&self, path: &str) -> Result<String, Stop>;
    /// Starts the profile's virtiofsd as its runtime would, until it is ready or ended.
    fn start_virtiofsd(&self) -> Result<Box<dyn Daemon>, Stop>;
    /// Starts QEMU with the profile's virtio-fs arguments against a socket of ours in the daemon's place.
    /// `Ok` once QEMU has spoken vhost-user on it; else QEMU's own words.
    fn start_qemu_against_a_silent_daemon(&self) -> Result<(), Stop>;
    /// Boots a guest of the profile without a share, to the point where its agent answers.
    fn boot(&self) -> Result<Box<dyn Machine>, Stop>;
    /// Boots a guest of the profile by a setting that is not the shipped one; one that takes over a saved state is started,
    /// and waits for it.
    fn boot_with(&self, setting: Setting) -> Result<Box<dyn Machine>, Stop>;
    /// Boots a guest of the profile with its vhost-vsock device, which containers without KVM do not have.
    fn boot_with_vsock(&self) -> Result<Box<dyn Machine>, Stop>;
    /// A vsock connection from the host's side to a guest of the environment's. What the kernel answers has an errno;
    /// without one nobody has asked it.
    fn dial(&self, cid: u32, port: u32) -> std::io::Result<OwnedFd>;
    /// A vsock listener on the host's side, on one of the tests' ports.
    fn listen(&self, port: u32) -> std::io::Result<OwnedFd>;
    /// Boots a guest of the profile with its vhost-net interface on a tap of ours.
    fn boot_with_network(&self) -> Result<Box<dyn Machine>, Stop>;
    /// Boots a guest of the profile with its network interface, on a tap whose other end sends test packets back; where the
    /// environment has no taps, QEMU connects the interface to `peer`.
    fn boot_with_peer(&self, peer: SocketAddr) -> Result<Box<dyn Machine>, Stop>;
    /// Boots a guest of the profile with virtio-fs.
    fn boot_with_virtio_fs(&self) -> Result<Box<dyn Machine>, Stop>;
    /// Boots a guest of the profile with an ext4 filesystem in a file of the environment's as its disk, which it mounts.
    fn boot_with_disk(&self, file: &Path) -> Result<Box<dyn Machine>, Stop>;
    /// Boots a guest of the profile with one PCIe root port.
    fn boot_with_a_root_port(&self) -> Result<Box<dyn Machine>, Stop>;
    /// Boots a guest of the profile by a VMM besides QEMU, as the profile's runtime drives it, with a share that it mounts or
    /// without one.
    fn boot_by(&self, vmm: Component, share: Option<Share>) -> Result<Box<dyn OtherMachine>, Stop>;
    /// Opens a tap whose other end sends test packets back, and vhost-net for it.
    fn tap(&self) -> Result<Tap, Stop>;
    /// Runs one vCPU of a machine of its own through KVM, and gives the API's version and how the vCPU came back;
    /// the error names the call of KVM's that failed.
    fn run_a_vcpu(&self) -> Result<VcpuRun, VcpuError>;
    /// Something that the reader of the report should know, whatever the outcome.
    fn note(&self, text: String);
}

/// A tap, opened as Kata's runtimes open it before they hand it to QEMU.
#[derive(Debug)]
pub struct Tap {
    /// The interface's one queue; it goes away with its descriptors.
    pub tap: File,
    /// `/dev/vhost-net`.
    pub vhost: File,
}

/// Why KVM runs no vCPU.
#[derive(Debug, thiserror::Error)]
pub enum VcpuError {
    /// A call failed.
    #[error("{call}: {source}")]
    Call {
        /// `KVM_CREATE_VM`, or what was done.
        call: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The vCPU ran, and did something else than to halt.
    #[error("a vCPU did not come to its end: {0}")]
    Unfinished(String),
}

/// What KVM did with one vCPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VcpuRun {
    /// KVM_GET_API_VERSION.
    pub api: i32,
    /// How the vCPU came back, in order.
    pub exits: Vec<VcpuExit>,
}

impl VcpuRun {
    /// Whether the vCPU came to the program's end.
    pub fn has_halted(&self) -> bool {
        self.exits.last() == Some(&VcpuExit::Halted)
    }

    /// How the vCPU came back, for a message.
    pub fn seen(&self) -> String {
        let words: Vec<String> = self.exits.iter().map(VcpuExit::to_string).collect();
        words.join(", ")
    }
}

/// How a vCPU came back from KVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VcpuExit {
    /// It wrote this: to port 0xe9 on x86_64, to address 0 on Arm.
    Wrote(u8),
    /// It halted, or on Arm asked to be switched off.
    Halted,
    /// By an exit that the program does not ask for, in KVM's words.
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
    /// What it has written to standard error and to syslog so far.
    fn log(&self) -> String;
    /// Waits until it has ended; `None` if it outlives `deadline`.
    fn wait(&mut self, deadline: Duration) -> Option<String>;
    /// The last lines of its log, for a message.
    fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match lines.len() {
            0 => "it printed nothing".to_owned(),
            count => lines[count.saturating_sub(8)..].join(" | "),
        }
    }
}

/// A running guest, seen from its host.
pub trait Machine {
    /// Asks the guest's agent.
    fn ask(&mut self, question: Question) -> Result<Answer, Stop>;
    /// Has the guest do something under its share's mount point.
    fn act(&mut self, action: Action) -> Result<Reply, Stop>;
    /// Executes a QMP command.
    fn qmp(&mut self, command: &str, arguments: serde_json::Value) -> Result<serde_json::Value, Stop>;
    /// Executes a QMP command that takes a descriptor, which is this file's.
    fn qmp_with(&mut self, command: &str, arguments: serde_json::Value, file: &File)
    -> Result<serde_json::Value, Stop>;
    /// Waits for a QMP event of that name and takes it; `None` if none comes within `deadline`.
    fn wait_for_event(&mut self, name: &str, deadline: Duration) -> Result<Option<serde_json::Value>, Stop>;
    /// Loads the modules that the guest's kernel has for a use.
    fn load_modules(&mut self, used_for: ModuleUse) -> Result<(), Stop>;
    /// The release of the kernel that it was given, `6.12.48+deb13-amd64`.
    fn kernel(&self) -> &str;
    /// How long it took to its agent's hello.
    fn boot_time(&self) -> Duration;
    /// Whether KVM runs it.
    fn has_kvm(&self) -> bool;
    /// Whether it may be slow: its processor is emulated, or it is nested.
    fn is_emulated(&self) -> bool;
    /// How many CPUs it may grow to by its arguments.
    fn max_vcpus(&self) -> u32;
    /// The profile whose arguments it was started with.
    fn profile(&self) -> &Profile;
    /// What came out of Kata's console (`hvc0`) so far.
    fn console(&self) -> String;
    /// What came out of the serial log so far.
    fn serial(&self) -> String;
    /// Waits for the end of the guest and says how it ended; where guests are slow the deadline is as much longer.
    fn wait_for_end(&mut self, deadline: Duration) -> Result<Ending, Stop>;
    /// How long the guest may be silent before it counts as hung: by where it runs.
    fn silence(&self) -> Duration;
    /// Whether the guest's agent has been heard within the last `within`.
    fn heard(&self, within: Duration) -> bool;
    /// QEMU's process id.
    fn vmm_pid(&self) -> u32;
    /// The guest's context id, if it has a vsock device.
    fn guest_cid(&self) -> Option<u32>;
    /// Kills QEMU (SIGKILL).
    fn kill_vmm(&mut self) -> Result<(), Stop>;
    /// Waits for virtiofsd to end by itself after QEMU has.
    fn wait_for_daemon(&mut self, deadline: Duration) -> Result<(), Stop>;
}
