//! Values of a profile and their counterparts in Kata's source.

use crate::report::SourceDifference;

/// One value, as read from the source and as expected by the profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    /// The profile's key: `blk-scsi-off`.
    pub(crate) key: &'static str,
    /// The file, and the line if there is one.
    pub(crate) place: String,
    /// The value in the source; `None` if it was not found.
    pub(crate) seen: Option<String>,
    /// The value in the profile.
    pub(crate) expected: String,
}

impl Value {
    /// Creates a value; `seen` is the value in the source with its line.
    pub(crate) fn new(
        key: &'static str,
        path: &str,
        seen: Option<(impl Into<String>, Option<usize>)>,
        expected: impl Into<String>,
    ) -> Value {
        let (seen, line) = match seen {
            Some((value, line)) => (Some(value.into()), line),
            None => (None, None),
        };
        let place = line.map_or_else(|| path.to_owned(), |line| format!("{path}:{line}"));
        Value { key, place, seen, expected: expected.into() }
    }

    /// Returns the difference between source and profile, if there is one.
    pub(crate) fn difference(self, tag: &str, profile: &str) -> Option<SourceDifference> {
        let Value { key, place, seen, expected } = self;
        let what = match seen {
            Some(seen) if seen == expected => return None,
            Some(seen) => format!("{key}: Kata says `{seen}`, the profile {profile} `{expected}`"),
            None => format!("{key}: not found where it was, the profile {profile} says `{expected}`"),
        };
        Some(SourceDifference { tag: tag.to_owned(), place, what })
    }
}

/// Returns `yes` or `no`.
pub(crate) fn yes_or_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}
