//! Why a package manager failed, read from what it says in the C locale.
//!
//! What is read of a program stands in one module, with the versions that it was read from. Whoever runs one asks here,
//! an installer for a kind of failure, and who makes images for what is named as well.

mod apk;
mod apt;
mod dnf;
mod pacman;
mod rpm;
mod zypper;

pub(super) use apk::SIGNS as APK;
pub(super) use apt::SIGNS as APT;
pub(super) use dnf::SIGNS as DNF;
pub(super) use pacman::SIGNS as PACMAN;
pub(super) use zypper::SIGNS as ZYPPER;

use super::Installer;
use crate::process::{ProcessError, ProcessOutput, ending};
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

/// Why a program failed, with what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureReason {
    /// No repository has such a package.
    MissingPackage {
        /// Its name, where it is told.
        package: Option<String>,
    },
    /// A mirror answers and lacks an index that is asked of it.
    MissingIndex {
        /// `suite trixie-updates`, `repository crb`.
        what: String,
    },
    /// A signed index is past its own end.
    Expired {
        /// `sid`, or the index's address where the suite is not known.
        suite: String,
    },
    /// A repository does not answer.
    Unreachable {
        /// The line that says so.
        detail: String,
    },
    /// A repository cannot be read.
    Unreadable,
    /// A checksum or signature is wrong or missing.
    Untrusted {
        /// The telling line, and which key or repository it is about.
        detail: String,
    },
    /// Another program holds the package database.
    Locked,
    /// A disk is full.
    DiskFull,
    /// The package cannot be installed beside what is there.
    Conflict,
    /// Something else.
    Other,
}

/// Why a package manager failed, by the lines that it and the programs behind it have printed.
pub fn failure_reason(installer: Installer, lines: &[String]) -> FailureReason {
    let signs = installer.program().signs();
    let kind = signs.by_words(&lines.join("\n"));
    match kind {
        FailureKind::DiskFull => FailureReason::DiskFull,
        FailureKind::Locked => FailureReason::Locked,
        FailureKind::Conflict => FailureReason::Conflict,
        FailureKind::Deadline | FailureKind::Other => FailureReason::Other,
        FailureKind::MissingPackage => FailureReason::MissingPackage {
            package: lines.iter().find_map(|line| (signs.package)(line)).map(str::to_owned),
        },
        FailureKind::Verification => {
            FailureReason::Untrusted { detail: (signs.untrusted)(lines, signs.first(kind, lines)) }
        }
        FailureKind::Repository => (signs.repository)(lines, signs.first(kind, lines)),
    }
}

/// The signs by which one program's failures are known.
pub(super) struct FailureSigns {
    /// Exit codes that say it.
    codes: &'static [(i32, FailureKind)],
    /// Else parts of messages, in lower case; the most telling kind first, because a full disk also breaks repositories.
    words: &'static [(FailureKind, &'static [&'static str])],
    /// The package that a line says is missing.
    package: fn(&str) -> Option<&str>,
    /// What is not trusted, by all lines and the first that says so.
    untrusted: fn(&[String], &str) -> String,
    /// What is wrong with a repository, likewise.
    repository: fn(&[String], &str) -> FailureReason,
}

/// Signs of a program of which nothing is known.
pub(super) const NOTHING_KNOWN: FailureSigns = FailureSigns {
    codes: &[],
    words: &[],
    package: |_| None,
    untrusted: |_, line| line.to_owned(),
    repository: |_, _| FailureReason::Unreadable,
};

impl FailureSigns {
    /// The kind that is known by what was said.
    fn by_words(&self, said: &str) -> FailureKind {
        let said = said.to_lowercase();
        let known = self.words.iter().find(|(_, words)| words.iter().any(|word| said.contains(word)));
        known.map_or(FailureKind::Other, |(kind, _)| *kind)
    }

    /// The first line of a kind.
    fn first<'l>(&self, kind: FailureKind, lines: &'l [String]) -> &'l str {
        lines.iter().find(|line| self.by_words(line) == kind).map_or("", String::as_str)
    }
}

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

fn conflicting(finished: &ProcessOutput) -> impl Iterator<Item = String> {
    let names = |line: &&str| {
        let line = line.to_lowercase();
        CONFLICTING.iter().any(|sign| line.contains(sign))
    };
    let lines = finished.stdout.lines().chain(finished.stderr.lines()).map(str::trim).filter(names);
    lines.map(|line| printable(&line.chars().take(200).collect::<String>()))
}

impl Failure {
    /// Reads why an installer failed.
    pub(super) fn of(installer: Installer, finished: &ProcessOutput) -> Failure {
        let signs = installer.program().signs();
        let by_code = signs.codes.iter().find(|(code, _)| finished.code == Some(*code)).map(|(_, kind)| *kind);
        let by_words = || signs.by_words(&format!("{}\n{}", finished.stdout, finished.stderr));
        let kind = by_code.unwrap_or_else(by_words);
        let last = finished.last_words();
        // The last words are of the conflict; which packages it is between was said before.
        let mut words: Vec<String> = match kind {
            FailureKind::Conflict => conflicting(finished).filter(|line| !last.contains(line)).take(TOLD).collect(),
            _ => Vec::new(),
        };
        words.push(last);
        Failure { kind, message: format!("{} ended with {}: {}", installer.name(), ending(finished), words.join("; ")) }
    }

    /// That it did not run to its end.
    pub(super) fn of_process(error: &ProcessError) -> Failure {
        let kind = match error {
            ProcessError::Deadline { .. } => FailureKind::Deadline,
            ProcessError::Start { .. } | ProcessError::Sandbox { .. } | ProcessError::Wait { .. } => FailureKind::Other,
        };
        Failure { kind, message: error.to_string() }
    }
}
