//! Values that a profile says, and what Kata's source says of them.

use crate::report::Difference;

/// One value, read out of the source and expected by the profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    /// The profile's key: `blk-scsi-off`.
    pub(crate) key: &'static str,
    /// The file, and its line where there is one.
    pub(crate) place: String,
    /// What the source says; `None` where it could not be found.
    pub(crate) seen: Option<String>,
    /// What the profile says.
    pub(crate) expected: String,
}

impl Value {
    /// A value, and where it was seen: what was read and its line.
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

    /// What is wrong with it, if anything.
    pub(crate) fn difference(self, tag: &str, profile: &str) -> Option<Difference> {
        let Value { key, place, seen, expected } = self;
        let what = match seen {
            Some(seen) if seen == expected => return None,
            Some(seen) => format!("{key}: Kata says `{seen}`, the profile {profile} `{expected}`"),
            None => format!("{key}: not found where it was, the profile {profile} says `{expected}`"),
        };
        Some(Difference { tag: tag.to_owned(), place, what })
    }
}

/// `yes` or `no`.
pub(crate) fn yes_or_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}
