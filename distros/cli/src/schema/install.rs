//! What is to be installed, and with what.

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
    /// Null where it is not found.
    program: Option<String>,
    /// `here`, `inside`, `outside`, `nowhere`.
    place: String,
    /// Whether it is run by this program.
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
    /// Where the parts of a system that comes as an image come from.
    parts_from: Option<String>,
    not_packaged: Vec<String>,
    problems: Vec<Problem>,
}

/// What was installed, or would be.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Install {
    version: Version,
    system: System,
    plan: Option<Plan>,
    installed: Option<Vec<Installed>>,
    /// How long it waited for another package manager.
    waited_seconds: Option<u64>,
    problems: Option<Vec<Problem>>,
}

/// What an installer would do.
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
    /// The same for a shell.
    shell: Vec<String>,
    /// Whether they run in a sandbox, whose paths they have; only this program makes it.
    guarded: bool,
    /// Null where no simulation could tell.
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
