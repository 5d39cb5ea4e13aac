//! What became of a test, and whom a failure blames.

pub use model::component::Component;

use serde::{Deserialize, Serialize};

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
