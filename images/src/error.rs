//! Errors between a release and its image, by phase and cause.

mod base_error;
mod failure;

pub use base_error::BaseError;
pub(crate) use failure::{Context, Failure, failure_of};

use crate::progress::ImagePhase;
use crate::source::BaseSource;
use model::arch::Arch;
use model::distro::Target;
use model::package::NativeName;
use model::package_manager::PackageManager;
use model::release::Archive;
use model::words;
use operator::installer::FailureReason;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// A failure to prepare the image of one release.
#[derive(Debug, thiserror::Error)]
pub struct ImageError {
    /// What could not be prepared.
    pub subject: ErrorSubject,
    /// The phase that failed.
    pub phase: ImagePhase,
    /// Cause of the failure.
    pub cause: Box<ImageErrorKind>,
    /// The command that failed, if any.
    pub command: Option<Box<CommandFailure>>,
}

impl ImageError {
    pub(crate) fn new(subject: impl Into<ErrorSubject>, phase: ImagePhase, failure: Failure) -> ImageError {
        ImageError { subject: subject.into(), phase, cause: Box::new(failure.cause), command: failure.command }
    }

    /// Returns the known remedy, to print after `hint:`.
    pub fn hint(&self) -> Option<String> {
        self.cause.hint()
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "prepare {}: {}: {}", self.subject, self.phase, self.cause)?;
        if let Some(command) = &self.command {
            write!(f, "\n{command}")?;
        }
        Ok(())
    }
}

/// What an [`ImageError`] is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorSubject {
    /// The image of a release, or what was taken from it: `debian:13`.
    Release(Target),
    /// Something that is no release's, in words: `the cache`, `the kernel 6.12.43+deb13-amd64`.
    Other(String),
}

impl From<Target> for ErrorSubject {
    fn from(release: Target) -> ErrorSubject {
        ErrorSubject::Release(release)
    }
}

impl From<&str> for ErrorSubject {
    fn from(words: &str) -> ErrorSubject {
        ErrorSubject::Other(words.to_owned())
    }
}

impl fmt::Display for ErrorSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorSubject::Release(release) => release.fmt(f),
            ErrorSubject::Other(words) => f.write_str(words),
        }
    }
}

/// A failed command, with the information that a person needs to repeat it and to find the cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandFailure {
    /// The command line, mirrors redacted.
    pub command: String,
    /// `exit status: 100`, `signal: 9 (SIGKILL)`.
    pub status: String,
    /// The last lines it printed, mirrors redacted.
    pub tail: Vec<String>,
}

impl fmt::Display for CommandFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command: {}\n{}", self.command, self.status)?;
        for line in &self.tail {
            write!(f, "\n  | {line}")?;
        }
        Ok(())
    }
}

