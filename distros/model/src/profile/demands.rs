//! A profile's demands on a release: gates, guest modules and documented minimums.

use crate::capability::Capability;
use crate::component::Component;
use crate::kata_version::KataVersion;
use crate::program_version::ProgramVersion;
use crate::share::Share;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// A feature that QEMU, or the host's kernel, must offer, and the capability that depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Gate {
    /// The list to look in.
    pub kind: GateKind,
    /// The feature's name: `vhost-user-fs-pci`.
    pub name: String,
    /// The capability that needs the feature: `fs.virtio-fs`.
    pub capability: Capability,
    /// The place in Kata's source that asks for the feature.
    pub source: String,
    /// The release since which Kata asks for the feature, if that is not the first of the profile's range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<KataVersion>,
}

/// List in which a gate is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateKind {
    /// `-machine help`.
    Machine,
    /// `-device help`.
    Device,
    /// `-object help`.
    Object,
    /// Not QEMU's: the configuration of the release's kernel, in which the option may be built in or a module.
    KernelOption,
}

/// Guest kernel modules by use. Built-in ones count as present; of `A or B` one is enough, and the first that exists is
/// used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Modules {
    /// Before the agent starts: console, transport.
    pub boot: Vec<String>,
    /// For Kata's vsock channel.
    pub vsock: Vec<String>,
    /// To mount virtio-fs.
    pub virtio_fs: Vec<String>,
    /// To mount 9p.
    pub virtio_9p: Vec<String>,
    /// To mount an ext4 disk.
    pub virtio_blk: Vec<String>,
    /// To mount an ext4 image that is an NVDIMM; not needed with an initrd.
    pub nvdimm: Vec<String>,
    /// For devices and clocks of settings other than the shipped ones.
    pub settings: Vec<String>,
    /// To read KVM's clock; the module does not load without that clock.
    pub clock: Vec<String>,
    /// To read an image whose hashes are checked (dm-verity); not needed with an initrd.
    pub verity: Vec<String>,
    /// All other modules that a Kata guest loads: network, SCSI, RNG, overlay.
    pub other: Vec<String>,
    /// For nftables rules of a container.
    pub filters: Vec<String>,
    /// For nftables rules that translate addresses.
    pub translation: Vec<String>,
    /// For a container's bridge with veth pairs.
    pub bridges: Vec<String>,
    /// For a container's VXLAN.
    pub tunnels: Vec<String>,
    /// For a container's macvlan.
    pub macvlans: Vec<String>,
    /// For a container's tap interface.
    pub taps: Vec<String>,
    /// To use a file as a disk.
    #[serde(rename = "loop")]
    pub loop_devices: Vec<String>,
    /// To mount a file with EROFS.
    pub erofs: Vec<String>,
    /// To mount a file with XFS.
    pub xfs: Vec<String>,
    /// To stack layers.
    pub overlay: Vec<String>,
    /// For the devices of a machine without PCI, such as Firecracker's.
    pub virtio_mmio: Vec<String>,
}

/// Uses of guest kernel modules, as in [`Modules`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModuleUse {
    /// Before the agent starts.
    Boot,
    /// Kata's vsock channel.
    Vsock,
    /// To mount virtio-fs.
    VirtioFs,
    /// To mount 9p.
    #[serde(rename = "virtio-9p")]
    Virtio9p,
    /// To mount an ext4 disk.
    VirtioBlk,
    /// To mount an ext4 image that is an NVDIMM.
    Nvdimm,
    /// Devices of settings other than the shipped ones.
    Settings,
    /// To read KVM's clock.
    Clock,
    /// To read an image whose hashes are checked.
    Verity,
    /// All other modules.
    Other,
    /// Nftables rules of a container.
    Filters,
    /// Nftables rules that translate addresses.
    Translation,
    /// A container's bridge with veth pairs.
    Bridges,
    /// A container's VXLAN.
    Tunnels,
    /// A container's macvlan.
    Macvlans,
    /// A container's tap interface.
    Taps,
    /// To use a file as a disk.
    Loop,
    /// To mount a file with EROFS.
    Erofs,
    /// To mount a file with XFS.
    Xfs,
    /// To stack layers.
    Overlay,
    /// The devices of a machine without PCI.
    VirtioMmio,
}

