//! Environments in which a release is tested, as records, journals and the command line name them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Environment in which a release is tested; a later one shows more, and its verdict outranks an earlier one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Environment {
    /// The release's rootfs as a container.
    Container,
    /// The release's rootfs as a disk, booted with its own kernel.
    Vm,
    /// This machine itself.
    Host,
}

impl Environment {
    /// All environments.
    pub const ALL: &'static [Environment] = &[Environment::Container, Environment::Vm, Environment::Host];
    /// The environments with the release's own kernel as Kata's host.
    pub const WITH_A_KERNEL: &'static [Environment] = &[Environment::Vm, Environment::Host];

    /// Returns the word in records, reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Environment::Container => "container",
            Environment::Vm => "vm",
            Environment::Host => "host",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
