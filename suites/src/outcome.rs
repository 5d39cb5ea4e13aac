//! What became of a test, and whom a failure blames.

use serde::{Deserialize, Serialize};

/// A part of the distro (or its record) that a failure can blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// The distro's QEMU.
    Qemu,
    /// The distro's virtiofsd.
    Virtiofsd,
    /// The distro's kernel, as guest or as host.
    Kernel,
    /// The distro's containerd.
    Containerd,
    /// The distro's package archive or package manager.
    Packages,
    /// What the record claims about the distro.
    Record,
}

impl Component {
    /// All of them.
    pub const ALL: &'static [Component] = &[
        Component::Qemu,
        Component::Virtiofsd,
        Component::Kernel,
        Component::Containerd,
        Component::Packages,
        Component::Record,
    ];

    /// That of the name.
    pub fn of_name(name: &str) -> Option<Component> {
        Component::ALL.iter().copied().find(|component| component.name() == name)
    }

    /// The name that people use.
    pub fn name(self) -> &'static str {
        match self {
            Component::Qemu => "qemu",
            Component::Virtiofsd => "virtiofsd",
            Component::Kernel => "kernel",
            Component::Containerd => "containerd",
            Component::Packages => "packages",
            Component::Record => "record",
        }
    }
}

impl std::fmt::Display for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What became of one attempt at a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// It ran and the property holds.
    Pass,
    /// It ran and the property does not hold.
    Fail {
        /// What was expected and what was seen.
        message: String,
        /// The component at fault.
        blames: Component,
    },
    /// The environment could not show it; never a pass.
    Skip {
        /// What was lacking.
        reason: String,
    },
    /// Another test that it builds on did not pass, so it did not run.
    Blocked {
        /// The id of that test.
        by: String,
    },
    /// The harness or the infrastructure failed; says nothing about the distro.
    Error {
        /// What went wrong.
        message: String,
    },
}

impl Outcome {
    /// The word for it, as journals and reports spell it.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail { .. } => "fail",
            Outcome::Skip { .. } => "skip",
            Outcome::Blocked { .. } => "blocked",
            Outcome::Error { .. } => "error",
        }
    }
}
