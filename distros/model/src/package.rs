//! Names and versions of packages, validated on construction, so that no user has to check them again.

use crate::checked_text::checked_text;
use crate::diagnostic::is_direction_control;
use crate::package_manager::PackageManager;
use crate::redact::is_unprintable;
use serde::{Deserialize, Serialize};

/// Longest name and longest version, in bytes.
const MAX_BYTES: usize = 200;

/// Name of a package in a form that is safe to pass to a package manager: no option, path, address or shell syntax.
///
/// Names reach package managers' command lines, so a text becomes a `PackageName` only after validation.
/// Names from a package database are a [`NativeName`] instead, which allows more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct PackageName(String);

/// Error for a text that is not the name of a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a package name: expected letters, digits and `+-._:@/`, beginning with a letter or a digit")]
pub struct NotAPackageName(String);

impl PackageName {
    /// Whether `manager` can have a package of that name.
    pub fn is_for(&self, manager: PackageManager) -> bool {
        manager.has_names_like(self.as_str())
    }
}

/// Whether a text can be passed to some package manager as a name: of a package, a repository, a module.
pub fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-._:@/".contains(c);
    text.len() <= MAX_BYTES
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain)
        && !text.contains("..")
        && !text.contains("//")
        && !text.contains(":/")
}

/// Whether a text is one printable word.
fn is_word(text: &str) -> bool {
    let is_shown = |c: char| !(c.is_whitespace() || is_unprintable(c) || is_direction_control(c));
    !text.is_empty() && text.chars().all(is_shown)
}

checked_text!(PackageName, NotAPackageName, is_plain);

/// Name of a package or source package as its distro has it: in a package database, an image's manifest, or a message
/// of a package manager.
///
/// Distros' own rules differ, so this allows more than a [`PackageName`]: any printable word that is not an option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct NativeName(String);

/// Error for a text that cannot be the name of a package in any distro.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a package name: expected one printable word that does not begin with a hyphen")]
pub struct NotANativeName(String);

/// Whether a text can be the name of a package in some distro.
fn is_native_name(text: &str) -> bool {
    is_word(text) && !text.starts_with('-')
}

checked_text!(NativeName, NotANativeName, is_native_name);

impl From<PackageName> for NativeName {
    fn from(name: PackageName) -> NativeName {
        NativeName(name.0)
    }
}

/// An architecture under its package manager's name: `amd64`, `x86_64`, `noarch`, `any`.
///
/// Empty if the database does not have it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PackageArch(String);

impl PackageArch {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for PackageArch {
    fn from(name: &str) -> PackageArch {
        PackageArch(name.to_owned())
    }
}

/// An installed package, as listed in images' manifests. A manifest of another version may have more fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Package {
    /// The name in the database: `qemu-system-x86`.
    pub name: NativeName,
    /// The version with the epoch, if there is one: `17:9.1.0-15.el9`.
    pub version: PackageVersion,
    /// Its architecture.
    pub arch: PackageArch,
    /// The source package's name, or the common name of packages that are built together: `qemu`.
    pub source: NativeName,
}

/// Returns the packages that an image's manifest lists; entries that are no packages are left out.
///
/// This is for readers of a stranger's manifest, or of one of another version. `images` has all of a manifest.
///
/// # Errors
///
/// Fails if the text is not JSON.
pub fn packages_in_manifest(text: &[u8]) -> serde_json::Result<Vec<Package>> {
    let mut manifest: serde_json::Value = serde_json::from_slice(text)?;
    let listed = manifest.get_mut("packages").and_then(serde_json::Value::as_array_mut).map(std::mem::take);
    Ok(listed.unwrap_or_default().into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect())
}

/// Version of a package as its package manager writes it: one printable word that is not an address.
///
/// Versions compare only for equality; their order depends on the package manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct PackageVersion(String);

/// Error for a text that is not the version of a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a package version: expected one printable word")]
pub struct NotAPackageVersion(String);

impl PackageVersion {
    /// Returns the leading numbers of the program's own version: 10, 0 and 13 of `1:10.0.13+ds-0+deb13u1`.
    ///
    /// These are the same for every package manager, while epochs and revisions differ from distro to distro. They
    /// identify the program's version, but not which of two packages is the later one.
    pub fn numbers(&self) -> Vec<u32> {
        let upstream = self.0.split_once(':').map_or(self.as_str(), |(_epoch, rest)| rest);
        let dotted = upstream.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
        dotted.split('.').map_while(|number| number.parse().ok()).collect()
    }
}

