//! Components that a failure can blame: the parts of a distro, its record, and Kata itself.

use crate::share::Share;
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

/// The name of a component in a record: `qemu`, `virtio-fs`, `containerd`, `linux`.
///
/// A record can name components that this program knows nothing about, so any name is one; it is compared with what the
/// program knows ([`Component`], [`Share`]), not with texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ComponentName(String);

impl ComponentName {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the share of that name: that of a filesystem's driver.
    pub fn share(&self) -> Option<Share> {
        Share::of_name(&self.0)
    }
}

impl From<&str> for ComponentName {
    fn from(name: &str) -> ComponentName {
        ComponentName(name.to_owned())
    }
}

impl From<String> for ComponentName {
    fn from(name: String) -> ComponentName {
        ComponentName(name)
    }
}

impl From<Component> for ComponentName {
    fn from(component: Component) -> ComponentName {
        component.name().into()
    }
}

impl From<Share> for ComponentName {
    fn from(share: Share) -> ComponentName {
        share.name().into()
    }
}

impl PartialEq<Component> for ComponentName {
    fn eq(&self, other: &Component) -> bool {
        self.as_str() == other.name()
    }
}

impl PartialEq<Share> for ComponentName {
    fn eq(&self, other: &Share) -> bool {
        self.share() == Some(*other)
    }
}

impl PartialEq<&str> for ComponentName {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for ComponentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn names_of_records_are_compared_with_what_is_known() {
        let qemu: ComponentName = serde_json::from_str("\"qemu\"").unwrap();
        assert_eq!(qemu, Component::Qemu);
        assert_ne!(qemu, Component::Virtiofsd);
        assert_eq!(ComponentName::from(Share::Virtio9p), Share::Virtio9p);
        assert_ne!(qemu, Share::VirtioFs);
        let other = ComponentName::from("stratovirt");
        assert!(other.share().is_none() && Component::ALL.iter().all(|known| other != *known));
        assert_eq!(serde_json::to_string(&other).unwrap(), "\"stratovirt\"");
        assert_eq!(format!("{other:>12}"), "  stratovirt");
    }

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
