//! Constants in Kata's source that are the same in every release with a profile and cannot be changed by a setting.
//!
//! `kata-qualify profiles --against CHECKOUT` compares each of them with Kata's source.

use std::time::Duration;

/// Longest id that QEMU accepts; the Go runtime truncates longer ones (`maxDevIDSize`).
pub const MAX_ID: usize = 31;
/// The bus of the machine's bridges and ports.
pub const ROOT_BUS: &str = "pcie.0";
/// The slot of the PCI bridge on that bus.
pub const BRIDGE_ADDRESS: u32 = 2;
/// The chassis of the PCIe port that runtime-rs adds before the PCI bridge if there is a firmware.
pub const NESTED_BRIDGE_CHASSIS: u32 = 16;
/// Prefix of the Go runtime's ids of PCIe root ports.
pub const ROOT_PORT: &str = "rp";
/// Prefix of the ids of the upstream ports of PCIe switches.
pub const SWITCH_UP: &str = "swup";
/// Prefix of the ids of the downstream ports of PCIe switches.
pub const SWITCH_DOWN: &str = "swdp";
/// Memory that the Go runtime adds to the maximum, for an NVDIMM that an initrd does not need.
pub const MEMORY_OFFSET_MIB: u64 = 1024;
/// The tag of the directory that the runtime shares with the guest.
pub const SHARE_TAG: &str = "kataShared";
/// The vsock port of the guest agent.
pub const AGENT_PORT: u32 = 1024;
/// Default time that the guest agent waits for a device that it was notified of.
pub const DEVICE_APPEARS: Duration = Duration::from_secs(3);
/// Number of attempts to bring a plugged CPU online.
pub const ONLINE_TRIES: u32 = 100;
/// Pause between the attempts.
pub const ONLINE_PAUSE: Duration = Duration::from_millis(50);
/// Time that runtime-rs waits for a device to be released.
pub const DEVICE_DELETED: Duration = Duration::from_secs(10);
