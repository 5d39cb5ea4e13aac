//! What a package must have, and what a kernel's configuration lacks.

use super::{Problem, Version};
use model::arch::Arch;
use schemars::JsonSchema;

/// What a distro's package must have.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Requirements {
    version: Version,
    profile: String,
    /// The Kata versions of the profile.
    range: String,
    component: String,
    requirements: Vec<Requirement>,
    /// Of a kernel alone.
    kernel_options: Option<KernelOptions>,
    /// Of a kernel alone: what is missing that Kata does not run without.
    problems: Option<Vec<Problem>>,
}

/// The options of Kata's own guest kernel, and a configuration that was held against them.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct KernelOptions {
    /// The release of Kata whose kernel they are of.
    tag: String,
    arch: Arch,
    /// Which Linux the configuration is of: `6.12`.
    linux: Option<String>,
    uses: Vec<KernelUse>,
}

/// What some options are for.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct KernelUse {
    /// In a word: `namespaces`.
    name: String,
    /// `required` where Kata does not run without it, `wanted` or `incidental`.
    weight: String,
    /// A capability: `kernel.guest`.
    serves: Option<String>,
    /// Whether a module is not enough.
    built_in: bool,
    /// What does not work without one of them.
    without: String,
    /// Whether one of them is missing; null where no configuration was held.
    missing: Option<bool>,
    /// What an initrd has to carry.
    modules: Vec<String>,
    options: Vec<KernelOption>,
}

/// One option.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct KernelOption {
    /// `CONFIG_VIRTIO_FS`.
    name: String,
    /// `y`, or another value.
    wanted: String,
    /// `measured-rootfs`, …: what a kernel of Kata's is for that has it.
    when: Option<String>,
    /// File and tag of Kata.
    source: String,
    /// `met`, `module`, `only-module`, `off`, `absent`, `other-value`, `not-in-this-kernel`.
    state: Option<String>,
    /// The same in words.
    found: Option<String>,
}

/// One demand.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Requirement {
    /// `vmm.boot`.
    serves: String,
    /// `device`, `option`, `module`, `version`, …
    kind: String,
    what: String,
    /// Whether it decides anything, or only informs.
    binding: bool,
    why: Option<String>,
    /// File and tag of Kata.
    source: String,
}
