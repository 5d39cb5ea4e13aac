//! Profiles: what one range of Kata versions demands of a distro.
//!
//! They are not written one by one: each runtime has a base and what changed at which release ([`Family`]), from which
//! the profiles and their ranges are derived.

mod family;

pub use family::{Beyond, Change, Family, FamilyError};

use crate::capability::Capability;
use crate::kata_version::KataVersion;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::LazyLock;

static ALL: LazyLock<Vec<Profile>> =
    LazyLock::new(|| Family::all().iter().flat_map(|family| family.profiles().iter().cloned()).collect());

/// Why a Kata does not print a profile's arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotItsVersion {
    /// It prints another's.
    #[error("kata {version} prints the arguments of {profile}, not those of {asked}: pass --profile {profile}")]
    Another {
        /// Kata's version.
        version: KataVersion,
        /// The profile that has it.
        profile: String,
        /// The one that was asked about.
        asked: String,
    },
    /// Nobody knows what it prints.
    #[error(transparent)]
    Unknown(#[from] Beyond),
}

/// A profile that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown profile {name:?}, known are {}{}", .known.join(", "), .nearest.as_ref().map(|n| format!("; did you mean {n:?}?")).unwrap_or_default())]
pub struct UnknownProfile {
    /// What was asked for.
    pub name: String,
    /// Every profile there is.
    pub known: Vec<String>,
    /// The one that was probably meant.
    pub nearest: Option<String>,
}

/// What one range of Kata versions demands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Profile {
    /// `go-3.29`: runtime and first release, the older of two where a point release changed.
    pub name: String,
    /// Which runtime's argument generator it uses.
    pub runtime: Runtime,
    /// The Kata releases it stands for: `3.29.0–3.31.0`.
    pub range: String,
    /// The tag it was taken from, the first of its range: `3.29.0`, or `main`.
    pub tag: String,
    /// Whether upstream still maintains it, which is the newest release; the default profiles are those.
    pub maintained: bool,
    /// What sets it apart from the profile before it.
    pub changes: Vec<Change>,
    /// Shared filesystems that the runtime and its guest agent know: `virtio-fs`, `virtio-9p`.
    pub shares: Vec<String>,
    /// What QEMU and the host's kernel must offer.
    pub gates: Vec<Gate>,
    /// Guest kernel modules.
    pub modules: Modules,
    /// How QEMU is configured.
    pub qemu: QemuDefaults,
    /// How the runtime writes what it tells a running QEMU.
    pub qmp: Qmp,
    /// How virtiofsd is driven.
    pub virtiofsd: Virtiofsd,
    /// Documented minimum versions: notes for a reader, which decide nothing.
    pub minimums: Vec<Minimum>,
    /// What a reader should know of it.
    pub notes: Vec<String>,
}

