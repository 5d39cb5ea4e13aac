//! Which tests a capability requires under a profile.

use crate::digest;
use model::profile::Profile;
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;
use suites::catalogue::Test;

/// What a catalogue requires under one profile, looked up once for all cells.
#[derive(Debug)]
pub struct Requirements<'a> {
    profile: &'a Profile,
    /// In the order of the catalogue.
    tests: BTreeMap<Capability, Vec<&'a Test>>,
    /// Capabilities that a test proves under this profile or another.
    provable: BTreeSet<Capability>,
    /// The ids of all tests.
    ids: BTreeSet<&'a str>,
}

impl<'a> Requirements<'a> {
    /// The requirements of a profile.
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
        Requirements { profile, tests, provable, ids }
    }

    /// The profile that they are of.
    pub fn profile(&self) -> &'a Profile {
        self.profile
    }

    /// The tests that a capability requires.
    pub fn of(&self, capability: Capability) -> &[&'a Test] {
        self.tests.get(&capability).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a test of the catalogue proves a capability, be it under another profile.
    pub(super) fn is_provable(&self, capability: Capability) -> bool {
        self.provable.contains(&capability)
    }

    /// Whether the catalogue has a test.
    pub(super) fn is_in_catalogue(&self, test: &str) -> bool {
        self.ids.contains(test)
    }

    /// Whether a capability is about something that the profile's Katas do.
    pub(super) fn has(&self, capability: Capability) -> bool {
        self.profile.has(capability)
    }
}

/// A short digest of what is required: two verdicts compare only if the same tests stand behind them.
pub fn test_set(catalogue: &[Test]) -> String {
    digest_of(catalogue.iter().map(|test| {
        let mut proves: Vec<&str> = test.proves.iter().map(|c| c.name()).collect();
        proves.sort_unstable();
        format!("{} {} {}\n", test.id, proves.join(","), profiles(test))
    }))
}

/// The line of `distros/test-sets.txt` for a catalogue: its digest, and that of what each capability requires.
#[cfg(test)]
pub(super) fn test_set_line(catalogue: &[Test]) -> String {
    let of = |capability: &Capability| {
        let tests = catalogue.iter().filter(|test| test.proves.contains(capability));
        let digest = digest_of(tests.map(|test| format!("{} {}\n", test.id, profiles(test))));
        format!(" {}={digest}", capability.name())
    };
    test_set(catalogue) + &Capability::ALL.iter().map(of).collect::<String>()
}

/// The profiles under which alone a test runs.
fn profiles(test: &Test) -> String {
    let mut profiles = test.profiles.to_vec();
    profiles.sort_unstable();
    profiles.join(",")
}

/// The digest of lines in whatever order.
fn digest_of(lines: impl Iterator<Item = String>) -> String {
    let mut lines: Vec<String> = lines.collect();
    lines.sort_unstable();
    digest::short(&lines.concat())
}
