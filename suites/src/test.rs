//! The definition of a test: its group, place, requirements, capabilities, blame, blockers and body.
//!
//! # Where a body runs
//!
//! [`Place`] lists the places. A body that is given a guest shares it with other tests; a body that ends guests, or
//! plugs devices into them, boots its own.
//! A body inside a guest runs steps that a process cannot undo in a separate process (`child`).
//!
//! # Blocked
//!
//! A test names the tests that must have passed before it makes sense.
//! If one of them has finished without passing under a profile, the test is `blocked` for that profile, and the verdict
//! follows the block to its root, so that one cause is reported once and not fifty times.
//! `--test` also runs what blocks the chosen tests.

use crate::capability::Capability;
use crate::check::Check;
use crate::citation::{AskedFor, Citation};
use crate::environment::{Containers, Effort, Environment, EnvironmentSide, Machine, Pair, Site};
use crate::outcome::Component;
use crate::reproducer::Reproducer;
use crate::share::Share;
use model::profile::{DaemonSetting, ModuleUse};
use model::test_id::TestId;

/// A group of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suite {
    /// Packages, binaries, and whether QEMU and virtiofsd do what the profile asks.
    Smoke,
    /// Properties of the filesystems that a guest is given.
    Filesystem,
    /// The release as Kata's host: its kernel, its devices, its container manager.
    Host,
    /// Containers under the distro's containerd, by runc and by Kata.
    Containers,
}

/// Where a test's body runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In the environment, with no guest of the harness's.
    Environment,
    /// In the environment, running a vCPU of its own under KVM, without a guest around it.
    Vcpu,
    /// In the environment, booting guests of its own (it may kill them).
    OwnGuest,
    /// With a shared guest without a share: in the environment, asking it or its VMM, or inside it ([`Body::Inside`]).
    Machine,
    /// Inside a shared guest, on its share.
    Guest,
    /// On both sides of a shared guest's share: host and guest act.
    Pair,
    /// In the environment, running containers under runc: the control of [`Place::Kata`].
    Runc,
    /// In the environment, running containers under Kata.
    Kata,
}

/// A body's requirements for the environment; the agent probes each before the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// `/dev/vhost-vsock` opens.
    VhostVsock,
    /// `/dev/vhost-net` and `/dev/net/tun` open.
    VhostNet,
    /// mknod(2) of device nodes is permitted.
    Mknod,
    /// A daemon may have 12,000 files open, or 120,000 in a thorough run: virtiofsd keeps a descriptor for each file
    /// that its guest has looked at.
    OpenFiles,
    /// open_by_handle_at(2) opens a file of the share.
    FileHandles,
    /// `security.*` attributes of files may be set.
    SecurityAttributes,
    /// Room for 256 processes and threads: QEMU, its workers, the daemon and the agent together.
    Processes,
    /// Room for 1 GiB of memory: the memory that a guest touches, and the code cache of an emulated processor.
    Memory,
    /// Two CPUs: Kata asks QEMU for as many CPU slots as the host has CPUs.
    Cpus,
    /// KVM runs guests.
    Kvm,
    /// io_uring_setup(2) is permitted.
    IoUring,
    /// mbind(2) is permitted: memory can be bound to nodes of the host.
    MemoryPolicy,
    /// Huge pages for a small guest's memory, at `/dev/hugepages`.
    Hugepages,
    /// A UEFI firmware for guests, in a single file that QEMU accepts.
    Firmware,
}

impl Need {
    /// Returns the required amount with this effort, for a need that is an amount.
    pub fn amount(self, effort: Effort) -> Option<u64> {
        match self {
            Need::VhostVsock
            | Need::VhostNet
            | Need::Mknod
            | Need::FileHandles
            | Need::SecurityAttributes
            | Need::Kvm
            | Need::IoUring
            | Need::MemoryPolicy
            | Need::Hugepages
            | Need::Firmware => None,
            Need::OpenFiles => Some(effort.of(12_000, 120_000)),
            Need::Processes => Some(256),
            Need::Memory => Some(1024),
            Need::Cpus => Some(2),
        }
    }

    /// Checks whether no container of the harness's provides this: a container that opens file handles is an error and
    /// runs nothing, its filter refuses io_uring and mbind, no huge pages are mounted in it, and it has no
    /// CAP_SYS_ADMIN for security attributes.
    fn is_beyond_containers(self) -> bool {
        match self {
            Need::FileHandles | Need::SecurityAttributes | Need::IoUring | Need::MemoryPolicy | Need::Hugepages => true,
            Need::VhostVsock
            | Need::VhostNet
            | Need::Mknod
            | Need::OpenFiles
            | Need::Processes
            | Need::Memory
            | Need::Cpus
            | Need::Kvm
            | Need::Firmware => false,
        }
    }
}

/// The factor by which a thorough test of random work may take longer.
const THOROUGH: u32 = 10;

