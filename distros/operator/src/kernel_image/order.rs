//! Decides which of two kernels is newer, in the order of the package manager that installed them.

use crate::packages::Format;
use model::package_manager::PackageManager;
use model::version_order;
use std::cmp::Ordering;

/// Compares two kernels' releases, `6.12.9+deb13-amd64`, in the order of the package manager with this database format.
///
/// A root without a database uses the order of `PackageManager::ImageBased`.
pub(super) fn compare(format: Option<Format>, a: &str, b: &str) -> Ordering {
    let manager = format.map_or(PackageManager::ImageBased, Format::manager);
    version_order::compare(manager, &candidate(a), &candidate(b))
}

/// Rewrites the kernel's own name of a release candidate, `7.2.0-rc1`, as packages write it: `7.2.0~rc1`.
fn candidate(release: &str) -> String {
    let mut release = release.to_owned();
    for (at, _) in release.clone().match_indices("rc") {
        let before = release[..at].ends_with(['-', '_']);
        let after = release[at + 2..].starts_with(|c: char| c.is_ascii_digit());
        if before && after {
            release.replace_range(at - 1..at, "~");
        }
    }
    release
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_ascending(format: Option<Format>, releases: &[&str]) {
        for (at, less) in releases.iter().enumerate() {
            assert_eq!(compare(format, less, less), Ordering::Equal, "{less}");
            for more in &releases[at + 1..] {
                assert_eq!(compare(format, less, more), Ordering::Less, "{format:?}: {less} {more}");
                assert_eq!(compare(format, more, less), Ordering::Greater, "{format:?}: {more} {less}");
            }
        }
    }

    #[test]
    fn releases_are_ordered_as_by_dpkg() {
        for format in [Some(Format::Dpkg), None] {
            assert_ascending(
                format,
                &[
                    "5.10.0-30-amd64",
                    "6.1.0-9-amd64",
                    "6.1.0-9-cloud-amd64",
                    "6.1.0-56-amd64",
                    "6.12.9+deb13-amd64",
                    "6.12.10+deb13-amd64",
                    "7.2~rc1-amd64",
                    "7.2-rc2-amd64",
                    "7.2-amd64",
                    "7.2.1-amd64",
                ],
            );
            assert_ascending(format, &["7.2~rc1", "7.2", "7.2.1"]);
            // The part before the last dash is compared first, and ends before a plus.
            assert_ascending(
                format,
                &["6.12.5", "6.12.5-amd64", "6.12.5+deb13-amd64", "6.12.5+deb13+1-amd64", "6.12.6-amd64"],
            );
            assert_ascending(format, &["6.12.31-gentoo-x86_64", "6.12.31-gentoo-r1-x86_64"]);
            // A number of any length, and leading zeros.
            assert_ascending(format, &["6.09", "6.10", "6.99999999999999999999999999999999999999999"]);
        }
    }

    #[test]
    fn releases_are_ordered_as_by_alpine_and_gentoo() {
        for format in [Some(Format::Apk), Some(Format::Portage)] {
            assert_ascending(
                format,
                &[
                    "6.12.9-0-virt",
                    "6.12.13-0-virt",
                    "7.2_alpha1-0-virt",
                    "7.2_pre1-0-virt",
                    "7.2_rc1-0-virt",
                    "7.2-0-virt",
                ],
            );
            assert_ascending(format, &["7.2-rc1", "7.2_rc2", "7.2", "7.2.1"]);
        }
    }

    #[test]
    fn releases_are_ordered_as_by_rpm_and_pacman() {
        assert_ascending(
            Some(Format::Rpm),
            &[
                "5.14.0-70.el9.x86_64",
                "5.14.0-503.11.1.el9_5.x86_64",
                "6.12.0-55.el10.x86_64",
                "7.2.0-0.rc1.20.fc45.x86_64",
                "7.2.0-0.rc10.1.fc45.x86_64",
                "7.2.0-200.fc45.x86_64",
                "7.2.1-100.fc45.x86_64",
            ],
        );
        // Separators are ignored here, and a caret comes after the end, unlike with dpkg.
        assert_ascending(Some(Format::Rpm), &["7.2~rc1", "7.2", "7.2^20261101", "7.2.1"]);
        assert_eq!(compare(Some(Format::Rpm), "7.2_1", "7.2.1"), Ordering::Equal);
        assert_ascending(
            Some(Format::Pacman),
            &["7.2.0-rc1-1-mainline", "7.2.0-arch1-1", "7.2.0-arch2-1", "7.2.1-arch1-1"],
        );
    }

    /// The orders of all package managers, and of a root without one.
    fn orders() -> impl Iterator<Item = Option<Format>> {
        std::iter::once(None).chain(Format::ALL.iter().copied().map(Some))
    }

    proptest::proptest! {
        #[test]
        fn the_order_of_any_names_is_antisymmetric(a in ".{0,24}", b in "[0-9a-z~^.+_-]{0,24}") {
            for format in orders() {
                proptest::prop_assert_eq!(compare(format, &a, &b), compare(format, &b, &a).reverse());
            }
        }

        // Short names of few characters, so that many begin alike.
        #[test]
        fn the_order_of_any_names_is_transitive(
            a in "([01a~^.+_-]|-rc){0,6}", b in "([01a~^.+_-]|-rc){0,6}", c in "([01a~^.+_-]|-rc){0,6}"
        ) {
            for format in orders() {
                for [x, y, z] in [[&a, &b, &c], [&a, &c, &b], [&b, &a, &c], [&b, &c, &a], [&c, &a, &b], [&c, &b, &a]] {
                    let (first, second) = (compare(format, x, y), compare(format, y, z));
                    if first.is_le() && second.is_le() {
                        proptest::prop_assert_eq!(
                            compare(format, x, z), first.then(second), "{:?}: {} {} {}", format, x, y, z
                        );
                    }
                }
            }
        }
    }
}
