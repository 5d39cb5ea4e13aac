//! Detection of the measurements that are about the newest packages of a release.
//!
//! An installation gets the release's newest packages today, so that a yes has to be about those.
//! A pass with other versions proves nothing about them: a later version of QEMU may have lost a feature.
//!
//! Two measurements are about the same packages if one of them has all packages of the other, with the same versions: a
//! machine has more packages than a container.
//! If they are about different packages:
//!
//! - Packages of the current run are newer than those in the record, whatever their versions.
//! - A measurement with unknown packages is the older one, because they may have been anything.
//! - Otherwise the package manager's order decides, if it is the same for all packages that differ; if it is not, or
//!   the manager is unknown, the day decides.
//! - Measurements of the same day without an order are equally old: neither is the newest.

use super::VerifiedEntry;
use crate::package::{PackageName, PackageVersion};
use crate::package_manager::PackageManager;
use crate::version_order::compare;
use jiff::civil::Date;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Packages that were measured, by the current run or by an earlier one.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    versions: &'a BTreeMap<PackageName, PackageVersion>,
    day: Option<Date>,
    is_of_the_run: bool,
}

impl<'a> Measured<'a> {
    /// Wraps the versions of the current run.
    pub fn in_run(versions: &'a BTreeMap<PackageName, PackageVersion>, day: Option<Date>) -> Measured<'a> {
        Measured { versions, day, is_of_the_run: true }
    }

    /// Wraps the versions of an entry in the record.
    pub fn in_entry(entry: &'a VerifiedEntry) -> Measured<'a> {
        Measured { versions: &entry.versions, day: Some(entry.tested), is_of_the_run: false }
    }

    /// Whether no measurement of other packages is at least as new.
    pub fn is_newest_of(&self, all: &[Measured<'_>], manager: Option<PackageManager>) -> bool {
        !all.iter().any(|other| !self.is_of_the_same(other) && !other.is_older_than(self, manager))
    }

    /// Whether two measurements are about the same packages, as far as both know.
    pub fn is_of_the_same(&self, other: &Measured<'_>) -> bool {
        let (few, more) = match self.versions.len() <= other.versions.len() {
            true => (self.versions, other.versions),
            false => (other.versions, self.versions),
        };
        match (few.is_empty(), more.is_empty()) {
            (false, _) => few.iter().all(|(package, version)| more.get(package) == Some(version)),
            (true, false) => false,
            // Both have unknown packages: measurements of one day may be from one run.
            (true, true) => (self.day, self.is_of_the_run) == (other.day, other.is_of_the_run),
        }
    }

    fn is_older_than(&self, other: &Measured<'_>, manager: Option<PackageManager>) -> bool {
        if self.is_of_the_run != other.is_of_the_run {
            return other.is_of_the_run;
        }
        match (self.versions.is_empty(), other.versions.is_empty()) {
            (true, false) => true,
            (false, true) => false,
            (true, true) | (false, false) => match manager.and_then(|manager| self.order(other, manager)) {
                Some(order) => order == Ordering::Less,
                None => self.day < other.day,
            },
        }
    }

    /// Returns the order of two measurements if all packages that differ agree on it.
    fn order(&self, other: &Measured<'_>, manager: PackageManager) -> Option<Ordering> {
        let both = self.versions.iter().filter_map(|(package, version)| Some((version, other.versions.get(package)?)));
        let mut orders = both.map(|(one, two)| compare(manager, one.as_str(), two.as_str())).filter(|o| o.is_ne());
        let first = orders.next()?;
        orders.all(|order| order == first).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    type Versions = BTreeMap<PackageName, PackageVersion>;

    fn versions(all: &[(&str, &str)]) -> Versions {
        all.iter().map(|(name, version)| (name.parse().unwrap(), version.parse().unwrap())).collect()
    }

    fn on(day: i8, versions: &Versions) -> Measured<'_> {
        Measured { versions, day: Some(date(2026, 11, day)), is_of_the_run: false }
    }

    /// Returns for each of two measurements whether it is about the newest packages.
    fn newest(one: Measured<'_>, two: Measured<'_>, manager: Option<PackageManager>) -> (bool, bool) {
        let all = [one, two];
        (one.is_newest_of(&all, manager), two.is_newest_of(&all, manager))
    }

    #[test]
    fn two_measurements_are_compared_by_packages_then_by_day() {
        let apt = Some(PackageManager::Apt);
        let old = versions(&[("qemu", "1:10.0.9"), ("kernel", "6.12.9-1")]);
        let new = versions(&[("qemu", "1:10.0.13"), ("kernel", "6.12.9-1")]);
        let more = versions(&[("qemu", "1:10.0.13"), ("kernel", "6.12.9-1"), ("containerd", "1.7-1")]);
        let mixed = versions(&[("qemu", "1:10.0.9"), ("kernel", "6.12.13-1")]);
        let renamed = versions(&[("qemu-system", "1:10.0.9")]);
        let none = Versions::new();
        for (one, two, manager, expected, why) in [
            (on(1, &new), on(9, &new), apt, (true, true), "the same packages on other days"),
            (on(1, &new), on(9, &more), apt, (true, true), "a machine has more packages than a container"),
            (on(1, &old), on(9, &more), apt, (false, true), "and of those of both the versions count"),
            (on(9, &old), on(1, &new), apt, (false, true), "an image of old packages may be run later"),
            (on(9, &old), on(1, &new), None, (true, false), "without an order the day says it"),
            (on(1, &new), on(9, &mixed), apt, (false, true), "and where the packages do not agree"),
            (on(9, &new), on(9, &mixed), apt, (false, false), "of one day neither is the newer one"),
            (on(1, &new), on(9, &renamed), apt, (false, true), "packages of other names are other packages"),
            (on(9, &none), on(1, &old), apt, (false, true), "what nobody knows vouches for nothing"),
            (on(1, &none), on(9, &none), apt, (false, true), "the later of two that nobody knows"),
            (on(9, &none), on(9, &none), apt, (true, true), "of one day they are of one run"),
        ] {
            assert_eq!(newest(one, two, manager), expected, "{why}");
            let (first, second) = expected;
            assert_eq!(newest(two, one, manager), (second, first), "{why}, the other way round");
        }
        let run = |versions| Measured::in_run(versions, Some(date(2026, 11, 1)));
        assert_eq!(newest(run(&old), on(9, &new), apt), (true, false), "a run speaks of its own packages");
        assert_eq!(newest(run(&none), on(9, &new), apt), (true, false), "even if nobody knows them");
        assert_eq!(newest(run(&new), on(9, &more), apt), (true, true));
    }
}
