//! The parts of a distro that a failure can blame.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A part of the distro (or its record) that a failure can blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// The distro's QEMU.
    Qemu,
    /// The distro's virtiofsd.
    Virtiofsd,
    /// The distro's kernel, as guest or as host.
    Kernel,
    /// The distro's containerd.
    Containerd,
    /// The distro's package archive or package manager.
    Packages,
    /// What the record claims about the distro.
    Record,
}

impl Component {
    /// All of them.
    pub const ALL: &'static [Component] = &[
        Component::Qemu,
        Component::Virtiofsd,
        Component::Kernel,
        Component::Containerd,
        Component::Packages,
        Component::Record,
    ];

    /// That of the name.
    pub fn of_name(name: &str) -> Option<Component> {
        Component::ALL.iter().copied().find(|component| component.name() == name)
    }

    /// The name that people use.
    pub fn name(self) -> &'static str {
        match self {
            Component::Qemu => "qemu",
            Component::Virtiofsd => "virtiofsd",
            Component::Kernel => "kernel",
            Component::Containerd => "containerd",
            Component::Packages => "packages",
            Component::Record => "record",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
