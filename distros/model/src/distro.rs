//! Ids of distros, versions of their releases, and both together, checked where they are made, so that nobody checks them
//! again.

use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// Bytes of the longest id, and of the longest version.
pub(crate) const MAX: usize = 64;

/// What an id is made of, in words.
pub(crate) const ID_CHARACTERS: &str = "lower-case letters, digits, `-`, `.` and `_`";

/// What a version is made of, in words.
pub(crate) const VERSION_CHARACTERS: &str = "letters, digits, `-`, `.`, `_`, `+` and `~`";

/// A distro's short id, as its record and os-release's `ID` have it: `debian`, `opensuse-leap`.
///
/// It is a part of files' and images' names, so a text becomes one only by being checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct DistroId(String);

/// A text is not the id of a distro.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a distro's id: expected {characters}, at most {max}, and no `-` or `.` first",
    characters = ID_CHARACTERS,
    max = MAX
)]
pub struct NotADistroId(String);

/// The version of a release, as its distro's record has it: `13`, `3.24`, `sid`, `edge`.
///
/// They are ordered as texts, for maps and sets alone: which release is the later one, the record says by its order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ReleaseVersion(String);

/// A text is not the version of a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a release's version: expected {characters}, at most {max}, and no `-` or `.` first",
    characters = VERSION_CHARACTERS,
    max = MAX
)]
pub struct NotAReleaseVersion(String);

/// Whether a text can be an id; [`ID_CHARACTERS`] says it in words.
fn is_id(text: &str) -> bool {
    is_word(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c))
}

/// Whether a release can go by a text: as its version, its codename, or another name of it.
pub(crate) fn is_release_name(text: &str) -> bool {
    is_word(text, |c| c.is_ascii_alphanumeric() || "-._+~".contains(c))
}

/// Whether a text is one word of such characters that is no option and no hidden file.
fn is_word(text: &str, is_plain: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.len() <= MAX && text.chars().all(is_plain) && !text.starts_with(['-', '.'])
}

/// What both types have: they are made of texts that `$is` fits, and are their text wherever they are kept.
macro_rules! checked_text {
    ($name:ident, $error:ident, $is:ident) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<$name, $error> {
                match $is(text) {
                    true => Ok($name(text.to_owned())),
                    false => Err($error(text.chars().take(40).collect())),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<$name, $error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        // Maps are asked by texts.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }
    };
}

checked_text!(DistroId, NotADistroId, is_id);
checked_text!(ReleaseVersion, NotAReleaseVersion, is_release_name);

/// One release of one distro.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Target {
    /// `debian`.
    pub distro: DistroId,
    /// The version as the record has it, whatever name was used: `13`.
    pub version: ReleaseVersion,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.distro, self.version)
    }
}

/// A text is not the name of one release.
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

/// Releases as a list of their names, for serde.
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
    fn an_id_is_one_word_in_small_letters() {
        for id in ["debian", "opensuse-leap", "sl-micro", "4mlinux", "a.b_c", "_", &"x".repeat(MAX)] {
            assert_eq!(id.parse::<DistroId>().unwrap(), id);
        }
        let long = "x".repeat(MAX + 1);
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
        for version in ["13", "8.10", "sid", "edge", "stream9", "6.1-rc1", "2~beta", "1+2", "R1", &"1".repeat(MAX)] {
            assert_eq!(version.parse::<ReleaseVersion>().unwrap(), version);
        }
        let long = "1".repeat(MAX + 1);
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
    fn each_is_its_text_wherever_it_is_kept() {
        let kept: BTreeMap<DistroId, ReleaseVersion> = serde_json::from_str(r#"{"debian": "13"}"#).unwrap();
        assert_eq!(kept.get("debian"), Some(&"13".parse().unwrap()));
        assert_eq!(serde_json::to_string(&kept).unwrap(), r#"{"debian":"13"}"#);
        assert_eq!(serde_yaml::from_str::<BTreeMap<DistroId, ReleaseVersion>>("debian: '13'\n").unwrap(), kept);
        let shown = kept.iter().map(|(distro, version)| format!("{distro:>8}:{version:<4}|")).collect::<String>();
        assert_eq!(shown, "  debian:13  |");
        let error = serde_json::from_str::<Vec<DistroId>>(r#"["Debian"]"#).unwrap_err().to_string();
        assert!(error.starts_with("\"Debian\" is not a distro's id"), "{error}");
        let error = serde_json::from_str::<Vec<ReleaseVersion>>(r#"["../x"]"#).unwrap_err().to_string();
        assert!(error.starts_with("\"../x\" is not a release's version"), "{error}");
    }

    /// Nothing but a record's order says which release is the later one.
    #[test]
    fn versions_have_the_order_of_texts() {
        let version = |text: &str| text.parse::<ReleaseVersion>().unwrap();
        assert!(version("8.10") < version("8.9") && version("9") > version("10"));
    }

    #[test]
    fn one_release_is_read_by_its_name() {
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
