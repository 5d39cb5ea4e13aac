//! The order of units, and the tests that need several CPUs.

use crate::plan::{PlannedTest, Unit};
use suites::catalogue::Configuration;
use suites::test::Need;

/// Checks whether a test needs several CPUs.
pub(super) fn needs_cpus(planned: &PlannedTest) -> bool {
    planned.test.needs.contains(&Need::Cpus)
}

/// Groups the units: the groups run one after the other, the units of a group in parallel.
///
/// Static checks block many of the other tests, so their outcomes must be known first. An emulated machine has one CPU,
/// which a guest with a deadline must not share.
pub(super) fn in_turn(units: Vec<Unit>, is_emulated: bool) -> Vec<Vec<Unit>> {
    let (first, rest): (Vec<Unit>, Vec<Unit>) =
        units.into_iter().partition(|unit| unit.configuration == Configuration::Static);
    if is_emulated {
        return std::iter::once(first).chain(rest.into_iter().map(|unit| vec![unit])).collect();
    }
    vec![first, rest]
}
