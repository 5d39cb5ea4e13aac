//! One release of a distro for one architecture, with the record's defaults applied.

use crate::arch::Arch;
use crate::component::{Component, ComponentName};
use crate::distro::{DistroId, ReleaseVersion, Target};
use crate::package::PackageName;
use crate::package_manager::PackageManager;
use crate::share::Share;
use serde::{Deserialize, Serialize};

pub use root::InsidePath;

/// A record's statements about one release on one architecture: complete, without lookups elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// `debian`.
    pub distro: DistroId,
    /// `13`, `testing`; always text.
    pub version: ReleaseVersion,
    /// `trixie`.
    pub codename: Option<String>,
    /// Other names people use: `stable`.
    pub aliases: Vec<String>,
    /// The releases that it is built from, the nearest first: `debian:12`. Its packages are theirs, where it has no
    /// others.
    #[serde(with = "crate::distro::texts")]
    pub based_on: Vec<Target>,
    /// The architecture this view is of.
    pub arch: Arch,
    /// The distro's package manager: `apt`, `dnf`, …
    pub package_manager: PackageManager,
    /// Package suites that systems usually have, in order: main, updates, security.
    pub suites: Vec<PackageSuite>,
    /// Repositories to enable in addition to the default ones: `crb`, `community`.
    pub repositories: Vec<String>,
    /// Modules of the package manager to enable: `virt:rhel`.
    pub modules: Vec<String>,
    /// The platform of the package manager's modules, as in os-release's `PLATFORM_ID` after `platform:`: `el8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_platform: Option<String>,
    /// The OCI image of the release, without a digest: `docker.io/library/debian:13`.
    pub oci_image: Option<String>,
    /// In words, packages that are in none of the repositories that the image configures: other repositories are needed
    /// for them.
    #[serde(default)]
    pub image_lacks: Option<String>,
    /// VMMs, the first one preferred.
    pub vmms: Vec<Vmm>,
    /// Filesystem drivers, the preferred one first.
    pub filesystems: Vec<FilesystemDriver>,
    /// The distro's kernel.
    pub kernel: Option<Kernel>,
    /// The distro's container manager (containerd).
    pub container_manager: Option<ContainerManager>,
    /// Docker's engine, which uses containerd, and its client.
    pub docker: Option<ContainerManager>,
    /// Packages of the UEFI firmware for guests, if the record also knows its file. Kata does not need it.
    #[serde(default)]
    pub firmware: Vec<PackageName>,
}

impl Release {
    /// Returns the distro and the version.
    pub fn target(&self) -> Target {
        Target { distro: self.distro.clone(), version: self.version.clone() }
    }

    /// `debian:13`.
    pub fn name(&self) -> String {
        self.target().to_string()
    }

    /// Whether this release is that one (`debian:12`), or built from it.
    pub fn is_or_derives_from(&self, other: &Target) -> bool {
        self.target() == *other || self.based_on.contains(other)
    }

    /// Returns QEMU, if it is packaged.
    pub fn qemu(&self) -> Option<&Vmm> {
        self.vmm(Component::Qemu)
    }

    /// Returns the VMM for a component, if the record names one.
    pub fn vmm(&self, component: Component) -> Option<&Vmm> {
        self.vmms.iter().find(|vmm| vmm.name == component)
    }

    /// Returns the driver of a share.
    pub fn filesystem(&self, share: Share) -> Option<&FilesystemDriver> {
        self.filesystems.iter().find(|f| f.share() == Some(share))
    }

    /// Returns the packages of a component; empty if the release does not package it, or it is not part of a distro.
    ///
    /// If virtiofsd has no package of its own, QEMU's packages contain it.
    pub fn packages_of(&self, component: Component) -> &[PackageName] {
        let qemu = || self.qemu().map(|vmm| vmm.packages.as_slice());
        let found = match component {
            Component::Qemu => qemu(),
            Component::CloudHypervisor | Component::Firecracker => {
                self.vmm(component).map(|vmm| vmm.packages.as_slice())
            }
            Component::Virtiofsd => {
                let own = self.filesystem(Share::VirtioFs).map(|driver| driver.packages.as_slice());
                own.filter(|own| !own.is_empty()).or_else(qemu)
            }
            Component::Kernel => self.kernel.as_ref().map(|kernel| kernel.packages.as_slice()),
            Component::Containerd => self.container_manager.as_ref().map(|manager| manager.packages.as_slice()),
            Component::Packages | Component::Record | Component::Kata => None,
        };
        found.unwrap_or_default()
    }

