//! Components that a failure can blame: the parts of a distro, its record, and Kata itself.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A component that a failure can blame: a part of the distro, its record, or Kata itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// The distro's QEMU.
    Qemu,
    /// The distro's Cloud Hypervisor, which few distros package, or a build that the caller brings.
    CloudHypervisor,
    /// The distro's Firecracker, likewise.
    Firecracker,
    /// The distro's virtiofsd.
    Virtiofsd,
    /// The distro's kernel, as guest or as host.
    Kernel,
    /// The distro's containerd.
    Containerd,
    /// The distro's package archive or package manager.
    Packages,
    /// The distro's record.
    Record,
    /// Kata itself, if its request is wrong and the distro's component is right to refuse the request.
    Kata,
}

impl Component {
    /// All components.
    pub const ALL: &'static [Component] = &[
        Component::Qemu,
        Component::CloudHypervisor,
        Component::Firecracker,
        Component::Virtiofsd,
        Component::Kernel,
        Component::Containerd,
        Component::Packages,
        Component::Record,
        Component::Kata,
    ];

    /// Returns the component of this name.
    pub fn of_name(name: &str) -> Option<Component> {
        Component::ALL.iter().copied().find(|component| component.name() == name)
    }

    /// Returns the name that people use.
    pub fn name(self) -> &'static str {
        match self {
            Component::Qemu => "qemu",
            Component::CloudHypervisor => "cloud-hypervisor",
            Component::Firecracker => "firecracker",
            Component::Virtiofsd => "virtiofsd",
            Component::Kernel => "kernel",
            Component::Containerd => "containerd",
            Component::Packages => "packages",
            Component::Record => "record",
            Component::Kata => "kata",
        }
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
    use std::collections::BTreeMap;

    #[test]
    fn components_round_trip_by_name_also_as_json_map_keys() {
        for component in Component::ALL {
            assert_eq!(Component::of_name(component.name()), Some(*component));
            let json = serde_json::to_string(&BTreeMap::from([(*component, 1)])).unwrap();
            assert_eq!(json, format!("{{\"{component}\":1}}"));
            let read: BTreeMap<Component, u8> = serde_json::from_str(&json).unwrap();
            assert_eq!(read.into_keys().collect::<Vec<_>>(), [*component]);
        }
        assert_eq!(Component::of_name("qmeu"), None);
    }
}
