//! All errors and suspicious content of a file's text.

mod rules;

use crate::diagnostic::{Diagnostic, finish};
use crate::distro::ReleaseVersion;
use crate::known_issues;
use crate::package_manager::PackageManager;
use crate::record::{invalid_package_names, parse_draft};
use crate::verified;
use jiff::civil::Date;
use std::path::Path;

/// Returns the parser's errors about a record, then the findings of the rules, in the order of the file.
///
/// `path` is for messages only.
pub fn lint(path: &Path, text: &str) -> Vec<Diagnostic> {
    lint_as(path, text, FileForm::Record)
}

/// Kind of file to check against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileForm<'a> {
    /// A record of its own, which may omit keys only if it names the distro that it derives from.
    Record,
    /// A layer over another file's record, as the admin's files are, or a whole record.
    Layer,
    /// A file of verdicts.
    Verified {
        /// The releases that the distro's record has, none where it is not known.
        releases: &'a [ReleaseVersion],
    },
    /// A file of known issues.
    KnownIssues {
        /// The distro's package manager; `None` if its record is unknown.
        manager: Option<PackageManager>,
        /// The day for which expiry is checked.
        today: Date,
    },
}

/// Like [`lint`], for a file of any form.
pub fn lint_as(path: &Path, text: &str, form: FileForm<'_>) -> Vec<Diagnostic> {
    match form {
        FileForm::Verified { releases } => return verified::lint(path, text, releases),
        FileForm::KnownIssues { manager, today } => return known_issues::lint(path, text, manager, today),
        FileForm::Record | FileForm::Layer => {}
    }
    let (draft, mut diagnostics) = parse_draft(path, text);
    if let Some(draft) = draft {
        if form == FileForm::Record && draft.derives_from.is_none() {
            diagnostics.extend(draft.missing());
        }
        // Valid package names depend on the package manager, which a layer need not state.
        let has_manager = draft.package_manager.is_some();
        if let Some(record) = draft.for_rules() {
            if has_manager {
                diagnostics.extend(invalid_package_names(&record).into_iter().map(|(_, one)| one));
            }
            diagnostics.extend(rules::check(&record));
        }
    }
    finish(diagnostics, text, &path.display().to_string())
}

/// Returns the text with all fixes of its diagnostics applied; `None` if there is nothing to fix.
pub fn fix(path: &Path, text: &str) -> Option<String> {
    fix_as(path, text, FileForm::Record)
}

/// Like [`fix`], for a file of any form.
pub fn fix_as(path: &Path, text: &str, form: FileForm<'_>) -> Option<String> {
    let fixed = crate::fix::apply(text, &lint_as(path, text, form));
    (fixed != text).then_some(fixed)
}

#[cfg(test)]
mod tests;
