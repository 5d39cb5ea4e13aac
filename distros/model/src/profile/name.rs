//! Names of profiles, validated on construction, so that no user has to check them again.

use crate::checked_text::checked_text;
use crate::distro::{MAX_WORD_BYTES, is_word};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Name of a profile: `go-3.32`, the runtime and the first release of the range.
///
/// It need not be a profile of this version: a journal or a record of another version has others
/// ([`Profile::find`](super::Profile::find) says which exist). Names are part of addresses and file names, so a text
/// becomes a `ProfileName` only after validation. They are ordered as texts, for maps and sets only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ProfileName(Cow<'static, str>);

/// Error for a text that is not the name of a profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a profile's name: expected lower-case letters, digits, `-` and `.`, at most {max}, and no `-` or \
     `.` first",
    max = MAX_WORD_BYTES
)]
pub struct NotAProfileName(String);

/// Whether a text has the form of a profile's name.
fn is_profile_name(text: &str) -> bool {
    is_word(text, false, b"-.")
}

checked_text!(ProfileName, NotAProfileName, is_profile_name);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;
    use std::collections::BTreeMap;

    #[test]
    fn a_profile_name_is_one_lowercase_word() {
        for name in ["go-3.32", "rs-main", "go-0.1", "p", &"x".repeat(MAX_WORD_BYTES)] {
            assert_eq!(name.parse::<ProfileName>().unwrap(), name);
        }
        let long = "x".repeat(MAX_WORD_BYTES + 1);
        for wrong in ["", "Go-3.32", "-o", "..", "../x", "a b", "a_b", "a:b", "a\n", "<b>", "a\u{1b}[m", "ä", &long] {
            let error = wrong.parse::<ProfileName>().unwrap_err().to_string();
            assert!(error.contains("is not a profile's name") && !error.contains(['\n', '\u{1b}']), "{error}");
        }
    }

    #[test]
    fn a_profile_name_serializes_as_its_text() {
        let names: BTreeMap<ProfileName, u8> = serde_json::from_str(r#"{"go-9.9": 1}"#).unwrap();
        assert_eq!(names.get("go-9.9"), Some(&1), "a profile of another version");
        assert!(Profile::find("go-9.9").is_err());
        assert_eq!(serde_json::to_string(&names).unwrap(), r#"{"go-9.9":1}"#);
        let error = serde_json::from_str::<Vec<ProfileName>>(r#"["../x"]"#).unwrap_err().to_string();
        assert!(error.starts_with("\"../x\" is not a profile's name"), "{error}");
    }
}
