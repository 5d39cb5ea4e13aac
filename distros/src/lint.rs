//! Everything that is wrong with a record's text, or looks wrong.

mod rules;

use crate::diagnostic::{Diagnostic, Severity, finish};
use crate::record::{misnamed, parse_draft};
use crate::verified::forged;
use std::path::Path;

/// What the parser refuses, then what the rules find; in the order of the file.
///
/// `path` is for messages only.
pub fn lint(path: &Path, text: &str) -> Vec<Diagnostic> {
    lint_as(path, text, Whole::Yes)
}

/// Whether a file must be a record by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// It must; unless it names the distro that it derives from.
    Yes,
    /// It may be a part that lies over another file's, as the admin's do.
    Part,
}

/// [`lint`], for a file that may be part of a record.
pub fn lint_as(path: &Path, text: &str, whole: Whole) -> Vec<Diagnostic> {
    let (draft, mut diagnostics) = parse_draft(path, text);
    if let Some(draft) = draft {
        if whole == Whole::Yes && draft.derives_from.is_none() {
            diagnostics.extend(draft.missing());
        }
        // Which names can be, only a package manager says; a part need not name it.
        let has_manager = draft.package_manager.is_some();
        if let Some(record) = draft.for_rules() {
            if has_manager {
                diagnostics.extend(misnamed(&record).into_iter().map(|(_, one)| one));
            }
            diagnostics.extend(rules::check(&record));
            diagnostics.extend(forged::check(&record));
        }
    }
    finish(diagnostics, text, &path.display().to_string())
}

/// The text with every fix made that its diagnostics carry; `None` when there is nothing to fix.
pub fn fix(path: &Path, text: &str) -> Option<String> {
    fix_as(path, text, Whole::Yes)
}

/// [`fix`], for a file that may be part of a record.
pub fn fix_as(path: &Path, text: &str, whole: Whole) -> Option<String> {
    let fixed = crate::fix::apply(text, &lint_as(path, text, whole));
    (fixed != text).then_some(fixed)
}

/// Whether a record with these findings can still be used.
pub fn is_usable(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().all(|d| d.severity != Severity::Error)
}

#[cfg(test)]
mod tests;
