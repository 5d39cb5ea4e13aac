//! The profiles that a test applies to, selected by their demands.

use crate::environment::Setting;
use model::capability::Capability;
use model::kata_version::KataVersion;
use model::other_vmm::{OtherVmm, VmmName};
use model::profile::{BlkSource, DaemonStyle, Profile, Runtime};
use model::share::Share;
use std::path::PathBuf;
use std::sync::LazyLock;

/// Names of profiles, in the order of the matrix.
pub(crate) type Names = LazyLock<Vec<&'static str>>;

/// The runtime and its guest agent know 9p: the Go runtime up to 3.28, runtime-rs never.
pub(crate) static NINEP: Names = LazyLock::new(|| of(|p| p.shares(Share::Virtio9p)));
/// Kata's build of QEMU insists on devices that no default uses.
pub(crate) static BUILD_GATE: Names = LazyLock::new(|| of(|p| p.gates_of(Capability::VmmBuildGate).next().is_some()));
/// The Go runtime or Kata's build of QEMU requires vhost-user-blk.
pub(crate) static VHOST_USER_BLK: Names =
    LazyLock::new(|| of(|p| p.gates_of(Capability::VmmVhostUserBlk).next().is_some()));
/// Kata's build of QEMU insists on an AMD IOMMU.
pub(crate) static AMD_IOMMU: Names = LazyLock::new(|| of(|p| p.gates_of(Capability::VmmAmdIommu).next().is_some()));
/// The runtime can protect a guest by AMD SEV-SNP.
pub(crate) static SEV_SNP: Names = LazyLock::new(|| of(|p| p.gates_of(Capability::VmmSevSnp).next().is_some()));
/// The runtime waits for a line in virtiofsd's output.
pub(crate) static READY_LINE: Names = LazyLock::new(|| of(|p| p.virtiofsd.ready_line.is_some()));
/// The Go runtime.
pub(crate) static GO: Names = LazyLock::new(|| of(|p| p.runtime == Runtime::Go));
/// runtime-rs.
pub(crate) static RS: Names = LazyLock::new(|| of(|p| p.runtime == Runtime::Rs));
/// PCIe root ports are all alike: from 2.5 to 3.27 the Go runtime reserved windows in them by the size of the host's
/// GPUs (`getBARsMaxAddressableMemory` in src/runtime/virtcontainers/qemu_arch_base.go@3.24.0).
pub(crate) static ROOT_PORTS: Names = LazyLock::new(|| of(|p| p.version() >= KataVersion::new(3, 29, 0)));
/// The Go runtime, if it reads back where a device is that it has plugged into a root port.
pub(crate) static GO_ROOT_PORTS: Names =
    LazyLock::new(|| of(|p| p.runtime == Runtime::Go && p.version() >= KataVersion::new(3, 29, 0)));
/// The runtime can plug disks that another process serves over vhost-user; runtime-rs does so for Dragonball alone.
pub(crate) static VHOST_USER_DISKS: Names = LazyLock::new(|| of(|p| Setting::VhostUserStore.is_known_to(p)));
/// The runtime passes disks as descriptor sets, and queries QEMU for them.
pub(crate) static FDSETS: Names = LazyLock::new(|| of(|p| p.qemu.blk_source == BlkSource::Fdset));

/// The runtime's `virtio_fs_cache` has the Rust daemon's values: `never`, which the C daemon called `none` (`valid` in
/// src/runtime/virtcontainers/virtiofsd.go@3.2.0, src/libs/kata-types/src/config/hypervisor/mod.rs@4.1.0).
pub(crate) static CACHES: Names = LazyLock::new(|| of(|p| p.virtiofsd.style != DaemonStyle::DashO));
/// The Go runtime also accepts `metadata` for `virtio_fs_cache`; runtime-rs refuses it (the same files,
/// virtiofsd.go@3.20.0).
pub(crate) static CACHE_METADATA: Names =
    LazyLock::new(|| of(|p| p.runtime == Runtime::Go && p.version() >= KataVersion::new(3, 20, 0)));
/// virtiofsd announces filesystems mounted below the share.
pub(crate) static SUBMOUNTS: Names = LazyLock::new(|| {
    of(|p| {
        p.virtiofsd.extra_args.iter().any(|arg| arg.trim_start_matches('-').replace('-', "_") == "announce_submounts")
    })
});
/// The runtime passes disks by their paths.
pub(crate) static BY_PATH: Names = LazyLock::new(|| of(|p| p.qemu.blk_source == BlkSource::Path));
/// The runtime can make QEMU return the memory that its guest has freed.
pub(crate) static RECLAIM: Names = LazyLock::new(|| of(|p| Setting::ReclaimedMemory.is_known_to(p)));
/// The runtime can start QEMU with QEMU's own seccomp filter.
pub(crate) static SANDBOX: Names = LazyLock::new(|| of(|p| Setting::SeccompSandbox.is_known_to(p)));
/// The runtime sets the number of queues of a disk plugged into the PCI bridge; runtime-rs leaves it to QEMU.
pub(crate) static DISK_QUEUES: Names = LazyLock::new(|| of(|p| p.qmp.num_queues.is_some()));
/// The runtime can set the sector sizes of a disk (`executePCIDeviceAdd` in src/runtime/pkg/govmm/qemu/qmp.go@3.29.0).
pub(crate) static SECTORS: Names = LazyLock::new(|| of(|p| p.version() >= KataVersion::new(3, 29, 0)));
/// The runtime can return the blocks that a guest discards to the host (`hotplugAddBlockDevice` in
/// src/runtime/virtcontainers/qemu.go@4.0.0).
pub(crate) static DISCARDS: Names = LazyLock::new(|| of(|p| p.version() >= KataVersion::new(4, 0, 0)));
/// runtime-rs, if it passes disks by their paths.
pub(crate) static RS_BY_PATH: Names =
    LazyLock::new(|| of(|p| p.runtime == Runtime::Rs && p.qemu.blk_source == BlkSource::Path));
