//! Versions of Linux, as precise as needed to tell which options exist.

use serde::{Deserialize, Deserializer};
use std::fmt;
use std::str::FromStr;

/// A version of Linux by its first two numbers: `6.12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// 6 in `6.12`.
    pub major: u32,
    /// 12 in `6.12`.
    pub minor: u32,
}

/// Error for a text that is not a version of Linux.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version of Linux: expected one that begins like `6.12`")]
pub struct NoKernelVersion(String);

impl FromStr for KernelVersion {
    type Err = NoKernelVersion;

    /// Parses a version or a kernel release; anything after the second number is ignored.
    fn from_str(text: &str) -> Result<KernelVersion, NoKernelVersion> {
        let mut numbers = text.splitn(3, '.').map(|part| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..end].parse::<u32>().ok()
        });
        match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(major), Some(minor)) => Ok(KernelVersion { major, minor }),
            _ => Err(NoKernelVersion(text.to_owned())),
        }
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl<'de> Deserialize<'de> for KernelVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_its_first_two_numbers() {
        let of = |text: &str| text.parse::<KernelVersion>().map(|version| version.to_string());
        for (text, version) in [("6.12", "6.12"), ("6.12.48+deb13-amd64", "6.12"), ("7.0-rc3", "7.0")] {
            assert_eq!(of(text).as_deref(), Ok(version));
        }
        assert!("5.10".parse::<KernelVersion>().unwrap() > "5.9".parse().unwrap());
        for text in ["", "6", "six.one", "6.", "-6.1"] {
            assert!(of(text).is_err(), "{text}");
        }
    }
}
