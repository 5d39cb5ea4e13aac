//! What an architecture changes in a profile's arguments, which are x86_64's as shipped.
//!
//! Read for the maintained profiles: the Go runtime's `newQemuArch` and what it overrides in
//! `src/runtime/virtcontainers/qemu_{arm64,ppc64le,s390x}.go`, its settings in `src/runtime/arch/*-options.mk` and
//! `src/runtime/Makefile`, all at 3.32.0 and unchanged on these paths up to 4.1.0; runtime-rs's `bus_type` and all that
//! asks it in `src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0`, its settings in
//! `src/runtime-rs/arch/*-options.mk@4.1.0` and `src/runtime-rs/Makefile@4.1.0`.

use super::ArgvError;
use crate::sandbox::{GuestImage, MemoryBacking, Sandbox};
use model::arch::Arch;
use model::profile::fixed::ROOT_BUS;
use model::profile::{ImageDriver, Profile, Runtime};
use std::borrow::Cow;

/// The profiles whose arguments were read for other architectures than x86_64.
const READ: [&str; 2] = ["go-3.32", "rs-4.1"];

/// `machine_accelerators` of POWER, alike in both runtimes (`src/runtime/arch/ppc64le-options.mk@3.32.0`,
/// `src/runtime-rs/arch/powerpc64le-options.mk@4.1.0`).
const POWER_ACCELERATORS: &str = "cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-large-decr=off,cap-ccf-assist=off";

/// The profile as its runtime configures QEMU on the architecture.
///
/// # Errors
/// When nobody has read that.
pub(super) fn profile(profile: &Profile, arch: Arch) -> Result<Cow<'_, Profile>, ArgvError> {
    if arch == Arch::X86_64 {
        return Ok(Cow::Borrowed(profile));
    }
    if !is_read(profile, arch) {
        return Err(ArgvError::Architecture { profile: profile.name.clone(), arch });
    }
    let mut changed = profile.clone();
    let qemu = &mut changed.qemu;
    qemu.machine = arch.machine_type().to_owned();
    qemu.machine_options = match profile.runtime {
        Runtime::Go => go_machine(arch),
        Runtime::Rs => rs_machine(arch),
    };
    // `CPUFEATURES` of the others is empty, and both runtimes put the comma before it all the same.
    if arch != Arch::Aarch64 {
        qemu.cpu_features = String::new();
    }
    // `hasPCIeRoot` in govmm's `qemu.go`.
    qemu.root_bus = qemu.root_bus.take().filter(|_| has_pcie_root(arch));
    if profile.runtime == Runtime::Go {
        qemu.runtime_params = go_params(arch).iter().map(|param| (*param).to_owned()).collect();
    }
    Ok(Cow::Owned(changed))
}

/// `defaultQemuMachineOptions` of the architecture, then `machine_accelerators` (`getQemuMachine` in `qemu.go`).
fn go_machine(arch: Arch) -> String {
    match arch {
        Arch::X86_64 | Arch::S390x => "accel=kvm".to_owned(),
        Arch::Aarch64 => "usb=off,accel=kvm,gic-version=host".to_owned(),
        Arch::Ppc64le => format!("accel=kvm,usb=off,cap-ail-mode-3=off,{POWER_ACCELERATORS}"),
    }
}

/// `ToQemuParams` for `Machine`: `machine_accelerators` between the accelerator and the interrupt controller.
fn rs_machine(arch: Arch) -> String {
    match arch {
        Arch::X86_64 | Arch::S390x => "accel=kvm,kernel_irqchip=on".to_owned(),
        Arch::Aarch64 => "accel=kvm,usb=off,gic-version=host,kernel_irqchip=on".to_owned(),
        Arch::Ppc64le => format!("accel=kvm,{POWER_ACCELERATORS},kernel_irqchip=on"),
    }
}

