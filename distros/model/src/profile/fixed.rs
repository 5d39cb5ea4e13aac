//! What Kata's source has fixed, alike in every release that a profile is for, and no setting changes.
//!
//! `kata-qualify profiles --against CHECKOUT` holds each of them against Kata's source.

use std::time::Duration;

/// How long an id may be for QEMU, to which the Go runtime cuts (`maxDevIDSize`).
pub const MAX_ID: usize = 31;
/// The bus that bridges and ports of the machine are on.
pub const ROOT_BUS: &str = "pcie.0";
/// The slot of the PCI bridge there.
pub const BRIDGE_ADDRESS: u32 = 2;
/// The chassis of the PCIe port that runtime-rs puts before that bridge where there is a firmware.
pub const NESTED_BRIDGE_CHASSIS: u32 = 16;
/// How the Go runtime's ids of PCIe root ports begin.
pub const ROOT_PORT: &str = "rp";
/// How those of the upstream ports of PCIe switches begin.
pub const SWITCH_UP: &str = "swup";
/// How those of the downstream ports of PCIe switches begin.
pub const SWITCH_DOWN: &str = "swdp";
/// What the Go runtime adds to the most memory, for an NVDIMM that an initrd does not need.
pub const MEMORY_OFFSET_MIB: u64 = 1024;
/// The tag under which the runtime shares its directory with the guest.
pub const SHARE_TAG: &str = "kataShared";
/// The vsock port of the guest agent.
pub const AGENT_PORT: u32 = 1024;
/// How long the guest agent waits for a device that it was told of, where its configuration does not say.
pub const DEVICE_APPEARS: Duration = Duration::from_secs(3);
/// How often it tries to bring a plugged CPU online.
pub const ONLINE_TRIES: u32 = 100;
/// How long it pauses in between.
pub const ONLINE_PAUSE: Duration = Duration::from_millis(50);
/// How long runtime-rs waits for a device to be let go.
pub const DEVICE_DELETED: Duration = Duration::from_secs(10);
