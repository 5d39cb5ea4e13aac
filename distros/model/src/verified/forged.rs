//! Entries of `verified:` that no harness can have written.

use super::{Verdict, VerifiedEntry, test_sets};
use crate::capability::Capability;
use crate::diagnostic::Diagnostic;
use crate::distro::ReleaseVersion;
use crate::profile::Profile;
use crate::syntax::{self, Node, NodeKind};
use jiff::ToSpan;
use jiff::civil::Date;
use std::collections::BTreeSet;
use std::ops::Range;

/// Whether a day is later than the current date anywhere on Earth, so that no run can have been on it.
pub fn is_yet_to_come(day: Date) -> bool {
    is_after_tomorrow(day, jiff::Zoned::now().date())
}

fn is_after_tomorrow(day: Date, today: Date) -> bool {
    // A machine ahead of UTC may already have tomorrow's date.
    day > today.checked_add(1.day()).unwrap_or(Date::MAX)
}

/// Returns findings about the entries of a file, each with the index of the entry.
///
/// `releases` are those of the record, empty if they are not known.
pub(super) fn among(text: &str, verified: &[VerifiedEntry], releases: &[ReleaseVersion]) -> Vec<(usize, Diagnostic)> {
    if verified.is_empty() {
        return Vec::new();
    }
    // Only the tree has places; a file that was decoded can be parsed again.
    let Ok(root) = syntax::parse(text) else { return Vec::new() };
    let nodes = match root.get("verified").map(|n| &n.kind) {
        Some(NodeKind::List(items)) => items.as_slice(),
        _ => &[],
    };
    let mut found = Vec::new();
    let mut keys = BTreeSet::new();
    for (number, (entry, node)) in verified.iter().zip(nodes).enumerate() {
        let mut forged = |key: &str, message: String, hint: &str| {
            found.push((number, Diagnostic::error("forged", text, place(node, key), message).hint(hint)));
        };
        if Profile::find(&entry.profile).is_err() {
            let known: Vec<&str> = Profile::all().iter().map(|p| p.name.as_str()).collect();
            let message = format!("verified: there is no profile `{}`", entry.profile);
            forged("profile", message, &format!("known are {}", known.join(", ")));
        }
        if !test_sets::is_known(&entry.test_set) {
            let message = format!("verified: the test set `{}` is not known", entry.test_set);
            forged(
                "test-set",
                message,
                "only the harness writes these entries; a new test set must be listed in distros/test-sets.txt",
            );
        }
        if is_yet_to_come(entry.tested) {
            forged(
                "tested",
                format!("verified: {} is in the future", entry.tested),
                "only the harness writes these entries",
            );
        }
        if entry.versions.is_empty() {
            let message = "verified: the versions of the tested packages are missing".to_owned();
            forged("versions", message, "qualify the release again");
        }
        if !releases.is_empty() && !releases.contains(&entry.release) {
            let message = format!("verified: the record has no release `{}`", entry.release);
            forged("release", message, "remove the entry");
        }
        let duplicates: Vec<&str> =
            entry.capabilities.keys().filter(|c| !keys.insert((entry.key(), **c))).map(|c| c.name()).collect();
        if !duplicates.is_empty() {
            let message = format!(
                "verified: a second entry of this release, architecture, profile and environment has {}",
                duplicates.join(", ")
            );
            forged("release", message, "remove it from the older entry");
        }
        for name in supported_despite_causes(entry) {
            let message = format!("verified: `{name}` is supported, but has causes against it");
            forged("capabilities", message, "qualify the release again");
        }
    }
    found
}

/// Returns the capabilities that are supported although causes against them are stated.
fn supported_despite_causes(entry: &VerifiedEntry) -> impl Iterator<Item = Capability> {
    let against = entry.capabilities.iter().filter(|(_, c)| c.verdict == Verdict::Supported && !c.causes.is_empty());
    against.map(|(capability, _)| *capability)
}

/// Returns the place of a key's value, or of the entry's start if the key is missing.
fn place(node: &Node, key: &str) -> Range<usize> {
    node.get(key).map_or(node.span.start..node.span.start, |n| n.span.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn only_dates_after_tomorrow_count_as_future() {
        let today = date(2026, 12, 31);
        for day in [Date::MIN, date(2026, 12, 30), today, date(2027, 1, 1)] {
            assert!(!is_after_tomorrow(day, today), "{day}");
        }
        for day in [date(2027, 1, 2), Date::MAX] {
            assert!(is_after_tomorrow(day, today), "{day}");
        }
        assert!(!is_after_tomorrow(Date::MAX, Date::MAX));
    }

    #[test]
    fn the_future_begins_after_this_machines_tomorrow() {
        let today = jiff::Zoned::now().date();
        let within = |days: i64| today.checked_add(days.days()).unwrap();
        assert!(!is_yet_to_come(today) && !is_yet_to_come(within(1)));
        // Midnight may pass during the test.
        assert!(is_yet_to_come(within(3)));
    }
}
