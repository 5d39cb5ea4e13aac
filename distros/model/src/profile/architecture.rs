//! Translation of a profile's gates, which are those of x86_64, to other architectures.

use super::{Gate, GateKind};
use crate::arch::Arch;

/// Gates for features of x86_64 processors of one vendor, or of x86_64 buses.
const ONLY_X86: [&str; 5] = ["intel-iommu", "amd-iommu", "pvpanic", "tdx-guest", "sev-snp-guest"];
/// Gates that POWER does not have: a PCIe topology, which Kata builds only for q35 and virt (`CreateVM` in
/// src/runtime/virtcontainers/qemu.go@3.32.0), and virtio-mem, which QEMU does not have for POWER (`verify_devices` in
/// tools/packaging/static-build/qemu/build-qemu.sh@4.1.0).
const NOT_ON_POWER: [&str; 6] =
    ["pcie-root-port", "x3130-upstream", "xio3130-downstream", "pcie-pci-bridge", "pxb-pcie", "virtio-mem-pci"];
/// Gates that do not apply if devices are on channels: those about PCI, and those that Kata leaves out there: random
/// numbers, an image as an NVDIMM, disks of other processes (`appendVhostUserDevice` in
/// src/runtime/virtcontainers/qemu_s390x.go@3.32.0).
const NOT_ON_CHANNELS: [&str; 10] = [
    "pcie-root-port",
    "x3130-upstream",
    "xio3130-downstream",
    "pcie-pci-bridge",
    "pxb-pcie",
    "pci-bridge",
    "rng-random",
    "virtio-rng-pci",
    "nvdimm",
    "vhost-user-blk-pci",
];

impl Gate {
    /// Returns the gate on the architecture; `None` if Kata has no such demand there.
    pub fn on(&self, arch: Arch) -> Option<Gate> {
        let name = self.name.as_str();
        if arch == Arch::X86_64 {
            return Some(self.clone());
        }
        let is_not_there = ONLY_X86.contains(&name)
            || arch == Arch::Ppc64le && NOT_ON_POWER.contains(&name)
            || arch.has_channels() && NOT_ON_CHANNELS.contains(&name);
        if is_not_there {
            return None;
        }
        let name = match (self.kind, name.strip_suffix("-pci")) {
            (GateKind::Machine, _) => arch.machine_type().to_owned(),
            (GateKind::Device, Some(device)) if arch.has_channels() => format!("{device}-ccw"),
            _ => name.to_owned(),
        };
        Some(Gate { name, ..self.clone() })
    }
}

/// Returns the name on the architecture of a guest module that a profile asks for; `None` if there is no such driver:
/// an NVDIMM by ACPI, KVM's clock and a panic device exist on x86_64 and Arm only.
pub fn module(name: &str, arch: Arch) -> Option<&str> {
    const NOT_ELSEWHERE: [&str; 4] = ["nfit", "ptp_kvm", "pvpanic", "pvpanic_mmio"];
    match (name, arch) {
        ("virtio_pci", Arch::S390x) => Some("virtio_ccw"),
        (_, Arch::Ppc64le | Arch::S390x) if NOT_ELSEWHERE.contains(&name) => None,
        (_, Arch::X86_64 | Arch::Aarch64 | Arch::Ppc64le | Arch::S390x) => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::module;
    use crate::arch::Arch;
    use crate::profile::Profile;

    fn names(profile: &str, arch: Arch) -> Vec<String> {
        Profile::find(profile).unwrap().gates.iter().filter_map(|gate| gate.on(arch)).map(|gate| gate.name).collect()
    }

    #[test]
    fn module_names_depend_on_the_architecture() {
        assert_eq!(module("virtio_pci", Arch::S390x), Some("virtio_ccw"));
        assert_eq!(module("nfit", Arch::Ppc64le), None);
        for arch in [Arch::X86_64, Arch::Aarch64] {
            assert_eq!((module("virtio_pci", arch), module("nfit", arch)), (Some("virtio_pci"), Some("nfit")));
        }
    }

    #[test]
    fn gates_depend_on_the_architecture() {
        for profile in ["go-3.32", "rs-4.1"] {
            let of = |arch| names(profile, arch);
            let whole = Profile::find(profile).unwrap().gates.len();
            assert_eq!(of(Arch::X86_64).len(), whole);
            let (arm, power, z) = (of(Arch::Aarch64), of(Arch::Ppc64le), of(Arch::S390x));
            assert!(arm.contains(&"virt".to_owned()) && arm.contains(&"pcie-root-port".to_owned()), "{arm:?}");
            assert!(!arm.contains(&"intel-iommu".to_owned()), "{arm:?}");
            assert!(
                power.contains(&"pseries".to_owned()) && !power.contains(&"pcie-root-port".to_owned()),
                "{power:?}"
            );
            assert!(z.contains(&"vhost-vsock-ccw".to_owned()) && z.contains(&"scsi-hd".to_owned()), "{z:?}");
            assert!(z.iter().all(|name| !name.ends_with("-pci") && name != "rng-random"), "{z:?}");
        }
    }
}
