//! Kata's versions, and what of its configuration came with which.

use super::{Configuration, Merged, Setting};
use crate::profile::Runtime;
use crate::root::Root;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A version of Kata: `3.30.0`, `3.2.0-rc0`, which is before `3.2.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KataVersion {
    /// 3
    pub major: u32,
    /// 30
    pub minor: u32,
    /// 0
    pub patch: u32,
    /// Whether it is the release or on the way to it.
    stage: Stage,
}

/// How far a version is, with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Stage {
    Alpha(u32),
    Beta(u32),
    Candidate(u32),
    Release,
}

impl KataVersion {
    /// A release from its numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        KataVersion { major, minor, patch, stage: Stage::Release }
    }

    /// The release itself, or that to which it is on the way.
    pub const fn release(self) -> Self {
        KataVersion { stage: Stage::Release, ..self }
    }

    /// Whether it is a release.
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

impl serde::Serialize for KataVersion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a text is no version of Kata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version of Kata: expected three numbers, `3.30.0`, and `-rc0` at most")]
pub struct NotAVersion(String);

impl FromStr for KataVersion {
    type Err = NotAVersion;

    /// Reads `3.30.0`, `3.30`, `3.2.0-rc0` and what Kata's VERSION file has around it; `+build` and a package's `-1` are of
    /// the release.
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

/// `rc0`, `alpha.1`; a package's revision begins with a digit.
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

/// Whether the runtime reads `config.d` beside its configuration.
///
/// Go: `decodeDropIns` in `src/runtime/pkg/katautils/config.go@2.5.0`, absent at 2.4.0.
/// Rust: `src/libs/kata-types/src/config/drop_in.rs@3.0.0`.
pub fn reads_drop_ins(runtime: Runtime, kata: KataVersion) -> bool {
    match runtime {
        Runtime::Go => kata >= KataVersion::new(2, 5, 0),
        Runtime::Rs => kata >= KataVersion::new(3, 0, 0),
    }
}

/// Since when a runtime knows a key that is not as old as the runtime; `None` for all others.
///
/// From `src/runtime/pkg/katautils/config.go` at the tags before and at each version.
/// It matters: the Go runtime refuses a drop-in with a key below `hypervisor` or `agent` that it does not know
/// (`copyFieldValue` in the same file at 2.5.0).
pub fn key_since(runtime: Runtime, key: &str) -> Option<KataVersion> {
    match (runtime, key) {
        (Runtime::Go, "block_device_aio") => Some(KataVersion::new(3, 0, 0)),
        (Runtime::Go, "rootfs_type") => Some(KataVersion::new(3, 1, 0)),
        (Runtime::Go, "dial_timeout") => Some(KataVersion::new(2, 1, 0)),
        (Runtime::Go, "create_container_timeout") => Some(KataVersion::new(3, 4, 0)),
        _ => None,
    }
}

/// What a Go runtime before 3.0.0 needs on a machine with version 2 of control groups, of which it knows nothing but
/// what systemd does for it (`src/runtime/pkg/resourcecontrol/cgroups.go@2.5.0` and `@3.0.0`; kata-containers issues 1927
/// and 3073).
pub(super) fn control_groups(root: &Root, configuration: &Configuration, without: &Merged) -> Option<Setting> {
    let (table, key) = ("runtime", "sandbox_cgroup_only");
    let needed = configuration.runtime == Runtime::Go
        && configuration.kata < KataVersion::new(3, 0, 0)
        && root.has_file(Path::new("/sys/fs/cgroup/cgroup.controllers"))
        && without.get(&[table, key]) != Some(&true.into());
    needed.then(|| Setting {
        table: vec![table.to_owned()],
        key: key.to_owned(),
        value: true.into(),
        why: "Kata before 3.0 starts nothing otherwise where control groups are of version 2".to_owned(),
    })
}

/// Whether the agent insists on `SO_REUSEPORT` for its listener, which Linux refuses on vsock since 6.13 and its stable
/// branches since January 2025 ("net: restrict SO_REUSEPORT to inet sockets"; Debian 12 since 6.1.124).
///
/// ttrpc 0.5.2 to 0.8.3 (`do_bind` in `src/common.rs`; 0.5.1 did not mind a refusal), in `src/agent/Cargo.lock@2.3.1` to
/// `@3.13.0`; seen with 3.1.2 on Debian 12, and reported as kata-containers issue 10774.
pub(super) fn agent_wants_reuse_of_ports(kata: KataVersion) -> bool {
    (KataVersion::new(2, 3, 1)..KataVersion::new(3, 14, 0)).contains(&kata)
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
    fn drop_ins_came_with_2_5() {
        assert!(!reads_drop_ins(Runtime::Go, KataVersion::new(2, 4, 3)));
        assert!(reads_drop_ins(Runtime::Go, KataVersion::new(2, 5, 0)));
        assert!(reads_drop_ins(Runtime::Rs, KataVersion::new(4, 0, 0)));
    }

    #[test]
    fn agents_of_some_years_want_reuse_of_ports() {
        for (kata, wants) in [("2.3.0", false), ("2.3.1", true), ("3.1.2", true), ("3.13.0", true), ("3.14.0", false)] {
            assert_eq!(agent_wants_reuse_of_ports(kata.parse().unwrap()), wants, "{kata}");
        }
    }
}
