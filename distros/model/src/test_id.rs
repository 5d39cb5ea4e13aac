//! Ids of tests, validated on construction, so that no user has to check them again.

use crate::checked_text::checked_text;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Longest id, in bytes.
const MAX: usize = 200;

/// Id of a test: `smoke::guest_boots`, the modules of its body and the body's name.
///
/// It need not be a test of this version's catalogue: a journal or a record of another version has others.
/// Ids are part of addresses and file names, so a text becomes a `TestId` only after validation. They are ordered as
/// texts; the order of running is the catalogue's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct TestId(Cow<'static, str>);

/// Error for a text that is not the id of a test.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a test's id: expected lower-case letters, digits, `_` and `:`, at most {max}, and a letter first",
    max = MAX
)]
pub struct NotATestId(String);

/// Whether a text has the form of a test's id.
fn is_test_id(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c);
    text.len() <= MAX && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(is_plain)
}

checked_text!(TestId, NotATestId, is_test_id);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_test_id_is_made_of_modules_and_a_name() {
        for id in ["smoke::guest_boots", "filesystem::virtio_9p::rename_is_atomic", "t1", &"x".repeat(MAX)] {
            assert_eq!(id.parse::<TestId>().unwrap(), id);
        }
        let long = "x".repeat(MAX + 1);
        for wrong in ["", "Smoke", "::a", "1", "-o", "a-b", "a.b", "../x", "a b", "a\n", "<b>", "a\u{1b}[m", "ä", &long]
        {
            let error = wrong.parse::<TestId>().unwrap_err().to_string();
            assert!(error.contains("is not a test's id") && !error.contains(['\n', '\u{1b}']), "{error}");
        }
    }

    #[test]
    fn a_test_id_serializes_as_its_text() {
        let ids: BTreeMap<TestId, u8> = serde_json::from_str(r#"{"smoke::of_another_version": 1}"#).unwrap();
        assert_eq!(ids.get("smoke::of_another_version"), Some(&1));
        assert_eq!(serde_json::to_string(&ids).unwrap(), r#"{"smoke::of_another_version":1}"#);
        let error = serde_json::from_str::<Vec<TestId>>(r#"["../x"]"#).unwrap_err().to_string();
        assert!(error.starts_with("\"../x\" is not a test's id"), "{error}");
    }
}
