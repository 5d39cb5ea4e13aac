//! From catalogue and profiles to units of work: which tests run in which guest, and for which profiles at once.
//!
//! The tests of one configuration run once and count for every profile that shares it.
//! Static checks are never shared, because they compare with the profile's own gates and flags.

use crate::progress::CellLine;
use model::profile::Profile;
use model::release::Release;
use reports::journal::CellId;
use reports::resume::CellProgress;
use std::collections::{BTreeMap, BTreeSet};
use suites::catalogue::{self, Configuration, Test};
use suites::environment::Environment;

/// What one cell is to do.
pub struct Cell {
    /// Its name.
    pub id: CellId,
    /// The release, by the record.
    pub release: Release,
    /// The profiles.
    pub profiles: Vec<Profile>,
    /// The work.
    pub units: Vec<Unit>,
    /// How far it got before the run was resumed, if it was.
    pub before: Option<CellProgress>,
    /// Its line of the progress display.
    pub line: CellLine,
}

/// Tests that run one after the other in one configuration, for every profile that has the same one.
#[derive(Debug, Clone)]
pub struct Unit {
    /// The guest.
    pub configuration: Configuration,
    /// Whose arguments are used; those of all `profiles` are the same.
    pub profile: Profile,
    /// Every profile that the unit stands for.
    pub profiles: Vec<String>,
    /// What to run, in order.
    pub tests: Vec<PlannedTest>,
}

/// A test and the profiles that its outcome counts for.
#[derive(Debug, Clone)]
pub struct PlannedTest {
    /// The test.
    pub test: &'static Test,
    /// A subset of the unit's profiles: those that the test applies to.
    pub profiles: Vec<String>,
}

/// The units for these profiles in an environment of that kind, the static ones first.
///
/// `same` gives what two profiles must have in common to share a configuration: the guest's arguments without what
/// differs between runs. `wanted` selects tests; the tests that can block a selected one are selected, too.
pub fn units(
    profiles: &[Profile],
    environment: Environment,
    wanted: impl Fn(&Test) -> bool,
    same: impl Fn(&Profile, Configuration) -> String,
) -> Vec<Unit> {
    let chosen = with_blockers(|test| test.applies_in(environment) && wanted(test));
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
    // Stable: static checks first, because they block the rest; then the longest, so that no guest runs alone at the end.
    all.sort_by_key(|unit| (unit.configuration != Configuration::Static, std::cmp::Reverse(weight(unit))));
    all
}

fn weight(unit: &Unit) -> u32 {
    unit.tests.iter().map(|planned| planned.test.seconds).sum()
}

/// The units with those tests and profiles that are chosen.
pub(crate) fn remaining(units: &[Unit], chosen: impl Fn(&PlannedTest, &str) -> bool) -> Vec<Unit> {
    let mut left = Vec::new();
    for unit in units {
        let mut again = unit.clone();
        for planned in &mut again.tests {
            let mut profiles = std::mem::take(&mut planned.profiles);
            profiles.retain(|profile| chosen(planned, profile));
            planned.profiles = profiles;
        }
        again.tests.retain(|planned| !planned.profiles.is_empty());
        if !again.tests.is_empty() {
            left.push(again);
        }
    }
    left
}

/// The ids of the wanted tests and of everything that can block them.
fn with_blockers(wanted: impl Fn(&Test) -> bool) -> BTreeSet<&'static str> {
    let mut chosen: BTreeSet<&str> = BTreeSet::new();
    let mut queue: Vec<&Test> = catalogue::tests().iter().filter(|t| wanted(t)).collect();
    while let Some(test) = queue.pop() {
        if chosen.insert(&test.id) {
            queue.extend(test.blocked_by.iter().filter_map(|id| catalogue::find(id)));
        }
    }
    chosen
}
