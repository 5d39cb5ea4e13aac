//! Answers of `installer`, `packages` and `install`.

use super::system::{Installed, System};
use super::{Problem, Version};
use schemars::JsonSchema;

/// The system's package installer.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Installer {
    version: Version,
    system: System,
    installer: String,
    /// The program's path; null if it was not found.
    program: Option<String>,
    /// `here`, `inside`, `outside`, `nowhere`.
    place: String,
    /// Whether this program runs the installer.
    exercised: bool,
    problems: Vec<Problem>,
}

/// The packages to install.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Packages {
    version: Version,
    system: System,
    packages: Vec<String>,
    repositories: Vec<String>,
    modules: Vec<String>,
    /// The origin of the parts of a system that comes as an image.
    parts_from: Option<String>,
    not_packaged: Vec<String>,
    problems: Vec<Problem>,
}

/// Packages that were installed, or would be.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Install {
    version: Version,
    system: System,
    plan: Option<Plan>,
    installed: Option<Vec<Installed>>,
    /// Time spent waiting for another package manager.
    waited_seconds: Option<u64>,
    problems: Vec<Problem>,
}

/// The actions of an installer.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Plan {
    installer: String,
    exercised: bool,
    place: String,
    packages: Vec<String>,
    already: Vec<Installed>,
    enables: Vec<String>,
    commands: Vec<Vec<String>>,
    /// The commands, quoted for a shell.
    shell: Vec<String>,
    /// Whether the commands run in a sandbox, whose paths they contain; only this program creates it.
    guarded: bool,
    /// Null if no simulation was possible.
    changes: Option<Vec<Change>>,
}

/// A package that an installer would change.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Change {
    /// `install`, `upgrade`, `remove`.
    action: String,
    package: String,
    version: String,
}
