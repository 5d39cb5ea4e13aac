//! A container as a test describes it, and the facts that its probe reports.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The path of the probe, the only program in the test's image.
pub const PROBE: &str = "/probe";
/// The user and the group of the second of the tests' images; the first names none.
pub const IMAGE_USER: (u32, u32) = (1000, 1001);

/// A container to run: a process of the probe, with the options of an OCI runtime that the tests use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The command for the probe: `["exit", "7"]`.
    pub command: Vec<String>,
    /// Environment variables in addition to `PATH`.
    pub environment: Vec<(String, String)>,
    /// The working directory; created in the root filesystem if it does not exist.
    pub folder: String,
    /// User id.
    pub user: u32,
    /// Group id.
    pub group: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
    /// All capabilities of the container; `None` means containerd's defaults.
    pub capabilities: Option<Vec<String>>,
    /// Whether its processes may gain privileges by executing programs.
    pub gains_privileges: bool,
    /// The host name; without effect in a container of a pod, which has the host name of its pod.
    pub hostname: Option<String>,
    /// Whether the root filesystem is read-only.
    pub read_only: bool,
    /// Mounts in addition to the kernel's filesystems.
    pub mounts: Vec<ContainerMount>,
    /// Disks of the host that are passed through to the container.
    pub disks: Vec<ContainerDisk>,
    /// Limits of its control group.
    pub limits: ContainerLimits,
    /// System calls that its seccomp filter answers with EPERM.
    pub denied: Vec<String>,
    /// The limit on open files of each process (`RLIMIT_NOFILE`), if any.
    pub open_files: Option<u32>,
    /// Sysctls of its namespaces: `kernel.shm_rmid_forced`, `1`.
    pub sysctls: Vec<(String, String)>,
    /// Whether the container shares the PID namespace of its pod's sandbox.
    pub shares_processes: bool,
    /// A network namespace made beforehand.
    pub netns: Option<PathBuf>,
    /// The sandbox that the container runs in.
    pub sandbox: ContainerSandbox,
}

/// The virtual machine (Kata) or namespaces (runc) that a container runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerSandbox {
    /// The pod that the tests share.
    Shared,
    /// A sandbox of the container's own, as `ctr run` and `docker run` start it.
    Alone,
    /// The container is the sandbox of a new pod, as CRI's pause container is.
    Pod,
    /// The pod of the sandbox with this id.
    In(String),
}

/// A mount of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerMount {
    /// A directory of the host's.
    Bind {
        /// The path on the host.
        from: PathBuf,
        /// The path in the container.
        to: String,
        /// Whether the mount is read-only in the container.
        read_only: bool,
    },
    /// A tmpfs.
    Tmpfs {
        /// The path in the container.
        to: String,
        /// The size of the tmpfs, KiB.
        kib: u32,
    },
}

/// A disk of the host's that a container gets without a filesystem of the runtime's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerDisk {
    /// Its major number on the host.
    pub major: u32,
    /// Its minor number on the host.
    pub minor: u32,
    /// The path of its node in the container, `/dev/xda`.
    pub to: String,
}

/// Limits of a container; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContainerLimits {
    /// Processes and threads.
    pub pids: Option<u32>,
    /// Memory, bytes; no swap in addition to it.
    pub memory: Option<u64>,
    /// CPU time, thousandths of one CPU.
    pub cpu_millis: Option<u32>,
    /// Huge pages of 2 MiB, in bytes.
    pub huge_pages: Option<u64>,
}

impl Container {
    /// Describes a container of root in the shared pod that runs the probe with these words.
    pub fn new(command: &[&str]) -> Container {
        Container {
            command: command.iter().map(|w| (*w).to_owned()).collect(),
            environment: Vec::new(),
            folder: "/".to_owned(),
            user: 0,
            group: 0,
            groups: Vec::new(),
            capabilities: None,
            gains_privileges: false,
            hostname: None,
            read_only: false,
            mounts: Vec::new(),
            disks: Vec::new(),
            limits: ContainerLimits::default(),
            denied: Vec::new(),
            open_files: None,
            sysctls: Vec::new(),
            shares_processes: false,
            netns: None,
            sandbox: ContainerSandbox::Shared,
        }
    }

    /// Describes the sandbox of a new pod, which runs until it is killed.
    pub fn pod() -> Container {
        Container { sandbox: ContainerSandbox::Pod, ..Container::new(&["stay"]) }
    }

