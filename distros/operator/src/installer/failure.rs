//! Why an installer failed, read from what it says in the C locale.

use super::Installer;
use crate::process::{Finished, ProcessError, ending};
use serde::Serialize;

/// Kinds of failures, each with something else to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// No repository has such a package.
    MissingPackage,
    /// A repository cannot be read or reached.
    Repository,
    /// A checksum or signature is wrong or missing.
    Verification,
    /// Another program holds the package database.
    Locked,
    /// A disk is full.
    DiskFull,
    /// The package cannot be installed beside what is there.
    Conflict,
    /// It did not end by the deadline.
    Deadline,
    /// Something else.
    Other,
}

impl FailureKind {
    /// What to do.
    pub fn hint(self) -> &'static str {
        match self {
            FailureKind::MissingPackage => {
                "the package lists may be old, or a repository is not enabled: `kata-osinfo show` names those that are needed"
            }
            FailureKind::Repository => "check the repositories' addresses and the network",
            FailureKind::Verification => {
                "do not install it: the repository is damaged, or not the one that it says it is"
            }
            FailureKind::Locked => "let the other package manager finish, or wait longer with --lock-timeout",
            FailureKind::DiskFull => "make room and run it again",
            FailureKind::Conflict => "nothing is removed to make room: resolve it by hand",
            FailureKind::Deadline => "run it again with a longer --timeout",
            FailureKind::Other => "see what the package manager said",
        }
    }
}

/// That an installer failed, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The kind.
    pub kind: FailureKind,
    /// What it said last.
    pub message: String,
}

/// Words by which each kind is known, the most telling kind first: a full disk also breaks repositories.
const WORDS: &[(FailureKind, &[&str])] = &[
    (
        FailureKind::DiskFull,
        &[
            "no space left on device",
            "enough free space",
            "free disk space",
            "more space needed on the",
            "insufficient disk space",
            "too full",
            "disk full",
            // zypper, when a package does not fit into its cache.
            "can't hardlink/copy",
        ],
    ),
    (
        FailureKind::Locked,
        &[
            "could not get lock",
            "unable to acquire the dpkg",
            "unable to lock database",
            "another copy is running",
            "already locked by",
            "transaction lock on",
            "system management is locked",
            "failed to obtain the transaction lock",
            "waiting for process with pid",
        ],
    ),
    (
        FailureKind::Verification,
        &[
            "hash sum mismatch",
            "has unexpected size",
            "no_pubkey",
            "is not signed",
            "cannot be authenticated",
            "could not be authenticated",
            "unauthenticated packages",
            "checksum doesn't match",
            "checksums do not match",
            "does not match the expected checksum",
            "checksum mismatch",
            "gpg check failed",
            "verification failed",
            "digest verification",
            "wrong digest",
            "invalid or corrupted package",
            "invalid or corrupted database",
            "pgp signature",
            "missing required signature",
            "unexpected checksum",
            "incorrect checksum",
        ],
    ),
    (
        FailureKind::MissingPackage,
        &[
            "unable to locate package",
            "has no installation candidate",
            "no match for argument",
            "unable to find a match",
            "not found in package names",
            "no provider of",
            "target not found",
        ],
    ),
    (
        FailureKind::Repository,
        &[
            "failed to fetch",
            "does not have a release file",
            "failed to download metadata",
            "cannot download",
            "no enabled repositories",
            "errors during downloading",
            "is invalid",
            "valid metadata not found",
            "no repositories defined",
            "failed to synchronize",
            "failed retrieving file",
            "could not be opened",
            "does not exist",
            "unable to parse package file",
            "sources list could not be read",
            "failed to cache rpm",
            "repository error",
            "could not refresh the repositories",
            "skipping repository",
            "no usable package repositories",
        ],
    ),
    (
        FailureKind::Conflict,
        &[
            "unmet dependencies",
            "remove is disabled",
            "conflicts with",
            "are in conflict",
            "conflicting requests",
            "conflicting files",
            "conflicting dependencies",
            "problem:",
            "nothing provides",
            "unable to satisfy",
            "could not satisfy dependencies",
        ],
    ),
];

impl Failure {
    /// Reads why an installer failed.
    pub fn of(installer: Installer, finished: &Finished) -> Failure {
        let said = format!("{}\n{}", finished.stdout, finished.stderr).to_lowercase();
        let by_code = match (installer, finished.code) {
            // zypper(8), EXIT CODES.
            (Installer::Zypper, Some(7)) => Some(FailureKind::Locked),
            (Installer::Zypper, Some(104)) => Some(FailureKind::MissingPackage),
            (Installer::Zypper, Some(6)) => Some(FailureKind::Repository),
            (Installer::Dnf, Some(200)) => Some(FailureKind::Locked),
            _ => None,
        };
        let by_words = || WORDS.iter().find(|(_, words)| words.iter().any(|w| said.contains(w))).map(|(kind, _)| *kind);
        Failure {
            kind: by_code.or_else(by_words).unwrap_or(FailureKind::Other),
            message: format!("{} ended with {}: {}", installer.name(), ending(finished), finished.last_words()),
        }
    }

    /// That it did not run to its end.
    pub fn of_process(error: &ProcessError) -> Failure {
        let kind = match error {
            ProcessError::Deadline { .. } => FailureKind::Deadline,
            ProcessError::Start { .. } => FailureKind::Other,
        };
        Failure { kind, message: error.to_string() }
    }
}
