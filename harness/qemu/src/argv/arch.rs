//! Changes that an architecture makes to a profile's arguments, which are those of x86_64 as shipped.
//!
//! Read for the maintained profiles. The Go runtime: `newQemuArch` and its overrides in
//! `src/runtime/virtcontainers/qemu_{arm64,ppc64le,s390x}.go`, and the settings in `src/runtime/arch/*-options.mk` and
//! `src/runtime/Makefile`, all at 3.32.0 and unchanged on these paths up to 4.1.0. runtime-rs: `bus_type` and its
//! callers in `src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0`, and the settings in
//! `src/runtime-rs/arch/*-options.mk@4.1.0` and `src/runtime-rs/Makefile@4.1.0`.

use super::ArgvError;
use crate::sandbox::{GuestImage, MemoryBacking, Sandbox};
use model::arch::Arch;
use model::profile::fixed::ROOT_BUS;
use model::profile::{ImageDriver, Profile, Runtime};
use std::borrow::Cow;

/// Profiles whose arguments were also read for Arm, POWER and IBM Z.
const READ: [&str; 2] = ["go-3.32", "rs-4.1"];

/// `machine_accelerators` of POWER, the same in both runtimes (`src/runtime/arch/ppc64le-options.mk@3.32.0`,
/// `src/runtime-rs/arch/powerpc64le-options.mk@4.1.0`).
const POWER_ACCELERATORS: &str = "cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-large-decr=off,cap-ccf-assist=off";

/// QEMU's machine without PCI, whose virtio devices are on MMIO (`defaultTransport` in govmm's `qemu.go`).
pub(crate) const MICROVM: &str = "microvm";
/// The end of the names of QEMU's virtio devices on MMIO.
pub(crate) const MMIO_SUFFIX: &str = "device";

/// Returns the profile as its runtime configures QEMU on the sandbox's architecture and machine.
///
/// # Errors
/// When the profile's arguments for the architecture are not known.
pub(super) fn profile<'a>(profile: &'a Profile, sandbox: &Sandbox) -> Result<Cow<'a, Profile>, ArgvError> {
    let arch = sandbox.arch;
    if arch == Arch::X86_64 && sandbox.microvm {
        return Ok(Cow::Owned(microvm(profile)));
    }
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
    // `CPUFEATURES` is empty on POWER and IBM Z, and both runtimes still print the comma before it.
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

/// Returns the profile with the machine type `microvm`, whose options are those of q35 (`supportedQemuMachines` in
/// `src/runtime/virtcontainers/qemu_amd64.go`), and which has no PCIe root (`hasPCIeRoot` in govmm's `qemu.go`); both at
/// 3.32.0 and 4.1.0.
fn microvm(profile: &Profile) -> Profile {
    let mut changed = profile.clone();
    changed.qemu.machine = MICROVM.to_owned();
    changed.qemu.root_bus = None;
    changed
}

/// Returns `defaultQemuMachineOptions` of the architecture, then `machine_accelerators` (`getQemuMachine` in
/// `qemu.go`).
fn go_machine(arch: Arch) -> String {
    match arch {
        Arch::X86_64 | Arch::S390x => "accel=kvm".to_owned(),
        Arch::Aarch64 => "usb=off,accel=kvm,gic-version=host".to_owned(),
        Arch::Ppc64le => format!("accel=kvm,usb=off,cap-ail-mode-3=off,{POWER_ACCELERATORS}"),
    }
}

/// Returns the options of `ToQemuParams` for `Machine`: `machine_accelerators` between the accelerator and the
/// interrupt controller.
fn rs_machine(arch: Arch) -> String {
    match arch {
        Arch::X86_64 | Arch::S390x => "accel=kvm,kernel_irqchip=on".to_owned(),
        Arch::Aarch64 => "accel=kvm,usb=off,gic-version=host,kernel_irqchip=on".to_owned(),
        Arch::Ppc64le => format!("accel=kvm,{POWER_ACCELERATORS},kernel_irqchip=on"),
    }
}

