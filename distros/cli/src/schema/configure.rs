//! What Kata is told, and what to do where it cannot be told.

use super::{Problem, Release, Version};
use model::arch::Arch;
use model::capability::Capability;
use schemars::JsonSchema;
use serde_json::Value;

/// What `fallback` says is to be done; of a component that is to be built, how.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum Fallback {
    Way(Box<Way>),
    Build(Box<Build>),
}

/// How a component is built.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Build {
    version: Version,
    instructions: Instructions,
}

/// What `configure` wrote, or what is to be done first.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum Configure {
    Configured(Box<Configured>),
    Way(Box<Way>),
    Assumed(Assumed),
}

/// What to do next, by its outcome.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Way {
    version: Version,
    outcome: Outcome,
    release: Release,
    profile: String,
    problems: Vec<Problem>,
    /// Of `configure`.
    configuration: Option<Configuration>,
    /// Of `install`.
    missing: Option<Missing>,
    /// Of `describe`: the distro does not package it.
    component: Option<String>,
    /// Of `describe`: to be completed and put into `/etc/kata-osinfo`.
    record: Option<String>,
    /// Of `unsupported`.
    capability: Option<Capability>,
    /// Of `unsupported`: each independent cause.
    why: Option<Vec<String>>,
    /// Of `unsupported`: what to do.
    instead: Option<String>,
    /// Of `build`: shared filesystems that do not work.
    passed_over: Option<Vec<PassedOver>>,
    /// Of `build`: what takes less than one, the best first.
    choices: Option<Vec<Choice>>,
    /// Of `build`.
    instructions: Option<Vec<Instructions>>,
}

/// Which way out there is.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum Outcome {
    Configure,
    Install,
    Describe,
    Unsupported,
    Build,
}

/// Facts that nobody has checked are in the way.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Assumed {
    version: Version,
    /// `assumed`.
    #[schemars(regex(pattern = "^assumed$"))]
    outcome: String,
    facts: Vec<String>,
    problems: Vec<Problem>,
}

/// What was written, or would be.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Configured {
    version: Version,
    /// `configure`.
    #[schemars(regex(pattern = "^configure$"))]
    outcome: String,
    release: Release,
    arch: Arch,
    kata_config: KataConfig,
    warnings: Vec<String>,
    /// Values that others have set.
    theirs: Vec<ForeignValue>,
    configuration: Configuration,
    settings: Vec<Setting>,
    files: Vec<String>,
    /// Files that are written no more.
    taken_back: Vec<String>,
    written: bool,
    diff: String,
    not_effective: Vec<NotEffective>,
    problems: Vec<Problem>,
}

/// Kata's configuration for a machine.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Configuration {
    profile: String,
    /// `go`, `rs`.
    runtime: String,
    kata: String,
    /// QEMU's path.
    hypervisor: String,
    machine: String,
    share: Share,
    cache: String,
    extra_args: Vec<String>,
    block_aio: Option<String>,
    boot: Boot,
    image_as_disk: Option<bool>,
    unproven_image: Option<bool>,
    in_doubt: Option<bool>,
    emulated: bool,
    production: bool,
    notes: Vec<Note>,
    passed_over: Vec<PassedOver>,
}

/// A shared filesystem.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Share {
    name: String,
    /// Of virtio-fs.
    daemon: Option<String>,
}

/// What guests boot.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Boot {
    /// `initrd`, or `kata`: what Kata's configuration says.
    what: String,
    kernel: Option<String>,
    initrd: Option<String>,
}

/// One thing to know.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Note {
    about: String,
    text: String,
}

/// A filesystem that cannot be used.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct PassedOver {
    name: String,
    /// Each independent reason.
    why: Vec<String>,
    /// Packages that would bring it, where only they are missing.
    install: Vec<String>,
    /// What `--force` can choose all the same.
    forceable: Option<Share>,
}

/// What is not on the machine and can be.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Missing {
    component: String,
    why: String,
    packages: Vec<String>,
}

/// A way that does without a build.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Choice {
    what: ChoiceKind,
    /// What to do, and what it costs.
    text: String,
    /// For `/etc/kata-osinfo`, where one is needed.
    record: Option<String>,
}

/// Which way it is.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum ChoiceKind {
    KatasVirtiofsd,
    NoSharedFs,
}

/// How to build a component and make it known.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Instructions {
    component: String,
    version: String,
    source: String,
    dependencies: Vec<String>,
    commands: Vec<String>,
    record: String,
    record_path: String,
    exercised: Option<String>,
    notes: Vec<String>,
}

/// The file that Kata reads.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct KataConfig {
    path: String,
    /// Kata's own, where Kata is to read a copy.
    copied_from: Option<String>,
    named_by: String,
    others: Vec<String>,
    siblings: Vec<Sibling>,
}

/// A configuration beside another one.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Sibling {
    path: String,
    alike: bool,
}

/// A value that somebody else has set.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct ForeignValue {
    key: String,
    file: String,
    line: Option<u64>,
    /// `overridden`, `extended`, `kept`.
    fate: String,
    was: Value,
    ours: Value,
}

/// One key of Kata's configuration.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Setting {
    table: Vec<String>,
    key: String,
    value: Value,
    why: String,
}

/// A key that does not have the value that it was to have.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct NotEffective {
    key: String,
    wanted: Value,
    /// Null where it is set nowhere.
    found: Value,
    file: Option<String>,
    line: Option<u64>,
}

/// What was taken back.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Unconfigure {
    version: Version,
    /// `unconfigure`.
    outcome: String,
    written: bool,
    files: Vec<String>,
    kept: Vec<Kept>,
    diff: String,
    problems: Vec<Problem>,
}

/// Something that was not taken back.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Kept {
    path: String,
    why: String,
}
