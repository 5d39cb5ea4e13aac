//! Versions of programs, as the programs or their upstreams write them.

use crate::diagnostic::is_direction_control;
use crate::redact::is_unprintable;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest version, in bytes.
const MAX: usize = 200;

/// A program's own version: `4.2`, `2.1.4`, `1.7.24~ds1`; one printable word.
///
/// It is what a program says about itself, or what a document asks of it, and not the version of a package, which has a
/// distro's epoch and revision. It is shown, and nothing depends on it, so these versions have no order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ProgramVersion(String);

/// Error for a text that is not the version of a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a program's version: expected one printable word")]
pub struct NotAProgramVersion(String);

impl FromStr for ProgramVersion {
    type Err = NotAProgramVersion;

    fn from_str(text: &str) -> Result<ProgramVersion, NotAProgramVersion> {
        let is_shown = |c: char| !(c.is_whitespace() || is_unprintable(c) || is_direction_control(c));
        match !text.is_empty() && text.len() <= MAX && text.chars().all(is_shown) {
            true => Ok(ProgramVersion(text.to_owned())),
            false => Err(NotAProgramVersion(text.chars().take(40).collect())),
        }
    }
}

impl TryFrom<String> for ProgramVersion {
    type Error = NotAProgramVersion;

    fn try_from(text: String) -> Result<ProgramVersion, NotAProgramVersion> {
        text.parse()
    }
}

impl fmt::Display for ProgramVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_version_is_one_printable_word() {
        for version in ["4.2", "v2.1.4", "1.7.24~ds1", "0.0.0+unknown"] {
            let parsed = version.parse::<ProgramVersion>().unwrap();
            assert_eq!(parsed.to_string(), version);
            assert_eq!(serde_json::to_string(&parsed).unwrap(), format!("{version:?}"));
        }
        let long = "1".repeat(MAX + 1);
        for wrong in ["", "1 2", "1\n", "1\u{1b}[m", "1\u{202e}", "1\0", &long] {
            let error = wrong.parse::<ProgramVersion>().unwrap_err().to_string();
            assert!(error.contains("is not a program's version") && !error.contains(['\n', '\u{1b}']), "{error}");
        }
        assert!(serde_json::from_str::<ProgramVersion>("\"1 2\"").is_err());
    }
}
