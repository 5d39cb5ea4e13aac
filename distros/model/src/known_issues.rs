//! Known failures: the entries of `known-issues/DISTRO.yaml`, each with a URL, an owner and an expiry date.
//!
//! An entry identifies the failure by its signature or its test, and the affected versions of a source package.
//! The reports decide which results an entry excuses, and when the entry itself is wrong.

mod decode;
#[cfg(all(test, feature = "schema"))]
pub(crate) use decode::{ENTRY_KEYS, KEYS};

use crate::diagnostic::{Diagnostic, Severity, finish, line_column};
use crate::distro::DistroId;
use crate::environment::Environment;
use crate::package::{PackageName, PackageVersion};
use crate::package_manager::PackageManager;
use crate::profile::{Profile, ProfileName};
use crate::source::{RecordError, SourceLocation};
use crate::test_id::TestId;
use crate::version_order::compare;
use jiff::civil::Date;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// Directory of the files: next to the shipped records, and inside other directories of records.
pub const FOLDER: &str = "known-issues";

/// Identification of a known failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownFailure {
    /// All failures with this signature: `virtiofsd: --shared-dir: unknown option`.
    Signature(String),
    /// All failures of this test: `filesystem::virtio_fs::rename_is_atomic`.
    Test(TestId),
}

/// Versions of a package, in its package manager's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionRange {
    /// The first affected version; `None` if all earlier ones are affected.
    pub from: Option<PackageVersion>,
    /// The first fixed version; `None` if the fault is not fixed.
    pub before: Option<PackageVersion>,
}

impl VersionRange {
    /// Whether the range contains a version.
    pub fn contains(&self, manager: PackageManager, version: &str) -> bool {
        let from = self.from.as_ref().is_none_or(|from| compare(manager, version, from.as_str()).is_ge());
        from && self.before.as_ref().is_none_or(|before| compare(manager, version, before.as_str()).is_lt())
    }
}

/// A known failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownIssue {
    /// The entry's name: `virtiofsd-posix-locks`.
    pub id: String,
    /// The identification of the failure.
    pub failure: KnownFailure,
    /// The source package at fault.
    pub package: PackageName,
    /// The affected versions.
    pub versions: VersionRange,
    /// Profiles in which the failure occurs; all if empty.
    pub profiles: Vec<ProfileName>,
    /// Environments in which the failure occurs; all if empty.
    pub environments: Vec<Environment>,
    /// Address of the bug report.
    pub url: String,
    /// Person responsible for the entry.
    pub owner: String,
    /// The last day on which the entry excuses anything.
    pub expires: Date,
    /// File and line of the entry.
    pub origin: SourceLocation,
    /// Place of the entry in the file's text.
    pub span: Range<usize>,
}

impl KnownIssue {
    /// Whether the entry applies to a profile in an environment.
    pub fn is_of(&self, profile: &str, environment: Environment) -> bool {
        let of_profile = self.profiles.is_empty() || self.profiles.iter().any(|name| name == profile);
        of_profile && (self.environments.is_empty() || self.environments.contains(&environment))
    }

    /// Whether the entry has expired by a day.
    pub fn is_expired(&self, today: Date) -> bool {
        today > self.expires
    }

    /// Whether a failure is the one of this entry.
    pub fn is(&self, test: &str, signature: &str) -> bool {
        match &self.failure {
            KnownFailure::Signature(known) => known == signature,
            KnownFailure::Test(known) => known == test,
        }
    }
}

/// The known failures of one distro.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownIssuesFile {
    /// `debian`.
    pub distro: DistroId,
    /// The entries, in the order of the file.
    pub issues: Vec<KnownIssue>,
}

impl KnownIssuesFile {
    /// Parses a file's text; `path` is for messages.
    ///
    /// # Errors
    ///
    /// All mistakes of form, with places.
    pub fn parse(path: &Path, text: &str) -> Result<KnownIssuesFile, RecordError> {
        let (file, mut diagnostics) = decode::file(path, text);
        diagnostics.retain(|d| d.severity == Severity::Error);
        match file {
            Some(file) if diagnostics.is_empty() => Ok(file),
            _ => Err(RecordError { path: path.to_owned(), text: text.to_owned(), diagnostics }),
        }
    }
}

/// Returns all findings about a file's text on a day; `manager` is the distro's package manager, `None` if unknown.
pub(crate) fn lint(path: &Path, text: &str, manager: Option<PackageManager>, today: Date) -> Vec<Diagnostic> {
    let (file, mut diagnostics) = decode::file(path, text);
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    let issues = file.map(|file| file.issues).unwrap_or_default();
    for issue in &issues {
        let found = |rule, message: String| Diagnostic::error(rule, text, issue.span.clone(), message);
        if let Some(line) = first.get(issue.id.as_str()) {
            let message = format!("there are two known issues with the id `{}`", issue.id);
            diagnostics.push(found("named-twice", message).hint(format!("the first is on line {line}; rename one")));
        }
        first.entry(&issue.id).or_insert(line_column(text, issue.span.start).0);
        if issue.is_expired(today) {
            let message = format!("the known issue `{}` has expired on {}", issue.id, issue.expires);
            let hint = format!(
                "check {}: remove the entry, or set a later day in `expires` (owner: {})",
                issue.url, issue.owner
            );
            diagnostics.push(found("expired", message).hint(hint));
        }
        for profile in issue.profiles.iter().filter(|profile| Profile::find(profile).is_err()) {
            let known: Vec<&str> = Profile::all().iter().map(|p| p.name.as_str()).collect();
            let message = format!("the known issue `{}` can never match: there is no profile `{profile}`", issue.id);
            diagnostics.push(found("unmatched", message).hint(format!("known are {}", known.join(", "))));
        }
        if let (Some(manager), Some(from), Some(before)) = (manager, &issue.versions.from, &issue.versions.before)
            && compare(manager, from.as_str(), before.as_str()).is_ge()
        {
            let message = format!(
                "the known issue `{}` can never match: {from} is not before {before} for {}",
                issue.id,
                manager.name()
            );
            diagnostics
                .push(found("unmatched", message).hint("`from` is the first bad version, `before` the first good one"));
        }
    }
    finish(diagnostics, text, &path.display().to_string())
}

#[cfg(test)]
mod tests;
