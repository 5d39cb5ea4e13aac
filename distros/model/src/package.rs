//! Names and versions of packages, checked where they are made, so that nobody checks them again.

use crate::diagnostic::is_direction_control;
use crate::package_manager::PackageManager;
use crate::redact::is_unprintable;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// Bytes of the longest name, and of the longest version.
const MAX: usize = 200;

/// The name of a package as a package manager can be given it: no option, no path, no address, no shell's word.
///
/// Names reach package managers' command lines, so a text becomes one only by being checked.
/// What a database calls the packages that it has is no such name: it is shown and compared, and given to nobody.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct PackageName(String);

/// A text is not the name of a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a package name: expected letters, digits and `+-._:@/`, beginning with a letter or a digit")]
pub struct NotAPackageName(String);

impl PackageName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `manager` can have a package of that name.
    pub fn is_for(&self, manager: PackageManager) -> bool {
        manager.has_names_like(self.as_str())
    }
}

/// Whether a text can be given to some package manager as the name of something: a package, a repository, a module.
pub fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-._:@/".contains(c);
    text.len() <= MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain)
        && !text.contains("..")
        && !text.contains("//")
        && !text.contains(":/")
}

impl FromStr for PackageName {
    type Err = NotAPackageName;

    fn from_str(text: &str) -> Result<PackageName, NotAPackageName> {
        match is_plain(text) {
            true => Ok(PackageName(text.to_owned())),
            false => Err(NotAPackageName(text.chars().take(40).collect())),
        }
    }
}

impl TryFrom<String> for PackageName {
    type Error = NotAPackageName;

    fn try_from(text: String) -> Result<PackageName, NotAPackageName> {
        text.parse()
    }
}

impl From<PackageName> for String {
    fn from(name: PackageName) -> String {
        name.0
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

// Maps are asked by texts, and lists are joined.
impl Borrow<str> for PackageName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for PackageName {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for PackageName {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

/// The version of a package as its package manager writes it: one word that can be shown as it is, and no address.
///
/// Two are the same or they are not; which of them is the later one, only their package manager says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct PackageVersion(String);

/// A text is not the version of a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a package version: expected one printable word")]
pub struct NotAPackageVersion(String);

impl PackageVersion {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The numbers of the program's own version that it begins with, 10, 0 and 13 of `1:10.0.13+ds-0+deb13u1`.
    ///
    /// They are the same in every package manager's versions, whose epochs and revisions differ from distro to distro; so
    /// this says what the program is, and not which of two packages is the later one.
    pub fn numbers(&self) -> Vec<u32> {
        let upstream = self.0.split_once(':').map_or(self.as_str(), |(_epoch, rest)| rest);
        let dotted = upstream.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
        dotted.split('.').map_while(|number| number.parse().ok()).collect()
    }
}

impl FromStr for PackageVersion {
    type Err = NotAPackageVersion;

    fn from_str(text: &str) -> Result<PackageVersion, NotAPackageVersion> {
        let shown = |c: char| !(c.is_whitespace() || is_unprintable(c) || is_direction_control(c));
        match !text.is_empty() && text.len() <= MAX && text.chars().all(shown) && !text.contains("://") {
            true => Ok(PackageVersion(text.to_owned())),
            false => Err(NotAPackageVersion(text.chars().take(40).collect())),
        }
    }
}

impl TryFrom<String> for PackageVersion {
    type Error = NotAPackageVersion;

    fn try_from(text: String) -> Result<PackageVersion, NotAPackageVersion> {
        text.parse()
    }
}

impl fmt::Display for PackageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl PartialEq<str> for PackageVersion {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for PackageVersion {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_package_manager_can_be_given_is_a_name() {
        for name in ["qemu-system-x86", "libc6:amd64", "g++", "java-1.8", "app-emulation/qemu", "qemu-1:9.0", "a@b"] {
            assert_eq!(name.parse::<PackageName>().unwrap(), name);
        }
        let long = "x".repeat(MAX + 1);
        for wrong in ["", "-o", ".x", "/x", "a b", "a;b", "a\n", "a\u{1b}[m", "ä", "../x", "a//b", "file:/x", &long] {
            let error = wrong.parse::<PackageName>().unwrap_err().to_string();
            assert!(error.contains("is not a package name") && !error.contains(['\n', '\u{1b}']), "{error}");
        }
    }

    #[test]
    fn a_version_is_one_word_that_can_be_shown() {
        for version in ["1:10.0.3+ds-0+deb13u1", "8.2.0-11.fc40", "2~bpo12+1", "9.1.2-r1", "2.1.9^git1", "1.0@r3"] {
            assert_eq!(version.parse::<PackageVersion>().unwrap(), version);
        }
        let long = "1".repeat(MAX + 1);
        for wrong in ["", "1 2", "1\n", "1\u{1b}[m", "1\u{202e}", "1\u{200b}", "1\0", "http://mirror.example/1", &long]
        {
            let error = wrong.parse::<PackageVersion>().unwrap_err().to_string();
            assert!(error.contains("is not a package version") && !error.contains(['\n', '\u{1b}']), "{error}");
        }
    }

    #[test]
    fn a_version_has_the_programs_own_numbers_in_it() {
        let numbers = |version: &str| version.parse::<PackageVersion>().unwrap().numbers();
        assert_eq!(numbers("1:10.0.13+ds-0+deb13u1"), [10, 0, 13]);
        assert_eq!(numbers("17:9.1.0-15.el9"), [9, 1, 0]);
        assert_eq!(numbers("9.1.2-r1"), [9, 1, 2]);
        assert_eq!(numbers("1:6.0~rc4+dfsg-1"), [6, 0]);
        assert_eq!(numbers("git20200101"), Vec::<u32>::new());
    }

    #[test]
    fn a_name_is_its_text_wherever_it_is_kept() {
        let names: std::collections::BTreeMap<PackageName, u8> = serde_json::from_str(r#"{"qemu": 1}"#).unwrap();
        assert_eq!(names.get("qemu"), Some(&1));
        assert_eq!(serde_json::to_string(&names).unwrap(), r#"{"qemu":1}"#);
        let error = serde_json::from_str::<Vec<PackageName>>(r#"["-o"]"#).unwrap_err().to_string();
        assert!(error.starts_with("\"-o\" is not a package name"), "{error}");
    }
}