/// The architectures whose releases a test says nothing about, whatever it proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExcludedArchitectures {
    /// All but x86_64: the test's expectations were read of Kata there alone.
    Elsewhere,
    /// POWER: the harness's serial line is the guest's first terminal there, so that Kata's console is the second.
    OnPower,
    /// IBM Z: Kata gives guests no device for random numbers there (`CreateVM` in
    /// src/runtime/virtcontainers/qemu.go@3.32.0).
    OnZ,
}

/// One named check.
#[derive(Debug, Clone)]
pub struct Test {
    /// The id: `filesystem::virtio_fs::rename_is_atomic`.
    pub id: TestId,
    /// The body's name: `rename_is_atomic`.
    pub name: &'static str,
    /// Its group.
    pub suite: Suite,
    /// Where the body runs.
    pub place: Place,
    /// The share that the test is about, if any.
    pub share: Option<Share>,
    /// The setting of virtiofsd that the test is about, if not as shipped.
    pub setting: Option<DaemonSetting>,
    /// The capabilities that the test proves.
    pub proves: Vec<Capability>,
    /// The component that a failure blames unless the body knows better.
    pub blames: Component,
    /// The requirements in the test's row; see [`Test::all_needs`].
    pub needs: &'static [Need],
    /// The ids of the tests that must have passed first.
    pub blocked_by: Vec<TestId>,
    /// The names of the profiles that the test applies to; empty means all.
    pub profiles: &'static [&'static str],
    /// The environments that can show the property; empty means all.
    pub environments: &'static [Environment],
    /// The modules that the shared guest loads before the test, in addition to those loaded at its start.
    pub loads: Option<ModuleUse>,
    /// The time that the body may take under emulation, seconds.
    pub seconds: u32,
    /// The kind of script that shows the failure, if there is one.
    pub reproducer: Option<Reproducer>,
    /// Whether the test's work depends on [`Effort`].
    pub random: bool,
    /// The architectures whose releases the test says nothing about, whatever it proves.
    pub excluded: Option<ExcludedArchitectures>,
    /// Where Kata asks for what the test proves.
    pub asked_for: AskedFor,
    /// The body's doc comment.
    pub doc: String,
}

impl Test {
    /// Returns all requirements for the environment: those of the test's row, and room for a guest if the test has one.
    pub fn all_needs(&self) -> Vec<Need> {
        let guest: &[Need] = match self.place {
            Place::Environment | Place::Vcpu | Place::Runc => &[],
            Place::OwnGuest | Place::Machine | Place::Guest | Place::Pair | Place::Kata => {
                &[Need::Processes, Need::Memory]
            }
        };
        self.needs.iter().chain(guest).copied().collect()
    }

    /// Returns the property that the test states: the first paragraph of its documentation, on one line.
    pub fn property(&self) -> String {
        self.doc.split("\n\n").next().unwrap_or_default().replace('\n', " ")
    }

    /// Returns the reason why Kata needs the property: the rest of the documentation, a line for each paragraph.
    pub fn reason(&self) -> String {
        let paragraphs = self.doc.split("\n\n").skip(1).map(|paragraph| paragraph.replace('\n', " "));
        paragraphs.collect::<Vec<_>>().join("\n")
    }

    /// Returns the places in Kata's source that ask for what the test proves: those that its documentation cites, or
    /// else those of its share.
    pub fn cited(&self) -> &[Citation] {
        self.asked_for.places()
    }

    /// Checks whether the test is given a guest that it shares with other tests.
    pub fn shares_a_guest(&self) -> bool {
        match self.place {
            Place::Machine | Place::Guest | Place::Pair => true,
            Place::Environment | Place::Vcpu | Place::OwnGuest | Place::Runc | Place::Kata => false,
        }
    }

    /// Returns the configuration of the guest that the test needs.
    pub fn configuration(&self) -> Configuration {
        match self.place {
            Place::Environment | Place::Vcpu => Configuration::Static,
            Place::OwnGuest => Configuration::Own,
            Place::Machine => Configuration::Plain,
            Place::Runc => Configuration::Runc,
            Place::Kata => Configuration::Kata,
            Place::Guest | Place::Pair => match self.share {
                Some(Share::VirtioFs) => self.setting.map_or(Configuration::VirtioFs, Configuration::VirtioFsWith),
                Some(Share::Virtio9p) => Configuration::Virtio9p,
                Some(Share::VirtioBlk) | None => Configuration::VirtioBlk,
            },
        }
    }

    /// Checks whether the test applies under this profile.
    pub fn applies_to(&self, profile: &str) -> bool {
        self.profiles.is_empty() || self.profiles.contains(&profile)
    }

    /// Returns the time that the body may take under emulation with this effort, seconds.
    pub fn seconds_with(&self, effort: Effort) -> u32 {
        if self.random && effort.thorough { self.seconds * THOROUGH } else { self.seconds }
    }

