//! Names of Debian's packages and of their files.

use model::package::PackageName;
use std::path::Path;

/// Form of package names, for messages.
pub(crate) const NAME_FORM: &str = "a Debian package name (lower-case letters, digits, `+`, `.`, `-`)";
/// Form of package files, for messages.
pub(crate) const FILE_FORM: &str = "a .deb file";

/// Returns a text as a package's name, if it is valid.
pub(crate) fn package(text: &str) -> Option<PackageName> {
    text.parse().ok().filter(|_| is_package(text))
}

/// Checks Debian policy 5.6.7: at least two characters, lower-case letters, digits, `+`, `-`, `.`, starting with an
/// alphanumeric.
fn is_package(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && text.len() >= 2
        // `name-` means "remove" to apt-get.
        && !text.ends_with('-')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b))
}

/// Returns whether a text names a package file.
pub(crate) fn is_file(text: &str) -> bool {
    text.ends_with(".deb")
}

/// Returns the name of the package in a file: the part of the file's name before the first underscore (Debian policy,
/// appendix on binary packages).
pub(crate) fn in_file(file: &Path) -> Option<PackageName> {
    package(file.file_name()?.to_str()?.split('_').next()?.trim_end_matches(".deb"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_names_follow_debians_policy() {
        for good in ["qemu-system-x86", "libstdc++6", "0ad", "g++"] {
            assert!(package(good).is_some(), "{good}");
        }
        for wrong in ["", "x", "-o", "Qemu", "a b", "a/b", "a=1", "qemu-"] {
            assert_eq!(package(wrong), None, "{wrong}");
        }
    }
}