/// Returns `kernelParams` of the architecture, the consoles of `appendConsole` (IBM Z's version adds none),
/// `kernelParamsNonDebug` and `defaultKernelParameters`.
fn go_params(arch: Arch) -> &'static [&'static str] {
    match arch {
        // The profile already has the parameters of x86_64.
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

/// Returns the sandbox as the runtime sees it on its architecture.
pub(super) fn sandbox(sandbox: &Sandbox, runtime: Runtime) -> Sandbox {
    let mut seen = sandbox.clone();
    // `RunningOnVMM` in `src/runtime/virtcontainers/hypervisor.go` supports amd64 only; `is_running_in_vm` looks for a
    // line that begins with `flags`, which only x86 processors have in `/proc/cpuinfo`.
    seen.nested &= sandbox.arch == Arch::X86_64;
    // `appendNetwork` of `qemu_s390x.go` switches vhost off.
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

/// Returns the number of ports that the Go runtime always creates on Arm's machine, where devices can be plugged into
/// PCIe ports only: one for each link of the sandbox's network namespace, that is, the loopback and Kata's interface
/// (`createPCIeTopology` in `qemu.go`, `GetEndpointsNum` in `src/runtime/virtcontainers/network_linux.go@3.32.0`).
fn links(sandbox: &Sandbox) -> u32 {
    1 + u32::from(sandbox.net.is_some())
}

/// Returns the number of ports of the Go runtime's PCIe switch: the requested one, or as many as there would be without
/// the switch if that is more.
pub(super) fn go_switch_ports(sandbox: &Sandbox) -> u32 {
    match sandbox.arch {
        Arch::Aarch64 => links(sandbox),
        Arch::X86_64 | Arch::Ppc64le | Arch::S390x => 1,
    }
}

/// Returns the name of a part of the sandbox for which the runtime has no arguments on this architecture, for a
/// message.
pub(super) fn lacks(sandbox: &Sandbox, runtime: Runtime) -> Option<&'static str> {
    let arch = sandbox.arch;
    // `newQemuArch` knows it in `qemu_amd64.go` only; what runtime-rs would pass for it was not read.
    if sandbox.microvm && (arch != Arch::X86_64 || runtime != Runtime::Go) {
        return Some("the machine type microvm");
    }
    if arch == Arch::X86_64 {
        return None;
    }
    let image = sandbox.image.as_ref().map(|image| image.driver);
    // `appendIOMMU` of the Go runtime refuses it; runtime-rs adds Intel's IOMMU, or only a kernel parameter.
    if sandbox.iommu {
        Some("an IOMMU")
    } else if (sandbox.root_ports > 0 || sandbox.switch_port) && !has_pcie_root(arch) {
        // `CreateVM` makes a PCIe topology for q35 and virt only.
        Some("PCIe ports")
    } else if sandbox.memory == MemoryBacking::TwoNodes && arch != Arch::Aarch64 {
        // "multi-NUMA support is only available on amd64 and arm64" (src/runtime/pkg/katautils/config.go).
        Some("several NUMA nodes")
    } else if image.is_some() && arch == Arch::Ppc64le {
        // Kata ships an initrd there (src/runtime-rs/Makefile); the Go runtime would attach the image as a disk, with
        // an NVDIMM as the root.
        Some("an image")
    } else if image == Some(ImageDriver::Nvdimm) && arch == Arch::S390x {
        Some("an image as an NVDIMM")
    } else if image == Some(ImageDriver::Nvdimm) && runtime == Runtime::Go && sandbox.firmware.is_none() {
        // `newQemuHypervisorConfig` in src/runtime/pkg/katautils/config.go switches the NVDIMM off without a firmware.
        Some("an image as an NVDIMM without a firmware")
    } else {
        None
    }
}

/// Returns the bus of the bridges, if the machine has PCI: `genericBridges` and `genericAppendBridges` in `qemu.go`,
/// `DevicePciBridge::new`.
pub(super) fn bridge_bus(sandbox: &Sandbox) -> Option<&'static str> {
    if sandbox.microvm { None } else { root_of(sandbox.arch) }
}

fn root_of(arch: Arch) -> Option<&'static str> {
    match arch {
        Arch::X86_64 | Arch::Aarch64 => Some(ROOT_BUS),
        Arch::Ppc64le => Some("pci.0"),
        Arch::S390x => None,
    }
}

fn has_pcie_root(arch: Arch) -> bool {
    root_of(arch) == Some(ROOT_BUS)
}

