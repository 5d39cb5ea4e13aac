//! Badges for shields.io's endpoint: the answer for a release and a profile.

use crate::matrix::ProfileHead;
use crate::standing::ReleaseAnswer;
use model::verified::CanRun;
use schemars::JsonSchema;
use serde::Serialize;

/// The document that shields.io's endpoint reads; the names are its own.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Badge {
    /// The version, which is always 1.
    schema_version: u8,
    label: String,
    message: String,
    color: &'static str,
}

/// Returns the badge of an answer.
pub(super) fn of(release: &str, profile: &ProfileHead, answer: &ReleaseAnswer) -> Badge {
    let (word, color) = match answer.answer.can_run() {
        CanRun::Yes => ("yes", "brightgreen"),
        CanRun::With => ("yes, with a component brought along", "yellow"),
        CanRun::No => ("no", "red"),
        CanRun::NotKnown => ("not known yet", "lightgrey"),
    };
    let basis = answer.basis.map(|basis| format!(", {basis}")).unwrap_or_default();
    Badge {
        schema_version: 1,
        label: format!("{release}, Kata {}", profile.range),
        message: format!("{word}{basis}"),
        color,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_badge_shows_the_answer() {
        let matrix = sample::matrix();
        let standings = sample::standings(&matrix);
        let answer = |place: usize| standings.answer(&matrix.cells[place].cell, "go-3.29");
        let badge = of("debian 12", &matrix.profiles[1], &answer(0));
        let json = serde_json::to_value(&badge).unwrap();
        let expected = serde_json::json!({
            "schemaVersion": 1, "label": "debian 12, Kata 3.29 on", "message": "no, emulated", "color": "red",
        });
        assert_eq!(json, expected);
        assert_eq!(of("debian sid", &matrix.profiles[1], &answer(3)).color, "lightgrey");
    }
}