impl ModuleUse {
    /// All uses.
    pub const ALL: &'static [ModuleUse] = &[
        ModuleUse::Boot,
        ModuleUse::Vsock,
        ModuleUse::VirtioFs,
        ModuleUse::Virtio9p,
        ModuleUse::VirtioBlk,
        ModuleUse::Nvdimm,
        ModuleUse::Settings,
        ModuleUse::Clock,
        ModuleUse::Verity,
        ModuleUse::Other,
        ModuleUse::Filters,
        ModuleUse::Translation,
        ModuleUse::Bridges,
        ModuleUse::Tunnels,
        ModuleUse::Macvlans,
        ModuleUse::Taps,
        ModuleUse::Loop,
        ModuleUse::Erofs,
        ModuleUse::Xfs,
        ModuleUse::Overlay,
        ModuleUse::VirtioMmio,
    ];
}

impl From<Share> for ModuleUse {
    fn from(share: Share) -> ModuleUse {
        match share {
            Share::VirtioFs => ModuleUse::VirtioFs,
            Share::Virtio9p => ModuleUse::Virtio9p,
            Share::VirtioBlk => ModuleUse::VirtioBlk,
        }
    }
}

impl fmt::Display for ModuleUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ModuleUse::Boot => "boot",
            ModuleUse::Vsock => "vsock",
            ModuleUse::VirtioFs => Share::VirtioFs.name(),
            ModuleUse::Virtio9p => Share::Virtio9p.name(),
            ModuleUse::VirtioBlk => Share::VirtioBlk.name(),
            ModuleUse::Nvdimm => "nvdimm",
            ModuleUse::Settings => "settings",
            ModuleUse::Clock => "clock",
            ModuleUse::Verity => "verity",
            ModuleUse::Other => "other",
            ModuleUse::Filters => "filters",
            ModuleUse::Translation => "translation",
            ModuleUse::Bridges => "bridges",
            ModuleUse::Tunnels => "tunnels",
            ModuleUse::Macvlans => "macvlans",
            ModuleUse::Taps => "taps",
            ModuleUse::Loop => "loop",
            ModuleUse::Erofs => "erofs",
            ModuleUse::Xfs => "xfs",
            ModuleUse::Overlay => "overlay",
            ModuleUse::VirtioMmio => "virtio-mmio",
        })
    }
}

impl Modules {
    /// Returns the modules for a use.
    pub fn of(&self, used_for: ModuleUse) -> &[String] {
        match used_for {
            ModuleUse::Boot => &self.boot,
            ModuleUse::Vsock => &self.vsock,
            ModuleUse::VirtioFs => &self.virtio_fs,
            ModuleUse::Virtio9p => &self.virtio_9p,
            ModuleUse::VirtioBlk => &self.virtio_blk,
            ModuleUse::Nvdimm => &self.nvdimm,
            ModuleUse::Settings => &self.settings,
            ModuleUse::Clock => &self.clock,
            ModuleUse::Verity => &self.verity,
            ModuleUse::Other => &self.other,
            ModuleUse::Filters => &self.filters,
            ModuleUse::Translation => &self.translation,
            ModuleUse::Bridges => &self.bridges,
            ModuleUse::Tunnels => &self.tunnels,
            ModuleUse::Macvlans => &self.macvlans,
            ModuleUse::Taps => &self.taps,
            ModuleUse::Loop => &self.loop_devices,
            ModuleUse::Erofs => &self.erofs,
            ModuleUse::Xfs => &self.xfs,
            ModuleUse::Overlay => &self.overlay,
            ModuleUse::VirtioMmio => &self.virtio_mmio,
        }
    }

    /// Returns all modules that a guest with an initrd may need, sorted, each once: Kata's agent loads modules only on
    /// request.
    pub fn all(&self) -> Vec<String> {
        let uses = [&self.boot, &self.vsock, &self.virtio_fs, &self.virtio_9p, &self.virtio_blk, &self.other];
        uses.into_iter().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// A minimum version that Kata documents or implies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Minimum {
    /// The component that must have the version.
    pub component: Component,
    /// The version, in upstream's numbering.
    pub version: ProgramVersion,
    /// The feature that needs the version.
    pub why: String,
    /// The source of the minimum.
    pub source: String,
}
