//! What a profile demands of a release: gates, guest modules and documented minimums.

use crate::capability::Capability;
use crate::component::Component;
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

/// Guest kernel modules by what needs them; built-in ones count as present.
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
    /// To read an image whose hashes are checked (dm-verity); no guest with an initrd has one.
    pub verity: Vec<String>,
    /// Everything else that a Kata guest loads: network, SCSI, RNG, overlay.
    pub other: Vec<String>,
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
    /// To read an image whose hashes are checked.
    Verity,
    /// Everything else.
    Other,
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
        ModuleUse::Verity,
        ModuleUse::Other,
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
            ModuleUse::Verity => "verity",
            ModuleUse::Other => "other",
        })
    }
}

impl Modules {
    /// Those for a use.
    pub fn of(&self, used_for: ModuleUse) -> &[String] {
        match used_for {
            ModuleUse::Boot => &self.boot,
            ModuleUse::Vsock => &self.vsock,
            ModuleUse::VirtioFs => &self.virtio_fs,
            ModuleUse::Virtio9p => &self.virtio_9p,
            ModuleUse::VirtioBlk => &self.virtio_blk,
            ModuleUse::Nvdimm => &self.nvdimm,
            ModuleUse::Verity => &self.verity,
            ModuleUse::Other => &self.other,
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
