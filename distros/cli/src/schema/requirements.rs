//! Answer of `requirements`.

use super::{Problem, Version};
use model::arch::Arch;
use schemars::JsonSchema;

/// Demands on a distro's package.
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
    /// Only for a kernel.
    kernel_options: Option<KernelOptions>,
    /// Only for a kernel: missing options that Kata does not run without.
    problems: Option<Vec<Problem>>,
}

/// The options of Kata's own guest kernel, compared with a configuration if one was given.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct KernelOptions {
    /// The release of Kata whose kernel has the options.
    tag: String,
    arch: Arch,
    /// The Linux version of the configuration: `6.12`.
    linux: Option<String>,
    uses: Vec<KernelUse>,
}

/// Purpose of some options.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct KernelUse {
    /// A one-word name: `namespaces`.
    name: String,
    /// `required` if Kata does not run without the options, `wanted` or `incidental`.
    weight: String,
    /// A capability: `kernel.guest`.
    serves: Option<String>,
    /// Whether the options must be built in, because a module is not enough.
    built_in: bool,
    /// The feature that does not work without one of the options.
    without: String,
    /// Whether one of the options is missing; null if no configuration was given.
    missing: Option<bool>,
    /// Modules that the initrd has to contain.
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
    /// `measured-rootfs`, …: the kind of kernel that Kata builds with the option.
    when: Option<String>,
    /// Kata's file and tag.
    source: String,
    /// `met`, `module`, `only-module`, `off`, `absent`, `other-value`, `not-in-this-kernel`.
    state: Option<String>,
    /// The state in words.
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
    /// Whether the demand decides anything, or is only informative.
    binding: bool,
    why: Option<String>,
    /// Kata's file and tag.
    source: String,
}
