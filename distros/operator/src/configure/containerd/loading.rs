//! containerd's version, and how this containerd joins the files of its configuration.

use std::str::FromStr;

/// containerd's version, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerdVersion {
    /// 1
    pub major: u32,
    /// 7
    pub minor: u32,
    /// 24
    pub patch: Option<u32>,
}

impl ContainerdVersion {
    /// Returns the version with these numbers, of which at least two are needed.
    pub fn of_numbers(numbers: &[u32]) -> Option<ContainerdVersion> {
        let [major, minor, rest @ ..] = numbers else { return None };
        Some(ContainerdVersion { major: *major, minor: *minor, patch: rest.first().copied() })
    }
}

/// Error for a text that is not a version of containerd.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version of containerd: expected a version such as `1.7.24` or `v2.1`")]
pub struct NotAContainerdVersion(String);

impl FromStr for ContainerdVersion {
    type Err = NotAContainerdVersion;

    /// Parses the version as containerd and `ctr` print it: an initial `v` and a distro's suffix are ignored.
    fn from_str(text: &str) -> Result<ContainerdVersion, NotAContainerdVersion> {
        let mut parts = text.trim_start_matches('v').split('.');
        let mut number = || parts.next()?.parse::<u32>().ok();
        let (Some(major), Some(minor)) = (number(), number()) else {
            return Err(NotAContainerdVersion(text.chars().take(40).collect()));
        };
        // `24~ds1`
        let patch = parts.next().and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
        Ok(ContainerdVersion { major, minor, patch })
    }
}

impl From<(u32, u32)> for ContainerdVersion {
    fn from((major, minor): (u32, u32)) -> ContainerdVersion {
        ContainerdVersion { major, minor, patch: None }
    }
}

/// The directory in which containerd resolves a relative pattern in `imports`; a name without a pattern is always
/// relative to the file.
///
/// `resolveImports` in `services/server/config/config.go` of all releases from v1.3.0 to v1.6.39 and v1.7.34: it
/// changed with v1.6.29 and v1.7.16; 2.0 has always had the newer behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patterns {
    /// Up to 1.6.28, and from 1.7.0 to 1.7.15: the working directory, which is `/` for a systemd service without
    /// `WorkingDirectory=`.
    InWorkingFolder,
    /// The directory of the file with the pattern.
    BesideFile,
}

impl Patterns {
    /// Returns the directories that a containerd before 2.0 may use.
    pub(super) fn all(version: Option<ContainerdVersion>) -> &'static [Patterns] {
        use Patterns::{BesideFile, InWorkingFolder};
        // The first patch of each minor version that resolves patterns relative to the file.
        let since = match version.map(|v| ((v.major, v.minor), v.patch)) {
            None => None,
            Some((minor, _)) if minor < (1, 6) => return &[InWorkingFolder],
            Some(((1, 6), patch)) => patch.map(|patch| patch >= 29),
            Some(((1, 7), patch)) => patch.map(|patch| patch >= 16),
            Some(_) => return &[BesideFile],
        };
        match since {
            None => &[InWorkingFolder, BesideFile],
            Some(true) => &[BesideFile],
            Some(false) => &[InWorkingFolder],
        }
    }
}

/// The way in which a containerd joins the files of its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loading {
    /// Up to 1.6: a plugin's section in a later file replaces the earlier one.
    Replaces(Patterns),
    /// 1.7: like `Replaces`, but every plugin's name must begin with `io.containerd.`.
    ReplacesPrefixed(Patterns),
    /// 2.0 to 2.2: sections are merged key by key, then migrated to version 3 if the last file's version is lower.
    MergesThenMigrates,
    /// 2.3 and later: every file is migrated to the newest version, then the files are merged; no import may have a
    /// higher version than the main file.
    MigratesThenMerges,
}