/// `kernelParams` of the architecture; the consoles of `appendConsole`, which IBM Z's own one does not add;
/// `kernelParamsNonDebug`; `defaultKernelParameters`.
fn go_params(arch: Arch) -> &'static [&'static str] {
    match arch {
        // The profile has its own.
        Arch::X86_64 => &[],
        Arch::Aarch64 => &["iommu.passthrough=0", "console=hvc0", "console=hvc1", "quiet", "panic=1"],
        Arch::Ppc64le => &[
            "rcupdate.rcu_expedited=1",
            "reboot=k",
            "cryptomgr.notests",
            "net.ifnames=0",
            "console=hvc0",
            "console=hvc1",
            "quiet",
            "panic=1",
        ],
        Arch::S390x => &["quiet", "panic=1"],
    }
}

/// The sandbox as the runtime sees it there.
pub(super) fn sandbox(sandbox: &Sandbox, runtime: Runtime) -> Sandbox {
    let mut seen = sandbox.clone();
    // `RunningOnVMM` in `src/runtime/virtcontainers/hypervisor.go` knows amd64 alone; `is_running_in_vm` looks for a line
    // that begins with `flags`, which no other processor has.
    seen.nested &= sandbox.arch == Arch::X86_64;
    // `appendNetwork` of `qemu_s390x.go` says that there is no vhost.
    if runtime == Runtime::Go
        && sandbox.arch == Arch::S390x
        && let Some(net) = &mut seen.net
    {
        net.vhost = false;
    }
    if runtime == Runtime::Go && sandbox.arch == Arch::Aarch64 && !sandbox.switch_port {
        seen.root_ports = seen.root_ports.max(links(sandbox));
    }
    seen
}

/// How many ports the Go runtime makes on Arm's machine unasked, where devices are plugged into PCIe ports alone: one for
/// each link of the sandbox's network namespace, which are its loopback and what Kata passes on (`createPCIeTopology` in
/// `qemu.go`, `GetEndpointsNum` in `src/runtime/virtcontainers/network_linux.go@3.32.0`).
fn links(sandbox: &Sandbox) -> u32 {
    1 + u32::from(sandbox.net.is_some())
}

/// How many ports a PCIe switch of the Go runtime's has: as many as would be there without the switch, if that is more
/// than the one that is asked for.
pub(super) fn go_switch_ports(sandbox: &Sandbox) -> u32 {
    match sandbox.arch {
        Arch::Aarch64 => links(sandbox),
        Arch::X86_64 | Arch::Ppc64le | Arch::S390x => 1,
    }
}

/// What of a sandbox the runtime has no arguments for there, for a sentence.
pub(super) fn lacks(sandbox: &Sandbox, runtime: Runtime) -> Option<&'static str> {
    let arch = sandbox.arch;
    if arch == Arch::X86_64 {
        return None;
    }
    let image = sandbox.image.as_ref().map(|image| image.driver);
    // `appendIOMMU` refuses in Go; runtime-rs names Intel's, or only a parameter of the kernel.
    if sandbox.iommu {
        Some("an IOMMU")
    } else if (sandbox.root_ports > 0 || sandbox.switch_port) && !has_pcie_root(arch) {
        // `CreateVM` makes a PCIe topology for q35 and virt alone.
        Some("PCIe ports")
    } else if sandbox.memory == MemoryBacking::TwoNodes && arch != Arch::Aarch64 {
        // "multi-NUMA support is only available on amd64 and arm64" (src/runtime/pkg/katautils/config.go).
        Some("several NUMA nodes")
    } else if image.is_some() && arch == Arch::Ppc64le {
        // An initrd is what is shipped (src/runtime-rs/Makefile); Go's image would be a disk whose root is an NVDIMM.
        Some("an image")
    } else if image == Some(ImageDriver::Nvdimm) && arch == Arch::S390x {
        Some("an image as an NVDIMM")
    } else if image == Some(ImageDriver::Nvdimm) && runtime == Runtime::Go && sandbox.firmware.is_none() {
        // `newQemuHypervisorConfig` in src/runtime/pkg/katautils/config.go takes it back.
        Some("an image as an NVDIMM without a firmware")
    } else {
        None
    }
}

