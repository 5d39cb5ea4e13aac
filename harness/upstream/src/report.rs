//! Result of a comparison.

use model::redact::{one_line, without_controls};

/// Number of compared items, and their differences.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Number of releases that were read, over both runtimes, including `main`.
    pub releases: usize,
    /// Number of pre-releases that were compared with their profile.
    pub pre_releases: usize,
    /// Number of profile values that were compared.
    pub values: usize,
    /// Number of changes of functions and settings that were looked up in the readings.
    pub changes: usize,
    /// Number of cited files that were looked up.
    pub citations: usize,
    /// Differences between the source and the profiles, readings or citations.
    pub differences: Vec<SourceDifference>,
}

/// Maximum length of a difference's line, in bytes, because the checkout's author decides the length of a value.
const MAX_LINE: usize = 500;

/// One difference from Kata's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceDifference {
    /// The tag: `3.8.0`, `main`.
    pub tag: String,
    /// The place: `src/runtime/pkg/govmm/qemu/qemu.go:1302`; the line may be missing.
    pub place: String,
    /// Description of the difference.
    pub what: String,
}

impl std::fmt::Display for SourceDifference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The checkout's text is untrusted and goes to a terminal.
        let line = format!("{} {}: {}", self.tag, self.place, self.what);
        f.write_str(&one_line(&without_controls(&line, MAX_LINE * 4), MAX_LINE))
    }
}