    /// Moves the container to another sandbox.
    #[must_use]
    pub fn within(self, sandbox: ContainerSandbox) -> Container {
        Container { sandbox, ..self }
    }

    /// Adds a mount to the container.
    #[must_use]
    pub fn with(mut self, mount: ContainerMount) -> Container {
        self.mounts.push(mount);
        self
    }
}

/// The exit code and output of a container's process, or of one executed in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerOutput {
    /// The exit code; 128 plus the signal's number if a signal ended the process.
    pub code: i32,
    /// Standard output, capped at 16 MiB.
    pub stdout: Vec<u8>,
    /// Standard error, capped at 16 MiB.
    pub stderr: Vec<u8>,
}

impl ContainerOutput {
    /// Returns standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }

    /// Returns the symbolic name of the error with which the probe's system call was refused: `EROFS`.
    pub fn refusal(&self) -> Option<String> {
        let text = self.text();
        let (name, _) = text.lines().last()?.split_once(": ")?;
        (self.code != 0).then(|| name.to_owned())
    }

    /// Returns the exit code and the last lines of both streams, for a message.
    pub fn summary(&self) -> String {
        let text = format!("{}\n{}", self.text(), String::from_utf8_lossy(&self.stderr));
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        let last: Vec<String> =
            lines[lines.len().saturating_sub(4)..].iter().map(|line| line.chars().take(400).collect()).collect();
        format!("exit code {}, {}", self.code, if last.is_empty() { "no output".to_owned() } else { last.join(" | ") })
    }
}

/// The resources that a container has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerUsage {
    /// CPU time so far: nanoseconds with cgroup v1, microseconds with v2.
    pub cpu: u64,
    /// Current memory, bytes.
    pub memory: u64,
}

/// Facts that the probe sees about itself and the machine around it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeFacts {
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// The working directory.
    pub folder: String,
    /// Effective user id.
    pub user: u32,
    /// Effective group id.
    pub group: u32,
    /// Supplementary group ids, sorted.
    pub groups: Vec<u32>,
    /// The host name.
    pub hostname: String,
    /// The running kernel's release.
    pub kernel: String,
    /// The running kernel's boot id.
    pub boot_id: String,
    /// The probe's process id in its own namespace.
    pub pid: u32,
    /// `Seccomp` of `/proc/self/status`: `2` is a filter.
    pub seccomp: String,
    /// `pids.max` of its control group, if visible.
    pub pids_max: Option<String>,
    /// `memory.max` or `memory.limit_in_bytes`.
    pub memory_max: Option<String>,
    /// `cpu.max`, or the quota and period of cgroup v1 in the same form.
    pub cpu_max: Option<String>,
    /// Names of the network interfaces, sorted.
    pub interfaces: Vec<String>,
}

/// Facts that the probe reports about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// Permission bits.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// The type of the filesystem that the file is on: `ext4`, `virtiofs`, `tmpfs`.
    pub filesystem: String,
    /// The size of that filesystem, KiB.
    pub filesystem_kib: u64,
}

/// Facts that the probe reports about a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFacts {
    /// Bytes.
    pub size: u64,
    /// The device's path in sysfs of the kernel that the container sees: `/sys/devices/virtual/block/loop0`.
    pub device: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_short_whatever_was_printed() {
        let flood = ContainerOutput { code: 3, stdout: vec![b'x'; 1 << 20], stderr: b"\n\nlast words\n".to_vec() };
        let summary = flood.summary();
        assert!(summary.starts_with("exit code 3, xxx") && summary.ends_with("| last words"), "{summary}");
        assert!(summary.len() < 600, "{}", summary.len());
        assert_eq!(ContainerOutput { code: 0, stdout: vec![], stderr: vec![] }.summary(), "exit code 0, no output");
    }

    #[test]
    fn a_refusal_is_the_errno_name_if_there_is_one() {
        let finished = |code, text: &str| ContainerOutput { code, stdout: text.as_bytes().to_vec(), stderr: vec![] };
        let refused = finished(1, "EROFS: Read-only file system (os error 30)\n");
        assert_eq!(refused.refusal().as_deref(), Some("EROFS"));
        assert_eq!(finished(0, "EROFS: as a file's text").refusal(), None);
        assert_eq!(finished(137, "").refusal(), None);
    }
}
