//! Facts about an environment that the harness knows before anything runs in it: the release, its image, and the Kata
//! that was brought along.

use crate::effort::Effort;
use model::component::Component;
use model::kata_version::KataVersion;
use model::kernel::KernelRelease;
use model::package::{PackageName, PackageVersion};
use model::profile::{self, ModuleUse};
use model::release::{InsidePath, Release};
use model::share::Share;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Facts that the harness found out about the image before anything runs; bodies compare them with what they see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// The release's record.
    pub release: Release,
    /// The version of each installed package that the record names.
    pub versions: BTreeMap<PackageName, PackageVersion>,
    /// The release of the kernel in use, `6.12.48+deb13-amd64`.
    pub kernel: KernelRelease,
    /// The configuration that is embedded in the kernel's image, if no file has it.
    #[serde(default)]
    pub kernel_config: Option<String>,
    /// The kernel image's path in the environment.
    pub vmlinuz: String,
    /// The same kernel as an ELF file, if a VMM that takes no other format is to be tried.
    #[serde(default)]
    pub elf_kernel: Option<ElfKernel>,
    /// The initramfs's path in the environment.
    pub initramfs: String,
    /// The modules for each use: those to load, in order, and those that the kernel lacks.
    pub modules: BTreeMap<ModuleUse, ModuleSet>,
    /// The Kata that was brought along: at most one for each profile.
    #[serde(default)]
    pub kata: Vec<Kata>,
    /// Candidates that replace the distro's own components: their paths in the environment.
    #[serde(default)]
    pub candidates: BTreeMap<Component, InsidePath>,
    /// The seed and amount of random work.
    #[serde(default)]
    pub effort: Effort,
}

impl Claims {
    /// Returns the record's paths of QEMU and virtiofsd, without those that a candidate replaces.
    pub fn paths_of_the_release(&self) -> Vec<String> {
        let is_candidate = |component: Component| self.candidates.contains_key(&component);
        let qemu = self.release.qemu().map(|vmm| vmm.path.to_string()).filter(|_| !is_candidate(Component::Qemu));
        let virtiofsd = self.release.filesystem(Share::VirtioFs).and_then(|one| Some(one.path.as_ref()?.to_string()));
        qemu.into_iter().chain(virtiofsd.filter(|_| !is_candidate(Component::Virtiofsd))).collect()
    }

    /// Returns claims that hold the record and the kernel's release only.
    pub fn of(release: Release, kernel: KernelRelease) -> Claims {
        Claims {
            release,
            versions: BTreeMap::new(),
            kernel,
            kernel_config: None,
            vmlinuz: String::new(),
            elf_kernel: None,
            initramfs: String::new(),
            modules: BTreeMap::new(),
            kata: Vec::new(),
            candidates: BTreeMap::new(),
            effort: Effort::default(),
        }
    }

    /// Returns the release as guests use it, with candidates in place of the distro's own components.
    ///
    /// A candidate kernel is used in Kata's guests only, because the modules of all other guests are the release's.
    pub fn in_use(&self) -> Release {
        let mut release = self.release.clone();
        if let Some(path) = self.candidates.get(&Component::Qemu) {
            for vmm in release.vmms.iter_mut().filter(|vmm| vmm.is_qemu()) {
                vmm.path.clone_from(path);
                vmm.packages.clear();
            }
        }
        if let Some(path) = self.candidates.get(&Component::Virtiofsd) {
            for driver in release.filesystems.iter_mut().filter(|driver| driver.share() == Some(Share::VirtioFs)) {
                driver.path = Some(path.clone());
                driver.packages.clear();
            }
        }
        release
    }

    /// Returns the program of a VMM other than QEMU: the candidate if there is one, else the one that the record names.
    pub fn other_vmm(&self, component: Component) -> Option<&InsidePath> {
        let recorded = self.release.vmm(component).map(|vmm| &vmm.path);
        self.candidates.get(&component).or(recorded)
    }

    /// Returns the kernel that Kata's guests boot: the candidate if there is one, else the release's.
    pub fn katas_kernel(&self) -> &str {
        self.candidates.get(&Component::Kernel).map_or(self.vmlinuz.as_str(), InsidePath::as_str)
    }

    /// Returns the Kata that serves a profile.
    pub fn kata_for(&self, profile: &str) -> Option<&Kata> {
        self.kata.iter().find(|kata| kata.profile == profile)
    }
}

