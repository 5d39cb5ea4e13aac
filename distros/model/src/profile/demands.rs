//! What a profile demands of a release: gates, guest modules and documented minimums.

use crate::capability::Capability;
use crate::component::Component;
use crate::kata_version::KataVersion;
use crate::share::Share;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// One thing that QEMU, or the host's kernel, must offer, and the capability that it decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Gate {
    /// Where to look.
    pub kind: GateKind,
    /// `vhost-user-fs-pci`.
    pub name: String,
    /// The capability it serves: `fs.virtio-fs`.
    pub capability: Capability,
    /// Where Kata asks for it.
    pub source: String,
    /// The release from which it asks for it, if that is not the first of the profile's range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<KataVersion>,
}

/// Which list a gate is looked up in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateKind {
    /// `-machine help`.
    Machine,
    /// `-device help`.
    Device,
    /// `-object help`.
    Object,
    /// None of QEMU's: the configuration of the release's kernel, where it is built in or a module.
    KernelOption,
}

/// Guest kernel modules by what needs them; built-in ones count as present, and of `A or B` one is enough, the first that
/// is there.
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
    /// To mount an ext4 image that is an NVDIMM; no guest with an initrd has one.
    pub nvdimm: Vec<String>,
    /// For devices and clocks of settings that are not the shipped ones.
    pub settings: Vec<String>,
    /// To read KVM's clock; without that clock it does not load.
    pub clock: Vec<String>,
    /// To read an image whose hashes are checked (dm-verity); no guest with an initrd has one.
    pub verity: Vec<String>,
    /// Everything else that a Kata guest loads: network, SCSI, RNG, overlay.
    pub other: Vec<String>,
    /// For a container's rules of nftables.
    pub filters: Vec<String>,
    /// For such rules that translate addresses.
    pub translation: Vec<String>,
    /// For a container's bridge with pairs of interfaces.
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
    /// For the devices of a machine without PCI, which Firecracker's is.
    pub virtio_mmio: Vec<String>,
}

/// What guest kernel modules are for, as [`Modules`] has it.
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
    /// Devices of settings that are not the shipped ones.
    Settings,
    /// To read KVM's clock.
    Clock,
    /// To read an image whose hashes are checked.
    Verity,
    /// Everything else.
    Other,
    /// A container's rules of nftables.
    Filters,
    /// Such rules that translate addresses.
    Translation,
    /// A container's bridge with pairs of interfaces.
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
    /// The devices of a machine without PCI.
    VirtioMmio,
}

impl ModuleUse {
    /// All of them.
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
            ModuleUse::VirtioMmio => "virtio-mmio",
        })
    }
}

impl Modules {
    /// The modules for a use.
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
            ModuleUse::VirtioMmio => &self.virtio_mmio,
        }
    }

    /// All that a guest with an initrd may need, each once and in the order of their names: Kata's agent loads none
    /// before it is asked to.
    pub fn all(&self) -> Vec<String> {
        let uses = [&self.boot, &self.vsock, &self.virtio_fs, &self.virtio_9p, &self.virtio_blk, &self.other];
        uses.into_iter().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// A minimum version that Kata documents or implies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Minimum {
    /// What it is asked of.
    pub component: Component,
    /// The version, as upstream counts.
    pub version: String,
    /// What needs it.
    pub why: String,
    /// Where that is seen.
    pub source: String,
}
