//! Capabilities, the columns of the matrix: the one table of their names, for records, profiles, suites and reports.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One column of the matrix: something that a distro can do for a Kata version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// The native packages install, and the record's paths are true.
    PackagesInstall,
    /// QEMU boots a guest the way the profile does.
    VmmBoot,
    /// QEMU's QMP replies are what the profile's runtime parses.
    VmmQmp,
    /// Host and guest talk over vhost-vsock.
    VmmVsock,
    /// The guest has a vhost-net tap device.
    VmmNet,
    /// Memory is plugged into a running guest.
    VmmHotplugMemory,
    /// CPUs are plugged into a running guest.
    VmmHotplugCpu,
    /// Disks are plugged into a running guest.
    VmmHotplugBlk,
    /// Network interfaces are plugged into a running guest.
    VmmHotplugNet,
    /// Something is plugged into a PCIe root port of a running guest.
    VmmHotplugRootPort,
    /// QEMU gives a guest Kata's image as an NVDIMM.
    VmmImageNvdimm,
    /// QEMU gives a guest Kata's image as a virtio-blk disk.
    VmmImageBlk,
    /// `vhost-user-blk-pci` exists.
    VmmVhostUserBlk,
    /// `vfio-pci` exists.
    VmmVfio,
    /// Every device exists that Kata's own build of QEMU insists on and only settings ask for.
    VmmBuildGate,
    /// `amd-iommu` exists.
    VmmAmdIommu,
    /// `tdx-guest` exists.
    VmmTdx,
    /// `sev-snp-guest` exists.
    VmmSevSnp,
    /// The distro's kernel is usable as Kata's guest kernel.
    KernelGuest,
    /// The distro's kernel is usable as Kata's host kernel.
    KernelHost,
    /// The host's KVM runs vCPUs.
    HostKvm,
    /// The host has the vhost drivers that Kata hands to QEMU.
    HostVhost,
    /// The host can tie a pod's interface to a guest's.
    HostNetwork,
    /// The host's cgroups have what Kata needs.
    HostCgroups,
    /// The host has room for shared guest memory.
    HostMemory,
    /// QEMU's `aio=io_uring` works on the host.
    HostIoUring,
    /// The distro's containerd runs.
    HostContainerd,
    /// The rules of Kata's own checks hold.
    HostCheck,
    /// virtio-fs with the distro's virtiofsd.
    FsVirtioFs,
    /// Extended attributes over virtio-fs (`--xattr`).
    FsVirtioFsXattr,
    /// POSIX ACLs over virtio-fs (`--posix-acl`).
    FsVirtioFsAcl,
    /// pjdfstest over virtio-fs differs in nothing from the native filesystem.
    FsVirtioFsPosix,
    /// 9p by QEMU.
    FsVirtio9p,
    /// Extended attributes over 9p.
    FsVirtio9pXattr,
    /// pjdfstest over 9p differs in nothing from the native filesystem.
    FsVirtio9pPosix,
    /// A block device with ext4.
    FsVirtioBlk,
    /// pjdfstest over the block device differs in nothing from the native filesystem.
    FsVirtioBlkPosix,
    /// Containers run under the distro's containerd and runc: the control of everything under Kata.
    ContainersRunc,
    /// A container runs under Kata.
    KataSmoke,
    /// Kata's shared filesystem works for containers.
    KataFs,
    /// Limits of containers hold under Kata.
    KataLimits,
    /// Containers have a network under Kata.
    KataNet,
    /// Kata's own check of the host passes.
    KataCheck,
    /// The distro's own tool makes an initrd for Kata's guests.
    KataInitrd,
    /// Kata's own guest kernel boots under the distro's VMM.
    KataKernel,
}

