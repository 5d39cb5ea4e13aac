//! Which of several measurements of a release are of the newest packages that were measured.
//!
//! What somebody installs today are a release's newest packages, so that a yes has to be theirs.
//! What passed with other versions says nothing of them: a later version of QEMU may have lost what the earlier one had.
//!
//! Two measurements are of the same packages if one of them knows all that the other one does, with the same versions: a
//! machine has more packages than a container.
//! Of two that are not:
//!
//! - A run speaks of the packages that it had: beside them the record's are the older ones, whatever their versions.
//! - Where nobody knows what was installed, that is the older one, because it may have been anything.
//! - Else the package manager's order says it, where all packages that differ say the same; and where they do not, or the
//!   manager is not known, the day does.
//! - What is of the same day then, and in no order, is as old as the other: neither is the newest.

use super::VerifiedEntry;
use crate::package::{PackageName, PackageVersion};
use crate::package_manager::PackageManager;
use crate::version_order::compare;
use jiff::civil::Date;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Packages that were measured, by the run that is asked or by an earlier one.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    versions: &'a BTreeMap<PackageName, PackageVersion>,
    day: Option<Date>,
    is_of_the_run: bool,
}

impl<'a> Measured<'a> {
    /// The versions of the run that is asked.
    pub fn in_run(versions: &'a BTreeMap<PackageName, PackageVersion>, day: Option<Date>) -> Measured<'a> {
        Measured { versions, day, is_of_the_run: true }
    }

    /// The versions in an entry of the record.
    pub fn in_entry(entry: &'a VerifiedEntry) -> Measured<'a> {
        Measured { versions: &entry.versions, day: Some(entry.tested), is_of_the_run: false }
    }

    /// Whether nothing else was measured that is of other packages, and not older.
    pub fn is_newest_of(&self, all: &[Measured<'_>], manager: Option<PackageManager>) -> bool {
        !all.iter().any(|other| !self.is_of_the_same(other) && !other.is_older_than(self, manager))
    }

    /// Whether two are of the same packages, as far as both know.
    pub fn is_of_the_same(&self, other: &Measured<'_>) -> bool {
        let (few, more) = match self.versions.len() <= other.versions.len() {
            true => (self.versions, other.versions),
            false => (other.versions, self.versions),
        };
        match (few.is_empty(), more.is_empty()) {
            (false, _) => few.iter().all(|(package, version)| more.get(package) == Some(version)),
            (true, false) => false,
            // Nobody knows what either was of: what is of one day may be of one run.
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

    /// The order of two in which all packages that differ agree.
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

    /// Which of two is of the newest packages: the first, the second.
    fn newest(one: Measured<'_>, two: Measured<'_>, manager: Option<PackageManager>) -> (bool, bool) {
        let all = [one, two];
        (one.is_newest_of(&all, manager), two.is_newest_of(&all, manager))
    }

    #[test]
    fn the_whole_table_of_two_measurements() {
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