/// Returns whether memory is bound to a NUMA node instead of being named by `-machine`: `isDimmSupported` in govmm's
/// `qemu.go`.
pub(super) fn has_dimms(sandbox: &Sandbox) -> bool {
    sandbox.arch != Arch::S390x && !sandbox.microvm
}

/// Returns whether the guest reads an image without copying it (DAX), as from an NVDIMM. Not on Arm, where the kernel
/// panics with DAX (`dax` in `qemu_arm64.go`, `Kernel::new` in `cmdline_generator.rs`).
pub(super) fn reads_in_place(image: &GuestImage, arch: Arch) -> bool {
    image.driver == ImageDriver::Nvdimm && arch != Arch::Aarch64
}

/// Returns whether runtime-rs reserves slots and maxmem with file-backed memory (`add_file_memory_backend`): if the
/// image would be an NVDIMM (`VMROOTFSDRIVER_QEMU`), or memory is added by virtio-mem (`DEFENABLEVIRTIOMEM`).
pub(super) fn keeps_slots(arch: Arch) -> bool {
    arch != Arch::Aarch64
}

/// Returns whether disks are SCSI as shipped: `DEFBLOCKSTORAGEDRIVER_QEMU`, which `src/runtime-rs/Makefile` sets by
/// architecture.
pub(super) fn has_scsi(arch: Arch, runtime: Runtime) -> bool {
    runtime == Runtime::Go || arch != Arch::S390x
}

/// Returns whether Kata's arguments under this profile are known for the architecture.
pub fn is_read(profile: &Profile, arch: Arch) -> bool {
    match arch {
        Arch::X86_64 => true,
        Arch::Aarch64 | Arch::Ppc64le | Arch::S390x => READ.contains(&profile.name.as_str()),
    }
}

/// Returns the Go runtime's maximum memory in MiB: `memoryTopology` of the architecture; `offset` is the room for an
/// NVDIMM.
pub(super) fn go_max_memory(sandbox: &Sandbox, offset: u64) -> u64 {
    let host = sandbox.host_memory_mib;
    match sandbox.arch {
        Arch::X86_64 | Arch::Aarch64 => host + offset,
        Arch::Ppc64le => host - host % 256 + offset,
        Arch::S390x => host,
    }
}

/// The bus of a guest's virtio devices.
pub(super) enum Bus {
    /// PCI, of nearly all machines.
    Pci,
    /// MMIO: no place of a device is ever named.
    Mmio,
    /// Channels, on which each device has a number, in the order in which the runtime adds them.
    Channels {
        /// The next device's number.
        next: u32,
    },
}

impl Bus {
    /// Creates the bus. The Go runtime's channel numbers start at 1 (`AddDevice` in
    /// `src/runtime/virtcontainers/types/bridges.go`), those of runtime-rs (`CcwSubChannel`) at 0.
    pub(super) fn new(sandbox: &Sandbox, runtime: Runtime) -> Bus {
        let first = match runtime {
            Runtime::Go => 1,
            Runtime::Rs => 0,
        };
        if sandbox.microvm {
            Bus::Mmio
        } else if sandbox.arch.has_channels() {
            Bus::Channels { next: first }
        } else {
            Bus::Pci
        }
    }

    /// Returns the full device name: `virtio-net-pci`, `virtio-net-device`, `virtio-net-ccw`.
    pub(super) fn device(&self, name: &str) -> String {
        let suffix = match self {
            Bus::Pci => "pci",
            Bus::Mmio => MMIO_SUFFIX,
            Bus::Channels { .. } => "ccw",
        };
        format!("{name}-{suffix}")
    }

    pub(super) fn is_pci(&self) -> bool {
        matches!(self, Bus::Pci)
    }

    pub(super) fn has_channels(&self) -> bool {
        matches!(self, Bus::Channels { .. })
    }

    /// Returns `,devno=fe.0.0001` for the next device on channels, nothing on other buses.
    pub(super) fn place(&mut self) -> String {
        let Bus::Channels { next } = self else { return String::new() };
        let number = *next;
        *next += 1;
        format!(",devno=fe.0.{number:04x}")
    }
}

#[cfg(test)]
mod tests;