impl Loading {
    /// Returns all possible ways for a containerd of this version; `None` is an unknown version.
    pub(super) fn all(version: Option<ContainerdVersion>) -> Vec<Loading> {
        use Loading::{MergesThenMigrates, MigratesThenMerges, Replaces, ReplacesPrefixed};
        let patterns = Patterns::all(version).iter().copied();
        match version.map(|v| (v.major, v.minor)) {
            // 1.6 reads everything that 1.7 reads, in the same way.
            None => patterns.map(Replaces).chain([MergesThenMigrates, MigratesThenMerges]).collect(),
            Some(v) if v < (1, 7) => patterns.map(Replaces).collect(),
            Some(v) if v < (2, 0) => patterns.map(ReplacesPrefixed).collect(),
            Some(v) if v < (2, 3) => vec![MergesThenMigrates],
            Some(_) => vec![MigratesThenMerges],
        }
    }

    /// Returns whether this is a containerd before 2.0.
    pub(super) fn replaces(self) -> bool {
        matches!(self, Loading::Replaces(_) | Loading::ReplacesPrefixed(_))
    }

    /// Returns the directory in which relative patterns are resolved.
    pub(super) fn patterns(self) -> Patterns {
        match self {
            Loading::Replaces(patterns) | Loading::ReplacesPrefixed(patterns) => patterns,
            Loading::MergesThenMigrates | Loading::MigratesThenMerges => Patterns::BesideFile,
        }
    }

    /// Returns the highest version of the configuration that it reads.
    pub(super) fn newest(self) -> i64 {
        match self {
            Loading::Replaces(_) | Loading::ReplacesPrefixed(_) => 2,
            Loading::MergesThenMigrates => 3,
            Loading::MigratesThenMerges => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Patterns::{BesideFile, InWorkingFolder};
    use super::*;

    /// According to `git show TAG:services/server/config/config.go` of every tag.
    #[test]
    fn the_patch_version_decides_where_a_relative_pattern_starts() {
        for (numbers, expected) in [
            (&[1, 5, 18][..], &[InWorkingFolder][..]),
            (&[1, 6, 20], &[InWorkingFolder]),
            (&[1, 6, 28], &[InWorkingFolder]),
            (&[1, 6, 29], &[BesideFile]),
            (&[1, 6, 39], &[BesideFile]),
            (&[1, 7, 0], &[InWorkingFolder]),
            (&[1, 7, 15], &[InWorkingFolder]),
            (&[1, 7, 16], &[BesideFile]),
            (&[1, 7, 24], &[BesideFile]),
            (&[1, 6], &[InWorkingFolder, BesideFile]),
            (&[1, 7], &[InWorkingFolder, BesideFile]),
            (&[2, 0], &[BesideFile]),
            (&[2, 2, 7], &[BesideFile]),
        ] {
            let version = ContainerdVersion::of_numbers(numbers);
            assert_eq!(Patterns::all(version), expected, "{numbers:?}");
            assert_eq!(Loading::all(version).len(), expected.len(), "{numbers:?}");
        }
        assert_eq!(Patterns::all(None), [InWorkingFolder, BesideFile]);
        assert_eq!(ContainerdVersion::of_numbers(&[1]), None);
    }

    #[test]
    fn versions_are_read_as_containerd_and_ctr_print_them() {
        let read = |text: &str| text.parse::<ContainerdVersion>().ok();
        for (text, numbers) in [
            ("v2.1.3", &[2, 1, 3][..]),
            ("1.7.24~ds1", &[1, 7, 24]),
            ("2.3.4+unknown", &[2, 3, 4]),
            ("2.1", &[2, 1]),
            ("1.6.x", &[1, 6]),
        ] {
            assert_eq!(read(text), ContainerdVersion::of_numbers(numbers), "{text}");
        }
        for text in ["", "unknown", "2", "2.x", "github.com/containerd/containerd"] {
            assert_eq!(read(text), None, "{text}");
        }
        let error = "what".parse::<ContainerdVersion>().unwrap_err().to_string();
        assert!(error.starts_with("\"what\" is not a version of containerd"), "{error}");
    }
}
