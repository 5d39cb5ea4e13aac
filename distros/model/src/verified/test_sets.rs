//! Tests behind a verdict: the test sets of all harness versions of this repository.
//!
//! `distros/test-sets.txt` has a line for each: its digest and, since some version, a digest of the tests that each
//! capability requires.
//! A verdict is as good as a current one if its own capability requires the same tests as then; other capabilities may
//! have changed.

use super::VerifiedEntry;
use crate::capability::Capability;
use crate::profile::Profile;

const TEST_SETS: &str = include_str!("../../../test-sets.txt");

impl VerifiedEntry {
    /// Whether one of the entry's verdicts is from other tests than this version's.
    pub fn is_by_older_tests(&self) -> bool {
        !self.is_by_tests_of(test_set_of_today())
    }

    /// Whether all of the entry's verdicts are from the tests that another set has for them.
    pub fn is_by_tests_of(&self, set: &str) -> bool {
        self.judged_otherwise(set).is_empty()
    }

    /// Returns the capabilities that were judged by other tests than `set` has for them, except those of a share that
    /// the profile's Kata does not know, which no test judges.
    pub fn judged_otherwise(&self, set: &str) -> Vec<Capability> {
        let profile = Profile::find(&self.profile).ok();
        let is_judged = |capability: Capability| profile.is_none_or(|profile| profile.has(capability));
        let otherwise = |capability: &Capability| !same_tests(&self.test_set, set, *capability);
        self.capabilities.keys().copied().filter(|c| is_judged(*c) && otherwise(c)).collect()
    }
}

/// Returns the digest of the test set of this version.
pub fn test_set_of_today() -> &'static str {
    TEST_SETS.lines().next_back().and_then(|line| line.split(' ').next()).unwrap_or_default()
}

/// Whether two sets, named by their digests, require the same tests for a capability; false if one of them does not
/// state them.
pub fn same_tests(one: &str, other: &str, capability: Capability) -> bool {
    one == other || required(one, capability).is_some_and(|tests| Some(tests) == required(other, capability))
}

/// Whether some harness version of this repository has this set.
pub(super) fn is_known(set: &str) -> bool {
    line_of(set).is_some()
}

/// Returns the digest of the tests that a set requires for a capability.
fn required(set: &str, capability: Capability) -> Option<&'static str> {
    let of = |word: &'static str| word.split_once('=').filter(|(name, _)| *name == capability.name());
    line_of(set)?.find_map(of).map(|(_, digest)| digest)
}

/// Returns the words after a set's digest.
fn line_of(set: &str) -> Option<std::str::Split<'static, char>> {
    TEST_SETS.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut words = line.split(' ');
        (words.next() == Some(set) && !set.is_empty()).then_some(words)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shipped record of Debian 13 was judged before a change of the 9p tests, which do not apply to current Kata
    /// versions.
    #[test]
    fn changed_tests_of_an_unsupported_share_do_not_outdate_a_verdict() {
        let database = crate::database::Database::embedded();
        let shipped = database.records().flat_map(|record| &record.verified).next().unwrap().clone();
        let not_applicable = crate::verified::VerifiedCapability::plain(crate::verified::Verdict::NotApplicable);
        let entry = |profile: &str| VerifiedEntry {
            profile: profile.parse().unwrap(),
            test_set: "f2f4f83ffcf6".to_owned(),
            capabilities: [(Capability::FsVirtio9pXattr, not_applicable.clone())].into(),
            ..shipped.clone()
        };
        assert_eq!(entry("go-3.32").judged_otherwise("4bddbf2335d5"), []);
        assert_eq!(entry("go-3.2").judged_otherwise("4bddbf2335d5"), [Capability::FsVirtio9pXattr]);
    }

    #[test]
    fn a_test_set_without_capability_digests_equals_only_itself() {
        let sets: Vec<&str> =
            TEST_SETS.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split(' ').next()).collect();
        let (old, today) = (sets[0], sets[sets.len() - 1]);
        for capability in Capability::ALL {
            assert!(same_tests(old, old, *capability));
            assert!(!same_tests(old, today, *capability), "the first sets have no digests of capabilities");
        }
        assert!(required(today, Capability::VmmBoot).is_some() && required(old, Capability::VmmBoot).is_none());
        assert!(is_known(old) && !is_known("") && !is_known("d3dcb968") && !is_known("#"));
    }
}
