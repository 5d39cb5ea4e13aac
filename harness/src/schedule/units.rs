//! In which turn units run, and which tests need several CPUs.

use crate::plan::{PlannedTest, Unit};
use suites::catalogue::Configuration;
use suites::test::Need;

/// Whether a test needs several CPUs.
pub(super) fn needs_cpus(planned: &PlannedTest) -> bool {
    planned.test.needs.contains(&Need::Cpus)
}

/// The units in groups, one after the other; those of a group run side by side.
///
/// Static checks block much of the rest, so their outcomes must be known first. An emulated machine has one CPU, which
/// nothing is to take from a guest that has a deadline.
pub(super) fn in_turn(units: Vec<Unit>, is_emulated: bool) -> Vec<Vec<Unit>> {
    let (first, rest): (Vec<Unit>, Vec<Unit>) =
        units.into_iter().partition(|unit| unit.configuration == Configuration::Static);
    if is_emulated {
        return std::iter::once(first).chain(rest.into_iter().map(|unit| vec![unit])).collect();
    }
    vec![first, rest]
}
