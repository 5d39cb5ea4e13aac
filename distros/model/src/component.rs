//! The parts of a distro that a failure can blame, and how a cause in a record names one.

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

    /// A cause of [`VerifiedCapability`](crate::verified::VerifiedCapability) that blames it.
    pub fn cause(self, message: &str) -> String {
        format!("{self}: {message}")
    }

    /// The component that such a cause blames; `None` if it blames none.
    pub fn of_cause(cause: &str) -> Option<Component> {
        Component::of_name(cause.split_once(": ")?.0)
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_names_its_component() {
        for component in Component::ALL {
            assert_eq!(Component::of_cause(&component.cause("it: exited")), Some(*component));
        }
        assert_eq!(Component::of_cause("the environment lacks vhost-net: no such file"), None);
        assert_eq!(Component::of_cause("qemu"), None);
    }
}
