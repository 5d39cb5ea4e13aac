//! Which tests stand behind a verdict: the sets of tests of every harness of this repository.
//!
//! `distros/test-sets.txt` has a line for each: its digest, and from some day on the digest of what each capability requires.
//! A verdict is as good as today's where its own capability requires the same as then; other capabilities may have changed.

use super::VerifiedEntry;
use crate::capability::Capability;
use crate::profile::Profile;

const TEST_SETS: &str = include_str!("../../../test-sets.txt");

impl VerifiedEntry {
    /// Whether one of its verdicts was judged by other tests than this version's.
    pub fn is_by_older_tests(&self) -> bool {
        !self.is_by_tests_of(test_set_of_today())
    }

    /// Whether all of its verdicts were judged by the tests that another set has for them.
    pub fn is_by_tests_of(&self, set: &str) -> bool {
        self.judged_otherwise(set).is_empty()
    }

    /// Its capabilities that other tests judged than another set has for them; not those of a share that its Katas do not
    /// know, which no test judges.
    pub fn judged_otherwise(&self, set: &str) -> Vec<Capability> {
        let profile = Profile::find(&self.profile).ok();
        let is_judged = |capability: Capability| profile.is_none_or(|profile| profile.has(capability));
        let otherwise = |capability: &Capability| !same_tests(&self.test_set, set, *capability);
        self.capabilities.keys().copied().filter(|c| is_judged(*c) && otherwise(c)).collect()
    }
}

/// The digest of what this version requires.
pub fn test_set_of_today() -> &'static str {
    TEST_SETS.lines().next_back().and_then(|line| line.split(' ').next()).unwrap_or_default()
}

/// Whether two sets, named by their digests, require the same tests for a capability; no, where one of them does not say.
pub fn same_tests(one: &str, other: &str, capability: Capability) -> bool {
    one == other || required(one, capability).is_some_and(|tests| Some(tests) == required(other, capability))
}

/// Whether some harness of this repository has this set.
pub(super) fn is_known(set: &str) -> bool {
    line_of(set).is_some()
}

/// The digest of what a set requires for a capability.
fn required(set: &str, capability: Capability) -> Option<&'static str> {
    let of = |word: &'static str| word.split_once('=').filter(|(name, _)| *name == capability.name());
    line_of(set)?.find_map(of).map(|(_, digest)| digest)
}

/// The words behind a set's digest.
fn line_of(set: &str) -> Option<std::str::Split<'static, char>> {
    TEST_SETS.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut words = line.split(' ');
        (words.next() == Some(set) && !set.is_empty()).then_some(words)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shipped record of Debian 13 was judged before the tests of 9p changed, which today's Katas do not know.
    #[test]
    fn tests_of_a_share_that_the_profile_does_not_know_make_nothing_old() {
        let database = crate::database::Database::embedded();
        let shipped = database.records().flat_map(|record| &record.verified).next().unwrap().clone();
        let not_applicable = crate::verified::VerifiedCapability::plain(crate::verified::Verdict::NotApplicable);
        let entry = |profile: &str| VerifiedEntry {
            profile: profile.to_owned(),
            test_set: "f2f4f83ffcf6".to_owned(),
            capabilities: [(Capability::FsVirtio9pXattr, not_applicable.clone())].into(),
            ..shipped.clone()
        };
        assert_eq!(entry("go-3.32").judged_otherwise("4bddbf2335d5"), []);
        assert_eq!(entry("go-3.2").judged_otherwise("4bddbf2335d5"), [Capability::FsVirtio9pXattr]);
    }

    #[test]
    fn a_set_that_does_not_say_what_a_capability_requires_is_the_same_as_itself_alone() {
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