/// Reasons why an image could not be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageErrorKind {
    /// A package that the record or the user names is in none of the release's suites or repositories.
    #[error("package `{package}` was not found in the release's suites or repositories")]
    PackageMissing {
        /// The package.
        package: NativeName,
    },
    /// The mirror does not respond.
    #[error("the mirror cannot be reached: {detail}")]
    MirrorUnreachable {
        /// Message of the attempt, hosts redacted.
        detail: String,
        /// Age of the newest cached image of the release, in seconds.
        cached_age: Option<i64>,
    },
    /// The registry of the release's base image does not respond.
    #[error("the container registry cannot be reached: {detail}")]
    RegistryUnreachable {
        /// Message of the engine, hosts redacted.
        detail: String,
        /// Age of the newest cached image of the release, in seconds.
        cached_age: Option<i64>,
    },
    /// The registry has no such image.
    #[error("image {reference} is not in its registry")]
    NoSuchImage {
        /// The image's name.
        reference: String,
    },
    /// The mirror's signed index is past its own `Valid-Until`.
    #[error("the mirror is stale: the Release file of {suite} has expired")]
    Expired {
        /// `sid`, or the file's address if the suite is unknown.
        suite: String,
    },
    /// The mirror has no such suite.
    #[error("{what} is not on the mirror")]
    NoSuchRelease {
        /// `suite trixie-updates`.
        what: String,
    },
    /// The index or a package is not signed by a key that this machine trusts, or does not match its checksum.
    #[error("the mirror's data cannot be trusted: {detail}")]
    Untrusted {
        /// The tool's message.
        detail: String,
    },
    /// No space left.
    #[error("the disk is full")]
    DiskFull,
    /// Any other failure of a command.
    #[error("a command failed")]
    CommandFailed,
    /// A required program is not installed.
    #[error("program `{program}` is not installed")]
    ToolMissing {
        /// The program's name.
        program: String,
    },
    /// Building a tree needs root: device nodes, ownership, mount namespaces.
    #[error("building an image needs root")]
    NotRoot,
    /// This machine cannot run the release's binaries.
    #[error("the release is for {requested}, but this machine is {machine}")]
    WrongArchitecture {
        /// The release's architecture.
        requested: Arch,
        /// Architecture of this machine.
        machine: String,
    },
    /// There is no installer for the package manager.
    #[error("the package manager `{manager}` is not supported")]
    UnsupportedPackageManager {
        /// Package manager of the release.
        manager: PackageManager,
        /// Package managers that have an installer.
        written: Vec<PackageManager>,
    },
    /// The record lacks information for making the image.
    #[error("the record has no {what}, which {needed_for} needs")]
    RecordLacks {
        /// `image`.
        what: String,
        /// `an OCI base`.
        needed_for: &'static str,
    },
    /// The repositories configured in the record's OCI image lack something.
    #[error("none of the repositories in its OCI image has {what}")]
    ImageLacks {
        /// As the record describes it: `QEMU, which …`.
        what: String,
    },
    /// No mirror of a suite is known.
    #[error("no mirror of {suite} is known")]
    NoMirror {
        /// `trixie-security`, `crb`, or the release.
        suite: String,
        /// The distro's archive that has the suite.
        archive: Archive,
    },
    /// The run is offline, and the cache has no suitable image.
    #[error("the image is not in the cache, and --offline forbids downloads")]
    NotCached,
    /// An extra package is neither a valid name nor a readable package file of the family.
    #[error("extra package `{name}`: {reason}")]
    BadPackage {
        /// As the user wrote it.
        name: String,
        /// Expected form.
        reason: String,
    },
    /// An overlay that cannot be laid over the tree.
    #[error("overlay `{path}`: {reason}")]
    BadOverlay {
        /// The path in the overlay.
        path: String,
        /// Reason for the refusal.
        reason: String,
    },
    /// A base from the caller cannot be read, or is not as expected.
    #[error("the {}: {error}", .kind.title())]
    BadBase {
        /// Kind of base.
        kind: BaseSource,
        /// The reader's error.
        error: BaseError,
    },
    /// An entry of a root filesystem's archive is refused.
    #[error("the archive's entry {entry}: {reason}")]
    BadArchive {
        /// Path of the entry.
        entry: String,
        /// Reason for the refusal.
        reason: String,
    },
    /// A required file is missing in the finished tree.
    #[error("{what} was not found in the tree")]
    NotInTree {
        /// `a kernel matching /boot/vmlinuz-*`.
        what: String,
    },
    /// A kernel module that cannot be read or decompressed.
    #[error("module {path}: {reason}")]
    BadModule {
        /// The module's file.
        path: PathBuf,
        /// Reason.
        reason: String,
    },
    /// The user cancelled the operation.
    #[error("cancelled")]
    Cancelled,
    /// The time limit was exceeded.
    #[error("timed out after {seconds} s")]
    DeadlineExceeded {
        /// The limit.
        seconds: u64,
    },
    /// Docker refused or is not available.
    #[error("docker: {detail}")]
    Docker {
        /// Message of Docker.
        detail: String,
    },
    /// A file cannot be read or written.
    #[error("{context}: {source}")]
    Io {
        /// The operation and the file.
        context: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The address of a mirror or proxy cannot be passed to apt.
    #[error("the address {address}: {reason}")]
    BadAddress {
        /// Address without its credentials.
        address: String,
        /// Reason.
        reason: String,
    },
    /// The namespaces for running the release's own programs cannot be created.
    #[error("{folder}: cannot map ids for its programs: {source}")]
    Unmapped {
        /// Directory that the programs were to see as their root.
        folder: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file in the cache that this version cannot read.
    #[error("{path}: {reason}")]
    BadManifest {
        /// The file.
        path: PathBuf,
        /// Reason.
        reason: String,
    },
}

impl ImageErrorKind {
    /// Returns the place for the age of a cached image, for a mirror or registry that cannot be reached.
    pub(crate) fn cached_age(&mut self) -> Option<&mut Option<i64>> {
        match self {
            Self::MirrorUnreachable { cached_age, .. } | Self::RegistryUnreachable { cached_age, .. } => {
                Some(cached_age)
            }
            _ => None,
        }
    }

    /// Returns the known remedy, to print after `hint:`.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            ImageErrorKind::MirrorUnreachable { cached_age: Some(age), .. }
            | ImageErrorKind::RegistryUnreachable { cached_age: Some(age), .. } => {
                format!("use the cached image, which is {} old, with --offline", words::age(*age))
            }
            ImageErrorKind::RegistryUnreachable { cached_age: None, .. } => {
                "check the network and the Docker engine's proxy and registry mirrors, or provide the base as a file with --oci-image; --offline works once an image is cached".to_owned()
            }
            ImageErrorKind::MirrorUnreachable { cached_age: None, .. } => {
                "check the network and the machine's apt sources, or name another mirror with --mirror (for security updates: --security-mirror); --offline works once an image is cached".to_owned()
            }
            ImageErrorKind::NoMirror { archive: Archive::Main, .. } => "name one with --mirror".to_owned(),
            ImageErrorKind::NoMirror { archive: Archive::Security, .. } => "name one with --security-mirror".to_owned(),
            ImageErrorKind::Expired { .. } => {
                "use a newer mirror (--mirror, --security-mirror), or accept this one with --accept-expired; the evidence then says so".to_owned()
            }
            ImageErrorKind::Untrusted { .. } => {
                "install the distro's archive keyring (debian-archive-keyring, ubuntu-keyring), or name the mirror's keys with --mirror-key".to_owned()
            }
            ImageErrorKind::PackageMissing { .. } => {
                "correct the record's packages, suites, repositories or modules".to_owned()
            }
            ImageErrorKind::DiskFull => "free space, or put the cache elsewhere; `clean` removes old images".to_owned(),
            ImageErrorKind::ToolMissing { program } if program == "mmdebstrap" => {
                format!("install `{program}`, or use the OCI source")
            }
            ImageErrorKind::ToolMissing { program } => format!("install `{program}`"),
            ImageErrorKind::NotRoot => "run as root".to_owned(),
            ImageErrorKind::UnsupportedPackageManager { written, .. } => {
                let written: Vec<&str> = written.iter().map(|manager| manager.name()).collect();
                format!(
                    "images can be made only for releases with {}; use `kata-qualify run --in host` on a machine that runs this release",
                    written.join(", ")
                )
            }
            ImageErrorKind::WrongArchitecture { .. } => "install qemu-user-binfmt (up to Debian 12: qemu-user-static), so that this machine can run programs for that architecture, or use a machine of that architecture".to_owned(),
            ImageErrorKind::Unmapped { .. } => "packages' scripts run in user namespaces on an id-mapped mount, never as this machine's root: this needs Linux 5.12, a cache on ext4, XFS or Btrfs (on tmpfs: Linux 6.3), and user namespaces that are not disabled (user.max_user_namespaces)".to_owned(),
            ImageErrorKind::ImageLacks { .. } => {
                "name a repository that has it with --mirror and its key with --mirror-key, or use an image that is configured for it (--cloud-image, --oci-image)".to_owned()
            }
            ImageErrorKind::NotCached => "run once without --offline".to_owned(),
            _ => return None,
        })
    }
}

