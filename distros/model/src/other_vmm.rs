//! The VMMs besides QEMU that Kata can drive: Kata's demands on each under the maintained profiles, and whether the
//! harness starts guests with them.
//!
//! They are not part of a [`Profile`], which describes one runtime's use of QEMU, the VMM that distros package: the
//! demands on another VMM have hardly anything in common with it.
//! Only the maintained profiles have been read for them (`distros/profiles/vmms/*.yaml`).

use crate::component::Component;
use crate::profile::{Profile, ProfileName};
use serde::Deserialize;
use std::sync::LazyLock;

// Defines `VMMS`: name in the repository and text of every file of `distros/profiles/vmms`, sorted by name.
include!(concat!(env!("OUT_DIR"), "/vmms.rs"));

static ALL: LazyLock<Vec<OtherVmm>> = LazyLock::new(|| {
    let mut all: Vec<OtherVmm> = VMMS.iter().map(|(_, text)| embedded(text)).collect();
    all.sort_by_key(|one| !one.tried);
    all
});

#[expect(clippy::expect_used, reason = "the files are part of the program and parsed by a test")]
fn embedded(text: &str) -> OtherVmm {
    serde_yaml::from_str(text).expect("an embedded file is well-formed")
}

/// A VMM besides QEMU.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OtherVmm {
    /// The VMM's name.
    pub vmm: VmmName,
    /// Whether the harness starts guests with the VMM.
    pub tried: bool,
    /// Why the VMM is not tried, or where it is tried.
    pub why: String,
    /// Kata's demands, by profile.
    pub profiles: Vec<VmmProfile>,
}

/// Name of a VMM besides QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VmmName {
    /// Cloud Hypervisor, a program that is controlled by HTTP alone.
    CloudHypervisor,
    /// Firecracker, likewise controlled by HTTP.
    Firecracker,
    /// Dragonball, a part of runtime-rs.
    Dragonball,
    /// No VMM on this host: another program creates virtual machines elsewhere.
    Remote,
    /// StratoVirt.
    Stratovirt,
}

/// Kata's demands on a VMM under one profile.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VmmProfile {
    /// The profile's name.
    pub profile: ProfileName,
    /// The version that Kata builds and runs its own tests with: informative only.
    pub version: Option<KataBuilds>,
    /// The demands.
    pub demands: Vec<VmmDemand>,
}

/// Version of a VMM that Kata builds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KataBuilds {
    /// The version: `v51.1`.
    pub is: String,
    /// The source that states the version.
    pub source: String,
}

/// One demand.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VmmDemand {
    /// The kind of demand.
    pub kind: DemandKind,
    /// The thing that must exist, or the action.
    pub what: String,
    /// The purpose, or the condition.
    #[serde(default)]
    pub why: Option<String>,
    /// Kata's file and tag.
    pub source: String,
}

/// Kind of a demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DemandKind {
    /// A minimum version of the VMM, below which Kata refuses it.
    Version,
    /// An option on the VMM's command line, or in Kata's configuration.
    Option,
    /// A request of its API.
    Request,
    /// A field in the body of a request.
    Field,
    /// Another program that belongs to the VMM.
    Program,
    /// A device of the host.
    Device,
    /// A machine type.
    Machine,
    /// The way in which a directory, or a container's root filesystem, reaches the guest.
    Share,
}

impl OtherVmm {
    /// All VMMs besides QEMU; the tried ones come first.
    pub fn all() -> &'static [OtherVmm] {
        &ALL
    }

    /// Returns the VMM for a component; `None` for QEMU and for components that are not a VMM.
    pub fn of(component: Component) -> Option<&'static OtherVmm> {
        OtherVmm::all().iter().find(|vmm| vmm.vmm.component() == Some(component))
    }

    /// Returns the demands of a profile; `None` if the profile's runtime has not been read for this VMM.
    pub fn under(&self, profile: &Profile) -> Option<&VmmProfile> {
        self.profiles.iter().find(|one| one.profile == profile.name)
    }
}

