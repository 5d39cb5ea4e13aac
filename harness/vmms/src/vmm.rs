//! The two VMMs; each function calls the module of its VMM.

use crate::guest::{Guest, LaunchPlan};
use crate::http::Request;
use crate::{cloud_hypervisor, firecracker};
use model::component::Component;
use model::profile::{Profile, Runtime};

/// Kind of VMM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Cloud Hypervisor.
    CloudHypervisor,
    /// Firecracker.
    Firecracker,
}

impl Kind {
    /// Returns the kind of a component, `None` if the component is no VMM driven by an API.
    pub fn of(component: Component) -> Option<Kind> {
        match component {
            Component::CloudHypervisor => Some(Kind::CloudHypervisor),
            Component::Firecracker => Some(Kind::Firecracker),
            Component::Qemu
            | Component::Virtiofsd
            | Component::Kernel
            | Component::Containerd
            | Component::Packages
            | Component::Record
            | Component::Kata => None,
        }
    }
}

/// Returns the plan of Kata's runtime to start this guest, with the deviations that every guest of the harness has.
pub fn plan(kind: Kind, profile: &Profile, guest: &Guest) -> LaunchPlan {
    match kind {
        Kind::CloudHypervisor => cloud_hypervisor::plan(profile, guest),
        Kind::Firecracker => firecracker::plan(profile.runtime, guest),
    }
}

/// Returns a request that the API always answers, whatever state the machine is in.
pub fn ping(kind: Kind) -> Request {
    match kind {
        Kind::CloudHypervisor => cloud_hypervisor::ping(),
        Kind::Firecracker => firecracker::ping(),
    }
}

/// Returns the request that plugs a disk into the running guest.
pub fn plug_disk(kind: Kind, profile: &Profile, file: &str) -> Request {
    match kind {
        Kind::CloudHypervisor => cloud_hypervisor::add_disk(profile, file),
        Kind::Firecracker => firecracker::fill_drive(profile.runtime, file),
    }
}

/// Returns the number of waiting drives, which hotplug fills.
pub fn waiting(kind: Kind, runtime: Runtime) -> usize {
    match kind {
        Kind::CloudHypervisor => 0,
        Kind::Firecracker => firecracker::names_of_waiting(runtime).len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::other_vmm::OtherVmm;

    #[test]
    fn exactly_the_tried_vmms_can_be_started() {
        for component in Component::ALL {
            let is_tried = OtherVmm::of(*component).is_some_and(|vmm| vmm.tried);
            assert_eq!(Kind::of(*component).is_some(), is_tried, "{component}");
        }
    }
}
