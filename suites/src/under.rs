//! Which profiles a test applies to, by what they demand.

use crate::environment::Setting;
use model::capability::Capability;
use model::kata_version::KataVersion;
use model::profile::{BlkSource, DaemonStyle, Profile, Runtime};
use model::share::Share;
use std::sync::LazyLock;

/// Names of profiles, in the order of the matrix.
pub(crate) type Names = LazyLock<Vec<&'static str>>;

/// The runtime and its guest agent know 9p: up to 3.28, runtime-rs never.
pub(crate) static NINEP: Names = LazyLock::new(|| of(|p| p.shares(Share::Virtio9p)));
/// Kata's build of QEMU insists on devices that no default uses.
pub(crate) static BUILD_GATE: Names = LazyLock::new(|| of(|p| p.gates_of(Capability::VmmBuildGate).next().is_some()));
/// Kata's build of QEMU has an AMD IOMMU.
pub(crate) static AMD_IOMMU: Names = LazyLock::new(|| of(|p| p.gates_of(Capability::VmmAmdIommu).next().is_some()));
/// The runtime can protect a guest by AMD SEV-SNP.
pub(crate) static SEV_SNP: Names = LazyLock::new(|| of(|p| p.gates_of(Capability::VmmSevSnp).next().is_some()));
/// The runtime waits for a line of virtiofsd's.
pub(crate) static READY_LINE: Names = LazyLock::new(|| of(|p| p.virtiofsd.ready_line.is_some()));
/// The Go runtime.
pub(crate) static GO: Names = LazyLock::new(|| of(|p| p.runtime == Runtime::Go));
/// runtime-rs.
pub(crate) static RS: Names = LazyLock::new(|| of(|p| p.runtime == Runtime::Rs));
/// PCIe root ports are all alike: from 2.5 to 3.27 the Go runtime reserved windows in them by the size of the host's GPUs
/// (`getBARsMaxAddressableMemory` in src/runtime/virtcontainers/qemu_arch_base.go@3.24.0).
pub(crate) static ROOT_PORTS: Names = LazyLock::new(|| of(|p| p.version() >= KataVersion::new(3, 29, 0)));
/// The runtime hands disks down in descriptor sets, and asks QEMU for them.
pub(crate) static FDSETS: Names = LazyLock::new(|| of(|p| p.qemu.blk_source == BlkSource::Fdset));

/// The runtime takes `virtio_fs_cache` as the daemon in Rust names it: `never`, which the one in C called `none` (`valid` in
/// src/runtime/virtcontainers/virtiofsd.go@3.2.0, src/libs/kata-types/src/config/hypervisor/mod.rs@4.1.0).
pub(crate) static CACHES: Names = LazyLock::new(|| of(|p| p.virtiofsd.style != DaemonStyle::DashO));
/// The Go runtime takes `metadata` for it, too; runtime-rs refuses that (the same files, virtiofsd.go@3.20.0).
pub(crate) static CACHE_METADATA: Names =
    LazyLock::new(|| of(|p| p.runtime == Runtime::Go && p.version() >= KataVersion::new(3, 20, 0)));
/// virtiofsd announces what is mounted below the share.
pub(crate) static SUBMOUNTS: Names = LazyLock::new(|| {
    of(|p| {
        p.virtiofsd.extra_args.iter().any(|arg| arg.trim_start_matches('-').replace('-', "_") == "announce_submounts")
    })
});
/// The runtime hands disks down by their paths.
pub(crate) static BY_PATH: Names = LazyLock::new(|| of(|p| p.qemu.blk_source == BlkSource::Path));
/// The runtime can have QEMU give back what its guest has freed.
pub(crate) static RECLAIM: Names = LazyLock::new(|| of(|p| Setting::ReclaimedMemory.is_known_to(p)));
/// The runtime can start QEMU under its own filter.
pub(crate) static SANDBOX: Names = LazyLock::new(|| of(|p| Setting::SeccompSandbox.is_known_to(p)));
/// The runtime can give a guest several NUMA nodes.
pub(crate) static NUMA: Names = LazyLock::new(|| of(|p| Setting::Numa.is_known_to(p)));

fn of(demands: fn(&Profile) -> bool) -> Vec<&'static str> {
    Profile::all().iter().filter(|profile| demands(profile)).map(|profile| profile.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No name would mean every profile.
    #[test]
    fn each_demand_is_of_some_profiles_and_not_of_all() {
        let of_gates = [&NINEP, &BUILD_GATE, &AMD_IOMMU, &SEV_SNP, &READY_LINE, &GO, &RS, &ROOT_PORTS];
        let of_forms = [&FDSETS, &BY_PATH, &RECLAIM, &SANDBOX, &NUMA];
        let of_daemons = [&CACHES, &CACHE_METADATA, &SUBMOUNTS];
        for names in of_gates.iter().chain(&of_forms).chain(&of_daemons).copied() {
            assert!(!names.is_empty() && names.len() < Profile::all().len(), "{:?}", **names);
        }
        assert_eq!(NINEP.last(), Some(&"go-3.24"));
        assert_eq!(*READY_LINE, *RS);
    }
}
