//! What the parts of a release are to Kata.

use serde::Serialize;

/// What a component of a release is to Kata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComponentKind {
    /// A VMM.
    Vmm,
    /// A shared filesystem.
    Fs,
    /// The kernel.
    Kernel,
    /// A container manager: containerd, CRI-O.
    ContainerManager,
    /// Kata itself, as the distro packages it.
    Kata,
    /// Firmware of guests: OVMF.
    Firmware,
    /// What confines a VMM: Firecracker's jailer.
    Jailer,
    /// A snapshotter that Kata is used with: nydus.
    Snapshotter,
}

impl ComponentKind {
    /// Kinds that a record states as one component or as a list, the preferred one first.
    pub(crate) const LISTED: [ComponentKind; 5] = [
        ComponentKind::ContainerManager,
        ComponentKind::Kata,
        ComponentKind::Firmware,
        ComponentKind::Jailer,
        ComponentKind::Snapshotter,
    ];

    /// All of them, in the order in which they are told.
    pub const ALL: [ComponentKind; 8] = [
        ComponentKind::Vmm,
        ComponentKind::Fs,
        ComponentKind::Kernel,
        ComponentKind::ContainerManager,
        ComponentKind::Kata,
        ComponentKind::Firmware,
        ComponentKind::Jailer,
        ComponentKind::Snapshotter,
    ];

    /// Whether it is a file that is read, and no program.
    pub fn is_data(self) -> bool {
        matches!(self, ComponentKind::Kernel | ComponentKind::Firmware)
    }

    /// The key of a record.
    pub fn name(self) -> &'static str {
        match self {
            ComponentKind::Vmm => "vmm",
            ComponentKind::Fs => "fs",
            ComponentKind::Kernel => "kernel",
            ComponentKind::ContainerManager => "container-manager",
            ComponentKind::Kata => "kata",
            ComponentKind::Firmware => "firmware",
            ComponentKind::Jailer => "jailer",
            ComponentKind::Snapshotter => "snapshotter",
        }
    }
}
