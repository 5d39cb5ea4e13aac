//! Tests of the comparison on small generated repositories: it reports the planted differences and nothing else.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

use model::kata_version::KataVersion;
use model::profile::Family;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use upstream::{
    Checkout, CheckoutError, Readings, Report, compare_build, compare_constants, compare_family, look_up_citations,
};

const GENERATOR: &str = "src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs";
const MAKEFILE: &str = "src/runtime-rs/Makefile";
const QMP: &str = "src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs";

const READINGS: &str = "
read:
  - {file: [src/moved.rs, src/old.rs], items: [fn prints]}
settings:
  - {files: [src/runtime-rs/Makefile], begin: [DEF], others: [CLH]}
  - {files: [kernel/fragments]}
changes:
  - {at: 2.0.0, items: [fn prints], profile: b}
  - {at: 2.1.0, items: [fn prints], no-effect: a log line}
";

const FAMILY: &str = r#"
runtime: rs
releases: [1.0.0, 2.0.0, 2.1.0]
base:
  name: a
  from: 1.0.0
  demands:
    shares: [virtio-fs]
    gates: []
    modules: {boot: [], vsock: [], virtio-fs: [], virtio-9p: [], virtio-blk: [], nvdimm: [], settings: [], clock: [], verity: [], other: [], filters: [], translation: [], bridges: [], tunnels: [], macvlans: [], taps: [], loop: [], erofs: [], xfs: [], overlay: [], virtio-mmio: []}
    qemu: {machine: q35, machine-options: "accel=kvm,kernel_irqchip=on", cpu-features: pmu=off, vcpus: 1, memory-mib: 2048, memory-slots: 10, foreground: true, bridge: "shpc=off,addr=2,io-reserve=4k,mem-reserve=1m,pref64-reserve=1m", root-bus: null, virtio-fs-queue-size: 1024, blk-scsi-off: false, blk-source: path, blk-read-only: auto-read-only, runtime-params: [reboot=k], guest-selinux: selinux=0, kernel-params: [agent.cdh_api_timeout=50]}
    qmp: {threads: query-cpus-fast, switches: typed, cpu-ids: typed, num-queues: null}
    virtiofsd: {style: long-socket, cache: auto, extra-args: ["--x"], ready-line: Waiting}
    minimums: []
    notes: []
deltas:
  - name: b
    from: 2.0.0
    changes: [{what: w, source: src/x.rs@2.0.0, set: {qemu: {blk-read-only: read-only}}}]
"#;

type Compare = fn(&Checkout, &[KataVersion], &mut Report) -> Result<(), CheckoutError>;

fn texts_of(report: &Report) -> Vec<String> {
    report.differences.iter().map(ToString::to_string).collect()
}

struct Repository(tempfile::TempDir);

impl Repository {
    fn new() -> Repository {
        let repository = Repository(tempfile::tempdir().unwrap());
        repository.git(&["init", "-q", "-b", "main"]);
        repository
    }

