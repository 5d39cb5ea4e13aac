//! Detection of failures that are not in the record, for reports and `diff` alike.
//!
//! A failure is identified by its signature, the component and the observation, even in another test: equal signatures
//! are one cause.
//! A recorded cause that was cut matches causes that would be cut alike.
//! If the record has no comparable failure of the capability, new failures cannot be detected, and none is reported.

use super::Cause;
use crate::signature::{self, of_recorded};
use model::verified::{MAX_CAUSES, VerifiedCause};
use std::collections::BTreeSet;

/// Returns the failures that the record does not have for the same capability.
pub(crate) fn unrecorded<'c>(recorded: &[VerifiedCause], found: &'c [Cause]) -> Vec<&'c Cause> {
    let known: BTreeSet<String> = recorded.iter().filter_map(of_recorded).collect();
    if known.is_empty() {
        return Vec::new();
    }
    let is_known = |cause: &Cause| {
        known.contains(&cause.signature)
            || known.contains(&signature::once_recorded(cause.component, &cause.message, &cause.test))
    };
    // A full list may have dropped causes: whether a test that it does not name failed before is unknown.
    let is_full = recorded.len() >= MAX_CAUSES;
    let is_named = |cause: &Cause| recorded.iter().any(|one| one.test.as_deref() == Some(cause.test.as_str()));
    found.iter().filter(|cause| !is_known(cause) && (!is_full || is_named(cause))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::recorded_cause;
    use suites::outcome::Component;

    fn cause((test, observed): &(&str, &str)) -> Cause {
        Cause {
            test: test.parse().unwrap(),
            component: Component::Virtiofsd,
            message: (*observed).to_owned(),
            signature: signature::of(Component::Virtiofsd, observed),
            expected: String::new(),
            asked_for: Vec::new(),
            by_share: Vec::new(),
        }
    }

    /// Returns the causes as a record has them.
    fn written(causes: &[(&str, &str)]) -> Vec<VerifiedCause> {
        causes
            .iter()
            .map(|(test, observed)| recorded_cause(Component::Virtiofsd, observed, &test.parse().unwrap()))
            .collect()
    }

    /// Returns the tests of the new failures.
    fn new(recorded: &[VerifiedCause], found: &[(&str, &str)]) -> Vec<String> {
        let found: Vec<Cause> = found.iter().map(cause).collect();
        unrecorded(recorded, &found).into_iter().map(|cause| cause.test.to_string()).collect()
    }

    #[test]
    fn new_failures_are_found_by_test_and_cause() {
        let (flags, ends) = (("smoke::flags", "unknown option -o xattr"), ("smoke::flags", "it ends at once"));
        let (lost, other) = (("fs::rename", "lost both names"), ("fs::mmap", "an old page"));
        type Causes<'c> = &'c [(&'c str, &'c str)];
        let table: [(Causes<'_>, Causes<'_>, &[&str], &str); 8] = [
            (&[flags], &[flags], &[], "the same"),
            (&[flags, lost], &[lost], &[], "less than before"),
            (&[], &[lost], &[], "nothing to compare with"),
            (&[flags], &[ends], &["smoke::flags"], "the same test by another cause"),
            (&[flags, lost], &[ends, lost], &["smoke::flags"], "likewise"),
            (&[flags], &[lost], &["fs::rename"], "another test by another cause"),
            (&[flags, other], &[flags, lost], &["fs::rename"], "likewise"),
            (&[flags], &[("fs::rename", flags.1)], &[], "another test by the same cause"),
        ];
        for (recorded, found, expected, why) in table {
            assert_eq!(new(&written(recorded), found), expected, "{why}");
        }
        let without_component = [VerifiedCause::of_nobody("something").shown_by(flags.0.parse().unwrap())];
        assert_eq!(new(&without_component, &[flags]), Vec::<String>::new(), "it cannot be compared");
    }

    #[test]
    fn a_full_cause_list_does_not_make_unlisted_tests_new() {
        let (flags, ends, lost) = (("a", "no flags"), ("a", "it ends at once"), ("b", "lost both names"));
        let full: Vec<VerifiedCause> = std::iter::repeat_n(written(&[flags]), MAX_CAUSES).flatten().collect();
        assert_eq!(new(&full, &[lost]), Vec::<String>::new());
        assert_eq!(new(&full, &[ends, lost]), ["a"]);
    }

    #[test]
    fn a_cause_shortened_in_the_record_is_known() {
        let long = format!("{} end", "a long story ".repeat(30));
        let cut = ("fs::rename", long.as_str());
        let recorded = written(&[cut]);
        assert!(recorded[0].message.contains('…'), "{}", recorded[0]);
        assert_eq!(new(&recorded, &[cut]), Vec::<String>::new());
        let other = long.replace("story", "tale");
        assert_eq!(new(&recorded, &[("fs::rename", other.as_str())]), ["fs::rename"]);
    }
}
