//! Settings of Kata's configuration that are not the shipped ones, by which a test's guest is started otherwise.

use model::kata_version::KataVersion;
use model::profile::{ImageDriver, Profile, Runtime};
use std::path::PathBuf;

/// Memory of a guest that a test writes to files or huge pages, whole, MiB.
pub const SMALL_MIB: u32 = 512;

/// The hardware address of the network interface that a guest is started with.
pub const HARDWARE_ADDRESS: &str = "02:00:ca:fe:00:01";

/// What a guest is started with besides what is shipped, or in its place; Go's names of the keys, and runtime-rs's where
/// they differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Setting {
    /// Nothing.
    #[default]
    Shipped,
    /// `image` in the place of `initrd`.
    Image {
        /// The file.
        file: PathBuf,
        /// What the guest sees it as.
        driver: ImageDriver,
    },
    /// `pcie_root_port = 1`.
    RootPort,
    /// `pcie_switch_port = 1`.
    SwitchPort,
    /// `enable_iommu = true`.
    Iommu,
    /// `static_sandbox_resource_mgmt = false`, as the Go runtime ships it: CPUs and memory come when containers ask for them.
    SizedLater,
    /// `default_vcpus`.
    Vcpus(u32),
    /// `enable_iothreads = true` and `indep_iothreads = 1`, for disks by virtio-blk.
    IoThread,
    /// `enable_iothreads = true`, for disks by virtio-scsi.
    ScsiThread,
    /// So many `default_vcpus`, and as many queues of the network interface: Go's by itself, runtime-rs's by
    /// `network_queues`.
    NetworkQueues(u32),
    /// `disable_vhost_net = true`: QEMU itself moves the packets of the network interface.
    NoVhostNet,
    /// `reclaim_guest_freed_memory = true`.
    ReclaimedMemory,
    /// `seccompsandbox`, `seccomp_sandbox`, with the value that its comment names.
    SeccompSandbox,
    /// `guest_memory_dump_path`.
    MemoryDump,
    /// `extra_monitor_socket = "hmp"`, with its socket here, and nothing else of `enable_debug`, without which it counts
    /// for nothing.
    Monitor(PathBuf),
    /// `enable_hugepages = true`.
    Hugepages,
    /// `use_legacy_serial = true`.
    LegacySerial,
    /// `enable_mem_prealloc = true`.
    Preallocated,
    /// `enable_numa = true`, two nodes of the guest's on the host's first one.
    Numa,
    /// The same with a VFIO device that is on the host's first node; a disk in this file stands in for the device.
    NumaDevice(PathBuf),
    /// `firmware`.
    Firmware(PathBuf),
    /// `enable_template = true`: the guest whose state is saved, with its memory in this file.
    Template(PathBuf),
    /// `enable_template = true`: a guest that takes over the state that was saved, with the memory that lies in this file.
    Clone(PathBuf),
    /// Read-only disks that the guest has from the beginning.
    Disks(Vec<PathBuf>),
    /// None; but the disk in the place of a share is this file, which outlives the guest.
    Disk(PathBuf),
}

impl Setting {
    /// One of each that tests boot guests without a share by, with files that are nowhere.
    pub fn all() -> Vec<Setting> {
        let file = |name: &str| PathBuf::from(format!("/nonexistent/{name}"));
        let image = |driver| Setting::Image { file: file("image"), driver };
        vec![
            Setting::Shipped,
            image(ImageDriver::Nvdimm),
            image(ImageDriver::Blk),
            Setting::RootPort,
            Setting::SwitchPort,
            Setting::Iommu,
            Setting::SizedLater,
            Setting::Vcpus(2),
            Setting::IoThread,
            Setting::ScsiThread,
            Setting::NetworkQueues(2),
            Setting::NoVhostNet,
            Setting::ReclaimedMemory,
            Setting::SeccompSandbox,
            Setting::MemoryDump,
            Setting::Monitor(file("monitor")),
            Setting::LegacySerial,
            Setting::Hugepages,
            Setting::Preallocated,
            Setting::Numa,
            Setting::NumaDevice(file("disk")),
            Setting::Firmware(file("firmware")),
            Setting::Template(file("memory")),
            Setting::Clone(file("memory")),
            Setting::Disks(vec![file("disk")]),
        ]
    }