impl Profile {
    /// Every profile, in the order of the matrix: the Go runtime's before runtime-rs's, the oldest first.
    pub fn all() -> &'static [Profile] {
        &ALL
    }

    /// The profiles of maintained Kata: what is qualified when none is asked for.
    pub fn maintained() -> impl Iterator<Item = &'static Profile> {
        Profile::all().iter().filter(|p| p.maintained)
    }

    /// The profile of that name.
    ///
    /// # Errors
    /// When there is none, with the nearest match.
    pub fn find(name: &str) -> Result<&'static Profile, UnknownProfile> {
        Profile::all().iter().find(|p| p.name == name).ok_or_else(|| UnknownProfile {
            name: name.to_owned(),
            known: Profile::all().iter().map(|p| p.name.clone()).collect(),
            nearest: Profile::all()
                .iter()
                .map(|p| (strsim::jaro_winkler(name, &p.name), p))
                .filter(|(likeness, _)| *likeness > 0.7)
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .map(|(_, p)| p.name.clone()),
        })
    }

    /// The profile of a Kata, by the version that it gives itself.
    ///
    /// # Errors
    /// When no profile is about it: never the nearest one.
    pub fn of(runtime: Runtime, version: &str) -> Result<&'static Profile, Beyond> {
        Family::of(runtime).profile_of(version)
    }

    /// Whether a Kata of that version prints this profile's arguments.
    ///
    /// # Errors
    ///
    /// Which profile has it, or that none is known to.
    pub fn holds(&self, version: KataVersion) -> Result<(), NotItsVersion> {
        let family = Family::of(self.runtime);
        let unreleased = self.tag.parse::<KataVersion>().is_err();
        if unreleased && version > family.newest() {
            return Ok(());
        }
        match family.profile_of(&version.to_string()) {
            Ok(profile) if profile.name == self.name => Ok(()),
            Ok(profile) => {
                Err(NotItsVersion::Another { version, profile: profile.name.clone(), asked: self.name.clone() })
            }
            Err(beyond) => Err(NotItsVersion::Unknown(beyond)),
        }
    }

    /// The release it was taken from; one that no release has yet is as new as the newest.
    pub fn version(&self) -> KataVersion {
        self.tag.parse().unwrap_or_else(|_| Family::of(self.runtime).newest())
    }

    /// Whether upstream no longer maintains it; what no release has yet has not ended.
    pub fn ended(&self) -> bool {
        !self.maintained && self.tag.parse::<KataVersion>().is_ok()
    }

    /// Whether the runtime and its guest agent know the shared filesystem.
    pub fn shares(&self, share: &str) -> bool {
        self.shares.iter().any(|s| s == share)
    }

    /// What must exist for a capability.
    pub fn gates_of(&self, capability: Capability) -> impl Iterator<Item = &Gate> {
        self.gates.iter().filter(move |g| g.capability == capability)
    }
}

/// What Kata's shipped x86_64 configuration says of QEMU, with an `initrd` in place of the `image`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct QemuDefaults {
    /// `machine_type`.
    pub machine: String,
    /// What the runtime puts after it.
    pub machine_options: String,
    /// `cpu_features`.
    pub cpu_features: String,
    /// `default_vcpus`.
    pub vcpus: u32,
    /// `default_memory`, in MiB.
    pub memory_mib: u32,
    /// `memory_slots`.
    pub memory_slots: u32,
    /// Whether QEMU stays in the foreground and is handed the socket that it serves QMP on; else it becomes a daemon and
    /// makes the socket itself.
    pub foreground: bool,
    /// The options of the PCI bridge after its chassis number.
    pub bridge: String,
    /// The bus that network, vsock and virtio-fs devices are put on by name.
    pub root_bus: Option<String>,
    /// `virtio_fs_queue_size`, where the runtime has it.
    pub virtio_fs_queue_size: Option<u32>,
    /// Whether `scsi=off` is printed for a virtio-blk device.
    pub blk_scsi_off: bool,
    /// How a disk's file is named.
    pub blk_source: BlkSource,
    /// How a disk is said to be read-only.
    pub blk_read_only: BlkReadOnly,
    /// The kernel parameters that the runtime itself puts first.
    pub runtime_params: Vec<String>,
    /// What the runtime tells the guest of SELinux: it is off, as shipped.
    pub guest_selinux: Option<String>,
    /// `kernel_params`, and what the configuration makes the runtime put before them.
    pub kernel_params: Vec<String>,
}

/// How the runtime writes what it tells a running QEMU over QMP.
///
/// Up to 9.1 QEMU takes text for a number or a switch in `device_add`, as on its command line; from 9.2 on it refuses it
/// (kata-containers pull request 10719).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Qmp {
    /// The command that lists the CPUs' threads; QEMU 6.0 dropped `query-cpus`.
    pub threads: QueryThreads,
    /// `share-rw` of a plugged disk and `mq` of a plugged interface.
    pub switches: Written,
    /// `core-id` and the other numbers of a plugged CPU.
    pub cpu_ids: Written,
    /// `num-queues` of a disk in the PCI bridge, where the runtime says it.
    pub num_queues: Option<Written>,
}

/// The commands that list the CPUs' threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueryThreads {
    /// `query-cpus`.
    QueryCpus,
    /// `query-cpus-fast`.
    QueryCpusFast,
}

