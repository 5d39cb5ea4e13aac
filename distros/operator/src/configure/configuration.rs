//! The planned Kata configuration in this program's terms, or the reason why there is none; [`super::settings`]
//! translates it into Kata's keys.

use super::{PassedOver, SharedFs};
use model::arch::Arch;
use model::capability::Capability;
use model::component::{Component, ComponentName};
use model::kata_version::KataVersion;
use model::package::PackageName;
use model::profile::{ProfileName, Runtime};
use model::virtiofsd::Flavour;
use root::InsidePath;
use serde::Serialize;
use std::path::PathBuf;

/// QEMU's backend for block devices' I/O, `block_device_aio`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockAio {
    /// A pool of threads: works with every QEMU and kernel.
    Threads,
}

/// The kernel and root filesystem that the guest boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "what")]
pub enum Boot {
    /// A kernel with an initrd, no image.
    Initrd {
        /// `kernel`.
        kernel: PathBuf,
        /// `initrd`.
        initrd: PathBuf,
    },
    /// Kernel and image of Kata's own configuration, unchanged.
    Kata,
}

/// Kata's configuration for a machine, in this program's terms; [`super::settings`] translates it into Kata's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct KataConfiguration {
    /// The profile's name.
    pub profile: ProfileName,
    /// The runtime that reads the configuration.
    pub runtime: Runtime,
    /// The version of Kata.
    pub kata: KataVersion,
    /// `path`.
    pub hypervisor: InsidePath,
    /// `machine_type`.
    pub machine: String,
    /// `shared_fs`.
    pub share: SharedFs,
    /// The virtiofsd flavour, if the share is virtio-fs.
    #[serde(skip)]
    pub flavour: Flavour,
    /// `virtio_fs_cache`, for virtio-fs.
    pub cache: String,
    /// `virtio_fs_extra_args`, for virtio-fs.
    pub extra_args: Vec<String>,
    /// `block_device_aio`, if Kata's default does not work on this machine.
    pub block_aio: Option<BlockAio>,
    /// The guest's kernel.
    pub boot: Boot,
    /// Whether Kata's image must be a disk: `disable_image_nvdimm`, `vm_rootfs_driver`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub image_as_disk: bool,
    /// Whether guests boot Kata's image without a run that proved that they can.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unproven_image: bool,
    /// Whether the guest's kernel or initrd is in doubt, or hotplug that is known not to work is forced.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub in_doubt: bool,
    /// Whether deadlines are stretched for emulation.
    pub emulated: bool,
    /// Whether this is fit for production: what the distro or Kata ships, with nothing forced and nothing in doubt.
    pub production: bool,
    /// Reasons and remarks for the reader.
    pub notes: Vec<Note>,
    /// Filesystems that were preferred and do not work.
    pub passed_over: Vec<PassedOver>,
}

/// One thing to know about a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Note {
    /// The subject: `shared_fs`.
    pub about: String,
    /// The note.
    pub text: String,
}

/// A component that is not on the machine and can be installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MissingComponent {
    /// `qemu`, `virtio-fs`.
    pub component: ComponentName,
    /// The missing part, as a message.
    pub why: String,
    /// Packages of the distro that contain it.
    pub packages: Vec<PackageName>,
    /// Its path according to the record.
    #[serde(skip)]
    pub path: Option<InsidePath>,
}

/// Reasons why there is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "what")]
pub enum PlanError {
    /// The distro packages the component, but it is not installed.
    #[error("{} is not installed: {}; install {}", .missing.component, .missing.why, .missing.packages.join(" "))]
    Missing {
        /// The component to install.
        missing: MissingComponent,
    },
    /// The record knows no package for the component: an admin's entry is needed.
    #[error("the record of {release} has no package of {component} for {arch}: describe your own in /etc/kata-osinfo")]
    NotPackaged {
        /// The component without a package.
        component: Component,
        /// `debian:12`.
        release: String,
        /// The architecture.
        arch: Arch,
    },
    /// The component is installed and known not to work.
    #[error("{what} is known not to work: {}", .why.join("; "))]
    Unsupported {
        /// `vmm.boot`, `kernel.guest`.
        #[serde(rename = "capability")]
        what: Capability,
        /// Each independent cause.
        why: Vec<String>,
        /// The suggested alternative.
        instead: String,
    },
    /// The named initrd does not belong to the kernel that guests boot: a mistake in the request, not a defect of the
    /// distro.
    #[error("{} {why}: {instead}", .initrd.display())]
    WrongInitrd {
        /// Its path inside the root.
        initrd: PathBuf,
        /// The reason against it.
        why: String,
        /// The suggested alternative.
        instead: String,
    },
    /// No shared filesystem works.
    #[error("no shared filesystem works: {}", .passed_over.iter().map(|p| format!("{}: {}", p.name, p.why.join("; "))).collect::<Vec<_>>().join(" | "))]
    NothingWorks {
        /// All filesystems that were tried.
        passed_over: Vec<PassedOver>,
    },
}
