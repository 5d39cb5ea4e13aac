//! Everything that is wrong with a record's text, or looks wrong.

mod rules;

use crate::diagnostic::{Diagnostic, Severity, finish};
use crate::record::parse_all;
use std::path::Path;

/// What the parser refuses, then what the rules find; in the order of the file.
///
/// `path` is for messages only.
pub fn lint(path: &Path, text: &str) -> Vec<Diagnostic> {
    let (record, mut diagnostics) = parse_all(path, text);
    if let Some(record) = &record {
        diagnostics.extend(rules::check(record));
    }
    finish(diagnostics, text, &path.display().to_string())
}

/// The text with every fix made that its diagnostics carry; `None` when there is nothing to fix.
pub fn fix(path: &Path, text: &str) -> Option<String> {
    let fixed = crate::fix::apply(text, &lint(path, text));
    (fixed != text).then_some(fixed)
}

/// Whether a record with these findings can still be used.
pub fn is_usable(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().all(|d| d.severity != Severity::Error)
}

#[cfg(test)]
mod tests;
