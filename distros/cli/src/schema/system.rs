//! Answers about systems and releases, and about the components installed on a system.

use super::{Day, Problem, Release, Version};
use model::arch::Arch;
use model::capability::Capability;
use model::environment::Environment;
use model::verified::{Basis, Verdict};
use schemars::JsonSchema;
use std::collections::BTreeMap;

/// The record and the release of the system.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Detect {
    version: Version,
    root: String,
    system: Detection,
    problems: Vec<Problem>,
}

/// The system's os-release, and the release that it matches.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Detection {
    id: String,
    version_id: Option<String>,
    codename: Option<String>,
    name: Option<String>,
    distro: Option<String>,
    /// `id`, `platform-id`, `id-like`.
    by: Option<String>,
    /// The matching releases; several if nothing distinguishes them.
    releases: Vec<Release>,
    /// `exact`, `prefix`, `rolling`.
    fit: Option<String>,
    derivative: Option<Derivative>,
    /// `as rhel:10, by ID_LIKE`.
    borrowed: Option<String>,
    refused: Option<String>,
    arch: Option<Arch>,
}

/// A derivative that its os-release does not reveal.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Derivative {
    name: String,
    /// The file that identifies the derivative.
    sign: String,
}

/// The known releases.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct List {
    version: Version,
    releases: Vec<Listed>,
}

/// A known release.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Listed {
    release: Release,
    arches: Vec<Arch>,
}

/// Facts about releases.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Show {
    version: Version,
    releases: Vec<Shown>,
    /// The relative whose record is shown in place of the system's own: `as rhel:10, by ID_LIKE`.
    borrowed: Option<String>,
    derivative: Option<Derivative>,
}

/// Facts about a release.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Shown {
    release: Release,
    arch: Arch,
    package_manager: String,
    suites: Vec<Suite>,
    /// The OCI image.
    image: Option<String>,
    /// VMMs, the preferred one first.
    vmm: Vec<Packaged>,
    /// Filesystems, the preferred one first.
    fs: Vec<Packaged>,
    kernel: Option<Kernel>,
    /// The preferred container manager whose packages and path are known.
    container_manager: Option<Packaged>,
    /// All container managers, the preferred one first.
    container_managers: Vec<Stated>,
    /// Kata itself, as the distro packages it.
    kata: Vec<Stated>,
    /// Firmware of guests.
    firmware: Vec<Stated>,
    jailer: Vec<Stated>,
    snapshotter: Vec<Stated>,
    facts: Vec<Fact>,
    verified: Vec<Run>,
}

/// A suite of a package archive.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Suite {
    name: String,
    /// `main`, `security`.
    archive: String,
    components: Vec<String>,
}

/// A component as the distro packages it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Packaged {
    name: String,
    packages: Vec<String>,
    path: Option<String>,
}

/// A component as far as the record knows it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Stated {
    name: String,
    /// Null if the record does not know them.
    packages: Option<Vec<String>>,
    path: Option<String>,
}

/// The distro's kernel.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Kernel {
    packages: Vec<String>,
    /// A pattern: `/boot/vmlinuz-*`.
    image: String,
}

/// One statement of a record.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Fact {
    /// `vmm qemu path`.
    subject: String,
    /// The value; null if the record says `unknown`.
    value: Option<String>,
    /// `assumed`, `documented`, `packaging`, `measured`.
    confidence: String,
    origin: Option<Origin>,
}

/// Place of a fact.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Origin {
    file: String,
    line: u64,
}

/// Results of one run for a release.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Run {
    profile: String,
    environment: Environment,
    basis: Basis,
    shaped: bool,
    tested: Day,
    harness: String,
    test_set: String,
    /// The Kata that was run, if the verdicts are about Kata itself.
    kata: Option<RunKata>,
    versions: Vec<VersionPair>,
    capabilities: Vec<Judged>,
}

/// The Kata of a run.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct RunKata {
    version: String,
    /// `go`, `rs`.
    runtime: String,
    /// Replacements of the distro's own components, by component.
    brought: Option<BTreeMap<String, String>>,
}

/// A package's verified and installed versions.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct VersionPair {
    package: String,
    verified: String,
    /// The installed version, if it was queried; null if the package is not installed.
    installed: Option<String>,
}

/// A capability's verdict.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Judged {
    capability: Capability,
    /// The verdict; null if the run had none.
    verdict: Option<Verdict>,
    /// Whether a test failed before it passed, in a fresh guest of the same run.
    flaky: bool,
    causes: Vec<Cause>,
    workaround: Option<String>,
}

/// Cause of a verdict.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Cause {
    /// The component at fault, such as `qemu`; missing if none could be shown to be at fault.
    component: Option<String>,
    /// The test that showed the cause.
    test: Option<String>,
    /// The observation, or the missing prerequisite.
    message: String,
}

/// The head of an answer about a system.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct System {
    release: Release,
    arch: Arch,
    root: String,
    borrowed: Option<String>,
}

/// Installed components of a release; the last three keys are present only with `--all`.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Check {
    version: Version,
    system: System,
    installed: bool,
    components: Vec<Component>,
    not_in_record: Vec<String>,
    problems: Vec<Problem>,
    verified: Option<Vec<Standing>>,
    matches: Option<bool>,
    configured: Option<Vec<Problem>>,
}

/// One of Kata's components on a system.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Component {
    kind: String,
    name: String,
    installed: bool,
    presence: Presence,
    path: Option<String>,
    /// The target of the path's symbolic links, if it differs.
    resolved: Option<String>,
    /// The package that owns the file.
    package: Option<Installed>,
    version: Option<String>,
    packages: Vec<Wanted>,
    problem: Option<String>,
    said: Option<Answer>,
}

/// Presence of a component.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum Presence {
    Installed,
    NotInstalled,
    NotPackaged,
    Unreadable,
    Unknown,
}

/// An installed package.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Installed {
    package: String,
    version: String,
}

/// A package that a record names, and the installed packages that have that name or provide it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Wanted {
    name: String,
    installed: Vec<Installed>,
}

/// A program's answer to `--version`: a version, or why there is none.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Answer {
    version: Option<String>,
    /// Why there is no version.
    nothing: Option<String>,
}

/// A recorded run, compared with the installed packages.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Standing {
    profile: String,
    environment: Environment,
    basis: Basis,
    shaped: bool,
    tested: Day,
    age_days: i32,
    harness: String,
    capabilities: Vec<Judged>,
    versions: Vec<VersionPair>,
    /// Whether all these capabilities are supported.
    supported: bool,
    /// Whether all versions are the same.
    matches: bool,
}

/// Whether a combination was proved.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Verified {
    version: Version,
    system: System,
    verified: bool,
    profiles: Vec<VerifiedProfile>,
    problems: Vec<Problem>,
}

/// Whether runs together have proved everything that was requested for a profile.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct VerifiedProfile {
    profile: String,
    verified: bool,
    entries: Vec<Standing>,
}
