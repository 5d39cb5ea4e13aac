//! Why an installer failed, read from what it says in the C locale.
//!
//! Each program's signs stand in its own module, with the versions that they were read from.

use crate::process::{Finished, ProcessError, ending};
use model::diagnostic::printable;
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

/// The signs by which one program's failures are known.
pub(super) struct Signs {
    /// Exit codes that say it.
    pub(super) codes: &'static [(i32, FailureKind)],
    /// Else parts of messages, in lower case; the most telling kind first, because a full disk also breaks repositories.
    pub(super) words: &'static [(FailureKind, &'static [&'static str])],
}

impl Signs {
    /// The kind that is known by what was said.
    pub(super) fn by_words(&self, said: &str) -> Option<FailureKind> {
        let said = said.to_lowercase();
        self.words.iter().find(|(_, words)| words.iter().any(|w| said.contains(w))).map(|(kind, _)| *kind)
    }
}

/// What dnf and zypper alike say of a disk that is full, because rpm says it to both.
pub(super) const RPM_DISK_FULL: &[&str] = &[
    "no space left on device",
    "more space needed on the",
    "more space on the",
    "more inodes on the",
    "insufficient disk space",
    "disk full",
];

/// Likewise of a checksum or signature that is wrong or missing.
pub(super) const RPM_VERIFICATION: &[&str] = &[
    "is not signed",
    "checksum doesn't match",
    "checksums do not match",
    "does not match the expected checksum",
    "checksum mismatch",
    "gpg check failed",
    "does not verify",
    "verification failed",
    "digest verification",
    "wrong digest",
    "unexpected checksum",
    "incorrect checksum",
];

/// Parts of the lines in which package managers name the packages of a conflict, in lower case.
const CONFLICTING: [&str; 8] = [
    "conflicts:",
    "breaks:",
    "depends:",
    "conflicts ",
    "nothing provides",
    " requires ",
    "are in conflict",
    "breaks dependency",
];

/// How many of them are told; each package of a long list has its own.
const TOLD: usize = 3;

fn conflicting(finished: &Finished) -> impl Iterator<Item = String> {
    let names = |line: &&str| {
        let line = line.to_lowercase();
        CONFLICTING.iter().any(|sign| line.contains(sign))
    };
    let lines = finished.stdout.lines().chain(finished.stderr.lines()).map(str::trim).filter(names);
    lines.map(|line| printable(&line.chars().take(200).collect::<String>()))
}

impl Failure {
    /// Reads why an installer failed.
    pub(super) fn of(installer: &str, signs: &Signs, finished: &Finished) -> Failure {
        let by_code = || signs.codes.iter().find(|(code, _)| finished.code == Some(*code)).map(|(_, kind)| *kind);
        let by_words = || signs.by_words(&format!("{}\n{}", finished.stdout, finished.stderr));
        let kind = by_code().or_else(by_words).unwrap_or(FailureKind::Other);
        let last = finished.last_words();
        // The last words are of the conflict; which packages it is between was said before.
        let mut words: Vec<String> = match kind {
            FailureKind::Conflict => conflicting(finished).filter(|line| !last.contains(line)).take(TOLD).collect(),
            _ => Vec::new(),
        };
        words.push(last);
        Failure { kind, message: format!("{installer} ended with {}: {}", ending(finished), words.join("; ")) }
    }

    /// That it did not run to its end.
    pub(super) fn of_process(error: &ProcessError) -> Failure {
        let kind = match error {
            ProcessError::Deadline { .. } => FailureKind::Deadline,
            ProcessError::Start { .. } | ProcessError::Wait { .. } => FailureKind::Other,
        };
        Failure { kind, message: error.to_string() }
    }
}