    /// Returns all native packages that Kata needs of this release, sorted, without duplicates.
    pub fn packages(&self) -> Vec<PackageName> {
        let mut all: Vec<PackageName> = Vec::new();
        all.extend(self.vmms.iter().flat_map(|v| v.packages.clone()));
        all.extend(self.filesystems.iter().flat_map(|f| f.packages.clone()));
        all.extend(self.kernel.iter().flat_map(|k| k.packages.clone()));
        all.sort();
        all.dedup();
        all
    }
}

/// One suite of a package archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageSuite {
    /// `trixie-security`.
    pub name: String,
    /// The archive of the suite.
    pub archive: Archive,
    /// `main`.
    pub components: Vec<String>,
}

/// The archives of Debian and Ubuntu.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Archive {
    /// The distro's own archive.
    Main,
    /// The security archive.
    Security,
}

/// A VMM as the distro packages it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vmm {
    /// `qemu`.
    pub name: ComponentName,
    /// Packages to install.
    pub packages: Vec<PackageName>,
    /// The binary.
    pub path: InsidePath,
}

impl Vmm {
    /// Whether the VMM is QEMU, which most guests of the harness are started with.
    pub fn is_qemu(&self) -> bool {
        self.name == Component::Qemu
    }
}

/// A shared filesystem as the distro packages it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesystemDriver {
    /// `virtio-fs`, `virtio-9p`.
    pub name: ComponentName,
    /// Packages to install; empty if the VMM's packages contain the driver.
    pub packages: Vec<PackageName>,
    /// The daemon, if there is one.
    pub path: Option<InsidePath>,
}

impl FilesystemDriver {
    /// Returns the share of the driver; `None` for one that Kata never supported.
    pub fn share(&self) -> Option<Share> {
        self.name.share()
    }
}

/// The distro's kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// Packages to install.
    pub packages: Vec<PackageName>,
    /// Pattern of the kernel image: `/boot/vmlinuz-*`.
    pub image: InsidePath,
}

/// The distro's container manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerManager {
    /// `containerd`.
    pub name: ComponentName,
    /// Packages to install.
    pub packages: Vec<PackageName>,
    /// The binary.
    pub path: InsidePath,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;

    #[test]
    fn distro_components_have_packages_and_others_have_none() {
        let database = Database::embedded();
        let of = |version: &str, component: Component| -> Vec<String> {
            let record = database.record("debian").unwrap();
            let release = record.release(version, Arch::X86_64).unwrap();
            release.packages_of(component).iter().map(ToString::to_string).collect()
        };
        for component in [Component::Qemu, Component::Virtiofsd, Component::Kernel, Component::Containerd] {
            assert!(!of("13", component).is_empty(), "{component}");
        }
        for component in [Component::Packages, Component::Record, Component::Kata] {
            assert!(of("13", component).is_empty(), "{component}");
        }
        let record = database.record("debian").unwrap();
        let mut release = record.release("13", Arch::X86_64).unwrap();
        release.filesystems.iter_mut().for_each(|driver| driver.packages.clear());
        assert_eq!(release.packages_of(Component::Virtiofsd), release.packages_of(Component::Qemu));
    }

    #[test]
    fn a_driver_serves_the_share_of_its_name() {
        let driver = |name: &str| FilesystemDriver { name: name.into(), packages: Vec::new(), path: None };
        assert_eq!(driver("virtio-9p").share(), Some(Share::Virtio9p));
        assert_eq!(driver("nfs").share(), None);
    }
}