    /// Checks whether an environment of this kind can show the property.
    pub fn applies_in(&self, environment: Environment) -> bool {
        self.environments.is_empty() || self.environments.contains(&environment)
    }

    /// Checks whether no container can show the property, on any machine.
    pub fn is_beyond_containers(&self) -> bool {
        !self.applies_in(Environment::Container) || self.needs.iter().any(|need| need.is_beyond_containers())
    }
}

/// A guest (or none) that a test needs, as far as its own arguments go; tests of one configuration share a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Configuration {
    /// No shared guest: static checks, the daemon alone.
    Static,
    /// A guest without a share.
    Plain,
    /// A guest without a share, with an ext4 disk.
    VirtioBlk,
    /// A guest without a share that the tests boot and end themselves.
    Own,
    /// virtio-fs as the profile uses it.
    VirtioFs,
    /// virtio-fs with one setting other than the shipped one.
    VirtioFsWith(DaemonSetting),
    /// 9p as the profile uses it.
    #[serde(rename = "virtio-9p")]
    Virtio9p,
    /// Containers under runc; the same for every profile.
    Runc,
    /// Containers under Kata, which boots its guests itself.
    Kata,
}

impl Configuration {
    /// Returns the word in evidence and artifact paths.
    pub fn name(self) -> &'static str {
        match self {
            Configuration::Static => "static",
            Configuration::Plain => "plain",
            Configuration::VirtioBlk => Share::VirtioBlk.name(),
            Configuration::Own => "own",
            Configuration::VirtioFs => Share::VirtioFs.name(),
            Configuration::VirtioFsWith(setting) => match setting {
                DaemonSetting::Xattr => "virtio-fs-xattr",
                DaemonSetting::Acl => "virtio-fs-acl",
                DaemonSetting::XattrMap => "virtio-fs-xattr-map",
                DaemonSetting::CacheNever => "virtio-fs-cache-never",
                DaemonSetting::CacheMetadata => "virtio-fs-cache-metadata",
                DaemonSetting::CacheAlways => "virtio-fs-cache-always",
                DaemonSetting::SandboxNone => "virtio-fs-sandbox-none",
                DaemonSetting::ThreadPool => "virtio-fs-thread-pool",
                DaemonSetting::FewDescriptors => "virtio-fs-few-descriptors",
                DaemonSetting::WriteBack => "virtio-fs-write-back",
                DaemonSetting::UncachedMaps => "virtio-fs-uncached-maps",
                DaemonSetting::TranslatedIds => "virtio-fs-translated-ids",
                DaemonSetting::RelativeSocket => "virtio-fs-relative-socket",
            },
            Configuration::Virtio9p => Share::Virtio9p.name(),
            Configuration::Runc => "runc",
            Configuration::Kata => "kata",
        }
    }

    /// Returns the share that the configuration's guest mounts.
    pub fn share(self) -> Option<Share> {
        match self {
            Configuration::Static
            | Configuration::Own
            | Configuration::Plain
            | Configuration::Runc
            | Configuration::Kata => None,
            Configuration::VirtioBlk => Some(Share::VirtioBlk),
            Configuration::VirtioFs | Configuration::VirtioFsWith(_) => Some(Share::VirtioFs),
            Configuration::Virtio9p => Some(Share::Virtio9p),
        }
    }
}

/// A body that runs inside the guest (or natively).
pub type GuestBody = fn(&Site) -> Check;

/// A body that runs in the environment and makes the guest act.
pub type PairBody = fn(&mut Pair<'_>) -> Check;

/// A body that is given a runtime for containers.
pub type ContainersBody = fn(&dyn Containers) -> Check;

/// A test's body; the variants differ in what the body is given.
#[derive(Clone, Copy)]
pub enum Body {
    /// Runs in the environment.
    Environment(fn(&dyn EnvironmentSide) -> Check),
    /// Runs in the environment with a shared guest.
    Machine(fn(&mut dyn Machine) -> Check),
    /// Runs inside a shared guest without a share.
    Inside(fn() -> Check),
    /// Runs inside the guest, on its share.
    Guest(GuestBody),
    /// Runs inside the guest, on its share, and is given the names of the checks that fail natively.
    BesideNative(GuestBody),
    /// Runs on both sides of a share.
    Pair(PairBody),
    /// Runs in the environment with a runtime for containers.
    Containers(ContainersBody),
}

impl Body {
    /// Returns a body that runs inside the guest on a share, or natively.
    pub fn on_a_site(self) -> Option<GuestBody> {
        match self {
            Body::Guest(body) | Body::BesideNative(body) => Some(body),
            Body::Environment(_) | Body::Machine(_) | Body::Inside(_) | Body::Pair(_) | Body::Containers(_) => None,
        }
    }
}
