//! The corpus of faults, as in its files.

use model::capability::Capability;
use model::component::Component;
use model::environment::Environment;
use serde::Deserialize;

/// Groups of faults by the broken part; each has its own file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FaultGroup {
    /// The release's QEMU.
    Qemu,
    /// The release's virtiofsd.
    Virtiofsd,
    /// The release's kernel.
    Kernel,
    /// The release's packages.
    Packages,
    /// containerd and runc.
    Containers,
    /// Stand-ins for Cloud Hypervisor and Firecracker.
    OtherVmms,
    /// The harness's own infrastructure, whose faults must not count against a release.
    Infrastructure,
}

/// The groups and their files.
const FILES: [(FaultGroup, &str); 7] = [
    (FaultGroup::Qemu, include_str!("corpus/qemu.yaml")),
    (FaultGroup::Virtiofsd, include_str!("corpus/virtiofsd.yaml")),
    (FaultGroup::Kernel, include_str!("corpus/kernel.yaml")),
    (FaultGroup::Packages, include_str!("corpus/packages.yaml")),
    (FaultGroup::Containers, include_str!("corpus/containers.yaml")),
    (FaultGroup::OtherVmms, include_str!("corpus/other-vmms.yaml")),
    (FaultGroup::Infrastructure, include_str!("corpus/infrastructure.yaml")),
];

impl FaultGroup {
    /// Returns the group's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            FaultGroup::Qemu => "qemu",
            FaultGroup::Virtiofsd => "virtiofsd",
            FaultGroup::Kernel => "kernel",
            FaultGroup::Packages => "packages",
            FaultGroup::Containers => "containers",
            FaultGroup::OtherVmms => "other-vmms",
            FaultGroup::Infrastructure => "infrastructure",
        }
    }
}

/// One fault: the way a part is broken, and the result that a run must report.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Fault {
    /// Name of the fault.
    pub(crate) id: String,
    /// Description of the fault, for readers.
    pub(crate) breaks: String,
    /// The means that breaks the part.
    pub(crate) by: Means,
    /// The only test to run; tests that can block it run, too.
    pub(crate) test: String,
    /// Capabilities that must become unsupported; no others may.
    #[serde(default)]
    pub(crate) turns: Vec<Capability>,
    /// The component that the run must blame; `None` for no component.
    #[serde(default)]
    pub(crate) blames: Option<Component>,
    /// Text that the run must report.
    #[serde(default)]
    pub(crate) says: String,
    /// The release that is broken.
    #[serde(default = "release")]
    pub(crate) release: String,
    /// Profiles under which the fault is tried.
    #[serde(default = "profiles")]
    pub(crate) profiles: Vec<String>,
    /// The environment of the run; `host` means containerd and runc of this machine.
    #[serde(default = "environment")]
    pub(crate) environment: Environment,
    /// Whether the run may also end without noticing the fault.
    #[serde(default)]
    pub(crate) may_pass: bool,
    /// Whether `.ci/run` tries it.
    #[serde(default)]
    pub(crate) quick: bool,
}

/// Returns the default release of a fault.
fn release() -> String {
    "debian:13".to_owned()
}

fn profiles() -> Vec<String> {
    vec!["go-3.29".to_owned()]
}

fn environment() -> Environment {
    Environment::Container
}

/// A program of the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Program {
    /// QEMU.
    Qemu,
    /// virtiofsd.
    Virtiofsd,
    /// The program that lists installed packages.
    PackageQuery,
}

/// Means of breaking parts.
///
/// Scripts are for bash. `$real` is the program that a script replaces; it runs at the end unless the script exits
/// before.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "means", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Means {
    /// QEMU's lists lack every line with this name, and QEMU refuses arguments that begin with it.
    Hidden { name: String },
    /// A script runs first.
    Script { program: Program, run: String },
    /// A script changes each argument, `$a`, or removes it by `drop`; `drop_option` removes its option, too.
    Arguments { program: Program, each: String },
    /// The program gets a signal after this many seconds; QEMU only if it boots a guest.
    Signal { program: Program, signal: String, seconds: u32 },
    /// System calls of virtiofsd are skipped or fail: `CALLS:retval=0`, `CALLS:error=EIO`, in the syntax of strace's
    /// `inject`.
    Calls { inject: String },
    /// C functions that the program calls instead of those of the C library.
    Preloaded { program: Program, functions: String },
    /// A word in the program's bytes is replaced by another one of the same length, so that a QMP command or field is
    /// missing.
    Bytes { program: Program, from: String, to: String },
    /// The guest's kernel gets one more parameter.
    Parameter { text: String },
    /// A file is replaced by an executable with this text; one part of the path may have a `*`.
    Replaced { path: String, text: String },
    /// A file is missing.
    Removed { path: String },
    /// A module of every kernel is missing.
    Module { name: String },
    /// A part of a file's text is replaced; one part of the path may have a `*`.
    Edited { path: String, from: String, to: String },
    /// This machine's runc runs this script first when it creates a container from the bundle in `$BUNDLE`.
    Bundle { run: String },
    /// This machine's runc runs this script first when it starts a further process in a container, with its
    /// specification in the file `$PROCESS`: the bundle says nothing about such a process.
    Process { run: String },
    /// This text replaces this machine's containerd.
    Containerd { text: String },
    /// A program with this text is added as a component that the release does not have.
    #[serde(rename = "brought")]
    AddedComponent { component: Component, text: String },
    /// The component of the person who tries the fault is added, with C functions instead of those of the C library.
    /// Without such a component (`CLOUD_HYPERVISOR=PATH`, `FIRECRACKER=PATH`) the fault is not tried.
    Lent { component: Component, functions: String },
    /// Nothing listens at the mirror's address.
    NoMirror,
    /// The mirror answers wrongly.
    Mirror { answer: MirrorFault },
    /// The cache is on a disk of 64 MiB.
    SmallDisk,
    /// An event happens as soon as the first guest has started.
    During { event: Event },
    /// The clock jumps, three seconds after the start.
    Clock { seconds: i64 },
}

/// Faults of a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MirrorFault {
    /// Packages that the index lists are missing.
    NoPackages,
    /// Packages have other content than the index states.
    OtherPackages,
    /// The signed index was changed.
    OtherIndex,
    /// The lists of packages differ from those of the signed index.
    OtherLists,
}

/// Events during a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event {
    /// The container engine closes all connections and does not answer any more.
    EngineGone,
    /// The container is killed.
    ContainerKilled,
    /// The container's memory limit is set below the memory that its guest has taken.
    OutOfMemory,
}

/// Returns every fault with its group, in the order of the files.
pub(crate) fn corpus() -> Vec<(FaultGroup, Fault)> {
    let of = |(group, text): (FaultGroup, &str)| {
        let faults: Vec<Fault> =
            serde_yaml::from_str(text).unwrap_or_else(|e| panic!("corpus/{}.yaml: {e}", group.name()));
        faults.into_iter().map(move |fault| (group, fault))
    };
    FILES.into_iter().flat_map(of).collect()
}

/// Returns the fault with this name.
pub(crate) fn fault(id: &str) -> Fault {
    let found = corpus().into_iter().find(|(_, fault)| fault.id == id);
    found.unwrap_or_else(|| panic!("the corpus has no fault {id}")).1
}
