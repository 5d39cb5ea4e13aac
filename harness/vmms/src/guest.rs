//! What a guest is given, and what a plan of it is: what is started, and what that is told.

use crate::deviation::Deviation;
use crate::http::Request;
use serde_json::Value;

/// The vsock port on which the harness's agent in the guest waits; Kata's own agent has 1024, which stays free for tests.
pub const LINE_PORT: u32 = 0x4b51;
/// The word of the kernel's command line that says so. Words with a dot in them are no concern of the kernel's.
pub const LINE: &str = "kata_qualify.vsock=";
/// The word that names the modules to load before.
pub const LOAD: &str = "kata_qualify.load=";
/// The guest's context id, the same for every guest, because no vhost driver of the host's has it: `defaultGuestVSockCID` in
/// src/runtime/virtcontainers/fc.go@3.32.0, `DEFAULT_VSOCK_CID` in
/// src/runtime-rs/crates/hypervisor/ch-config/src/convert.rs@4.1.0.
pub const GUEST_CID: u32 = 3;

/// What a guest is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// The VMM's program.
    pub program: String,
    /// How many CPUs it starts with.
    pub vcpus: u32,
    /// How many CPUs it may grow to: the host's, as shipped.
    pub max_vcpus: u32,
    /// Its memory, MiB.
    pub memory_mib: u64,
    /// The host's memory, up to which it may grow, MiB.
    pub host_memory_mib: u64,
    /// The kernel, as an ELF file.
    pub vmlinux: String,
    /// The harness's initramfs.
    pub initramfs: String,
    /// Modules that the guest's agent loads before it waits on vsock.
    pub modules: Vec<String>,
    /// Whether the kernel is to log warnings and worse only.
    pub terse: bool,
    /// The socket of the VMM's API.
    pub api: String,
    /// The file that Firecracker's machine is described in, under the Go runtime.
    pub config: String,
    /// The socket of the guest's vsock.
    pub vsock: String,
    /// The socket of virtiofsd, where the guest has a share.
    pub share: Option<String>,
    /// Empty files, as many as the runtime has drives wait for what is plugged; Firecracker's alone.
    pub waiting: Vec<String>,
}

impl Guest {
    /// What its kernel's command line tells the agent.
    pub fn line(&self) -> String {
        format!("{LINE}{LINE_PORT} {LOAD}{}", self.modules.join(","))
    }
}

/// A launch plan: what is started, and what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchPlan {
    /// The command line, the program first.
    pub argv: Vec<String>,
    /// A file that must be there before, and its content.
    pub file: Option<(String, Value)>,
    /// What tells that the API answers.
    pub ready: Request,
    /// The requests, in order.
    pub requests: Vec<Request>,
    /// What differs from Kata's own.
    pub deviations: Vec<Deviation>,
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