/// The runtime can let a separate I/O thread serve disks.
pub(crate) static IO_THREAD: Names = LazyLock::new(|| of(|p| Setting::IoThread.is_known_to(p)));
/// The runtime can give a guest a serial port instead of its console.
pub(crate) static LEGACY_SERIAL: Names = LazyLock::new(|| of(|p| Setting::LegacySerial.is_known_to(p)));
/// The runtime can make QEMU open a human monitor.
pub(crate) static MONITOR: Names = LazyLock::new(|| of(|p| Setting::Monitor(PathBuf::new()).is_known_to(p)));
/// The runtime knows QEMU's machine type `microvm`, and its arguments for it were read.
pub(crate) static MICROVM: Names = LazyLock::new(|| of(|p| Setting::Microvm { drivers: Vec::new() }.is_known_to(p)));
/// The runtime can start QEMU as a user other than root.
pub(crate) static ROOTLESS: Names = LazyLock::new(|| of(|p| Setting::Rootless.is_known_to(p)));
/// The runtime can give a guest several NUMA nodes.
pub(crate) static NUMA: Names = LazyLock::new(|| of(|p| Setting::Numa.is_known_to(p)));
/// The runtime knows both versions of control groups (`src/runtime/pkg/resourcecontrol/cgroups.go@3.0.0`).
pub(crate) static CONTROL_GROUPS: Names = LazyLock::new(|| of(|p| p.version() >= KataVersion::new(3, 0, 0)));
/// The runtime plugs the EROFS layers of a root filesystem into its guest (`IsErofsRootFS` in
/// src/runtime/virtcontainers/kata_agent.go@3.18.0, src/runtime-rs/crates/resource/src/rootfs/erofs_rootfs.rs@3.29.0).
pub(crate) static EROFS: Names = LazyLock::new(|| {
    of(|p| {
        let first = if p.runtime == Runtime::Go { KataVersion::new(3, 18, 0) } else { KataVersion::new(3, 29, 0) };
        p.version() >= first
    })
});

/// Kata's demands on Cloud Hypervisor have been read for the profile.
pub(crate) static CLOUD_HYPERVISOR: Names = LazyLock::new(|| read_of(VmmName::CloudHypervisor, OtherVmm::all()));
/// Kata's demands on Firecracker have been read for the profile.
pub(crate) static FIRECRACKER: Names = LazyLock::new(|| read_of(VmmName::Firecracker, OtherVmm::all()));

/// Returns the profiles for which one VMM's demands have been read, independent of other VMMs: not every runtime drives
/// each.
fn read_of(vmm: VmmName, among: &[OtherVmm]) -> Vec<&'static str> {
    of(|p| among.iter().any(|other| other.vmm == vmm && other.under(p).is_some()))
}

fn of(demands: impl Fn(&Profile) -> bool) -> Vec<&'static str> {
    Profile::all().iter().filter(|profile| demands(profile)).map(|profile| profile.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No list is empty, because that would mean every profile.
    #[test]
    fn each_demand_applies_to_some_profiles_and_not_to_all() {
        let of_gates = [&NINEP, &BUILD_GATE, &VHOST_USER_BLK, &AMD_IOMMU, &SEV_SNP, &READY_LINE, &GO, &RS, &ROOT_PORTS];
        let of_forms = [&FDSETS, &BY_PATH, &RECLAIM, &SANDBOX, &NUMA, &IO_THREAD, &LEGACY_SERIAL, &MONITOR];
        let of_machines = [&MICROVM, &ROOTLESS];
        let of_disks = [&DISK_QUEUES, &SECTORS, &DISCARDS, &RS_BY_PATH, &EROFS, &CONTROL_GROUPS, &VHOST_USER_DISKS];
        let of_daemons = [&CACHES, &CACHE_METADATA, &SUBMOUNTS, &GO_ROOT_PORTS];
        let of_vmms = [&CLOUD_HYPERVISOR, &FIRECRACKER];
        let all = of_gates.iter().chain(&of_forms).chain(&of_disks).chain(&of_daemons).chain(&of_vmms);
        let all = all.chain(&of_machines);
        for names in all.copied() {
            assert!(!names.is_empty() && names.len() < Profile::all().len(), "{:?}", **names);
        }
        assert_eq!(NINEP.last(), Some(&"go-3.24"));
        assert_eq!(*READY_LINE, *RS);
        assert_eq!(*BUILD_GATE, ["go-3.32", "rs-4.1", "rs-main"]);
        assert_eq!(*AMD_IOMMU, *BUILD_GATE);
    }

    #[test]
    fn the_profiles_of_one_vmm_do_not_affect_those_of_another() {
        let mut among = OtherVmm::all().to_vec();
        for one in among.iter_mut().filter(|one| one.vmm == VmmName::Firecracker) {
            one.profiles.retain(|under| under.profile == "rs-4.1");
        }
        assert_eq!(read_of(VmmName::Firecracker, &among), ["rs-4.1"]);
        assert_eq!(read_of(VmmName::CloudHypervisor, &among), *CLOUD_HYPERVISOR);
        assert_eq!(*CLOUD_HYPERVISOR, ["go-3.32", "rs-4.1"]);
    }
}
