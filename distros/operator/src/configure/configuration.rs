//! Kata's configuration for a machine in our words, or why there is none; [`super::settings`] has it in Kata's.

use super::{PassedOver, SharedFs};
use model::arch::Arch;
use model::capability::Capability;
use model::component::Component;
use model::kata_version::KataVersion;
use model::package::PackageName;
use model::profile::Runtime;
use model::virtiofsd::Flavour;
use serde::Serialize;

/// What QEMU does block devices' I/O with, `block_device_aio`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockAio {
    /// A pool of threads: works with every QEMU and kernel.
    Threads,
}

/// What the guest boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "what")]
pub enum Boot {
    /// A kernel with an initrd, no image.
    Initrd {
        /// `kernel`.
        kernel: String,
        /// `initrd`.
        initrd: String,
    },
    /// What Kata's configuration says, untouched.
    Kata,
}

/// Kata's configuration for a machine, in our words; [`super::settings`] has it in Kata's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct KataConfiguration {
    /// The profile's name.
    pub profile: String,
    /// Which runtime reads it.
    pub runtime: Runtime,
    /// Its version.
    pub kata: KataVersion,
    /// `path`.
    pub hypervisor: String,
    /// `machine_type`.
    pub machine: String,
    /// `shared_fs`.
    pub share: SharedFs,
    /// Which daemon that is, where it is virtio-fs.
    #[serde(skip)]
    pub flavour: Flavour,
    /// `virtio_fs_cache`, for virtio-fs.
    pub cache: String,
    /// `virtio_fs_extra_args`, for virtio-fs.
    pub extra_args: Vec<String>,
    /// `block_device_aio`, where Kata's default does not work here.
    pub block_aio: Option<BlockAio>,
    /// The guest's kernel.
    pub boot: Boot,
    /// Whether Kata's image must be a disk: `disable_image_nvdimm`, `vm_rootfs_driver`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub image_as_disk: bool,
    /// Whether guests boot Kata's image, and no run proved that they can.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unproven_image: bool,
    /// Whether something is in doubt of the kernel or initrd that guests boot, or what is known not to be plugged into them
    /// is forced.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub in_doubt: bool,
    /// Whether deadlines are stretched for emulation.
    pub emulated: bool,
    /// Whether this is fit for production: what the distro or Kata ships, with nothing forced and nothing in doubt.
    pub production: bool,
    /// Why it is as it is; what a reader should know.
    pub notes: Vec<Note>,
    /// Filesystems that were preferred and do not work.
    pub passed_over: Vec<PassedOver>,
}

/// One thing to know about a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Note {
    /// What it is about: `shared_fs`.
    pub about: String,
    /// The note.
    pub text: String,
}

/// What is not on the machine, and can be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MissingComponent {
    /// `qemu`, `virtio-fs`.
    pub component: String,
    /// What exactly is missing.
    pub why: String,
    /// Packages of the distro that bring it.
    pub packages: Vec<PackageName>,
    /// Where the record says that it is.
    #[serde(skip)]
    pub path: Option<String>,
}

/// Why there is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "what")]
pub enum PlanError {
    /// The distro has it, the machine does not.
    #[error("{} is not installed: {}; install {}", .missing.component, .missing.why, .missing.packages.join(" "))]
    Missing {
        /// What to install.
        missing: MissingComponent,
    },
    /// The record knows no package: an admin's entry is needed.
    #[error(
        "{component} is not packaged by {release} for {arch}, as far as its record knows: describe yours in /etc/kata-osinfo"
    )]
    NotPackaged {
        /// What is not.
        component: Component,
        /// `debian:12`.
        release: String,
        /// The architecture.
        arch: Arch,
    },
    /// It is there and known not to work.
    #[error("{what} is known not to work: {}", .why.join("; "))]
    Unsupported {
        /// `vmm.boot`, `kernel.guest`.
        #[serde(rename = "capability")]
        what: Capability,
        /// Each independent cause.
        why: Vec<String>,
        /// What to do instead.
        instead: String,
    },
    /// The initrd that was named is none of the kernel that guests boot: a slip of whoever named it, no fault of the distro.
    #[error("{initrd} {why}: {instead}")]
    WrongInitrd {
        /// Its path.
        initrd: String,
        /// The reason against it.
        why: String,
        /// What to do instead.
        instead: String,
    },
    /// No shared filesystem works.
    #[error("no shared filesystem works: {}", .passed_over.iter().map(|p| format!("{}: {}", p.name, p.why.join("; "))).collect::<Vec<_>>().join(" | "))]
    NothingWorks {
        /// All that were tried.
        passed_over: Vec<PassedOver>,
    },
}
