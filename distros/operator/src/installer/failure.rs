//! Determines why a package manager failed, from its output in the C locale.
//!
//! Each program's messages are listed in one module, with the versions they come from. Callers that run an installer
//! get a kind of failure; those that make images also get the names in the message.

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
use model::package::NativeName;
use serde::Serialize;

/// Kinds of failures, each with its own remedy.
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
    /// The package conflicts with installed packages.
    Conflict,
    /// The installer did not end by the deadline.
    Deadline,
    /// Any other failure.
    Other,
}

impl FailureKind {
    /// Returns the remedy.
    pub fn hint(self) -> &'static str {
        match self {
            FailureKind::MissingPackage => {
                "the package lists may be old, or a repository is not enabled: `kata-osinfo show` lists the required ones"
            }
            FailureKind::Repository => "check the repositories' addresses and the network",
            FailureKind::Verification => "do not install it: the repository is damaged, or not what it claims to be",
            FailureKind::Locked => "let the other package manager finish, or wait longer with --lock-timeout",
            FailureKind::DiskFull => "free disk space, and run it again",
            FailureKind::Conflict => "kata-osinfo does not remove packages: resolve the conflict by hand",
            FailureKind::Deadline => "run it again with a longer --timeout",
            FailureKind::Other => "see what the package manager said",
        }
    }
}

/// A failure of an installer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct InstallFailure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// The last lines of output.
    pub message: String,
}

/// The reason why a program failed, with the names in its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureReason {
    /// No repository has such a package.
    MissingPackage {
        /// The package's name, if the message has it.
        package: Option<NativeName>,
    },
    /// A mirror answers, but lacks a requested index.
    MissingIndex {
        /// `suite trixie-updates`, `repository crb`.
        what: String,
    },
    /// A signed index has expired.
    Expired {
        /// The suite, such as `sid`, or the index's address if the suite is unknown.
        suite: String,
    },
    /// A repository does not answer.
    Unreachable {
        /// The line of output that says so.
        detail: String,
    },
    /// A repository cannot be read.
    Unreadable,
    /// A checksum or signature is wrong or missing.
    Untrusted {
        /// The decisive line, and the key or repository concerned.
        detail: String,
    },
    /// Another program holds the package database.
    Locked,
    /// A disk is full.
    DiskFull,
    /// The package conflicts with installed packages.
    Conflict,
    /// Any other failure.
    Other,
}

/// Determines why a package manager failed, from the output lines of the package manager and the programs it runs.
pub fn failure_reason(installer: Installer, lines: &[String]) -> FailureReason {
    let signs = installer.program().signs();
    let kind = signs.by_words(&lines.join("\n"));
    match kind {
        FailureKind::DiskFull => FailureReason::DiskFull,
        FailureKind::Locked => FailureReason::Locked,
        FailureKind::Conflict => FailureReason::Conflict,
        FailureKind::Deadline | FailureKind::Other => FailureReason::Other,
        FailureKind::MissingPackage => {
            FailureReason::MissingPackage { package: lines.iter().find_map(|line| (signs.package)(line)?.parse().ok()) }
        }
        FailureKind::Verification => {
            FailureReason::Untrusted { detail: (signs.untrusted)(lines, signs.first(kind, lines)) }
        }
        FailureKind::Repository => (signs.repository)(lines, signs.first(kind, lines)),
    }
}

/// The signs that identify one program's failures.
pub(super) struct FailureSigns {
    /// Exit codes that identify a failure.
    codes: &'static [(i32, FailureKind)],
    /// Otherwise parts of messages, in lower case; the most specific kind first, because a full disk also breaks
    /// repositories.
    words: &'static [(FailureKind, &'static [&'static str])],
    /// Extracts the missing package from a line.
    package: fn(&str) -> Option<&str>,
    /// Describes the untrusted item, from all lines and the first line of this kind.
    untrusted: fn(&[String], &str) -> String,
    /// Describes the problem with a repository, from the same arguments.
    repository: fn(&[String], &str) -> FailureReason,
}

/// Signs of a program whose failures are not known.
pub(super) const NOTHING_KNOWN: FailureSigns = FailureSigns {
    codes: &[],
    words: &[],
    package: |_| None,
    untrusted: |_, line| line.to_owned(),
    repository: |_, _| FailureReason::Unreadable,
};

impl FailureSigns {
    /// Returns the kind identified by parts of messages.
    fn by_words(&self, output: &str) -> FailureKind {
        let output = output.to_lowercase();
        let known = self.words.iter().find(|(_, words)| words.iter().any(|word| output.contains(word)));
        known.map_or(FailureKind::Other, |(kind, _)| *kind)
    }

    /// Returns the first line of a kind.
    fn first<'l>(&self, kind: FailureKind, lines: &'l [String]) -> &'l str {
        lines.iter().find(|line| self.by_words(line) == kind).map_or("", String::as_str)
    }
}

/// Parts of lines, in lower case, in which package managers name the packages of a conflict.
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

/// Maximum number of such lines in a message, because a long list has one line per package.
const TOLD: usize = 3;

fn conflicting(finished: &ProcessOutput) -> impl Iterator<Item = String> {
    let names = |line: &&str| {
        let line = line.to_lowercase();
        CONFLICTING.iter().any(|sign| line.contains(sign))
    };
    let lines = finished.stdout.lines().chain(finished.stderr.lines()).map(str::trim).filter(names);
    lines.map(|line| printable(&line.chars().take(200).collect::<String>()))
}

impl InstallFailure {
    /// Determines why an installer failed.
    pub(super) fn of(installer: Installer, finished: &ProcessOutput) -> InstallFailure {
        let signs = installer.program().signs();
        let by_code = signs.codes.iter().find(|(code, _)| finished.code == Some(*code)).map(|(_, kind)| *kind);
        let by_words = || signs.by_words(&format!("{}\n{}", finished.stdout, finished.stderr));
        let kind = by_code.unwrap_or_else(by_words);
        let last = finished.last_words();
        // The last lines report the conflict, but its packages are named in earlier lines.
        let mut words: Vec<String> = match kind {
            FailureKind::Conflict => conflicting(finished).filter(|line| !last.contains(line)).take(TOLD).collect(),
            _ => Vec::new(),
        };
        words.push(last);
        InstallFailure {
            kind,
            message: format!("{} ended with {}: {}", installer.name(), ending(finished), words.join("; ")),
        }
    }

    /// Converts the failure of a process that did not run to its end.
    pub(super) fn of_process(error: &ProcessError) -> InstallFailure {
        let kind = match error {
            ProcessError::Deadline { .. } => FailureKind::Deadline,
            ProcessError::Start { .. } | ProcessError::Sandbox { .. } | ProcessError::Wait { .. } => FailureKind::Other,
        };
        InstallFailure { kind, message: error.to_string() }
    }
}