/// The kernel as an ELF file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "elf-kernel")]
pub enum ElfKernel {
    /// The ELF file was extracted from the release's image.
    Made {
        /// Its path in the environment.
        path: String,
        /// Whether the ELF file names an entry point for guests without firmware (`CONFIG_PVH`).
        has_pvh_entry: bool,
    },
    /// The image unpacks to something other than an ELF file.
    Absent,
    /// The harness could not unpack the image.
    Refused {
        /// The reason.
        why: String,
    },
}

/// The guest kernel modules of one use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleSet {
    /// The modules that the profile asks for.
    pub wanted: Vec<String>,
    /// Module names in the order of loading, dependencies first; built-in modules are not listed.
    pub load: Vec<String>,
    /// Modules that the profile asks for and that are neither loadable nor built in.
    pub missing: Vec<String>,
}

/// The Kata that was brought along, ready to run in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kata {
    /// Its version, `3.30.0`.
    pub version: KataVersion,
    /// Go or Rust.
    pub kind: profile::Runtime,
    /// The profile whose range holds that version.
    pub profile: profile::ProfileName,
    /// The shim's path in the environment.
    pub shim: String,
    /// The path in the environment of the configuration that came with Kata; `None` if the existing file in its place
    /// must stay.
    pub shipped: Option<String>,
    /// The path in the environment where the configuration must be put. The Rust shim of 4.0 reads only its own default
    /// paths, so this is one of them (`is_shipped_kata_config_path` in
    /// `src/runtime-rs/crates/runtimes/src/manager.rs`).
    pub configuration: String,
    /// The guest's initrd in the environment.
    pub initrd: String,
    /// Kata's agent in the environment, for an initrd made by the distro's own tool; `None` if the agent needs Kata's
    /// libraries.
    #[serde(default)]
    pub agent: Option<String>,
    /// `kata-runtime` or `kata-ctl` in the environment, if it was brought along.
    #[serde(default)]
    pub checker: Option<String>,
    /// Kata's own kernel and initrd in the environment, if both were brought along.
    #[serde(default)]
    pub own: Option<OwnGuest>,
    /// Kata's own kernel and image in the environment, if both were brought along.
    #[serde(default)]
    pub own_image: Option<OwnGuest>,
    /// Whether the guests have no acceleration, so that Kata's deadlines are stretched.
    pub emulated: bool,
}

impl Kata {
    /// Checks whether this is Kata 2 or 3; pre-releases of 4.0.0 count as 4.
    pub fn is_before_4(&self) -> bool {
        self.version.release() < KataVersion::new(4, 0, 0)
    }

    /// Returns the name of the runtime in containerd; Go and Rust have different names, so that both can be installed.
    pub fn handler(&self) -> &'static str {
        match self.kind {
            profile::Runtime::Go => "io.containerd.kata.v2",
            profile::Runtime::Rs => "io.containerd.kata-rs.v2",
        }
    }

    /// Returns the shim's program name, which containerd derives from the handler.
    pub fn shim_name(&self) -> &'static str {
        match self.kind {
            profile::Runtime::Go => "containerd-shim-kata-v2",
            profile::Runtime::Rs => "containerd-shim-kata-rs-v2",
        }
    }
}

/// A kernel with a root filesystem that has Kata's agent in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnGuest {
    /// The kernel in the environment.
    pub kernel: String,
    /// The root filesystem.
    pub root: GuestRoot,
}

/// A guest's root filesystem, as a file in the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestRoot {
    /// An initrd.
    Initrd(String),
    /// A disk image, which Kata passes as an NVDIMM or as a disk.
    Image(String),
}

impl GuestRoot {
    /// Returns the path of the file.
    pub fn path(&self) -> &str {
        match self {
            GuestRoot::Initrd(path) | GuestRoot::Image(path) => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Text that is no version is not taken for 4.0 or later.
    #[test]
    fn a_kata_without_a_valid_version_is_refused() {
        let kata = |version: &str| {
            serde_json::from_value::<Kata>(json!({
                "version": version, "kind": "go", "profile": "go-3.29", "shim": "", "shipped": null,
                "configuration": "", "initrd": "", "emulated": false,
            }))
        };
        for (version, before_4) in [("2.5.2", true), ("3.32.0", true), ("4.0.0-rc0", false), ("4.0.0", false)] {
            assert_eq!(kata(version).unwrap().is_before_4(), before_4, "{version}");
        }
        let error = kata("three").unwrap_err().to_string();
        assert!(error.starts_with("`three` is not a version of Kata"), "{error}");
    }
}
