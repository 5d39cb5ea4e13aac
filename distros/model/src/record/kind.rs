//! Roles of a release's components for Kata.

use serde::Serialize;

/// Role of a component for Kata.
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
    /// A program that confines a VMM: Firecracker's jailer.
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

    /// All kinds, in the order of output.
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

    /// Whether a component of this kind is a data file, not a program.
    pub fn is_data(self) -> bool {
        matches!(self, ComponentKind::Kernel | ComponentKind::Firmware)
    }

    /// Returns the key in a record.
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
