//! The corpus, as its files have it.

use model::capability::Capability;
use model::component::Component;
use model::environment::Environment;
use serde::Deserialize;

/// What is broken: a file of faults each.
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
    /// What stands in the place of Cloud Hypervisor and Firecracker.
    OtherVmms,
    /// What the harness stands on: nothing of it may count against a release.
    Infrastructure,
}

/// Each group with its file.
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
    /// The word for it.
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

/// One fault: how a part is broken, and what a run must say of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Fault {
    /// Its name.
    pub(crate) id: String,
    /// What is wrong, for readers.
    pub(crate) breaks: String,
    /// How it is broken.
    pub(crate) by: Means,
    /// The only test that is run, with what can block it.
    pub(crate) test: String,
    /// The capabilities that must turn to unsupported, and no others.
    #[serde(default)]
    pub(crate) turns: Vec<Capability>,
    /// Whom the run must blame; nobody where none is named.
    #[serde(default)]
    pub(crate) blames: Option<Component>,
    /// What the run must say.
    #[serde(default)]
    pub(crate) says: String,
    /// The release that is broken.
    #[serde(default = "release")]
    pub(crate) release: String,
    /// The profiles that it is tried under.
    #[serde(default = "profiles")]
    pub(crate) profiles: Vec<String>,
    /// Where it is brought up; `host` is containerd and runc of this machine.
    #[serde(default = "environment")]
    pub(crate) environment: Environment,
    /// Whether a run may do as if nothing were wrong, because it need not notice.
    #[serde(default)]
    pub(crate) may_pass: bool,
    /// Whether `.ci/run` tries it.
    #[serde(default)]
    pub(crate) quick: bool,
}

/// The release where the corpus names none.
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
    /// What tells which packages are installed.
    PackageQuery,
}

/// The means by which parts are broken.
///
/// Scripts are bash's; `$real` is the program that they stand in for, which runs in the end unless they leave before.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "means", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Means {
    /// QEMU's lists lack every line with this name, and it refuses arguments that begin with it.
    Hidden { name: String },
    /// A script runs first.
    Script { program: Program, run: String },
    /// A script changes each argument, `a`, or leaves it out by `drop`; `drop_option` leaves out its option, too.
    Arguments { program: Program, each: String },
    /// It is sent a signal after so many seconds; QEMU only where it boots a guest.
    Signal { program: Program, signal: String, seconds: u32 },
    /// System calls of virtiofsd are not done, or fail: `CALLS:retval=0`, `CALLS:error=EIO`, as strace's `inject` has it.
    Calls { inject: String },
    /// Functions in C that the program calls in the place of the C library's.
    Preloaded { program: Program, functions: String },
    /// The program's bytes have another word of the same length: a command or a field of QMP that is not there.
    Bytes { program: Program, from: String, to: String },
    /// The guest's kernel gets one more parameter.
    Parameter { text: String },
    /// A file, executable, has another text; one part of the path may have a `*`.
    Replaced { path: String, text: String },
    /// A file is not there.
    Removed { path: String },
    /// A module of every kernel is not there.
    Module { name: String },
    /// A part of a file's text is another one; one part of the path may have a `*`.
    Edited { path: String, from: String, to: String },
    /// runc of this machine runs this first when it makes a container of the bundle in `$BUNDLE`.
    Bundle { run: String },
    /// This stands in the place of this machine's containerd.
    Containerd { text: String },
    /// A program of this text is brought along as a component that the release does not have.
    #[serde(rename = "brought")]
    AddedComponent { component: Component, text: String },
    /// The component of whoever tries it is brought along, and calls functions in C in the place of the C library's.
    /// Where none is lent (`CLOUD_HYPERVISOR=PATH`, `FIRECRACKER=PATH`) it is not tried.
    Lent { component: Component, functions: String },
    /// Nothing listens where the mirror is.
    NoMirror,
    /// The mirror answers wrongly.
    Mirror { answer: MirrorFault },
    /// The cache lies on a disk of 64 MiB.
    SmallDisk,
    /// Something happens as soon as the first guest was started.
    During { event: Event },
    /// The clock jumps, three seconds after the start.
    Clock { seconds: i64 },
}

/// What a mirror does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MirrorFault {
    /// Packages are not there, which the index has.
    NoPackages,
    /// Packages have another content than the index says.
    OtherPackages,
    /// The signed index was changed.
    OtherIndex,
    /// The lists of packages are other ones than the signed index says.
    OtherLists,
}

/// What happens to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event {
    /// The engine closes all connections, and answers no more.
    EngineGone,
    /// The container is killed.
    ContainerKilled,
    /// The container may have less memory than its guest has taken.
    OutOfMemory,
}

/// Every fault with its group, in the order of the files.
pub(crate) fn corpus() -> Vec<(FaultGroup, Fault)> {
    let of = |(group, text): (FaultGroup, &str)| {
        let faults: Vec<Fault> =
            serde_yaml::from_str(text).unwrap_or_else(|e| panic!("corpus/{}.yaml: {e}", group.name()));
        faults.into_iter().map(move |fault| (group, fault))
    };
    FILES.into_iter().flat_map(of).collect()
}

/// The fault of that name.
pub(crate) fn fault(id: &str) -> Fault {
    let found = corpus().into_iter().find(|(_, fault)| fault.id == id);
    found.unwrap_or_else(|| panic!("the corpus has no fault {id}")).1
}
