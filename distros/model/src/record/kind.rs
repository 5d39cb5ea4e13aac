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
    /// The container manager.
    ContainerManager,
}

impl ComponentKind {
    /// The key of a record.
    pub fn name(self) -> &'static str {
        match self {
            ComponentKind::Vmm => "vmm",
            ComponentKind::Fs => "fs",
            ComponentKind::Kernel => "kernel",
            ComponentKind::ContainerManager => "container-manager",
        }
    }
}