/// Whether a text can be the version of a package in some distro.
fn is_package_version(text: &str) -> bool {
    is_word(text) && text.len() <= MAX_BYTES && !text.contains("://")
}

checked_text!(PackageVersion, NotAPackageVersion, is_package_version);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_name_is_safe_to_pass_to_a_package_manager() {
        for name in ["qemu-system-x86", "libc6:amd64", "g++", "java-1.8", "app-emulation/qemu", "qemu-1:9.0", "a@b"] {
            assert_eq!(name.parse::<PackageName>().unwrap(), name);
        }
        let long = "x".repeat(MAX_BYTES + 1);
        for wrong in ["", "-o", ".x", "/x", "a b", "a;b", "a\n", "a\u{1b}[m", "ä", "../x", "a//b", "file:/x", &long] {
            let error = wrong.parse::<PackageName>().unwrap_err().to_string();
            assert!(error.contains("is not a package name") && !error.contains(['\n', '\u{1b}']), "{error}");
        }
    }

    #[test]
    fn a_native_name_is_one_printable_word_that_is_no_option() {
        for name in ["qemu-system-x86", "perl(Carp)", "libstdc++6", "_x", "ä", "app-emulation/qemu"] {
            assert_eq!(name.parse::<NativeName>().unwrap(), name);
        }
        for wrong in ["", "-o", "a b", "a\n", "a\u{1b}[m", "a\u{202e}"] {
            let error = wrong.parse::<NativeName>().unwrap_err().to_string();
            assert!(error.contains("is not a package name") && !error.contains(['\n', '\u{1b}']), "{error}");
        }
        let name: NativeName = serde_json::from_str("\"perl(Carp)\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"perl(Carp)\"");
        assert!(serde_json::from_str::<NativeName>("\"-o\"").is_err());
    }

    #[test]
    fn the_packages_of_a_manifest_are_read_one_by_one() {
        let text = r#"{"format": 9, "packages": [{"name": "qemu", "version": "1", "arch": "", "source": "q"},
            {"name": "-o", "version": "1", "arch": "", "source": "q"}, 7]}"#;
        let found = packages_in_manifest(text.as_bytes()).unwrap();
        assert_eq!(found.iter().map(|package| package.name.as_str()).collect::<Vec<_>>(), ["qemu"]);
        assert_eq!(packages_in_manifest(b"{}").unwrap(), []);
        assert!(packages_in_manifest(b"").is_err());
    }

    #[test]
    fn a_package_version_is_one_printable_word() {
        for version in ["1:10.0.3+ds-0+deb13u1", "8.2.0-11.fc40", "2~bpo12+1", "9.1.2-r1", "2.1.9^git1", "1.0@r3"] {
            assert_eq!(version.parse::<PackageVersion>().unwrap(), version);
        }
        let long = "1".repeat(MAX_BYTES + 1);
        for wrong in ["", "1 2", "1\n", "1\u{1b}[m", "1\u{202e}", "1\u{200b}", "1\0", "http://mirror.example/1", &long]
        {
            let error = wrong.parse::<PackageVersion>().unwrap_err().to_string();
            assert!(error.contains("is not a package version") && !error.contains(['\n', '\u{1b}']), "{error}");
        }
    }

    #[test]
    fn the_upstream_numbers_are_extracted_from_a_version() {
        let numbers = |version: &str| version.parse::<PackageVersion>().unwrap().numbers();
        assert_eq!(numbers("1:10.0.13+ds-0+deb13u1"), [10, 0, 13]);
        assert_eq!(numbers("17:9.1.0-15.el9"), [9, 1, 0]);
        assert_eq!(numbers("9.1.2-r1"), [9, 1, 2]);
        assert_eq!(numbers("1:6.0~rc4+dfsg-1"), [6, 0]);
        assert_eq!(numbers("git20200101"), Vec::<u32>::new());
    }

    #[test]
    fn a_package_name_serializes_as_its_text() {
        let names: std::collections::BTreeMap<PackageName, u8> = serde_json::from_str(r#"{"qemu": 1}"#).unwrap();
        assert_eq!(names.get("qemu"), Some(&1));
        assert_eq!(serde_json::to_string(&names).unwrap(), r#"{"qemu":1}"#);
        let error = serde_json::from_str::<Vec<PackageName>>(r#"["-o"]"#).unwrap_err().to_string();
        assert!(error.starts_with("\"-o\" is not a package name"), "{error}");
    }
}
