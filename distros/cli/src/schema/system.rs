//! What is known of systems and releases, and what is on them.

use super::{Day, Problem, Release, Version};
use model::arch::Arch;
use model::capability::Capability;
use model::environment::Environment;
use model::verified::{Basis, Verdict};
use schemars::JsonSchema;
use std::collections::BTreeMap;

/// Which record and release the system is.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Detect {
    version: Version,
    root: String,
    system: Detection,
    problems: Vec<Problem>,
}

/// What a system says it is, and what that is here.
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
    /// Two where nothing tells them apart.
    releases: Vec<Release>,
    /// `exact`, `prefix`, `rolling`.
    fit: Option<String>,
    derivative: Option<Derivative>,
    /// `as rhel:10, by ID_LIKE`.
    borrowed: Option<String>,
    refused: Option<String>,
    arch: Option<Arch>,
}

/// What a system is beside what its os-release says.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Derivative {
    name: String,
    /// The file that it is known by.
    sign: String,
}

/// The releases that are known.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct List {
    version: Version,
    releases: Vec<Listed>,
}

/// A release that is known.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Listed {
    release: Release,
    arches: Vec<Arch>,
}

/// What is known of releases.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Show {
    version: Version,
    releases: Vec<Shown>,
}

/// What is known of a release.
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
    /// The preferred one first.
    vmm: Vec<Packaged>,
    /// The preferred one first.
    fs: Vec<Packaged>,
    kernel: Option<Kernel>,
    container_manager: Option<Packaged>,
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

/// The distro's kernel.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Kernel {
    packages: Vec<String>,
    /// A pattern: `/boot/vmlinuz-*`.
    image: String,
}

/// One line of what a record says.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Fact {
    /// `vmm qemu path`.
    subject: String,
    /// Null where the record says that nobody knows it.
    value: Option<String>,
    /// `assumed`, `documented`, `packaging`, `measured`.
    confidence: String,
    origin: Option<Origin>,
}

/// Where a fact stands.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Origin {
    file: String,
    line: u64,
}

/// What one run found of a release.
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
    /// Where the verdicts are Kata's own.
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
    /// What took the place of the distro's own components, by component.
    brought: Option<BTreeMap<String, String>>,
}

/// A package's version then and now.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct VersionPair {
    package: String,
    verified: String,
    /// Where that was asked; null where it is not installed.
    installed: Option<String>,
}

/// A capability's verdict.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Judged {
    capability: Capability,
    /// Null where the run had none.
    verdict: Option<Verdict>,
    causes: Vec<Cause>,
    workaround: Option<String>,
}

/// Why a capability has its verdict.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Cause {
    /// `qemu`; none where nobody could be shown to be at fault.
    component: Option<String>,
    /// The test that showed it.
    test: Option<String>,
    /// What was seen, or what was lacking.
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

/// What of a release is installed; the last three keys are those of `--all`.
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

/// One of Kata's needs as it is on a system.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Component {
    kind: String,
    name: String,
    installed: bool,
    presence: Presence,
    path: Option<String>,
    /// Where its links lead, if elsewhere.
    resolved: Option<String>,
    /// That owns the file.
    package: Option<Installed>,
    version: Option<String>,
    packages: Vec<Wanted>,
    problem: Option<String>,
    said: Option<Answer>,
}

/// Whether a component is there.
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

/// A package that a record names, and what has that name or provides it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Wanted {
    name: String,
    installed: Vec<Installed>,
}

/// What a program answered when it was asked for its version: one of the two.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Answer {
    version: Option<String>,
    /// Why there is none.
    nothing: Option<String>,
}

/// A recorded run beside what is installed.
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
    /// Whether all these capabilities are.
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

/// Whether runs have proved, together, all that was asked for of a profile.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct VerifiedProfile {
    profile: String,
    verified: bool,
    entries: Vec<Standing>,
}
