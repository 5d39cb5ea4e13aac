//! Versions of Kata.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A version of Kata: `3.30.0`, `3.2.0-rc0`, which is before `3.2.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KataVersion {
    /// 3 in `3.30.0`.
    pub major: u32,
    /// 30 in `3.30.0`.
    pub minor: u32,
    /// 0 in `3.30.0`.
    pub patch: u32,
    /// Release or pre-release.
    stage: Stage,
}

/// Stage of a version, with the number of a pre-release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Stage {
    Alpha(u32),
    Beta(u32),
    Candidate(u32),
    Release,
}

impl KataVersion {
    /// Creates a release from its numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        KataVersion { major, minor, patch, stage: Stage::Release }
    }

    /// Returns the version itself if it is a release, else the release that a pre-release precedes.
    pub const fn release(self) -> Self {
        KataVersion { stage: Stage::Release, ..self }
    }

    /// Whether the version is a release, not a pre-release.
    pub fn is_release(self) -> bool {
        self.stage == Stage::Release
    }
}

impl fmt::Display for KataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        match self.stage {
            Stage::Alpha(number) => write!(f, "-alpha{number}"),
            Stage::Beta(number) => write!(f, "-beta{number}"),
            Stage::Candidate(number) => write!(f, "-rc{number}"),
            Stage::Release => Ok(()),
        }
    }
}

impl Serialize for KataVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KataVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<KataVersion, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Error for a text that is not a version of Kata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a version of Kata: expected three numbers, such as `3.30.0`, or a pre-release such as `3.30.0-rc0`"
)]
pub struct NotAVersion(String);

impl FromStr for KataVersion {
    type Err = NotAVersion;

    /// Parses `3.30.0`, `3.30`, `3.2.0-rc0`, with surrounding white space as in Kata's VERSION file; `+build` and a
    /// package's `-1` do not change the version.
    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let wrong = || NotAVersion(text.chars().take(40).collect());
        let version = text.trim().split('+').next().unwrap_or_default();
        let (plain, suffix) = version.split_once('-').unwrap_or((version, "0"));
        let mut numbers = plain.split('.').map(str::parse::<u32>);
        let mut next = || numbers.next().transpose().map_err(|_| wrong());
        let (major, minor, patch) = (next()?, next()?, next()?);
        match (major, minor, next()?) {
            (Some(major), Some(minor), None) => {
                let stage = stage(suffix).ok_or_else(wrong)?;
                Ok(KataVersion { major, minor, patch: patch.unwrap_or(0), stage })
            }
            _ => Err(wrong()),
        }
    }
}

/// Parses `rc0`, `alpha.1`; a package's revision begins with a digit and means a release.
fn stage(suffix: &str) -> Option<Stage> {
    if suffix.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(Stage::Release);
    }
    let word = suffix.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &suffix[word.len()..];
    let number = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    match word.trim_end_matches('.') {
        "alpha" => Some(Stage::Alpha(number)),
        "beta" => Some(Stage::Beta(number)),
        "rc" => Some(Stage::Candidate(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        let version = |t: &str| t.parse::<KataVersion>();
        assert_eq!(version("3.30.0\n"), Ok(KataVersion::new(3, 30, 0)));
        assert_eq!(version("2.5"), Ok(KataVersion::new(2, 5, 0)));
        for same in ["3.2.0-1", "3.2.0+git.1", "3.2.0"] {
            assert_eq!(version(same), Ok(KataVersion::new(3, 2, 0)));
        }
        let rising = ["3.1.9", "3.2.0-alpha0", "3.2.0-alpha1", "3.2.0-beta0", "3.2.0-rc2", "3.2.0-rc10", "3.2.0"];
        assert!(rising.is_sorted_by_key(|text| version(text).unwrap()), "on the way to a release is before it");
        assert_eq!(rising.map(|text| version(text).unwrap().to_string()), rising);
        assert_eq!(version("2.1.0-rc.1").unwrap().to_string(), "2.1.0-rc1");
        assert!(version("3.9.0").unwrap() < version("3.30.0").unwrap());
        for wrong in ["", "3", "3.x.0", "3.2.0.1", "v3.2.0", "99999999999.0.0", "3.2.0-dev", "3.2.0-rcx"] {
            assert!(version(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_version_round_trips_through_json() {
        for text in ["3.30.0", "3.2.0-rc0"] {
            let json = format!("\"{text}\"");
            let version: KataVersion = serde_json::from_str(&json).unwrap();
            assert_eq!(version.to_string(), text);
            assert_eq!(serde_json::to_string(&version).unwrap(), json);
        }
        let error = serde_json::from_str::<KataVersion>("\"what\"").unwrap_err().to_string();
        assert!(error.starts_with("`what` is not a version of Kata: expected three numbers"), "{error}");
    }
}
