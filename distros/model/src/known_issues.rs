//! Failures that somebody knows of: the entries of `known-issues/DISTRO.yaml`, each with its address, its owner and its
//! end.
//!
//! An entry says which failure it is, by its signature or its test, and of which versions of which source package.
//! What it excuses, and when it is at fault itself, the reports decide.

mod decode;
#[cfg(all(test, feature = "schema"))]
pub(crate) use decode::{ENTRY_KEYS, KEYS};

use crate::diagnostic::{Diagnostic, Severity, finish, line_column};
use crate::distro::DistroId;
use crate::environment::Environment;
use crate::package::{PackageName, PackageVersion};
use crate::package_manager::PackageManager;
use crate::profile::Profile;
use crate::source::{RecordError, SourceLocation};
use crate::version_order::compare;
use jiff::civil::Date;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// The folder of such files: beside the shipped records, and within other folders of records.
pub const FOLDER: &str = "known-issues";

/// Which failure is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownFailure {
    /// All with this signature: `virtiofsd: --shared-dir: unknown option`.
    Signature(String),
    /// All failures of this test: `filesystem::virtio_fs::rename_is_atomic`.
    Test(String),
}

/// Versions of a package, in its package manager's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionRange {
    /// The first that has the fault; none where all earlier ones have it.
    pub from: Option<PackageVersion>,
    /// The first that has it no more; none where it is not mended.
    pub before: Option<PackageVersion>,
}

impl VersionRange {
    /// Whether a version is one of them.
    pub fn contains(&self, manager: PackageManager, version: &str) -> bool {
        let from = self.from.as_ref().is_none_or(|from| compare(manager, version, from.as_str()).is_ge());
        from && self.before.as_ref().is_none_or(|before| compare(manager, version, before.as_str()).is_lt())
    }
}

/// A failure that somebody knows of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownIssue {
    /// By which it is named: `virtiofsd-posix-locks`.
    pub id: String,
    /// Which failure it is.
    pub failure: KnownFailure,
    /// The source package at fault.
    pub package: PackageName,
    /// Its versions that have the fault.
    pub versions: VersionRange,
    /// The profiles that it is seen under; all where there is none.
    pub profiles: Vec<String>,
    /// Where it is seen; anywhere where there is none.
    pub environments: Vec<Environment>,
    /// Where it is reported.
    pub url: String,
    /// Who looks after the entry.
    pub owner: String,
    /// The last day on which it excuses anything.
    pub expires: Date,
    /// Where it stands.
    pub origin: SourceLocation,
    /// The same within the file's text.
    pub span: Range<usize>,
}

impl KnownIssue {
    /// Whether it is about what a profile shows in an environment.
    pub fn is_of(&self, profile: &str, environment: Environment) -> bool {
        let of_profile = self.profiles.is_empty() || self.profiles.iter().any(|name| name == profile);
        of_profile && (self.environments.is_empty() || self.environments.contains(&environment))
    }

    /// Whether it is over on a day.
    pub fn is_expired(&self, today: Date) -> bool {
        today > self.expires
    }

    /// Whether a failure is this one.
    pub fn is(&self, test: &str, signature: &str) -> bool {
        match &self.failure {
            KnownFailure::Signature(known) => known == signature,
            KnownFailure::Test(known) => known == test,
        }
    }
}

/// What is known of one distro.
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
    /// Everything that is wrong with its form, with places.
    pub fn parse(path: &Path, text: &str) -> Result<KnownIssuesFile, RecordError> {
        let (file, mut diagnostics) = decode::file(path, text);
        diagnostics.retain(|d| d.severity == Severity::Error);
        match file {
            Some(file) if diagnostics.is_empty() => Ok(file),
            _ => Err(RecordError { path: path.to_owned(), text: text.to_owned(), diagnostics }),
        }
    }
}

/// Everything that is wrong with a file's text on a day; `manager` is the distro's, none where it is not known.
pub(crate) fn lint(path: &Path, text: &str, manager: Option<PackageManager>, today: Date) -> Vec<Diagnostic> {
    let (file, mut diagnostics) = decode::file(path, text);
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    let issues = file.map(|file| file.issues).unwrap_or_default();
    for issue in &issues {
        let found = |rule, message: String| Diagnostic::error(rule, text, issue.span.clone(), message);
        if let Some(line) = first.get(issue.id.as_str()) {
            let message = format!("a second known issue is called `{}`", issue.id);
            diagnostics.push(found("named-twice", message).hint(format!("the first is on line {line}; rename one")));
        }
        first.entry(&issue.id).or_insert(line_column(text, issue.span.start).0);
        if issue.is_expired(today) {
            let message = format!("the known issue `{}` has expired on {}", issue.id, issue.expires);
            let hint =
                format!("look at {}: remove the entry, or give it a later day (owner: {})", issue.url, issue.owner);
            diagnostics.push(found("expired", message).hint(hint));
        }
        for profile in issue.profiles.iter().filter(|profile| Profile::find(profile).is_err()) {
            let known: Vec<&str> = Profile::all().iter().map(|p| p.name.as_str()).collect();
            let message =
                format!("the known issue `{}` is matched by nothing: there is no profile `{profile}`", issue.id);
            diagnostics.push(found("unmatched", message).hint(format!("known are {}", known.join(", "))));
        }
        if let (Some(manager), Some(from), Some(before)) = (manager, &issue.versions.from, &issue.versions.before)
            && compare(manager, from.as_str(), before.as_str()).is_ge()
        {
            let message = format!(
                "the known issue `{}` is matched by nothing: {from} is not before {before} for {}",
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