/// The bus on which bridges are, where there is PCI: `genericAppendBridges` in `qemu.go`, `DevicePciBridge::new`.
pub(super) fn bridge_bus(arch: Arch) -> Option<&'static str> {
    match arch {
        Arch::X86_64 | Arch::Aarch64 => Some(ROOT_BUS),
        Arch::Ppc64le => Some("pci.0"),
        Arch::S390x => None,
    }
}

fn has_pcie_root(arch: Arch) -> bool {
    bridge_bus(arch) == Some(ROOT_BUS)
}

/// Whether memory is bound to a NUMA node, and not named as the machine's: `isDimmSupported` in govmm's `qemu.go`.
pub(super) fn has_dimms(arch: Arch) -> bool {
    arch != Arch::S390x
}

/// Whether an image is read without copying it, as an NVDIMM is; on Arm's kernel that panics (`dax` in `qemu_arm64.go`,
/// `Kernel::new` in `cmdline_generator.rs`).
pub(super) fn reads_in_place(image: &GuestImage, arch: Arch) -> bool {
    image.driver == ImageDriver::Nvdimm && arch != Arch::Aarch64
}

/// Whether runtime-rs keeps room for more memory beside a file-backed one (`add_file_memory_backend`): where the image
/// would be an NVDIMM (`VMROOTFSDRIVER_QEMU`), or memory is added by virtio-mem (`DEFENABLEVIRTIOMEM`).
pub(super) fn keeps_slots(arch: Arch) -> bool {
    arch != Arch::Aarch64
}

/// Whether disks are SCSI's as shipped: `DEFBLOCKSTORAGEDRIVER_QEMU`, which `src/runtime-rs/Makefile` has per architecture.
pub(super) fn has_scsi(arch: Arch, runtime: Runtime) -> bool {
    runtime == Runtime::Go || arch != Arch::S390x
}

/// Whether it is known what Kata passes under this profile on the architecture.
pub fn is_read(profile: &Profile, arch: Arch) -> bool {
    arch == Arch::X86_64 || READ.contains(&profile.name.as_str())
}

/// The most memory of the Go runtime, MiB: `memoryTopology` of the architecture, with this room for an NVDIMM.
pub(super) fn go_max_memory(sandbox: &Sandbox, offset: u64) -> u64 {
    let host = sandbox.host_memory_mib;
    match sandbox.arch {
        Arch::X86_64 | Arch::Aarch64 => host + offset,
        Arch::Ppc64le => host - host % 256 + offset,
        Arch::S390x => host,
    }
}

/// The bus of a guest's virtio devices. On channels each has a number, in the order in which the runtime adds them.
pub(super) struct Bus {
    next: Option<u32>,
}

impl Bus {
    /// Go's bridge of channels counts from 1 (`AddDevice` in `src/runtime/virtcontainers/types/bridges.go`), `CcwSubChannel`
    /// from 0.
    pub(super) fn new(arch: Arch, runtime: Runtime) -> Bus {
        let first = match runtime {
            Runtime::Go => 1,
            Runtime::Rs => 0,
        };
        Bus { next: arch.has_channels().then_some(first) }
    }

    /// `virtio-net-pci`, `virtio-net-ccw`.
    pub(super) fn device(&self, name: &str) -> String {
        format!("{name}-{}", if self.is_pci() { "pci" } else { "ccw" })
    }

    pub(super) fn is_pci(&self) -> bool {
        self.next.is_none()
    }

    /// `,devno=fe.0.0001` for the next device on channels, nothing on PCI.
    pub(super) fn place(&mut self) -> String {
        let Some(number) = self.next else { return String::new() };
        self.next = Some(number + 1);
        format!(",devno=fe.0.{number:04x}")
    }
}

#[cfg(test)]
mod tests;
