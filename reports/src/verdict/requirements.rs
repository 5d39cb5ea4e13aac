//! Tests that a capability requires under a profile.

use crate::digest;
use model::profile::Profile;
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;
use suites::catalogue::Test;
use suites::citation::AskedFor;

/// The requirements of a catalogue under one profile, looked up once for all cells.
#[derive(Debug)]
pub struct Requirements<'a> {
    profile: &'a Profile,
    /// The tests of each capability, in the order of the catalogue.
    tests: BTreeMap<Capability, Vec<&'a Test>>,
    /// Capabilities that a test proves under this profile or another.
    provable: BTreeSet<Capability>,
    /// The ids of all tests.
    ids: BTreeSet<&'a str>,
    /// The ids of the tests that Kata asks for only by their share.
    by_share: BTreeSet<&'a str>,
}

impl<'a> Requirements<'a> {
    /// Collects the requirements of a profile.
    pub fn new(catalogue: &'a [Test], profile: &'a Profile) -> Requirements<'a> {
        let mut tests: BTreeMap<Capability, Vec<&Test>> = BTreeMap::new();
        let mut provable = BTreeSet::new();
        for test in catalogue {
            let proves: BTreeSet<Capability> = test.proves.iter().copied().collect();
            if test.applies_to(&profile.name) {
                proves.iter().for_each(|capability| tests.entry(*capability).or_default().push(test));
            }
            provable.extend(proves);
        }
        let ids = catalogue.iter().map(|test| test.id.as_str()).collect();
        let by_share = catalogue.iter().filter(|test| matches!(test.asked_for, AskedFor::Share(_)));
        let by_share = by_share.map(|test| test.id.as_str()).collect();
        Requirements { profile, tests, provable, ids, by_share }
    }

    /// Returns the profile that the requirements belong to.
    pub fn profile(&self) -> &'a Profile {
        self.profile
    }

    /// Returns the tests that a capability requires.
    pub fn of(&self, capability: Capability) -> &[&'a Test] {
        self.tests.get(&capability).map(Vec::as_slice).unwrap_or_default()
    }

    /// Checks whether a test of the catalogue proves a capability under any profile.
    pub(super) fn is_provable(&self, capability: Capability) -> bool {
        self.provable.contains(&capability)
    }

    /// Checks whether the catalogue has a test.
    pub(super) fn is_in_catalogue(&self, test: &str) -> bool {
        self.ids.contains(test)
    }

    /// Checks whether no line of Kata's source asks for what a test proves, because Kata only gives containers their
    /// files by the test's share.
    pub(super) fn is_asked_for_by_share(&self, test: &str) -> bool {
        self.by_share.contains(test)
    }

    /// Checks whether a capability is about a feature of the profile's Kata versions.
    pub(super) fn has(&self, capability: Capability) -> bool {
        self.profile.has(capability)
    }
}

/// Returns a short digest of the requirements: two verdicts are comparable only if they rest on the same tests.
pub fn test_set(catalogue: &[Test]) -> String {
    digest_of(catalogue.iter().map(|test| {
        let mut proves: Vec<&str> = test.proves.iter().map(|c| c.name()).collect();
        proves.sort_unstable();
        format!("{} {} {}\n", test.id, proves.join(","), profiles(test))
    }))
}

/// Returns the line of `distros/test-sets.txt` for a catalogue: its digest, and a digest of each capability's
/// requirements.
#[cfg(test)]
pub(super) fn test_set_line(catalogue: &[Test]) -> String {
    let of = |capability: &Capability| {
        let tests = catalogue.iter().filter(|test| test.proves.contains(capability));
        let digest = digest_of(tests.map(|test| format!("{} {}\n", test.id, profiles(test))));
        format!(" {}={digest}", capability.name())
    };
    test_set(catalogue) + &Capability::ALL.iter().map(of).collect::<String>()
}

/// Returns the profiles that a test is limited to.
fn profiles(test: &Test) -> String {
    let mut profiles = test.profiles.to_vec();
    profiles.sort_unstable();
    profiles.join(",")
}

/// Returns the digest of lines, regardless of their order.
fn digest_of(lines: impl Iterator<Item = String>) -> String {
    let mut lines: Vec<String> = lines.collect();
    lines.sort_unstable();
    digest::short(&lines.concat())
}
