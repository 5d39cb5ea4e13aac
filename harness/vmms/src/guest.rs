//! Description of a guest, and the plan to start it: the command line and the requests.

use crate::deviation::OtherVmmDeviation;
use crate::http::Request;
use serde_json::Value;

/// The vsock port on which the harness's agent in the guest listens. Kata's own agent uses 1024, which stays free for
/// tests.
pub const LINE_PORT: u32 = 0x4b51;
/// The word of the kernel's command line that names this port. The kernel ignores words with a dot.
pub const LINE: &str = "kata_qualify.vsock=";
/// The word that names the modules to load before the agent listens.
pub const LOAD: &str = "kata_qualify.load=";
/// The guest's context id. It is the same for every guest, because no vhost driver of the host is involved:
/// `defaultGuestVSockCID` in src/runtime/virtcontainers/fc.go@3.32.0, `DEFAULT_VSOCK_CID` in
/// src/runtime-rs/crates/hypervisor/ch-config/src/convert.rs@4.1.0.
pub const GUEST_CID: u32 = 3;

/// Resources of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// The VMM's program.
    pub program: String,
    /// Number of CPUs at start.
    pub vcpus: u32,
    /// Maximum number of CPUs: the host's, as shipped.
    pub max_vcpus: u32,
    /// The guest's memory, MiB.
    pub memory_mib: u64,
    /// The host's memory, up to which the guest may grow, MiB.
    pub host_memory_mib: u64,
    /// The kernel, as an ELF file.
    pub vmlinux: String,
    /// The harness's initramfs.
    pub initramfs: String,
    /// Modules that the guest's agent loads before it waits on vsock.
    pub modules: Vec<String>,
    /// Whether the kernel logs only warnings and worse.
    pub terse: bool,
    /// The socket of the VMM's API.
    pub api: String,
    /// The file that describes Firecracker's machine, under the Go runtime.
    pub config: String,
    /// The Unix socket of the guest's vsock.
    pub vsock: String,
    /// The socket of virtiofsd, if the guest has a share.
    pub share: Option<String>,
    /// Empty files, one for each of Firecracker's waiting drives.
    pub waiting: Vec<String>,
}

impl Guest {
    /// Returns the words of the kernel's command line for the agent.
    pub fn line(&self) -> String {
        format!("{LINE}{LINE_PORT} {LOAD}{}", self.modules.join(","))
    }
}

/// A launch plan: the command line and the requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchPlan {
    /// The command line, the program first.
    pub argv: Vec<String>,
    /// A file that must exist before the start, and its content.
    pub file: Option<(String, Value)>,
    /// A request whose answer shows that the API is up.
    pub ready: Request,
    /// The requests, in order.
    pub requests: Vec<Request>,
    /// Deviations from Kata's own configuration.
    pub deviations: Vec<OtherVmmDeviation>,
}

#[cfg(test)]
pub(crate) fn example() -> Guest {
    let text = str::to_owned;
    Guest {
        program: text("/opt/vmm"),
        vcpus: 1,
        max_vcpus: 4,
        memory_mib: 2048,
        host_memory_mib: 8192,
        vmlinux: text("/run/vmlinux"),
        initramfs: text("/run/initramfs"),
        modules: vec![text("vmw_vsock_virtio_transport_common"), text("vmw_vsock_virtio_transport")],
        terse: false,
        api: text("/run/api.sock"),
        config: text("/run/config.json"),
        vsock: text("/run/vsock.sock"),
        share: None,
        waiting: Vec::new(),
    }
}