    /// Whether the profile's runtime knows it and passes QEMU anything for it.
    ///
    /// runtime-rs 4.1 reads `enable_hugepages`, `guest_memory_dump_path`, `use_legacy_serial` and Go's NUMA keys, and
    /// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs has nothing for them.
    pub fn is_known_to(&self, profile: &Profile) -> bool {
        let go = profile.runtime == Runtime::Go;
        let since = |major, minor| profile.version() >= KataVersion::new(major, minor, 0);
        match self {
            Setting::Shipped
            | Setting::Image { .. }
            | Setting::RootPort
            | Setting::SwitchPort
            | Setting::Iommu
            | Setting::SizedLater
            | Setting::Vcpus(_)
            | Setting::NetworkQueues(_)
            | Setting::NoVhostNet
            | Setting::ScsiThread
            | Setting::Preallocated
            | Setting::Firmware(_)
            | Setting::Template(_)
            | Setting::Clone(_)
            | Setting::Disks(_)
            | Setting::Disk(_) => true,
            // `appendBalloonDevice` in src/runtime/virtcontainers/qemu_arch_base.go@3.21.0.
            Setting::ReclaimedMemory => since(3, 21),
            // `appendSeccompSandbox` in src/runtime/pkg/govmm/qemu/qemu.go@2.5.0.
            Setting::SeccompSandbox => since(2, 5),
            // `setupIoThread` in src/runtime/virtcontainers/qemu.go@3.24.0.
            Setting::IoThread => since(3, 24),
            // `createQmpSocket` in src/runtime/virtcontainers/qemu.go@3.2.0.
            Setting::Monitor(_) => since(3, 2),
            // `appendConsole` in src/runtime/virtcontainers/qemu_arch_base.go@2.5.0.
            Setting::LegacySerial => go && since(2, 5),
            Setting::MemoryDump | Setting::Hugepages => go,
            // `appendMultiNUMAMemoryKnobs` in src/runtime/pkg/govmm/qemu/qemu.go@3.32.0.
            Setting::Numa | Setting::NumaDevice(_) => go && since(3, 32),
        }
    }

    /// How many vCPUs and how much memory, MiB, the guest has by it, where not as shipped.
    pub fn size(&self) -> (Option<u32>, Option<u32>) {
        match self {
            Setting::Vcpus(count) | Setting::NetworkQueues(count) => (Some(*count), None),
            Setting::Numa | Setting::NumaDevice(_) => (Some(2), None),
            Setting::MemoryDump
            | Setting::Hugepages
            | Setting::Preallocated
            | Setting::Template(_)
            | Setting::Clone(_) => (None, Some(SMALL_MIB)),
            _ => (None, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_known_to_those_who_pass_something_for_it() {
        let known = |setting: Setting| -> Vec<&str> {
            let profiles = Profile::all().iter().filter(|profile| setting.is_known_to(profile));
            profiles.map(|profile| profile.name.as_str()).collect()
        };
        let all = Profile::all().len();
        assert_eq!(known(Setting::RootPort).len(), all);
        // 3.20 is of go-3.20, and 3.21 of it, too: what is known from the middle of a range is tried from the next one on.
        assert_eq!(known(Setting::ReclaimedMemory)[0], "go-3.22");
        assert_eq!(known(Setting::SeccompSandbox)[0], "go-2.5");
        assert_eq!(known(Setting::Numa), ["go-3.32"]);
        assert_eq!(known(Setting::LegacySerial).first(), Some(&"go-2.5"));
        assert_eq!(known(Setting::LegacySerial).last(), Some(&"go-3.32"));
        assert_eq!(known(Setting::IoThread)[0], "go-3.24");
        // 3.2.0 is of go-3.2, which is taken from 3.1.3.
        assert_eq!(known(Setting::Monitor(PathBuf::new()))[0], "go-3.8");
        assert!(known(Setting::MemoryDump).iter().all(|name| name.starts_with("go-")));
        assert_eq!(known(Setting::MemoryDump), known(Setting::Hugepages));
    }
}