    fn git(&self, arguments: &[&str]) {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Returns git's output, whatever its exit status.
    fn asks(&self, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&self.run(arguments).stdout).trim().to_owned()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let identity = ["-c", "user.name=k", "-c", "user.email=k@localhost", "-c", "commit.gpgsign=false"];
        Command::new("git").arg("-C").arg(self.0.path()).args(identity).args(arguments).output().unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn release(&self, tag: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", tag]);
        self.git(&["tag", tag]);
    }

    /// Writes all source that the family expects, with this read-only option for disks.
    fn source(&self, read_only: &str) {
        self.write(
            "src/runtime-rs/arch/x86_64-options.mk",
            "MACHINETYPE := q35\nKERNELPARAMS :=\nCPUFEATURES := pmu=off\n",
        );
        self.write(
            MAKEFILE,
            "DEFVCPUS_QEMU := 1\nDEFMEMSZ := 2048\nDEFMEMSLOTS := 10\nDEFVIRTIOFSCACHE ?= auto\nDEFVIRTIOFSQUEUESIZE ?= 1024\nDEFVIRTIOFSEXTRAARGS ?= [\\\"--x\\\"]\n",
        );
        let generator = format!(
            "impl Kernel {{\n    if disable_guest_selinux {{ p(\"selinux={{}}\") }}\n}}\nimpl Machine {{\n    accel: \"kvm\".to_owned(),\n    kernel_irqchip: Some(\"on\".to_owned()),\n}}\nimpl ToQemuParams for QmpSocket {{\n    p(\"fd=\")\n}}\nimpl DevicePciBridge {{\n    shpc: false,\n    io_reserve: \"4k\".to_owned(),\n    mem_reserve: \"1m\".to_owned(),\n    pref64_reserve: \"1m\".to_owned(),\n}}\nimpl ToQemuParams for BlockBackend {{\n    p(\"{read_only}on\")\n}}\n"
        );
        self.write(GENERATOR, &generator);
        self.write(
            QMP,
            "impl Qmp {\n    a.insert(\"core-id\".to_owned(), core_id.into());\n    a.insert(\"share-rw\".to_string(), true.into());\n    a.insert(\"mq\".to_owned(), true.into());\n    query_cpus_fast {}\n}\n",
        );
        self.write(
            "src/runtime-rs/crates/hypervisor/src/kernel_param.rs",
            "impl KernelParams {\n    fn new(debug: bool) {\n        p(\"reboot\", \"k\");\n        if debug {}\n    }\n}\n",
        );
        self.write(
            "src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs_standalone.rs",
            "fn virtiofsd_args() {\n    \"--socket-path\" \"--shared-dir\" \"--cache\" extra_args\n}\n// Waiting\n",
        );
        self.write(
            "src/libs/kata-types/src/config/agent.rs",
            "fn default_cdh_api_timeout_ms() -> u32 {\n    50_000\n}\n",
        );
    }

    /// Creates a repository that agrees with the family and the readings.
    fn as_expected() -> Repository {
        let repository = Repository::new();
        repository.source("auto-read-only=");
        repository.write("src/old.rs", "// One.\nfn prints() {\n    a()\n}\n");
        repository.release("1.0.0");
        repository.source("read-only=");
        repository.write("src/old.rs", "fn prints() {\n    b()\n}\n");
        repository.release("2.0.0");
        // A moved file, comments and blanks are no change; the added log call is a change with a reading.
        std::fs::remove_file(repository.0.path().join("src/old.rs")).unwrap();
        repository.write("src/moved.rs", "// Two.\nfn prints() {\n\n        b(); log()\n}\n");
        repository.release("2.1.0");
        repository
    }

    fn compare(&self) -> Report {
        self.compared().unwrap()
    }

    fn compared(&self) -> Result<Report, CheckoutError> {
        self.compared_with(FAMILY)
    }

    fn compared_with(&self, family: &str) -> Result<Report, CheckoutError> {
        let checkout = Checkout::open(self.0.path(), Duration::from_secs(120))?;
        let mut report = Report::default();
        let (family, readings) = (Family::parse(family).unwrap(), Readings::parse(READINGS).unwrap());
        compare_family(&checkout, &family, &readings, &mut report)?;
        Ok(report)
    }

    fn differences(&self) -> Vec<String> {
        texts_of(&self.compare())
    }

    /// Returns the differences that `compare` finds at these releases and `main`.
    fn differences_by(&self, compare: Compare, releases: &[KataVersion]) -> Vec<String> {
        let checkout = Checkout::open(self.0.path(), Duration::from_secs(120)).unwrap();
        let mut report = Report::default();
        compare(&checkout, releases, &mut report).unwrap();
        assert!(report.values > 0);
        texts_of(&report)
    }

    /// Returns the differences for Kata's QEMU build as it is known at 4.1.0, modified by `changed` at that release.
    fn with_build(changed: fn(String) -> String) -> Vec<String> {
        let repository = Repository::new();
        repository.write(BUILD, "./configure\nmake install\n");
        repository.release("4.0.0");
        let known = SCRIPT.to_owned();
        repository.write(BUILD, &changed(known.clone()));
        repository.release("4.1.0");
        repository.write(BUILD, &known);
        repository.git(&["add", "-A"]);
        repository.git(&["commit", "-q", "--allow-empty", "-m", "m"]);
        repository.differences_by(compare_build, &[KataVersion::new(4, 0, 0), KataVersion::new(4, 1, 0)])
    }
}

#[test]
fn a_source_that_matches_the_profiles_shows_no_difference() {
    let repository = Repository::as_expected();
    assert_eq!(repository.differences(), [""; 0]);
    let report = repository.compare();
    assert_eq!((report.releases, report.changes), (4, 2), "three tags and main");
    assert!(report.values > 60, "{}", report.values);
}

#[test]
fn a_planted_value_is_reported_with_file_and_line() {
    let repository = Repository::as_expected();
    repository
        .write(MAKEFILE, &std::fs::read_to_string(repository.0.path().join(MAKEFILE)).unwrap().replace("2048", "1024"));
    repository.git(&["commit", "-q", "-a", "-m", "m"]);
    let expected = format!("main {MAKEFILE}:2: memory-mib: Kata says `1024`, the profile b `2048`");
    // Values and readings are two separate checks.
    let unread = format!("main {MAKEFILE}:2: `DEFMEMSZ` changed, and no reading accounts for it");
    assert_eq!(repository.differences(), [expected, unread]);
}

#[test]
fn a_changed_argument_form_of_a_plugged_device_is_reported() {
    let repository = Repository::as_expected();
    let qmp = std::fs::read_to_string(repository.0.path().join(QMP)).unwrap();
    repository.write(QMP, &qmp.replace("core_id.into()", "core_id.to_string().into()"));
    repository.git(&["commit", "-q", "-a", "-m", "m"]);
    assert_eq!(repository.differences(), [format!("main {QMP}:2: cpu-ids: Kata says `?`, the profile b `typed`")]);
}

#[test]
fn a_pre_release_is_compared_with_the_profile_it_would_get() {
    let repository = Repository::as_expected();
    let makefile = std::fs::read_to_string(repository.0.path().join(MAKEFILE)).unwrap();
    // Before 2.0.0, where the profile begins, any value may change; before 2.1.0 none may.
    repository.write(MAKEFILE, &makefile.replace("2048", "1024"));
    for tag in ["2.0.0-rc0", "2.1.0-rc0"] {
        repository.release(tag);
    }
    repository.write(MAKEFILE, &makefile);
    repository.git(&["commit", "-q", "-a", "-m", "m"]);
    let expected = format!("2.1.0-rc0 {MAKEFILE}:2: memory-mib: Kata says `1024`, the profile b `2048`");
    assert_eq!(repository.differences(), [expected]);
    assert_eq!(repository.compare().pre_releases, 1);
}

#[test]
fn a_changed_function_without_a_reading_is_reported() {
    let repository = Repository::as_expected();
    repository.write("src/moved.rs", "fn prints() {\n    c()\n}\n");
    repository.git(&["commit", "-q", "-a", "-m", "m"]);
    assert_eq!(repository.differences(), ["main src/moved.rs:1: `fn prints` changed, and no reading accounts for it"]);
}

#[test]
fn a_change_in_any_block_of_the_same_name_is_reported() {
    let repository = Repository::as_expected();
    // The first block is unchanged.
    repository.write("src/moved.rs", "fn prints() {\n    b(); log()\n}\nfn prints() {\n    c()\n}\n");
    repository.git(&["commit", "-q", "-a", "-m", "m"]);
    assert_eq!(repository.differences(), ["main src/moved.rs:1: `fn prints` changed, and no reading accounts for it"]);
}

#[test]
fn an_unread_makefile_setting_and_kernel_option_are_reported() {
    let repository = Repository::as_expected();
    let makefile = std::fs::read_to_string(repository.0.path().join(MAKEFILE)).unwrap();
    repository.write(MAKEFILE, &format!("{makefile}DEFBRIDGES := 2\nDEFBRIDGES_CLH := 3\nOTHER := 1\n"));
    repository.write("kernel/fragments/fs.conf", "# CONFIG_A=y\nCONFIG_FUSE_FS=y\n");
    repository.write("kernel/fragments/deeper/x.conf", "CONFIG_DEEPER=y\n");
    repository.git(&["add", "-A"]);
    repository.git(&["commit", "-q", "-m", "m"]);
    assert_eq!(
        repository.differences(),
        [
            "main kernel/fragments/fs.conf:2: `CONFIG_FUSE_FS` changed, and no reading accounts for it".to_owned(),
            format!("main {MAKEFILE}:7: `DEFBRIDGES` changed, and no reading accounts for it"),
            "main kernel/fragments/deeper/x.conf:1: `deeper/CONFIG_DEEPER` changed, and no reading accounts for it"
                .to_owned(),
        ]
    );
}

#[test]
fn a_gate_is_checked_from_its_first_release_on() {
    let repository = Repository::as_expected();
    let gate = "gates: [{kind: object, name: late, capability: vmm.vfio, source: src/x.rs, from: 2.1.0}]";
    let delta = "changes: [{what: w, source: src/x.rs@2.0.0, ";
    let report = repository.compared_with(&FAMILY.replace(delta, &format!("{delta}{gate}, "))).unwrap();
    let lacks =
        |tag| format!("{tag} {GENERATOR}: gates that the source does not have: Kata says `late`, the profile b ``");
    assert_eq!(texts_of(&report), [lacks("2.1.0"), lacks("main")]);
}

const BUILD: &str = "tools/packaging/static-build/qemu/build-qemu.sh";
const SCRIPT: &str = include_str!("generated/build-of-qemu.txt");

#[test]
fn a_known_qemu_build_shows_no_difference() {
    assert_eq!(Repository::with_build(|known| known), [""; 0]);
}

#[test]
fn an_unknown_device_group_is_reported_used_or_not() {
    let unknown = |line: usize, name: &str| {
        format!("4.1.0 {BUILD}:{line}: Kata's build of QEMU insists on {name}, which is not known here")
    };
    let line = SCRIPT.lines().position(|line| line == "_tee_objs=(tdx-guest sev-snp-guest)").unwrap() + 2;
    let differences = Repository::with_build(|known| {
        known
            .replace("sev-snp-guest)\n", "sev-snp-guest)\n_new_devs=(edu\n\tcxl-rp)\n")
            .replace("pvpanic", "\"${_new_devs[@]}\" pvpanic")
    });
    assert_eq!(differences, [unknown(line + 1, "cxl-rp"), unknown(line, "edu")]);
    let differences =
        Repository::with_build(|known| known.replace("sev-snp-guest)\n", "sev-snp-guest)\n_new_devs=(edu)\n"));
    assert_eq!(differences, [unknown(line, "edu")]);
}

#[test]
fn an_unknown_device_outside_the_groups_is_reported() {
    let differences = Repository::with_build(|known| known.replace("pvpanic\n", "pvpanic edu\n"));
    let line = SCRIPT.lines().position(|line| line.ends_with(" pvpanic")).unwrap() + 1;
    let expected = format!("4.1.0 {BUILD}:{line}: Kata's build of QEMU insists on edu, which is not known here");
    assert_eq!(differences, [expected]);
}

#[test]
fn a_device_that_is_dropped_from_katas_build_is_reported() {
    let differences = Repository::with_build(|known| known.replace(" vfio-pci", ""));
    assert_eq!(differences, [format!("4.1.0 {BUILD}: Kata's build of QEMU does not insist on vfio-pci")]);
}

#[test]
fn unknown_and_dropped_qemu_config_symbols_are_reported() {
    let differences = Repository::with_build(|known| known.replace("CONFIG_SGX=y", "CONFIG_EDU=y"));
    let line = SCRIPT.lines().position(|line| line == "CONFIG_SGX=y").unwrap() + 1;
    assert_eq!(
        differences,
        [
            format!("4.1.0 {BUILD}:{line}: Kata's build of QEMU configures EDU, which is not known here"),
            format!("4.1.0 {BUILD}: Kata's build of QEMU does not configure SGX"),
        ]
    );
}

#[test]
fn a_device_required_before_its_known_release_is_reported() {
    let repository = Repository::new();
    repository.write(BUILD, "_pci_devs=(vfio-pci)\n");
    repository.release("4.0.0");
    repository.write(BUILD, SCRIPT);
    repository.release("4.1.0");
    let differences = repository.differences_by(compare_build, &[KataVersion::new(4, 0, 0), KataVersion::new(4, 1, 0)]);
    assert_eq!(
        differences,
        [format!("4.0.0 {BUILD}:1: Kata's build of QEMU insists on vfio-pci, which is not known here")]
    );
}

/// Files of Kata, and the lines from which the constants are read.
const FIXED: &[(&str, &str)] = &[
    (
        "src/runtime/virtcontainers/qemu_arch_base.go",
        "const (\n\tdefaultBridgeBus          = \"pcie.0\"\n\tmaxDevIDSize              = 31\n)\nconst bridgePCIStartAddr = 2\n",
    ),
    ("src/runtime/virtcontainers/qemu.go", "func genericMemoryTopology() {\n\tmemoryOffset += 1024\n}\n"),
    ("src/runtime/virtcontainers/kata_agent.go", "\tmountGuestTag = \"kataShared\"\n"),
    (
        "src/runtime/pkg/device/config/config.go",
        "\tPCIeRootPortPrefix PCIePortBusPrefix = \"rp\"\n\tPCIeSwitchUpstreamPortPrefix    PCIePortBusPrefix = \"swup\"\n\tPCIeSwitchhDownstreamPortPrefix PCIePortBusPrefix = \"swdp\"\n",
    ),
    ("src/libs/kata-types/src/config/default.rs", "pub const DEFAULT_AGENT_VSOCK_PORT: u32 = 1024;\n"),
    ("src/agent/src/config.rs", "const DEFAULT_HOTPLUG_TIMEOUT: time::Duration = time::Duration::from_secs(3);\n"),
    (
        "src/agent/src/sandbox.rs",
        "const ONLINE_CPUMEM_WAIT_MILLIS: u64 = 50;\nconst ONLINE_CPUMEM_MAX_RETRIES: i32 = 100;\n",
    ),
    (GENERATOR, "const BRIDGE_PCI_START_ADDR: u32 = 2;\nconst NESTED_ROOT_PORT_CHASSIS_BASE: u32 = 16;\n"),
    (QMP, "const DEVICE_DELETED_TIMEOUT: Duration = Duration::from_secs(10);\n"),
    (
        "src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs.rs",
        "pub(crate) const MOUNT_GUEST_TAG: &str = \"kataShared\";\n",
    ),
];

#[test]
fn a_changed_constant_is_reported_at_its_release() {
    let repository = Repository::new();
    let (base, agent) = ("src/runtime/virtcontainers/qemu_arch_base.go", "src/agent/src/config.rs");
    // A release without switches and runtime-rs, in which the agent defined the port.
    for (file, text) in &FIXED[..3] {
        repository.write(file, text);
    }
    repository.write(agent, &format!("const VSOCK_PORT: u16 = 1024;\n{}", FIXED[5].1));
    repository.write(FIXED[6].0, &FIXED[6].1.replace("WAIT", "WATI").replace("i32", "u32"));
    repository.release("2.2.0");
    for (file, text) in FIXED {
        repository.write(file, text);
    }
    repository.release("4.0.0");
    let releases = [KataVersion::new(2, 2, 0), KataVersion::new(4, 0, 0)];
    assert_eq!(repository.differences_by(compare_constants, &releases), [""; 0]);

    repository.write(base, &FIXED[0].1.replace("31", "20"));
    repository.write(agent, &FIXED[5].1.replace("from_secs(3)", "from_secs(9)"));
    repository.write(QMP, "");
    repository.release("4.1.0");
    for (file, text) in FIXED {
        repository.write(file, text);
    }
    repository.git(&["commit", "-q", "-a", "-m", "m"]);
    let releases = [KataVersion::new(2, 2, 0), KataVersion::new(4, 0, 0), KataVersion::new(4, 1, 0)];
    assert_eq!(
        repository.differences_by(compare_constants, &releases),
        [
            format!("4.1.0 {base}:3: Kata says `20`, and MAX_ID here is `31`"),
            format!(
                "4.1.0 {agent}:1: Kata says `time::Duration::from_secs(9)`, and DEVICE_APPEARS here is `time::Duration::from_secs(3)`"
            ),
            format!("4.1.0 {QMP}: DEVICE_DELETED is not where it was; here it is `Duration::from_secs(10)`"),
        ]
    );
}

#[test]
fn a_boundary_at_the_wrong_release_is_reported() {
    let repository = Repository::new();
    repository.source("read-only=");
    repository.write("src/old.rs", "fn prints() {\n    a()\n}\n");
    repository.release("1.0.0");
    repository.release("2.0.0");
    repository.release("2.1.0");
    assert_eq!(
        repository.differences(),
        [
            format!("1.0.0 {GENERATOR}:18: blk-read-only: Kata says `read-only=`, the profile a `auto-read-only=`"),
            "2.0.0 -: `fn prints` did not change, though a reading says so".to_owned(),
            "2.1.0 -: `fn prints` did not change, though a reading says so".to_owned(),
        ]
    );
}

#[test]
fn unread_and_missing_releases_are_reported() {
    let repository = Repository::as_expected();
    repository.release("2.2.0");
    // A maintenance branch has releases older than the newest one.
    repository.release("2.0.1");
    repository.release("3.0.0-rc0");
    repository.git(&["tag", "-d", "1.0.0"]);
    let differences = repository.differences();
    assert!(
        differences.contains(&"2.2.0 -: this release has not been read; the newest that was is 2.1.0".to_owned()),
        "{differences:?}"
    );
    assert!(
        differences.iter().any(|line| line.starts_with("2.0.1 -: this release has not been read")),
        "{differences:?}"
    );
    assert!(differences.contains(&"1.0.0 -: there is no such tag in the checkout".to_owned()), "{differences:?}");
    assert!(!differences.iter().any(|line| line.starts_with("3.0.0")), "{differences:?}");
}

/// Tries everything at once that makes git run programs from a repository's configuration; each would create a file.
#[test]
fn a_hostile_checkout_runs_nothing_and_changes_nothing() {
    let repository = Repository::as_expected();
    repository.write(".gitattributes", "* filter=trap diff=trap merge=trap\n");
    repository.release("2.2.0");
    // A replacement of an object is not the tagged content.
    let object = |name: &str| repository.asks(&["rev-parse", name]);
    let (makefile, other) = (object(&format!("2.1.0:{MAKEFILE}")), object("2.1.0:src/moved.rs"));
    repository.git(&["replace", &makefile, &other]);
    let outside = tempfile::tempdir().unwrap();
    let made = outside.path().join("made");
    let program = trap(&outside.path().join("program"), &made);
    let included = outside.path().join("included").display().to_string();
    std::fs::write(&included, format!("[core]\nfsmonitor = {program}\n")).unwrap();
    for command in ["rev-parse", "for-each-ref", "ls-tree", "cat-file", "tag"] {
        repository.git(&["config", &format!("alias.{command}"), &format!("!{program}")]);
        repository.git(&["config", &format!("pager.{command}"), &program]);
    }
    for key in RUN {
        repository.git(&["config", key, &program]);
    }
    let conditional = format!("includeIf.gitdir:{}/.git.path", repository.0.path().display());
    let fetched = format!("ext::{program}");
    let settings: [(&str, &str); 10] = [
        ("column.ui", "always"),
        ("color.ui", "always"),
        ("log.showSignature", "true"),
        ("include.path", &included),
        (&conditional, &included),
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", &fetched),
        ("protocol.ext.allow", "always"),
    ];
    for (key, value) in settings {
        repository.git(&["config", key, value]);
    }
    for hook in ["reference-transaction", "post-index-change", "fsmonitor-watchman", "post-checkout"] {
        trap(&repository.0.path().join(".git/hooks").join(hook), &made);
    }
    assert_eq!(repository.differences(), ["2.2.0 -: this release has not been read; the newest that was is 2.1.0"]);
    // A missing object is an error. A plain git would run the program to fetch it.
    let (folder, file) = makefile.split_at(2);
    std::fs::remove_file(repository.0.path().join(".git/objects").join(folder).join(file)).unwrap();
    let error = repository.compared().unwrap_err();
    assert!(matches!(&error, CheckoutError::Object { object, .. } if *object == makefile), "{error}");
    assert!(!made.exists(), "a program of the checkout's has run");
    repository.asks(&["--no-replace-objects", "cat-file", "blob", &makefile]);
    assert!(made.exists(), "there was nothing to keep from running");
}

/// Settings whose values git runs as programs.
const RUN: &[&str] = &[
    "core.fsmonitor",
    "core.pager",
    "core.editor",
    "core.sshCommand",
    "core.gitProxy",
    "core.askPass",
    "core.alternateRefsCommand",
    "credential.helper",
    "filter.trap.smudge",
    "filter.trap.clean",
    "filter.trap.process",
    "diff.trap.textconv",
    "diff.trap.command",
    "diff.external",
    "gpg.program",
    "uploadpack.packObjectsHook",
    "remote.origin.uploadpack",
];

/// Creates a program that creates a file; returns the program's path.
fn trap(program: &Path, made: &Path) -> String {
    std::fs::create_dir_all(program.parent().unwrap()).unwrap();
    std::fs::write(program, format!("#!/bin/sh\ntouch {}\nexit 1\n", made.display())).unwrap();
    std::fs::set_permissions(program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    program.display().to_string()
}

#[test]
fn terminal_control_characters_of_a_checkout_are_not_printed() {
    let repository = Repository::as_expected();
    let makefile = std::fs::read_to_string(repository.0.path().join(MAKEFILE)).unwrap();
    repository.write(MAKEFILE, &makefile.replace("2048", &format!("\u{1b}]0;x\u{7}20\u{202e}{}", "4".repeat(9000))));
    repository.git(&["commit", "-q", "-a", "-m", "m"]);
    let differences = repository.differences();
    assert!(differences[0].contains("Kata says `204"), "{differences:?}");
    assert!(
        differences.iter().all(|line| line.len() < 600 && !line.contains(['\u{1b}', '\u{202e}'])),
        "{differences:?}"
    );
}

#[test]
fn a_cited_file_that_is_not_at_its_tag_is_reported() {
    let repository = Repository::as_expected();
    let checkout = Checkout::open(repository.0.path(), Duration::from_secs(120)).unwrap();
    let mut report = Report::default();
    let cited = [
        ("1.0.0", "src/old.rs"),
        ("1.0.0", "src/moved.rs"),
        ("2.1.0", "src/old.rs"),
        ("2.1.0", "src/moved.rs"),
        ("2.1.0", "src/moved.rs"),
        ("2.1.0", "src"),
        ("main", "src/moved.rs"),
        ("9.0.0", "src/moved.rs"),
    ];
    let cited = cited.map(|(tag, file)| (tag.to_owned(), file));
    look_up_citations(&checkout, cited, &mut report).unwrap();
    assert_eq!(report.citations, 7);
    let differences = [
        "1.0.0 src/moved.rs: this file is cited, and is not there",
        "2.1.0 src: this file is cited, and is not there",
        "2.1.0 src/old.rs: this file is cited, and is not there",
        "9.0.0 src/moved.rs: this file is cited, and is not there",
    ];
    assert_eq!(texts_of(&report), differences);
}

#[test]
fn a_path_that_is_no_git_repository_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path(), Path::new("/nonexistent")] {
        let error = Checkout::open(path, Duration::from_secs(60)).unwrap_err();
        assert!(matches!(error, CheckoutError::NoRepository { .. }), "{error}");
    }
}

#[test]
fn reading_a_checkout_stops_at_the_deadline() {
    let repository = Repository::as_expected();
    let error = Checkout::open(repository.0.path(), Duration::ZERO).unwrap_err();
    assert!(matches!(error, CheckoutError::Deadline { .. }), "{error}");
}

/// The profiles agree with Kata's own source: `KATA_CHECKOUT` names a repository with its tags and `main`.
#[test]
#[ignore = "by hand: KATA_CHECKOUT names a checkout of Kata's source"]
fn the_profiles_agree_with_katas_source() {
    let dir = std::env::var_os("KATA_CHECKOUT").expect("KATA_CHECKOUT names a checkout of Kata's source");
    let checkout = Checkout::open(Path::new(&dir), Duration::from_secs(900)).unwrap();
    let report = upstream::compare(&checkout).unwrap();
    let differences: Vec<String> = report.differences.iter().map(ToString::to_string).collect();
    assert_eq!(differences, [""; 0]);
    eprintln!("{report:?}");
}
