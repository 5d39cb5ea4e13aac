//! Causes of verdicts: the component at fault, the test that showed it, and the observation.

use crate::component::Component;
use crate::test_id::TestId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Cause of a verdict, as kept in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VerifiedCause {
    /// The component at fault; `None` if no component could be shown to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<Component>,
    /// The test that showed the cause; `None` if it is not a single test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<TestId>,
    /// The observation, or the missing prerequisite, on one line.
    pub message: String,
}

impl VerifiedCause {
    /// Creates a cause that a component is at fault for.
    pub fn new(component: Component, message: impl Into<String>) -> VerifiedCause {
        VerifiedCause { component: Some(component), test: None, message: message.into() }
    }

    /// Creates a cause that no component could be shown to be at fault for.
    pub fn of_nobody(message: impl Into<String>) -> VerifiedCause {
        VerifiedCause { component: None, test: None, message: message.into() }
    }

    /// Adds the test that showed the cause.
    #[must_use]
    pub fn shown_by(self, test: TestId) -> VerifiedCause {
        VerifiedCause { test: Some(test), ..self }
    }
}

/// Format for people: `qemu: no q35 (smoke::guest_boots)`.
impl fmt::Display for VerifiedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(component) = self.component {
            write!(f, "{component}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.test {
            Some(test) => write!(f, " ({test})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_serializes_as_a_map_and_displays_as_one_line() {
        let whole = VerifiedCause::new(Component::Qemu, "no q35").shown_by("smoke::guest_boots".parse().unwrap());
        for (cause, json, text) in [
            (
                whole,
                r#"{"component":"qemu","test":"smoke::guest_boots","message":"no q35"}"#,
                "qemu: no q35 (smoke::guest_boots)",
            ),
            // A message that looks as if it blamed a component blames none.
            (VerifiedCause::of_nobody("kernel: too old"), r#"{"message":"kernel: too old"}"#, "kernel: too old"),
        ] {
            assert_eq!(serde_json::to_string(&cause).unwrap(), json);
            assert_eq!(serde_json::from_str::<VerifiedCause>(json).unwrap(), cause);
            assert_eq!(cause.to_string(), text);
        }
    }

    #[test]
    fn text_and_maps_with_wrong_keys_are_refused_as_causes() {
        for wrong in
            [r#""qemu: no q35 (smoke::guest_boots)""#, r#"{"component":"qemu"}"#, r#"{"message":"x","of":"y"}"#]
        {
            assert!(serde_json::from_str::<VerifiedCause>(wrong).is_err(), "{wrong}");
        }
    }
}