impl From<FailureReason> for ImageErrorKind {
    fn from(reason: FailureReason) -> ImageErrorKind {
        match reason {
            FailureReason::MissingPackage { package: Some(package) } => ImageErrorKind::PackageMissing { package },
            FailureReason::MissingIndex { what } => ImageErrorKind::NoSuchRelease { what },
            FailureReason::Expired { suite } => ImageErrorKind::Expired { suite },
            FailureReason::Unreachable { detail } => ImageErrorKind::MirrorUnreachable { detail, cached_age: None },
            FailureReason::Untrusted { detail } => ImageErrorKind::Untrusted { detail },
            FailureReason::DiskFull => ImageErrorKind::DiskFull,
            // The program's own message is shown with the command.
            FailureReason::MissingPackage { package: None }
            | FailureReason::Unreadable
            | FailureReason::Locked
            | FailureReason::Conflict
            | FailureReason::Other => ImageErrorKind::CommandFailed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_errors_do_not_suggest_a_mirror() {
        let mut silent = ImageErrorKind::RegistryUnreachable { detail: "refused".to_owned(), cached_age: None };
        assert_eq!(silent.to_string(), "the container registry cannot be reached: refused");
        let hint = silent.hint().unwrap();
        assert!(hint.contains("--oci-image") && !hint.contains("--mirror"), "{hint}");
        *silent.cached_age().unwrap() = Some(7_200);
        assert_eq!(silent.hint().as_deref(), Some("use the cached image, which is 2 hours old, with --offline"));
        assert!(ImageErrorKind::NotRoot.cached_age().is_none());
        let absent = ImageErrorKind::NoSuchImage { reference: "registry.example/debian:13".to_owned() };
        assert_eq!(absent.to_string(), "image registry.example/debian:13 is not in its registry");
    }

    #[test]
    fn the_hint_for_an_unknown_mirror_names_its_option() {
        for (archive, option) in [(Archive::Main, "--mirror"), (Archive::Security, "--security-mirror")] {
            let hint = ImageErrorKind::NoMirror { suite: "trixie".to_owned(), archive }.hint().unwrap();
            assert!(hint.ends_with(&format!(" {option}")), "{hint}");
        }
    }
}
