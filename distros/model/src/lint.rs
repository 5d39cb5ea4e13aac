//! Everything that is wrong with a file's text, or looks wrong.

mod rules;

use crate::diagnostic::{Diagnostic, finish};
use crate::distro::ReleaseVersion;
use crate::known_issues;
use crate::package_manager::PackageManager;
use crate::record::{misnamed, parse_draft};
use crate::verified;
use jiff::civil::Date;
use std::path::Path;

/// What the parser refuses of a record, then what the rules find; in the order of the file.
///
/// `path` is for messages only.
pub fn lint(path: &Path, text: &str) -> Vec<Diagnostic> {
    lint_as(path, text, FileForm::Record)
}

/// What a file must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileForm<'a> {
    /// A record by itself; unless it names the distro that it derives from.
    Record,
    /// A layer over another file's record, as the admin's are, or a whole record.
    Layer,
    /// A file of verdicts.
    Verified {
        /// The releases that the distro's record has, none where it is not known.
        releases: &'a [ReleaseVersion],
    },
    /// A file of known issues.
    KnownIssues {
        /// The distro's package manager, none where its record is not known.
        manager: Option<PackageManager>,
        /// The day on which entries may have expired.
        today: Date,
    },
}

/// [`lint`], for a file of any form.
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
        // Which names can be, only a package manager says; a layer need not name it.
        let has_manager = draft.package_manager.is_some();
        if let Some(record) = draft.for_rules() {
            if has_manager {
                diagnostics.extend(misnamed(&record).into_iter().map(|(_, one)| one));
            }
            diagnostics.extend(rules::check(&record));
        }
    }
    finish(diagnostics, text, &path.display().to_string())
}

/// The text with every fix made that its diagnostics carry; `None` when there is nothing to fix.
pub fn fix(path: &Path, text: &str) -> Option<String> {
    fix_as(path, text, FileForm::Record)
}

/// [`fix`], for a file of any form.
pub fn fix_as(path: &Path, text: &str, form: FileForm<'_>) -> Option<String> {
    let fixed = crate::fix::apply(text, &lint_as(path, text, form));
    (fixed != text).then_some(fixed)
}

#[cfg(test)]
mod tests;
