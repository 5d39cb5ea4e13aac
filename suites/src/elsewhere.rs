//! Tests that say nothing of other architectures, because their expectations were read of Kata on x86_64 alone, or
//! because the harness itself changes the guest there.

use crate::capability::{Area, Capability};
use crate::test::{ExcludedArchitectures, Place, Test};
use model::arch::Arch;

/// Capabilities whose tests apply on every architecture: the arguments that a guest is started with, which were read of
/// Kata on each architecture (`harness/qemu/src/argv/arch.rs`), and effects that are seen in the guest or by its host.
/// No other capability of a VMM is judged outside x86_64.
///
/// Commands to QEMU about a running guest, queries and effects in the guest were read of Kata on x86_64 alone.
/// Elsewhere Kata behaves differently, or does nothing: it plugs no CPUs on Arm, where QEMU has none to plug, and plugs
/// interfaces into PCIe ports; the bridge of a `virt` machine takes no device while it runs; devices of IBM Z are on
/// channels; on Arm the state of a template has the memory in it (src/runtime/virtcontainers/qemu.go@3.32.0,
/// `setIgnoreSharedMemoryMigrationCaps` in src/runtime/virtcontainers/qemu_arm64.go@3.32.0). The rest was not read.
const READ_OF_EACH: [Capability; 17] = [
    Capability::VmmBoot,
    Capability::VmmVsock,
    Capability::VmmNet,
    Capability::VmmNetIp,
    Capability::VmmNetLink,
    Capability::VmmNetQueues,
    Capability::VmmReclaim,
    Capability::VmmHugepages,
    Capability::VmmPrealloc,
    Capability::VmmNuma,
    Capability::VmmNumaDevice,
    Capability::VmmLegacySerial,
    Capability::VmmMonitor,
    Capability::VmmSandbox,
    Capability::VmmIommu,
    Capability::VmmLongArguments,
    Capability::VmmImageBlk,
];

/// Returns the reason why a test says nothing of releases of an architecture; `None` if it applies there.
pub fn inapplicable_reason(test: &Test, arch: Arch) -> Option<String> {
    let has_guest = match test.place {
        Place::OwnGuest | Place::Machine => true,
        Place::Environment | Place::Vcpu | Place::Guest | Place::Pair | Place::Runc | Place::Kata => false,
    };
    let is_read = test.proves.iter().all(|proved| is_read_of_each(*proved, has_guest));
    match (arch, test.excluded) {
        (Arch::X86_64, _) => None,
        _ if !is_read || test.excluded == Some(ExcludedArchitectures::Elsewhere) => {
            Some(format!("what it expects was read of Kata on x86_64, and of {arch} by nobody"))
        }
        (Arch::Ppc64le, Some(ExcludedArchitectures::OnPower)) => {
            Some("on ppc64le the harness's serial line takes the place of Kata's console, hvc0".to_owned())
        }
        (Arch::S390x, Some(ExcludedArchitectures::OnZ)) => {
            Some("kata gives guests on s390x no device for random numbers".to_owned())
        }
        (Arch::Aarch64 | Arch::Ppc64le | Arch::S390x, _) => None,
    }
}

/// Checks whether the expectations of tests of this capability were read of Kata on every architecture.
fn is_read_of_each(proved: Capability, has_guest: bool) -> bool {
    match proved.area() {
        // For other VMMs, the boot protocol and the kernel file were read of Kata on x86_64 alone.
        Area::Vmm if proved.other_vmm().is_some() => false,
        // Without a guest, a test reads QEMU's list of devices, for which the gates of each architecture are known.
        Area::Vmm => !has_guest || READ_OF_EACH.contains(&proved),
        Area::Packages | Area::Kernel | Area::Host | Area::Fs(_) | Area::Containers | Area::Kata => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;

    fn applies(id: &str, arch: Arch) -> bool {
        inapplicable_reason(catalogue::find(id).unwrap(), arch).is_none()
    }

    #[test]
    fn every_test_applies_on_x86_64() {
        assert!(catalogue::tests().iter().all(|test| inapplicable_reason(test, Arch::X86_64).is_none()));
    }

    #[test]
    fn tests_read_on_x86_64_alone_do_not_apply_elsewhere() {
        let plugs = [
            "smoke::scsi_disk_is_hotplugged",
            "smoke::query_hotpluggable_cpus_is_parsed",
            // QEMU 10.0: "Bus 'pci-bridge-0' does not support hotplugging".
            "smoke::disk_is_served_by_a_thread_of_its_own",
            "smoke::disk_is_hotplugged_by_io_uring",
            "smoke::guest_reads_its_hosts_clock",
        ];
        for arch in [Arch::Aarch64, Arch::Ppc64le, Arch::S390x] {
            for id in plugs {
                assert!(!applies(id, arch), "{id} {arch}");
            }
            assert!(applies("smoke::kernel_boots_to_userspace", arch), "{arch}");
            assert!(applies("smoke::qemu_has_an_nvdimm", arch), "{arch}");
            assert_eq!(applies("smoke::guest_console_reaches_the_host", arch), arch != Arch::Ppc64le, "{arch}");
            assert_eq!(applies("smoke::guest_has_entropy_from_virtio_rng", arch), arch != Arch::S390x, "{arch}");
        }
    }

    /// A capability that is not listed is judged on x86_64 alone; TDX is the example, because no test boots a TDX guest
    /// yet.
    #[test]
    fn a_test_of_an_unlisted_vmm_capability_applies_on_x86_64_only() {
        let mut test = catalogue::find("smoke::kernel_boots_to_userspace").unwrap().clone();
        test.proves = vec![Capability::VmmBoot, Capability::VmmTdx];
        for arch in Arch::ALL {
            assert_eq!(inapplicable_reason(&test, *arch).is_none(), *arch == Arch::X86_64, "{arch}");
        }
        for test in catalogue::tests() {
            let is_of_another_vmm = test.proves.iter().any(|proved| proved.other_vmm().is_some());
            assert!(!is_of_another_vmm || inapplicable_reason(test, Arch::Aarch64).is_some(), "{}", test.id);
        }
    }
}
