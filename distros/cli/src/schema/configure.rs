//! Answers of `configure`, `unconfigure` and `fallback`.

use super::system::Derivative;
use super::{Problem, Release, Version};
use model::arch::Arch;
use model::capability::Capability;
use schemars::JsonSchema;
use serde_json::Value;

/// Advice of `fallback`; for a component to build, the instructions.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum Fallback {
    Way(Box<Way>),
    Build(Box<Build>),
}

/// Build instructions for a component.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Build {
    version: Version,
    instructions: Instructions,
}

/// Files written by `configure`, or the steps that must come first.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum Configure {
    Configured(Box<Configured>),
    Way(Box<Way>),
    Assumed(Box<Assumed>),
}

/// The next steps, by outcome.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Way {
    version: Version,
    outcome: Outcome,
    release: Release,
    /// The relative whose record is used in place of the system's own: `as rhel:10, by ID_LIKE`.
    borrowed: Option<String>,
    derivative: Option<Derivative>,
    profile: String,
    /// Where the parts of the system come from that no package provides.
    parts_from: Option<String>,
    problems: Vec<Problem>,
    /// For `configure`.
    configuration: Option<Configuration>,
    /// For `install`.
    missing: Option<Missing>,
    /// For `describe`: the component that the distro does not package.
    component: Option<String>,
    /// For `describe`: a record to complete and put into `/etc/kata-osinfo`.
    record: Option<String>,
    /// For `unsupported`.
    capability: Option<Capability>,
    /// For `unsupported`: each independent cause.
    why: Option<Vec<String>>,
    /// For `unsupported`: advice.
    instead: Option<String>,
    /// For `build`: shared filesystems that do not work.
    passed_over: Option<Vec<PassedOver>>,
    /// For `build`: alternatives with less effort, the best first.
    choices: Option<Vec<Choice>>,
    /// For `build`.
    instructions: Option<Vec<Instructions>>,
}

/// Kind of advice.
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

/// Refusal because of facts that nobody has checked.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Assumed {
    version: Version,
    /// `assumed`.
    #[schemars(regex(pattern = "^assumed$"))]
    outcome: String,
    release: Release,
    borrowed: Option<String>,
    derivative: Option<Derivative>,
    facts: Vec<String>,
    problems: Vec<Problem>,
}

/// Files that were written, or would be.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Configured {
    version: Version,
    /// `configure`.
    #[schemars(regex(pattern = "^configure$"))]
    outcome: String,
    release: Release,
    /// The relative whose record is used in place of the system's own: `as rhel:10, by ID_LIKE`.
    borrowed: Option<String>,
    derivative: Option<Derivative>,
    arch: Arch,
    kata_config: KataConfig,
    warnings: Vec<String>,
    /// Values that other tools or the admin have set.
    theirs: Vec<ForeignValue>,
    configuration: Configuration,
    settings: Vec<Setting>,
    files: Vec<String>,
    /// Files that are no longer written.
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
    /// For virtio-fs: the daemon's path.
    daemon: Option<String>,
}

/// Kernel and initrd of guests.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Boot {
    /// `initrd`, or `kata` for those in Kata's configuration.
    what: String,
    kernel: Option<String>,
    initrd: Option<String>,
}

/// A note.
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
    /// Packages that would provide it, if only they are missing.
    install: Vec<String>,
    /// The filesystem that `--force` can select nevertheless.
    forceable: Option<Share>,
}

/// A component that is not on the machine but can be installed.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Missing {
    component: String,
    why: String,
    packages: Vec<String>,
}

/// An alternative without a build.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Choice {
    what: ChoiceKind,
    /// The steps and their cost.
    text: String,
    /// A record for `/etc/kata-osinfo`, if one is needed.
    record: Option<String>,
}

/// Kind of alternative.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum ChoiceKind {
    KatasVirtiofsd,
    NoSharedFs,
}

/// Instructions to build a component and add it to the records.
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

/// The configuration file that Kata reads.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct KataConfig {
    path: String,
    /// Kata's own file, if Kata is to read a copy.
    copied_from: Option<String>,
    named_by: String,
    others: Vec<String>,
    siblings: Vec<Sibling>,
}

/// A configuration next to another one.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Sibling {
    path: String,
    alike: bool,
}

/// A value that another tool or the admin has set.
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

/// A key whose value in effect is not the intended one.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct NotEffective {
    key: String,
    wanted: Value,
    /// The value in effect; null if the key is not set.
    found: Value,
    file: Option<String>,
    line: Option<u64>,
}

/// Files that were taken back.
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

/// A file that was not taken back.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Kept {
    path: String,
    why: String,
}
