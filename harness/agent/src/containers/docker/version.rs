//! Version of Docker's engine.

use std::fmt;
use std::str::FromStr;

/// The version of an engine; differences here depend on its major number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EngineVersion {
    /// Major number: 26
    pub(super) major: u32,
    /// Full text: `26.1.5+dfsg1`
    text: String,
}

/// The text is no version of an engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version of Docker's engine, expected `26.1.5` and what may follow")]
pub(super) struct NotAnEngineVersion(String);

impl FromStr for EngineVersion {
    type Err = NotAnEngineVersion;

    fn from_str(text: &str) -> Result<EngineVersion, NotAnEngineVersion> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(_))) => Ok(EngineVersion { major, text: text.to_owned() }),
            _ => Err(NotAnEngineVersion(text.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for EngineVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_parsed_and_invalid_ones_are_named_in_the_error() {
        for (text, major) in [("20.10.24+dfsg1", 20), ("17.03.2-ce", 17), ("28.0.0-rc.1", 28), ("29.1", 29)] {
            let version: EngineVersion = text.parse().unwrap();
            assert_eq!((version.major, version.to_string().as_str()), (major, text));
        }
        for text in ["", "dev", "library-import", "v26.1.5", "26", "99999999999.0.0"] {
            let error = text.parse::<EngineVersion>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?} is no version of Docker's engine")), "{error}");
        }
    }
}
