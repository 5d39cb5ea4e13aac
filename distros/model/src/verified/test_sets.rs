//! Which tests stand behind a verdict: the sets of tests of every harness of this repository.
//!
//! `distros/test-sets.txt` has a line for each: its digest, and from some day on the digest of what each capability requires.
//! A verdict is as good as today's where its own capability requires the same as then; other capabilities may have changed.

use super::VerifiedEntry;
use crate::capability::Capability;

const TEST_SETS: &str = include_str!("../../../test-sets.txt");

impl VerifiedEntry {
    /// Whether one of its verdicts was judged by other tests than this version's.
    pub fn is_by_older_tests(&self) -> bool {
        let today = TEST_SETS.lines().next_back().and_then(|line| line.split(' ').next()).unwrap_or_default();
        !self.is_by_tests_of(today)
    }

    /// Whether all of its verdicts were judged by the tests that another set has for them.
    pub fn is_by_tests_of(&self, set: &str) -> bool {
        self.test_set == set || self.capabilities.keys().all(|capability| same_tests(&self.test_set, set, *capability))
    }
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