impl Capability {
    /// All of them, in the order of the matrix.
    pub const ALL: &'static [Capability] = &[
        Capability::PackagesInstall,
        Capability::VmmBoot,
        Capability::VmmQmp,
        Capability::VmmVsock,
        Capability::VmmNet,
        Capability::VmmHotplugMemory,
        Capability::VmmHotplugCpu,
        Capability::VmmHotplugBlk,
        Capability::VmmHotplugNet,
        Capability::VmmHotplugRootPort,
        Capability::VmmImageNvdimm,
        Capability::VmmImageBlk,
        Capability::VmmVhostUserBlk,
        Capability::VmmVfio,
        Capability::VmmBuildGate,
        Capability::VmmAmdIommu,
        Capability::VmmTdx,
        Capability::VmmSevSnp,
        Capability::KernelGuest,
        Capability::KernelHost,
        Capability::HostKvm,
        Capability::HostVhost,
        Capability::HostNetwork,
        Capability::HostCgroups,
        Capability::HostMemory,
        Capability::HostIoUring,
        Capability::HostContainerd,
        Capability::HostCheck,
        Capability::FsVirtioFs,
        Capability::FsVirtioFsXattr,
        Capability::FsVirtioFsAcl,
        Capability::FsVirtioFsPosix,
        Capability::FsVirtio9p,
        Capability::FsVirtio9pXattr,
        Capability::FsVirtio9pPosix,
        Capability::FsVirtioBlk,
        Capability::FsVirtioBlkPosix,
        Capability::ContainersRunc,
        Capability::KataSmoke,
        Capability::KataFs,
        Capability::KataLimits,
        Capability::KataNet,
        Capability::KataCheck,
        Capability::KataInitrd,
        Capability::KataKernel,
    ];

    /// The dotted name in records, reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Capability::PackagesInstall => "packages.install",
            Capability::VmmBoot => "vmm.boot",
            Capability::VmmQmp => "vmm.qmp",
            Capability::VmmVsock => "vmm.vsock",
            Capability::VmmNet => "vmm.net",
            Capability::VmmHotplugMemory => "vmm.hotplug.memory",
            Capability::VmmHotplugCpu => "vmm.hotplug.cpu",
            Capability::VmmHotplugBlk => "vmm.hotplug.blk",
            Capability::VmmHotplugNet => "vmm.hotplug.net",
            Capability::VmmHotplugRootPort => "vmm.hotplug.root-port",
            Capability::VmmImageNvdimm => "vmm.image.nvdimm",
            Capability::VmmImageBlk => "vmm.image.blk",
            Capability::VmmVhostUserBlk => "vmm.vhost-user-blk",
            Capability::VmmVfio => "vmm.vfio",
            Capability::VmmBuildGate => "vmm.build-gate",
            Capability::VmmAmdIommu => "vmm.amd-iommu",
            Capability::VmmTdx => "vmm.tdx",
            Capability::VmmSevSnp => "vmm.sev-snp",
            Capability::KernelGuest => "kernel.guest",
            Capability::KernelHost => "kernel.host",
            Capability::HostKvm => "host.kvm",
            Capability::HostVhost => "host.vhost",
            Capability::HostNetwork => "host.network",
            Capability::HostCgroups => "host.cgroups",
            Capability::HostMemory => "host.memory",
            Capability::HostIoUring => "host.io-uring",
            Capability::HostContainerd => "host.containerd",
            Capability::HostCheck => "host.check",
            Capability::FsVirtioFs => "fs.virtio-fs",
            Capability::FsVirtioFsXattr => "fs.virtio-fs.xattr",
            Capability::FsVirtioFsAcl => "fs.virtio-fs.acl",
            Capability::FsVirtioFsPosix => "fs.virtio-fs.posix",
            Capability::FsVirtio9p => "fs.virtio-9p",
            Capability::FsVirtio9pXattr => "fs.virtio-9p.xattr",
            Capability::FsVirtio9pPosix => "fs.virtio-9p.posix",
            Capability::FsVirtioBlk => "fs.virtio-blk",
            Capability::FsVirtioBlkPosix => "fs.virtio-blk.posix",
            Capability::ContainersRunc => "containers.runc",
            Capability::KataSmoke => "kata.smoke",
            Capability::KataFs => "kata.fs",
            Capability::KataLimits => "kata.limits",
            Capability::KataNet => "kata.net",
            Capability::KataCheck => "kata.check",
            Capability::KataInitrd => "kata.initrd",
            Capability::KataKernel => "kata.kernel",
        }
    }

    /// What it means, in one sentence, for `explain`.
    pub fn meaning(self) -> &'static str {
        match self {
            Capability::PackagesInstall => "the native packages install and the record's paths and owners are true",
            Capability::VmmBoot => "the distro's QEMU boots the distro's kernel with the profile's arguments",
            Capability::VmmQmp => "QEMU's QMP replies are what the profile's runtime parses",
            Capability::VmmVsock => "host and guest talk over vhost-vsock, the channel of Kata's agent",
            Capability::VmmNet => "the guest has network over a vhost-net tap device",
            Capability::VmmHotplugMemory => "memory that is plugged into a running guest is the guest's",
            Capability::VmmHotplugCpu => "a CPU that is plugged into a running guest works, and can be unplugged",
            Capability::VmmHotplugBlk => {
                "a disk that is plugged into a running guest is where Kata predicts, and holds data"
            }
            Capability::VmmHotplugNet => {
                "a network interface that is plugged into a running guest is where Kata predicts, and carries packets"
            }
            Capability::VmmHotplugRootPort => {
                "a device that is plugged into a PCIe root port works, where Kata plugs VFIO devices if told to"
            }
            Capability::VmmImageNvdimm => {
                "QEMU gives a guest Kata's image as an NVDIMM, and its root filesystem is read there by DAX; the \
                 kernel of such a guest is Kata's own, for without an initrd a distro's has no drivers"
            }
            Capability::VmmImageBlk => {
                "QEMU gives a guest Kata's image as a virtio-blk disk, and its root filesystem is read there; the \
                 kernel of such a guest is Kata's own, for without an initrd a distro's has no drivers"
            }
            Capability::VmmVhostUserBlk => "QEMU offers vhost-user-blk (SPDK volumes)",
            Capability::VmmVfio => "QEMU offers vfio-pci (device pass-through)",
            Capability::VmmBuildGate => "QEMU offers what Kata's own build of it insists on and only settings ask for",
            Capability::VmmAmdIommu => "QEMU offers amd-iommu",
            Capability::VmmTdx => "QEMU offers Intel TDX guests",
            Capability::VmmSevSnp => "QEMU offers AMD SEV-SNP guests",
            Capability::KernelGuest => "the distro's kernel works as Kata's guest kernel",
            Capability::KernelHost => "the distro's kernel works as Kata's host kernel",
            Capability::HostKvm => "KVM runs a vCPU on the release's kernel",
            Capability::HostVhost => "the release's kernel gives Kata vhost-vsock and vhost-net",
            Capability::HostNetwork => {
                "the release's kernel can tie a pod's interface to a tap (tun, ingress, u32, mirred)"
            }
            Capability::HostCgroups => "the host's cgroups have the controllers that Kata puts sandboxes under",
            Capability::HostMemory => "guest memory fits /dev/shm, where virtio-fs wants it",
            Capability::HostIoUring => "the release's QEMU reads disks by io_uring on the release's kernel",
            Capability::HostContainerd => "the release's containerd is there and runs",
            Capability::HostCheck => "what `kata-runtime check` and `kata-ctl check` ask of a host holds",
            Capability::FsVirtioFs => "virtio-fs works the way the profile uses it",
            Capability::FsVirtioFsXattr => "extended attributes work over virtio-fs with --xattr",
            Capability::FsVirtioFsAcl => "POSIX ACLs work over virtio-fs with --posix-acl",
            Capability::FsVirtioFsPosix => "pjdfstest sees no difference between virtio-fs and the native filesystem",
            Capability::FsVirtio9p => "9p works the way the profile uses it",
            Capability::FsVirtio9pXattr => "extended attributes work over 9p",
            Capability::FsVirtio9pPosix => "pjdfstest sees no difference between 9p and the native filesystem",
            Capability::FsVirtioBlk => "a virtio block device with ext4 works",
            Capability::FsVirtioBlkPosix => {
                "pjdfstest sees no difference between the block device and the native filesystem"
            }
            Capability::ContainersRunc => {
                "containers run under the distro's containerd and runc, the control of Kata's"
            }
            Capability::KataSmoke => "containers run under Kata itself",
            Capability::KataFs => "containers share files with the host under Kata itself",
            Capability::KataLimits => "limits on processes, memory and CPU time hold under Kata itself",
            Capability::KataNet => "containers have a network under Kata itself",
            Capability::KataCheck => "`kata-runtime check` or `kata-ctl check` itself accepts the host",
            Capability::KataInitrd => "the distro's own initramfs tool makes an initrd that Kata's guests boot",
            Capability::KataKernel => {
                "Kata's own guest kernel boots under the distro's VMM; not for production with a distro"
            }
        }
    }

    /// Whether all that is looked at is a list, QEMU's of its devices or objects: it is `offered` at best, for nobody used it.
    pub fn is_only_listed(self) -> bool {
        matches!(
            self,
            Capability::VmmVhostUserBlk
                | Capability::VmmVfio
                | Capability::VmmBuildGate
                | Capability::VmmAmdIommu
                | Capability::VmmTdx
                | Capability::VmmSevSnp
        )
    }

    /// That of a shared filesystem, `virtio-fs`, where there is one.
    pub fn of_share(share: &str) -> Option<Capability> {
        format!("fs.{share}").parse().ok()
    }
}

