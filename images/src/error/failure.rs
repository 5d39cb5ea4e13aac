//! A failure inside a phase, before its release is known, and I/O errors as such failures.

use super::{CommandFailure, ImageErrorKind};
use std::path::Path;

/// A cause with the command behind it, before the release and phase are known.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) cause: ImageErrorKind,
    pub(crate) command: Option<Box<CommandFailure>>,
}

impl From<ImageErrorKind> for Failure {
    fn from(cause: ImageErrorKind) -> Failure {
        Failure { cause, command: None }
    }
}

/// Adds the failed operation to an I/O error; a full disk becomes [`ImageErrorKind::DiskFull`].
pub(crate) trait Context<T> {
    fn context(self, what: &str, path: &Path) -> Result<T, Failure>;
}

impl<T> Context<T> for std::io::Result<T> {
    fn context(self, what: &str, path: &Path) -> Result<T, Failure> {
        self.map_err(|source| failure_of(source, || format!("{what} {}", path.display())))
    }
}

/// Makes a failure from an I/O error and the failed operation; a full disk becomes [`ImageErrorKind::DiskFull`].
pub(crate) fn failure_of(source: std::io::Error, doing: impl FnOnce() -> String) -> Failure {
    match source.kind() {
        std::io::ErrorKind::StorageFull => ImageErrorKind::DiskFull.into(),
        _ => ImageErrorKind::Io { context: doing(), source }.into(),
    }
}
