//! What became of a test, and whom a failure blames.

pub use model::component::Component;

use serde::{Deserialize, Serialize};

/// What became of one attempt at a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// It ran and the property holds.
    Pass,
    /// It ran and the property does not hold.
    Fail(Failure),
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

/// A property that does not hold, as data.
///
/// Journals of schema 2 and before have `observed` as `message` and `component` as `blames`, and nothing else of it; early
/// ones of schema 3 have no `grounds`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct Failure {
    /// The component at fault.
    #[serde(alias = "blames")]
    pub component: Component,
    /// The property, as its test states it.
    #[serde(default)]
    pub expected: String,
    /// What was seen instead.
    #[serde(alias = "message")]
    pub observed: String,
    /// Where Kata's source asks for it, a file and a tag each: `src/runtime/Makefile@3.32.0`.
    #[serde(default)]
    pub asked_for: Vec<String>,
    /// What it rests on.
    #[serde(default)]
    pub grounds: Grounds,
    /// By what the same cause is known again: the component and the observation, without what differs between guests,
    /// distros and profiles. Empty until the journal is written or read, which makes it of cleaned texts.
    #[serde(default)]
    pub signature: String,
}

/// What a failure rests on: whether an emulation that is slow, or that loses guests, can have made it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Grounds {
    /// A value that a completed call gave is not the one expected, and no guest gives that value because it is emulated,
    /// slow or about to be lost: nothing of time, of speed or of what a processor does.
    Measured,
    /// Anything else, and what nobody has looked at: a deadline, silence, a crash, a guest that was lost, a refusal.
    #[default]
    Waited,
}

impl Failure {
    /// What was seen, and the component at fault.
    pub fn new(component: Component, observed: impl Into<String>) -> Failure {
        Failure {
            component,
            expected: String::new(),
            observed: observed.into(),
            asked_for: Vec::new(),
            grounds: Grounds::Waited,
            signature: String::new(),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_data_and_one_of_an_older_journal_is_read() {
        let failure = Failure {
            asked_for: vec!["a.go@3.2.0".to_owned()],
            grounds: Grounds::Measured,
            ..Failure::new(Component::Qemu, "no q35")
        };
        let line = serde_json::to_string(&Outcome::Fail(failure.clone())).unwrap();
        assert!(line.starts_with(r#"{"outcome":"fail","component":"qemu","#), "{line}");
        assert_eq!(serde_json::from_str::<Outcome>(&line).unwrap(), Outcome::Fail(failure.clone()));
        // Where nobody said what it rests on, it is not believed to be measured.
        let silent = line.replace(r#""grounds":"measured","#, "");
        let waited = Failure { grounds: Grounds::Waited, ..failure };
        assert_eq!(serde_json::from_str::<Outcome>(&silent).unwrap(), Outcome::Fail(waited));
        let old = r#"{"outcome":"fail","message":"no q35","blames":"qemu"}"#;
        let expected = Outcome::Fail(Failure::new(Component::Qemu, "no q35"));
        assert_eq!(serde_json::from_str::<Outcome>(old).unwrap(), expected);
    }
}
