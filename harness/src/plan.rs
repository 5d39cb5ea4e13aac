//! Planning of units of work from the catalogue and the profiles: which tests run in which guest, and for which
//! profiles at once.
//!
//! The tests of one configuration run once and count for every profile that shares the configuration. Static checks are
//! never shared, because they compare with the profile's own gates and flags.

use crate::progress::CellLine;
use model::profile::{Profile, ProfileName};
use model::release::Release;
use reports::journal::CellId;
use reports::resume::CellProgress;
use std::collections::{BTreeMap, BTreeSet};
use suites::catalogue::{self, Configuration, Test};
use suites::environment::Environment;

/// The work of one cell.
pub struct Cell {
    /// The id of the cell.
    pub id: CellId,
    /// The release, from the record.
    pub release: Release,
    /// The profiles.
    pub profiles: Vec<Profile>,
    /// The units of work.
    pub units: Vec<Unit>,
    /// The cell's progress before the run was resumed, if it was.
    pub before: Option<CellProgress>,
    /// The cell's line on the progress display.
    pub line: CellLine,
}

/// Tests that run one after the other in one configuration, for every profile that has the same one.
#[derive(Debug, Clone)]
pub struct Unit {
    /// The guest.
    pub configuration: Configuration,
    /// The profile whose arguments are used; those of all `profiles` are the same.
    pub profile: Profile,
    /// Every profile that the unit stands for.
    pub profiles: Vec<ProfileName>,
    /// The tests to run, in order.
    pub tests: Vec<PlannedTest>,
}

/// A test and the profiles that its outcome counts for.
#[derive(Debug, Clone)]
pub struct PlannedTest {
    /// The test.
    pub test: &'static Test,
    /// A subset of the unit's profiles: those that the test applies to.
    pub profiles: Vec<ProfileName>,
}

/// Returns the units for these profiles in an environment of this kind, the static ones first.
///
/// `same` returns what two profiles must have in common to share a configuration: the guest's arguments without the
/// parts that differ between runs. `is_selected` selects tests; the tests that can block a selected one are added.
pub fn units(
    profiles: &[Profile],
    environment: Environment,
    is_selected: impl Fn(&Test) -> bool,
    same: impl Fn(&Profile, Configuration) -> String,
) -> Vec<Unit> {
    let chosen = with_blockers(|test| test.applies_in(environment) && is_selected(test));
    let mut units: BTreeMap<(Configuration, String), Unit> = BTreeMap::new();
    let mut order = Vec::new();
    for profile in profiles {
        let applies = |t: &&Test| t.applies_to(&profile.name) && t.applies_in(environment);
        for test in catalogue::tests().iter().filter(|t| chosen.contains(t.id.as_str())).filter(applies) {
            let key = (test.configuration(), same(profile, test.configuration()));
            let unit = units.entry(key.clone()).or_insert_with(|| {
                order.push(key);
                Unit {
                    configuration: test.configuration(),
                    profile: profile.clone(),
                    profiles: Vec::new(),
                    tests: Vec::new(),
                }
            });
            if !unit.profiles.contains(&profile.name) {
                unit.profiles.push(profile.name.clone());
            }
            match unit.tests.iter_mut().find(|planned| planned.test.id == test.id) {
                Some(planned) => planned.profiles.push(profile.name.clone()),
                None => unit.tests.push(PlannedTest { test, profiles: vec![profile.name.clone()] }),
            }
        }
    }
    let mut all: Vec<Unit> = order.into_iter().filter_map(|key| units.remove(&key)).collect();
    // Stable: static checks first, because they block the rest; then the longest, so that no guest runs alone at the
    // end.
    all.sort_by_key(|unit| (unit.configuration != Configuration::Static, std::cmp::Reverse(weight(unit))));
    all
}

fn weight(unit: &Unit) -> u32 {
    unit.tests.iter().map(|planned| planned.test.seconds).sum()
}

/// Returns the units with only the chosen tests and profiles.
pub(crate) fn remaining(units: &[Unit], chosen: impl Fn(&PlannedTest, &ProfileName) -> bool) -> Vec<Unit> {
    let mut remaining_units = Vec::new();
    for unit in units {
        let mut again = unit.clone();
        for planned in &mut again.tests {
            let mut profiles = std::mem::take(&mut planned.profiles);
            profiles.retain(|profile| chosen(planned, profile));
            planned.profiles = profiles;
        }
        again.tests.retain(|planned| !planned.profiles.is_empty());
        if !again.tests.is_empty() {
            remaining_units.push(again);
        }
    }
    remaining_units
}

/// Returns the ids of the wanted tests and of all tests that can block them.
fn with_blockers(is_selected: impl Fn(&Test) -> bool) -> BTreeSet<&'static str> {
    let mut chosen: BTreeSet<&str> = BTreeSet::new();
    let mut queue: Vec<&Test> = catalogue::tests().iter().filter(|t| is_selected(t)).collect();
    while let Some(test) = queue.pop() {
        if chosen.insert(&test.id) {
            queue.extend(test.blocked_by.iter().filter_map(|id| catalogue::find(id)));
        }
    }
    chosen
}
