//! What is unsupported, as recorded: whether by the same causes.
//!
//! Causes are compared by test and signature, and one that was cut to be recorded with one that would be cut alike.
//! The record is not the whole truth about a day: it keeps no test that passed, and its causes may be in older words, or
//! too many to be kept.
//! So:
//!
//! - Where no recorded cause can be read, what is unsupported stays known.
//! - Where none of them is seen again, another signature of the same test may be the same cause in other words: known.
//! - A further cause is told as a changed cause, and makes nothing red: the capability was lost before.
//! - But where all that failed fails again, and with it a test that is in no recorded cause, that test has newly failed: it
//!   ran before, because nothing blocks it now that did not block it then. That is a new failure, be the capability
//!   optional or not.
//!   Under another set of tests it is called that, and is no excuse, as for any verdict.

use super::{Change, Effect};
use crate::signature::{of_recorded, recorded_cause};
use crate::verdict::Cause;
use crate::verdict::agreement::Failed;
use model::verified::{MAX_CAUSES, VerifiedCause};
use std::collections::BTreeSet;

/// How what is unsupported compares with what is recorded as unsupported; of tests in `excused` it is known that they fail.
pub(super) fn compare(
    recorded: &[VerifiedCause],
    same_tests: bool,
    found: &[Cause],
    excused: impl Fn(&str) -> bool,
) -> (Change, Effect) {
    let before = failed(recorded);
    let mut new = new(recorded, found);
    new.retain(|cause| !excused(&cause.test));
    if new.is_empty() {
        return (Change::Known, Effect::None);
    }
    let is_whole = before.len() == recorded.len() && recorded.len() < MAX_CAUSES;
    let all_fail_again = before.iter().all(|(test, _)| found.iter().any(|cause| cause.test == *test));
    let is_unrecorded = |cause: &&Cause| !before.iter().any(|(test, _)| *test == cause.test);
    let has_newly_failed = is_whole && all_fail_again && new.iter().any(is_unrecorded);
    match (has_newly_failed, same_tests) {
        (false, _) => (Change::ChangedCause, Effect::None),
        (true, true) => (Change::NewFailure, Effect::Worse),
        (true, false) => (Change::TestSetChanged, Effect::Worse),
    }
}

/// The causes that are not among the recorded ones; none where that cannot be said.
pub(super) fn new<'c>(recorded: &[VerifiedCause], found: &'c [Cause]) -> Vec<&'c Cause> {
    let before = failed(recorded);
    if before.is_empty() {
        return Vec::new();
    }
    let is_known = |cause: &Cause| {
        let cut = of_recorded(&recorded_cause(cause.component, &cause.message, &cause.test));
        let is_it = |(test, signature): &Failed| *test == cause.test && *signature == cause.signature;
        before.iter().any(is_it) || cut.is_some_and(|cut| before.contains(&cut))
    };
    let is_any_seen_again = found.iter().any(is_known);
    let may_be_in_other_words =
        |cause: &Cause| !is_any_seen_again && before.iter().any(|(test, _)| *test == cause.test);
    found.iter().filter(|cause| !is_known(cause) && !may_be_in_other_words(cause)).collect()
}

fn failed(recorded: &[VerifiedCause]) -> BTreeSet<Failed> {
    recorded.iter().filter_map(of_recorded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature;
    use suites::outcome::Component;

    fn cause((test, observed): &(&str, &str)) -> Cause {
        Cause {
            test: (*test).to_owned(),
            component: Component::Virtiofsd,
            message: (*observed).to_owned(),
            signature: signature::of(Component::Virtiofsd, observed),
            expected: String::new(),
            asked_for: Vec::new(),
        }
    }

    /// As a record has them.
    fn written(causes: &[(&str, &str)]) -> Vec<VerifiedCause> {
        causes.iter().map(|(test, observed)| recorded_cause(Component::Virtiofsd, observed, test)).collect()
    }

    #[test]
    fn the_whole_table_of_causes() {
        let (flags, ends) = (("smoke::flags", "unknown option -o xattr"), ("smoke::flags", "it ends at once"));
        let (lost, other) = (("fs::rename", "lost both names"), ("fs::mmap", "an old page"));
        let known = (Change::Known, Effect::None);
        let changed = (Change::ChangedCause, Effect::None);
        let worse = (Change::NewFailure, Effect::Worse);
        type Causes<'c> = &'c [(&'c str, &'c str)];
        let table: [(Causes<'_>, Causes<'_>, (Change, Effect), &str); 8] = [
            (&[flags], &[flags], known, "the same"),
            (&[flags, lost], &[lost], known, "less than before"),
            (&[], &[lost], known, "nothing to compare with"),
            (&[flags], &[ends], known, "perhaps in other words"),
            (&[flags, lost], &[ends, lost], changed, "of one whose words are the same, another cause is another one"),
            (&[flags], &[lost], changed, "the old failure may have blocked it"),
            (&[flags, other], &[flags, lost], changed, "likewise"),
            (&[flags], &[flags, lost], worse, "it ran before, and did not fail"),
        ];
        for (recorded, found, expected, why) in table {
            let found: Vec<Cause> = found.iter().map(cause).collect();
            assert_eq!(compare(&written(recorded), true, &found, |_| false), expected, "{why}");
        }
        let found = [cause(&flags), cause(&lost)];
        let of_other_tests = compare(&written(&[flags]), false, &found, |_| false);
        assert_eq!(of_other_tests, (Change::TestSetChanged, Effect::Worse));
        assert_eq!(compare(&written(&[flags]), true, &found, |test| test == lost.0), known, "a known issue");
        // A cause that blames nobody, or that may not have been kept.
        let mut unread = written(&[flags]);
        unread.push(VerifiedCause::of_nobody("something"));
        assert_eq!(compare(&unread, true, &found, |_| false), changed);
        let many: Vec<VerifiedCause> = std::iter::repeat_n(written(&[flags]), MAX_CAUSES).flatten().collect();
        assert_eq!(compare(&many, true, &found, |_| false), changed);
    }

    #[test]
    fn a_cause_that_was_cut_is_known_again() {
        let long = format!("{} end", "a long story ".repeat(30));
        let cut = ("fs::rename", long.as_str());
        let (recorded, found) = (written(&[cut]), cause(&cut));
        assert!(recorded[0].to_string().contains('…'), "{}", recorded[0]);
        assert_eq!(compare(&recorded, true, &[found], |_| false), (Change::Known, Effect::None));
    }
}