impl VmmName {
    /// Returns Kata's name, which is also that of the program if there is one.
    pub fn name(self) -> &'static str {
        match self {
            VmmName::CloudHypervisor => "cloud-hypervisor",
            VmmName::Firecracker => "firecracker",
            VmmName::Dragonball => "dragonball",
            VmmName::Remote => "remote",
            VmmName::Stratovirt => "stratovirt",
        }
    }

    /// Returns the component that a failure of its guests blames; `None` if the harness starts no guests with the VMM.
    pub fn component(self) -> Option<Component> {
        match self {
            VmmName::CloudHypervisor => Some(Component::CloudHypervisor),
            VmmName::Firecracker => Some(Component::Firecracker),
            VmmName::Dragonball | VmmName::Remote | VmmName::Stratovirt => None,
        }
    }
}

impl DemandKind {
    /// Returns the word in lists.
    pub fn name(self) -> &'static str {
        match self {
            DemandKind::Version => "version",
            DemandKind::Option => "option",
            DemandKind::Request => "request",
            DemandKind::Field => "field",
            DemandKind::Program => "program",
            DemandKind::Device => "device",
            DemandKind::Machine => "machine",
            DemandKind::Share => "share",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Runtime;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn each_vmm_file_is_named_after_its_vmm_and_states_a_reason() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiles/vmms");
        let files = std::fs::read_dir(folder).unwrap();
        let files: BTreeSet<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        let read: BTreeSet<String> = OtherVmm::all().iter().map(|one| format!("{}.yaml", one.vmm.name())).collect();
        assert_eq!(read, files);
        assert_eq!(OtherVmm::all().len(), files.len(), "a VMM has one file");
        assert!(OtherVmm::all().is_sorted_by_key(|one| !one.tried), "those that are tried come first");
        for one in OtherVmm::all() {
            assert!(!one.why.is_empty(), "{}", one.vmm.name());
            assert_eq!(one.tried, one.vmm.component().is_some(), "{}", one.vmm.name());
        }
    }

    #[test]
    fn each_demand_cites_kata_at_a_tag_within_its_profile() {
        for one in OtherVmm::all() {
            for under in &one.profiles {
                let profile = Profile::find(&under.profile).unwrap();
                assert!(profile.maintained, "{} of {}", under.profile, one.vmm.name());
                assert!(!under.demands.is_empty(), "{} of {}", under.profile, one.vmm.name());
                let versions = under.version.iter().map(|version| &version.source);
                for source in under.demands.iter().map(|demand| &demand.source).chain(versions) {
                    let (file, tag) = source.split_once('@').unwrap_or_else(|| panic!("{source} names no tag"));
                    assert!(
                        Profile::of(profile.runtime, tag.parse().unwrap()).is_ok_and(|of| of == profile),
                        "{source}"
                    );
                    let of_rust = file.starts_with("src/runtime-rs/");
                    assert!(file == "versions.yaml" || of_rust == (profile.runtime == Runtime::Rs), "{source}");
                }
            }
        }
    }

    #[test]
    fn a_tried_vmm_has_demands_for_every_maintained_profile_of_its_runtimes() {
        for one in OtherVmm::all().iter().filter(|one| one.tried) {
            let runtimes: Vec<Runtime> =
                one.profiles.iter().map(|under| Profile::find(&under.profile).unwrap().runtime).collect();
            assert!(!runtimes.is_empty(), "{} under no profile", one.vmm.name());
            for profile in Profile::maintained().filter(|profile| runtimes.contains(&profile.runtime)) {
                assert!(one.under(profile).is_some(), "{} under {}", one.vmm.name(), profile.name);
            }
        }
        assert!(OtherVmm::of(Component::Qemu).is_none());
        assert_eq!(OtherVmm::of(Component::Firecracker).map(|one| one.vmm), Some(VmmName::Firecracker));
    }
}
