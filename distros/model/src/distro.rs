//! Ids of distros, versions of their releases, and both together, validated on construction, so that no user has to
//! check them again.

use crate::checked_text::checked_text;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Longest id and longest version, in bytes.
pub(crate) const MAX_WORD_BYTES: usize = 64;

/// The characters of an id, in words.
pub(crate) const ID_CHARACTERS: &str = "lower-case letters, digits, `-`, `.` and `_`";

/// The characters of a version, in words.
pub(crate) const VERSION_CHARACTERS: &str = "letters, digits, `-`, `.`, `_`, `+` and `~`";

/// A distro's short id, as in its record and in os-release's `ID`: `debian`, `opensuse-leap`.
///
/// Ids are part of file and image names, so a text becomes a `DistroId` only after validation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct DistroId(Cow<'static, str>);

/// Error for a text that is not the id of a distro.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a distro's id: expected {characters}, at most {max}, and no `-` or `.` first",
    characters = ID_CHARACTERS,
    max = MAX_WORD_BYTES
)]
pub struct NotADistroId(String);

/// The version of a release, as in its distro's record: `13`, `3.24`, `sid`, `edge`.
///
/// Versions are ordered as texts, for maps and sets only: the order of the record says which release is the later one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ReleaseVersion(Cow<'static, str>);

/// Error for a text that is not the version of a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a release's version: expected {characters}, at most {max}, and no `-` or `.` first",
    characters = VERSION_CHARACTERS,
    max = MAX_WORD_BYTES
)]
pub struct NotAReleaseVersion(String);

/// Whether a text is a valid id; see [`ID_CHARACTERS`].
const fn is_id(text: &str) -> bool {
    is_word(text, false, b"-._")
}

/// Whether a text is a valid name of a release: a version, a codename, or an alias.
pub(crate) const fn is_release_name(text: &str) -> bool {
    is_word(text, true, b"-._+~")
}

/// Whether a text is one word of ASCII letters, digits and `marks`, at most [`MAX_WORD_BYTES`] bytes long, and neither
/// an option nor a hidden file.
pub(crate) const fn is_word(text: &str, may_have_capitals: bool, marks: &[u8]) -> bool {
    let bytes = text.as_bytes();
    if bytes.is_empty() || bytes.len() > MAX_WORD_BYTES || matches!(bytes[0], b'-' | b'.') {
        return false;
    }
    // A constant's text is checked when this program is compiled, where iterators cannot be used.
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let is_letter = byte.is_ascii_lowercase() || (may_have_capitals && byte.is_ascii_uppercase());
        if !is_letter && !byte.is_ascii_digit() && !is_among(byte, marks) {
            return false;
        }
        at += 1;
    }
    true
}

