//! What a comparison found.

use model::redact::{one_line, without_controls};

/// What was compared, and what differs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many releases of each runtime were read, `main` among them.
    pub releases: usize,
    /// How many pre-releases were compared with the profile that they would be taken for.
    pub pre_releases: usize,
    /// How many values of profiles were compared.
    pub values: usize,
    /// How many changes of functions and settings were looked up.
    pub changes: usize,
    /// What the profiles or the readings say otherwise.
    pub differences: Vec<Difference>,
}

/// The longest line of a difference, in bytes: a value is as long as a checkout's author likes.
const MAX_LINE: usize = 500;

/// One difference between a profile and Kata's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `3.8.0`, `main`.
    pub tag: String,
    /// `src/runtime/pkg/govmm/qemu/qemu.go:1302`, where there is a line.
    pub place: String,
    /// What differs.
    pub what: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A checkout is a stranger's text, and this goes to a terminal.
        let line = format!("{} {}: {}", self.tag, self.place, self.what);
        f.write_str(&one_line(&without_controls(&line, MAX_LINE * 4), MAX_LINE))
    }
}