/// A name that no capability has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability `{name}`: {}", .nearest.map_or_else(all_names, |n| format!("did you mean `{n}`?")))]
pub struct UnknownCapability {
    /// What was said.
    pub name: String,
    /// The one that was probably meant.
    pub nearest: Option<Capability>,
}

fn all_names() -> String {
    let names: Vec<&str> = Capability::ALL.iter().map(|c| c.name()).collect();
    format!("known are {}", names.join(", "))
}

impl std::str::FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let same = Capability::ALL.iter().copied().find(|c| c.name() == name);
        same.ok_or_else(|| {
            let nearest = crate::record::nearest(name, Capability::ALL.iter().map(|c| c.name()));
            let nearest = nearest.and_then(|n| Capability::ALL.iter().copied().find(|c| c.name() == n));
            UnknownCapability { name: name.to_owned(), nearest }
        })
    }
}

impl std::fmt::Display for Capability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_again() {
        for (at, capability) in Capability::ALL.iter().enumerate() {
            assert_eq!(capability.name().parse(), Ok(*capability));
            assert!(!Capability::ALL[..at].iter().any(|c| c.name() == capability.name()), "{capability}");
        }
        assert_eq!(Capability::of_share("virtio-9p"), Some(Capability::FsVirtio9p));
        assert_eq!(Capability::of_share("nfs"), None);
    }

    #[test]
    fn a_mistyped_name_is_answered_with_the_nearest() {
        let said = |name: &str| name.parse::<Capability>().unwrap_err().to_string();
        assert_eq!(said("fs.virtio-fz"), "unknown capability `fs.virtio-fz`: did you mean `fs.virtio-fs`?");
        assert!(said("zzz").contains("known are packages.install, vmm.boot"), "{}", said("zzz"));
        assert!(
            serde_json::from_str::<Capability>("\"fs.virtio-fz\"").unwrap_err().to_string().contains("did you mean")
        );
    }
}