const fn is_among(byte: u8, marks: &[u8]) -> bool {
    let mut at = 0;
    while at < marks.len() {
        if marks[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

checked_text!(DistroId, NotADistroId, is_id);
checked_text!(ReleaseVersion, NotAReleaseVersion, is_release_name);

/// One release of one distro: `debian:13`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Target {
    /// The distro: `debian`.
    pub distro: DistroId,
    /// The version in the record, whichever of the release's names was used: `13`.
    pub version: ReleaseVersion,
}

impl Target {
    /// Names a release that this program itself knows, for a constant.
    ///
    /// # Panics
    ///
    /// When the constant is compiled, if one of the texts is not valid.
    pub const fn constant(distro: &'static str, version: &'static str) -> Target {
        assert!(is_id(distro) && is_release_name(version), "not the name of a release");
        Target { distro: DistroId(Cow::Borrowed(distro)), version: ReleaseVersion(Cow::Borrowed(version)) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.distro, self.version))
    }
}

/// Error for a text that is not the name of one release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a release: expected DISTRO:VERSION, for example debian:13")]
pub struct NotATarget(String);

impl FromStr for Target {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Target, NotATarget> {
        let named = || {
            let (distro, version) = text.split_once(':')?;
            Some(Target { distro: distro.parse().ok()?, version: version.parse().ok()? })
        };
        named().ok_or_else(|| NotATarget(text.chars().take(40).collect()))
    }
}

/// Serializes a release as its name, as people write it: `debian:13`.
///
/// # Errors
///
/// Those of the serializer.
pub fn as_name<S: serde::Serializer>(target: &Target, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(target)
}

/// Serialization of releases as a list of their names.
pub(crate) mod texts {
    use super::Target;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(targets: &[Target], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(targets.iter().map(ToString::to_string))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Target>, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        names.iter().map(|name| name.parse().map_err(D::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_distro_id_is_one_lowercase_word() {
        for id in ["debian", "opensuse-leap", "sl-micro", "4mlinux", "a.b_c", "_", &"x".repeat(MAX_WORD_BYTES)] {
            assert_eq!(id.parse::<DistroId>().unwrap(), id);
        }
        let long = "x".repeat(MAX_WORD_BYTES + 1);
        for wrong in ["", "Debian", "-o", ".x", "..", "a/b", "a b", "a:b", "a+b", "a\n", "a\u{1b}[m", "ä", &long] {
            let error = wrong.parse::<DistroId>().unwrap_err().to_string();
            assert!(error.contains("is not a distro's id") && !error.contains(['\n', '\u{1b}']), "{error}");
        }
        assert_eq!(
            "De bian".parse::<DistroId>().unwrap_err().to_string(),
            "\"De bian\" is not a distro's id: expected lower-case letters, digits, `-`, `.` and `_`, at most 64, \
             and no `-` or `.` first"
        );
    }

    #[test]
    fn a_version_is_one_word() {
        let longest = "1".repeat(MAX_WORD_BYTES);
        for version in ["13", "8.10", "sid", "edge", "stream9", "6.1-rc1", "2~beta", "1+2", "R1", &longest] {
            assert_eq!(version.parse::<ReleaseVersion>().unwrap(), version);
        }
        let long = "1".repeat(MAX_WORD_BYTES + 1);
        for wrong in ["", "-x", ".x", "../x", "x/y", "a b", "1:2", "$(x)", "a;b", "'`'", "1\n", "1\u{202e}", &long] {
            let error = wrong.parse::<ReleaseVersion>().unwrap_err().to_string();
            assert!(error.contains("is not a release's version") && !error.contains(['\n', '\u{202e}']), "{error}");
        }
        assert_eq!(
            "1/2".parse::<ReleaseVersion>().unwrap_err().to_string(),
            "\"1/2\" is not a release's version: expected letters, digits, `-`, `.`, `_`, `+` and `~`, at most 64, \
             and no `-` or `.` first"
        );
    }

    #[test]
    fn ids_and_versions_serialize_as_their_text() {
        let versions: BTreeMap<DistroId, ReleaseVersion> = serde_json::from_str(r#"{"debian": "13"}"#).unwrap();
        assert_eq!(versions.get("debian"), Some(&"13".parse().unwrap()));
        assert_eq!(serde_json::to_string(&versions).unwrap(), r#"{"debian":"13"}"#);
        assert_eq!(serde_yaml::from_str::<BTreeMap<DistroId, ReleaseVersion>>("debian: '13'\n").unwrap(), versions);
        let shown = versions.iter().map(|(distro, version)| format!("{distro:>8}:{version:<4}|")).collect::<String>();
        assert_eq!(shown, "  debian:13  |");
        let error = serde_json::from_str::<Vec<DistroId>>(r#"["Debian"]"#).unwrap_err().to_string();
        assert!(error.starts_with("\"Debian\" is not a distro's id"), "{error}");
        let error = serde_json::from_str::<Vec<ReleaseVersion>>(r#"["../x"]"#).unwrap_err().to_string();
        assert!(error.starts_with("\"../x\" is not a release's version"), "{error}");
    }

    /// The order of versions is not that of the releases, which only the record knows.
    #[test]
    fn versions_are_ordered_as_text() {
        let version = |text: &str| text.parse::<ReleaseVersion>().unwrap();
        assert!(version("8.10") < version("8.9") && version("9") > version("10"));
    }

    #[test]
    fn a_constant_target_is_the_parsed_one() {
        const SID: Target = Target::constant("debian", "sid");
        assert_eq!(Ok(SID), "debian:sid".parse());
        assert_eq!(format!("{SID:12}|"), "debian:sid  |");
        #[derive(Serialize)]
        struct Document(#[serde(serialize_with = "as_name")] Target);
        assert_eq!(serde_json::to_string(&Document(SID)).unwrap(), r#""debian:sid""#);
    }

    #[test]
    fn a_target_is_parsed_from_distro_and_version() {
        let sid: Target = "debian:sid".parse().unwrap();
        assert_eq!(
            (sid.distro.as_str(), sid.version.as_str(), sid.to_string().as_str()),
            ("debian", "sid", "debian:sid")
        );
        for wrong in ["debian", "debian:", ":13", "Debian:13", "debian:1/3", "debian:13,12", "a:b:c"] {
            let error = wrong.parse::<Target>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{wrong:?} is not the name of a release: expected ")), "{error}");
        }
    }
}
