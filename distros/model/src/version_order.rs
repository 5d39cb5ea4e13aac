//! Order of two versions of a package, as its package manager compares them.

use crate::package::PackageVersion;
use crate::package_manager::PackageManager;
use std::cmp::Ordering;

/// Compares versions in the order of a package manager; every comparison of package versions goes through here.
///
/// Managers without package versions (images, Nix's derivations) are compared like dpkg.
pub fn compare(manager: PackageManager, a: &str, b: &str) -> Ordering {
    match manager {
        // pacman's order is rpm's.
        PackageManager::Dnf
        | PackageManager::Yum
        | PackageManager::Tdnf
        | PackageManager::Zypper
        | PackageManager::Pacman => rpm(a, b),
        PackageManager::Apk | PackageManager::Emerge => dpkg(&with_dpkg_prereleases(a), &with_dpkg_prereleases(b)),
        PackageManager::Apt | PackageManager::Nix | PackageManager::ImageBased => dpkg(a, b),
    }
}

/// Whether two texts are the same version, for any package manager: an epoch of 0 can be left out, as in the index of a
/// repository whose package has an explicit one.
pub fn is_same(a: &PackageVersion, b: &PackageVersion) -> bool {
    let [a, b] = [a, b].map(PackageVersion::as_str).map(|version| version.strip_prefix("0:").unwrap_or(version));
    a == b
}

/// Compares `[epoch:]version[-release]` like rpm.
fn rpm(a: &str, b: &str) -> Ordering {
    rpm_version::rpm_evr_compare(a, b)
}

/// Compares `[epoch:]upstream[-revision]` like dpkg (Debian policy 5.6.12); accepts texts that are not valid versions.
fn dpkg(a: &str, b: &str) -> Ordering {
    let parts = |version: &str| -> (String, String, String) {
        let (epoch, rest) = version.split_once(':').unwrap_or(("", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.to_owned(), upstream.to_owned(), revision.to_owned())
    };
    let ((epoch_a, upstream_a, revision_a), (epoch_b, upstream_b, revision_b)) = (parts(a), parts(b));
    dpkg_part(&epoch_a, &epoch_b)
        .then_with(|| dpkg_part(&upstream_a, &upstream_b))
        .then_with(|| dpkg_part(&revision_a, &revision_b))
}

/// Translates Alpine's and Gentoo's pre-release words to dpkg's form: `1.2_rc1` to `1.2~rc1`.
fn with_dpkg_prereleases(version: &str) -> String {
    let mut version = version.to_owned();
    for word in ["_alpha", "_beta", "_pre", "_rc"] {
        version = version.replace(word, &word.replace('_', "~"));
    }
    version
}

/// Compares one part of a version like dpkg.
///
/// Non-digits are compared first, with letters before everything else and `~` before the end; then the number, by its
/// value.
fn dpkg_part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let (text_a, text_b) =
            (take_prefix(&mut a, |c| !c.is_ascii_digit()), take_prefix(&mut b, |c| !c.is_ascii_digit()));
        for index in 0..text_a.len().max(text_b.len()) {
            let order = weight(text_a.get(index)).cmp(&weight(text_b.get(index)));
            if order.is_ne() {
                return order;
            }
        }
        let (number_a, number_b) = (number(&mut a), number(&mut b));
        let order = number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Takes the leading bytes of a kind.
fn take_prefix<'t>(text: &mut &'t [u8], is_of_kind: impl Fn(&u8) -> bool) -> &'t [u8] {
    let (front, rest) = text.split_at(text.iter().take_while(|c| is_of_kind(c)).count());
    *text = rest;
    front
}

/// Takes the leading digits, without leading zeros, so that the longer of two is the larger number.
fn number<'t>(text: &mut &'t [u8]) -> &'t [u8] {
    take_prefix(text, |c| *c == b'0');
    take_prefix(text, u8::is_ascii_digit)
}

fn weight(character: Option<&u8>) -> i32 {
    match character {
        None => 0,
        Some(b'~') => -1,
        Some(c) if c.is_ascii_alphabetic() => i32::from(*c),
        Some(c) => i32::from(*c) + 256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_ascending(manager: PackageManager, versions: &[&str]) {
        for (index, less) in versions.iter().enumerate() {
            assert_eq!(compare(manager, less, less), Ordering::Equal, "{less}");
            for more in &versions[index + 1..] {
                assert_eq!(compare(manager, less, more), Ordering::Less, "{manager:?}: {less} {more}");
                assert_eq!(compare(manager, more, less), Ordering::Greater, "{manager:?}: {more} {less}");
            }
        }
    }

    #[test]
    fn each_package_manager_has_its_order() {
        assert_ascending(
            PackageManager::Apt,
            &[
                "1.10.0-1",
                "1.13.2~rc1-1",
                "1.13.2-1",
                "1.13.2-1+b1",
                "1.13.2-1+deb13u1",
                "1.13.2-2",
                "1.13.2+ds-1",
                "1:1.0-1",
                "1:10.0.2+ds-2",
            ],
        );
        // A missing revision is the lowest, and a missing epoch is 0.
        assert_ascending(PackageManager::Apt, &["2.0", "2.0-1"]);
        assert_eq!(compare(PackageManager::Apt, "2.0", "0:2.0-0"), Ordering::Equal);
        assert_ascending(
            PackageManager::Dnf,
            &["9.1.0-15.el9", "9.1.0-29.el9", "17:8.2.0-11.el9", "17:9.1.0~rc1-1", "17:9.1.0-1"],
        );
        assert_ascending(PackageManager::Pacman, &["9.2.0-1", "9.2.0-2", "9.10.0-1", "1:9.0.0-1"]);
        assert_ascending(
            PackageManager::Apk,
            &["9.1.2_rc1-r0", "9.1.2-r1", "9.1.2-r10", "9.1.2a-r0", "9.1.2_p1-r0", "9.1.10-r0"],
        );
    }

    #[test]
    fn an_epoch_of_zero_makes_no_other_version() {
        let is_same = |a: &str, b: &str| is_same(&a.parse().unwrap(), &b.parse().unwrap());
        assert!(is_same("0:2-1", "2-1") && is_same("1:2-1", "1:2-1"));
        assert!(!is_same("1:2-1", "2-1") && !is_same("2-1", "2-2"));
    }

    proptest::proptest! {
        #[test]
        fn comparing_any_versions_is_antisymmetric(a in "[0-9a-z~^.+_:-]{0,24}", b in "[0-9a-z~^.+_:-]{0,24}") {
            for manager in PackageManager::ALL {
                proptest::prop_assert_eq!(compare(*manager, &a, &b), compare(*manager, &b, &a).reverse());
            }
        }

        // Short texts of few characters, so that many begin alike.
        #[test]
        fn comparing_any_versions_is_transitive(
            a in "([01a~^.+_:-]|_rc){0,6}", b in "([01a~^.+_:-]|_rc){0,6}", c in "([01a~^.+_:-]|_rc){0,6}"
        ) {
            for manager in PackageManager::ALL {
                for [x, y, z] in [[&a, &b, &c], [&a, &c, &b], [&b, &a, &c], [&b, &c, &a], [&c, &a, &b], [&c, &b, &a]] {
                    let (first, second) = (compare(*manager, x, y), compare(*manager, y, z));
                    if first.is_le() && second.is_le() {
                        proptest::prop_assert_eq!(
                            compare(*manager, x, z), first.then(second), "{:?}: {} {} {}", manager, x, y, z
                        );
                    }
                }
            }
        }
    }
}