impl QueryThreads {
    /// The command's name.
    pub fn name(self) -> &'static str {
        match self {
            QueryThreads::QueryCpus => "query-cpus",
            QueryThreads::QueryCpusFast => "query-cpus-fast",
        }
    }
}

/// How a number or a switch is written in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Written {
    /// `"on"`, `"1"`.
    AsText,
    /// `true`, `1`.
    Typed,
}

/// How a disk's file is named to QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlkSource {
    /// By its path.
    Path,
    /// The runtime opens it and hands the descriptor down: `-add-fd`, `/dev/fdset/N`.
    Fdset,
}

/// How a disk is said to be read-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlkReadOnly {
    /// `readonly`, or nothing.
    Readonly,
    /// `readonly=on`, or nothing.
    ReadonlyOn,
    /// `auto-read-only=on|off`.
    AutoReadOnly,
    /// `read-only=on|off`.
    ReadOnly,
}

/// How a guest is given Kata's image, where it boots from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageDriver {
    /// As an NVDIMM, `/dev/pmem0`, which both runtimes' shipped x86_64 configurations say.
    Nvdimm,
    /// As a virtio-blk disk, `/dev/vda`: `disable_image_nvdimm` of the Go runtime, `vm_rootfs_driver` of runtime-rs.
    Blk,
}

/// How the runtime drives virtiofsd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Virtiofsd {
    /// The form of the arguments.
    pub style: DaemonStyle,
    /// `virtio_fs_cache`.
    pub cache: String,
    /// `virtio_fs_extra_args`.
    pub extra_args: Vec<String>,
    /// What the runtime waits for on the daemon's stderr before it starts QEMU; the Go runtime waits for nothing.
    pub ready_line: Option<String>,
}

/// The forms in which Kata has driven virtiofsd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DaemonStyle {
    /// `-o source=DIR --fd=3`: what the C daemon understands, and the Rust one for compatibility.
    DashO,
    /// `--shared-dir=DIR --fd=3`.
    LongFd,
    /// `--socket-path S --shared-dir DIR`.
    LongSocket,
}

/// A minimum version that Kata documents or implies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Minimum {
    /// `qemu`, `virtiofsd`.
    pub component: String,
    /// The version, as upstream counts.
    pub version: String,
    /// What needs it.
    pub why: String,
    /// Where that is seen.
    pub source: String,
}

/// Kata's two runtimes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// The Go runtime.
    Go,
    /// runtime-rs.
    Rs,
}

/// One thing that QEMU, or the host's kernel, must offer, and the capability that it decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Gate {
    /// Where to look.
    pub kind: GateKind,
    /// `vhost-user-fs-pci`.
    pub name: String,
    /// The capability it serves: `fs.virtio-fs`.
    pub capability: Capability,
    /// Where Kata asks for it.
    pub source: String,
}

/// Which list a gate is looked up in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateKind {
    /// `-machine help`.
    Machine,
    /// `-device help`.
    Device,
    /// `-object help`.
    Object,
    /// None of QEMU's: the configuration of the release's kernel, where it is built in or a module.
    KernelOption,
}

/// Guest kernel modules by what needs them; built-in ones count as present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Modules {
    /// Before the agent starts: console, transport.
    pub boot: Vec<String>,
    /// For Kata's vsock channel.
    pub vsock: Vec<String>,
    /// To mount virtio-fs.
    pub virtio_fs: Vec<String>,
    /// To mount 9p.
    pub virtio_9p: Vec<String>,
    /// To mount an ext4 disk.
    pub virtio_blk: Vec<String>,
    /// To mount an ext4 image that is an NVDIMM; no guest with an initrd has one.
    pub nvdimm: Vec<String>,
    /// Everything else that a Kata guest loads: network, SCSI, RNG, overlay.
    pub other: Vec<String>,
}

impl Modules {
    /// All that a guest with an initrd may need, each once and in the order of their names: Kata's agent loads none
    /// before it is asked to.
    pub fn all(&self) -> Vec<String> {
        let uses = [&self.boot, &self.vsock, &self.virtio_fs, &self.virtio_9p, &self.virtio_blk, &self.other];
        uses.into_iter().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}

#[cfg(test)]
mod tests;
