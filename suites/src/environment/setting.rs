//! Settings of Kata's configuration, other than the shipped ones, that a test's guest is started with.

use model::kata_version::KataVersion;
use model::profile::{ImageDriver, Profile, Runtime};
use std::path::PathBuf;

/// Memory, MiB, of a guest whose whole memory a test puts into files or huge pages.
pub const SMALL_MIB: u32 = 512;

/// The hardware address of the guest's network interface.
pub const HARDWARE_ADDRESS: &str = "02:00:ca:fe:00:01";

/// The difference from the shipped configuration that a guest is started with. Keys have the Go runtime's names, and
/// runtime-rs's if they differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Setting {
    /// The shipped configuration.
    #[default]
    Shipped,
    /// `image` instead of `initrd`.
    Image {
        /// The file.
        file: PathBuf,
        /// The device as which the guest sees the image.
        driver: ImageDriver,
    },
    /// `pcie_root_port = 1`.
    RootPort,
    /// `pcie_switch_port = 1`.
    SwitchPort,
    /// `enable_iommu = true`.
    Iommu,
    /// `static_sandbox_resource_mgmt = false`, as the Go runtime ships it: CPUs and memory are plugged when containers
    /// ask for them.
    SizedLater,
    /// `default_vcpus`.
    Vcpus(u32),
    /// `enable_iothreads = true` and `indep_iothreads = 1`, for disks by virtio-blk.
    IoThread,
    /// `enable_iothreads = true`, for disks by virtio-scsi.
    ScsiThread,
    /// This many `default_vcpus`, and as many queues of the network interface: Go follows the number of vCPUs,
    /// runtime-rs has `network_queues`.
    NetworkQueues(u32),
    /// `disable_vhost_net = true`: QEMU itself moves the packets of the network interface.
    NoVhostNet,
    /// `reclaim_guest_freed_memory = true`.
    ReclaimedMemory,
    /// `seccompsandbox` or `seccomp_sandbox`, with the value that its comment names.
    SeccompSandbox,
    /// `guest_memory_dump_path`.
    MemoryDump,
    /// `extra_monitor_socket = "hmp"` with this socket, and nothing else of `enable_debug`, which the key requires.
    Monitor(PathBuf),
    /// `enable_hugepages = true`.
    Hugepages,
    /// `enable_vhost_user_store = true`: the guest's memory is shared with the processes that serve its disks. Kata
    /// insists on huge pages then; here the memory is a file in /dev/shm, as for virtio-fs, so that any environment can
    /// have it.
    VhostUserStore,
    /// `use_legacy_serial = true`.
    LegacySerial,
    /// `enable_mem_prealloc = true`.
    Preallocated,
    /// `enable_numa = true`, with two nodes of the guest on the host's first one.
    Numa,
    /// `enable_numa = true`, with a VFIO device on the host's first node; a disk in this file stands in for the device.
    NumaDevice(PathBuf),
    /// `machine_type = "microvm"`: a machine without PCI.
    Microvm {
        /// The driver of the machine's bus, in the order of loading, if the guest's kernel has it as a module.
        drivers: Vec<String>,
    },
    /// `rootless = true`: QEMU runs as another user.
    Rootless,
    /// `firmware`.
    Firmware(PathBuf),
    /// `enable_template = true`, for the guest whose state is saved, with its memory in this file.
    Template(PathBuf),
    /// `enable_template = true`, for a guest that takes over the saved state, with its memory in this file.
    Clone(PathBuf),
    /// Read-only disks that the guest is started with.
    Disks(Vec<PathBuf>),
    /// The shipped configuration, but the disk used as the share is this file, which outlives the guest.
    Disk(PathBuf),
}

impl Setting {
    /// Returns one of each setting with which tests boot guests without a share; the files do not exist.
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
            Setting::VhostUserStore,
            Setting::Preallocated,
            Setting::Numa,
            Setting::NumaDevice(file("disk")),
            Setting::Microvm { drivers: vec!["virtio_mmio".to_owned()] },
            Setting::Rootless,
            Setting::Firmware(file("firmware")),
            Setting::Template(file("memory")),
            Setting::Clone(file("memory")),
            Setting::Disks(vec![file("disk")]),
        ]
    }

    /// Checks whether the profile's runtime knows the setting and starts QEMU accordingly.
    ///
    /// runtime-rs 4.1 reads `enable_hugepages`, `guest_memory_dump_path`, `use_legacy_serial` and Go's NUMA keys, but
    /// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs does nothing with them.
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
            // For vhost-user-blk, `ExecuteCharDevUnixSocketAdd` in src/runtime/pkg/govmm/qemu/qmp.go@2.4.0: before, it
            // says `wait` for a socket on which QEMU does not listen.
            Setting::VhostUserStore => go && since(2, 4),
            // `appendMultiNUMAMemoryKnobs` in src/runtime/pkg/govmm/qemu/qemu.go@3.32.0.
            Setting::Numa | Setting::NumaDevice(_) => go && since(3, 32),
            // Earlier Go runtimes have it, too; their arguments for it were not read.
            Setting::Microvm { .. } => go && since(3, 32),
            // Likewise; for runtime-rs `set_process_credentials` in
            // src/runtime-rs/crates/hypervisor/src/qemu/inner.rs@4.1.0.
            Setting::Rootless if go => since(3, 32),
            Setting::Rootless => since(4, 1),
        }
    }

    /// Returns the number of vCPUs and the memory, MiB, that the setting gives the guest; `None` as shipped.
    pub fn size(&self) -> (Option<u32>, Option<u32>) {
        match self {
            Setting::Vcpus(count) | Setting::NetworkQueues(count) => (Some(*count), None),
            Setting::Numa | Setting::NumaDevice(_) => (Some(2), None),
            Setting::MemoryDump
            | Setting::Hugepages
            | Setting::VhostUserStore
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
    fn each_setting_is_known_to_the_expected_profiles() {
        let known = |setting: Setting| -> Vec<&str> {
            let profiles = Profile::all().iter().filter(|profile| setting.is_known_to(profile));
            profiles.map(|profile| profile.name.as_str()).collect()
        };
        let all = Profile::all().len();
        assert_eq!(known(Setting::RootPort).len(), all);
        // The profile go-3.20 covers both 3.20 and 3.21; a setting known from the middle of a range on is tried from
        // the next profile on.
        assert_eq!(known(Setting::ReclaimedMemory)[0], "go-3.22");
        assert_eq!(known(Setting::SeccompSandbox)[0], "go-2.5");
        assert_eq!(known(Setting::Numa), ["go-3.32"]);
        assert_eq!(known(Setting::Microvm { drivers: Vec::new() }), ["go-3.32"]);
        assert_eq!(known(Setting::Rootless), ["go-3.32", "rs-4.1", "rs-main"]);
        assert_eq!(known(Setting::LegacySerial).first(), Some(&"go-2.5"));
        assert_eq!(known(Setting::LegacySerial).last(), Some(&"go-3.32"));
        assert_eq!(known(Setting::IoThread)[0], "go-3.24");
        // 3.2.0 belongs to go-3.2, which begins with 3.1.3.
        assert_eq!(known(Setting::Monitor(PathBuf::new()))[0], "go-3.8");
        assert!(known(Setting::MemoryDump).iter().all(|name| name.starts_with("go-")));
        assert_eq!(known(Setting::MemoryDump), known(Setting::Hugepages));
        assert_eq!(known(Setting::VhostUserStore).first(), Some(&"go-2.4"));
        assert_eq!(known(Setting::VhostUserStore).last(), Some(&"go-3.32"));
    }
}
